"use strict";
// Show a run from the data that stands in the page; of one under way, again whenever these change.
const EVERY_MS = 2000; // between two looks at a run under way
const at = id => document.getElementById(id);
const absent = v => v === null || v === undefined;
const percent = v => absent(v) ? "" : (100 * v).toFixed(1);
const signed = v => (v >= 0 ? "+" : "−") + Math.abs(100 * v).toFixed(1);
const nats = v => absent(v) ? "" : ` (${v >= 0 ? "+" : ""}${v.toFixed(3)})`;
const colour = name => `var(--${name})`;
let data = JSON.parse(at("data").textContent);
let chosen = -1, order = "gain", turn = 1, cell = [0, 0];

function make(kind, attributes, parent, text) {
  const element = document.createElement(kind);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function pressed(element, act) {
  element.onclick = act;
  element.onkeydown = e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); act(); } };
}

function shown(id, yes) { at(id).hidden = !yes; return Boolean(yes); }

function chart(id, label, options) {
  const place = at(id), width = Math.max(280, Math.min(place.clientWidth || 640, options.widest || 1100));
  const made = Plot.plot({ width, style: { fontSize: "12px", background: "none" }, ariaLabel: label, ...options });
  place.replaceChildren(made);
  return made;
}

// One colour a true group; without groups one an architecture.
const kindOf = n => absent(n.group) ? n.architecture : "group " + n.group;
function hues() {
  const domain = [...new Set(data.nodes.map(kindOf))];
  return { domain, range: domain.map((_, i) => `hsl(${Math.round(360 * i / domain.length + 215) % 360} 55% 52%)`) };
}

function words() {
  document.title = data.title;
  if (at("verdict").textContent !== data.verdict) at("verdict").textContent = data.verdict;
  at("lines").replaceChildren(...data.lines.map(line => make("p", { class: "soft" }, null, line)));
  at("cards").replaceChildren(...data.cards.map(([value, text]) => {
    const card = make("div", { class: "card" });
    make("b", {}, card, value); make("span", {}, card, text);
    return card;
  }));
  at("about").replaceChildren(...data.about.map(([word, value]) => {
    const pair = make("div", {});
    make("dt", {}, pair, word); make("dd", {}, pair, value);
    return pair;
  }));
  if (shown("architectures", data.table.length)) {
    const table = at("table");
    table.replaceChildren();
    const head = make("tr", {}, make("thead", {}, table)), body = make("tbody", {}, table);
    for (const name of data.heads) make("th", { scope: "col" }, head, name);
    for (const cells of data.table) { const row = make("tr", {}, body); for (const text of cells) make("td", {}, row, text); }
  }
  const refused = data.refused.map(([reason, count]) => `${count} packets refused: ${reason}`);
  const all = [...refused, ...data.failures];
  at("refused").replaceChildren(...(all.length ? all : ["Nothing was refused, and no node has failed."]).map(text => make("li", {}, null, text)));
  if (shown("config", data.recipe)) at("recipe").textContent = data.recipe;
}

// A gain is not told from zero where its interval holds it.
const unsure = n => !absent(n.gain_low) && n.gain_low <= 0 && n.gain_high >= 0;
const verdictOf = n => unsure(n) ? "not told from zero" : n.gain >= 0 ? "gained" : "lost";
function gains() {
  const rows = data.nodes.filter(n => !absent(n.gain)).sort((a, b) => b.gain - a.gain);
  if (!shown("gained", rows.length)) return;
  const few = rows.some(n => !absent(n.gain_low));
  at("gained-of").textContent = `Points of own accuracy in the mesh over ${data.best}, the best of the baselines` + (few ? "; a line is the 95 % interval of a node's own test samples." : ".");
  const longest = Math.max(...rows.map(n => n.name.length)), step = rows.length > 40 ? 14 : 22;
  chart("gains", `Gain of each node over ${data.best}, in points`, {
    height: 60 + step * rows.length, marginLeft: Math.min(160, 24 + 7 * longest), widest: 760,
    x: { label: `points over ${data.best}`, grid: true, nice: true },
    y: { label: null, domain: rows.map(n => n.name), tickFormat: name => name.length > 20 ? name.slice(0, 19) + "…" : name },
    color: { domain: ["gained", "not told from zero", "lost"], range: [colour("good"), colour("faint"), colour("bad")], legend: true },
    marks: [
      Plot.ruleX([0]),
      Plot.ruleY(rows.filter(n => !absent(n.gain_low)), { x1: n => 100 * n.gain_low, x2: n => 100 * n.gain_high, y: "name", stroke: verdictOf, strokeWidth: 2 }),
      Plot.dot(rows, { x: n => 100 * n.gain, y: "name", fill: verdictOf, r: 5 }),
      Plot.tip(rows, Plot.pointerY({ x: n => 100 * n.gain, y: "name", title: n => `${n.name}: ${signed(n.gain)}` + (absent(n.gain_low) ? "" : ` (${signed(n.gain_low)} to ${signed(n.gain_high)})`) + `\n${n.test_samples} test samples` })),
    ],
  });
}

const MEASURES = ["the predictor, own label shares", "the predictor, all of its group", "the network, own label shares", "the network, all of its group"];
function curves() {
  const which = +at("measure").value || 1;
  const of = (key, arm) => data.nodes.flatMap((n, i) => n[key].filter(p => !absent(p[which])).map(p => ({ node: i, name: n.name, arm, period: p[0], value: 100 * p[which] })));
  const points = [...of("curve_alone", "alone"), ...of("curve", "in the mesh")];
  const measured = data.nodes.some(n => n.curve.length + n.curve_alone.length);
  if (!shown("time", measured)) return;
  shown("measures", !data.live);
  at("time-of").textContent = data.live
    ? "Validation accuracy of each node's network; the mean is bold."
    : "In the mesh and the same nodes alone, on at most 1,000 test samples of a node; means are bold. A chosen node stands out.";
  if (!points.length) { at("curves").textContent = "Nothing was measured: there are no true groups."; return; }
  const means = [...d3.group(points, p => p.arm, p => p.period)].flatMap(([arm, by]) => {
    const most = Math.max(...[...by.values()].map(ps => ps.length));
    return [...by].filter(([, ps]) => ps.length === most).map(([period, ps]) => ({ arm, period, value: d3.mean(ps, p => p.value) })).sort((a, b) => a.period - b.period);
  });
  const arms = ["in the mesh", "alone"].filter(arm => points.some(p => p.arm === arm));
  const key = p => p.arm + p.node, one = points.filter(p => p.node === chosen);
  chart("curves", `Accuracy by period of ${arms.join(" and ")}; means are bold`, {
    height: 340, marginLeft: 44, y: { label: "percent", grid: true, nice: true }, x: { label: "period", ticks: d3.ticks(0, d3.max(points, p => p.period), 8).filter(Number.isInteger), tickFormat: "d" },
    color: { domain: arms, range: arms.map(arm => colour(arm === "alone" ? "alone" : "mark")), legend: true },
    marks: [
      Plot.line(points, { x: "period", y: "value", z: key, stroke: "arm", strokeOpacity: 0.28, strokeWidth: 1 }),
      Plot.line(means, { x: "period", y: "value", z: "arm", stroke: "arm", strokeWidth: 3 }),
      Plot.line(one, { x: "period", y: "value", z: "arm", stroke: "var(--ink)", strokeWidth: 2.5, strokeDasharray: p => p.arm === "alone" ? "5 4" : null }),
      Plot.tip(points, Plot.pointer({ x: "period", y: "value", title: p => `${p.name}, ${p.arm}\nperiod ${p.period}: ${p.value.toFixed(1)}` })),
    ],
  });
}

const COLUMNS = {
  node: n => n.name, architecture: n => n.architecture, local: n => n.local, alone: n => n.alone, linear: n => n.linear,
  mesh: n => n.own, gain: n => n.gain, "95 % interval": n => n.gain_low, "test samples": n => n.test_samples, network: n => n.network,
  group: n => n.group_accuracy, validation: n => n.validation, period: n => n.periods, packets: n => n.admitted,
  "learns from": n => n.learns, teaches: n => n.teaches, "KiB sent": n => absent(n.bytes) ? null : n.bytes / 1024,
};
const SHARES = new Set(["local", "alone", "linear", "mesh", "network", "group", "validation"]);
function cellOf(name, n) {
  const v = COLUMNS[name](n);
  if (absent(v)) return ["", ""];
  if (name === "gain") return [unsure(n) ? "unsure" : v >= 0 ? "up" : "down", signed(v)];
  if (name === "95 % interval") return ["", `${signed(n.gain_low)} to ${signed(n.gain_high)}`];
  if (SHARES.has(name)) return ["", percent(v)];
  if (name === "KiB sent") return ["", v.toFixed(0)];
  return typeof v === "string" ? ["left", v] : ["", v.toLocaleString("en")];
}

function table() {
  const place = at("nodes"), names = Object.keys(COLUMNS).filter(name => data.nodes.some(n => !absent(COLUMNS[name](n))));
  if (!names.includes(order)) order = names[0];
  place.replaceChildren();
  const head = make("tr", {}, make("thead", {}, place)), body = make("tbody", {}, place);
  for (const name of names) {
    const th = make("th", { scope: "col", class: name === "architecture" ? "left" : "", "aria-sort": name === order ? (turn > 0 ? "ascending" : "descending") : "none" }, head);
    make("button", { type: "button" }, th, name === "gain" ? "gain over " + data.best : name).onclick = () => { turn = name === order ? -turn : 1; order = name; table(); };
  }
  const value = COLUMNS[order], rows = data.nodes.map((n, i) => i);
  rows.sort((a, b) => turn * d3.ascending(value(data.nodes[a]) ?? -Infinity, value(data.nodes[b]) ?? -Infinity) || a - b);
  for (const i of rows) {
    const row = make("tr", { tabindex: 0, class: i === chosen ? "chosen" : "", "data-node": i }, body);
    pressed(row, () => choose(i));
    for (const name of names) { const [kind, text] = cellOf(name, data.nodes[i]); make("td", { class: kind }, row, text); }
  }
}

function graph() {
  const nodes = data.nodes, count = nodes.length;
  if (!shown("synthesis", count > 1)) return;
  const seats = d3.sort(d3.range(count), i => kindOf(nodes[i])), angle = [];
  seats.forEach((i, s) => { angle[i] = 2 * Math.PI * s / count - Math.PI / 2; });
  const x = i => Math.cos(angle[i]), y = i => -Math.sin(angle[i]);
  const most = Math.max(1e-9, ...data.edges.map(e => Math.abs(e[2] || 0)));
  const side = Math.max(280, Math.min(at("graph").clientWidth || 640, 680)), named = count <= 40;
  const made = chart("graph", "Who learns from whom", {
    widest: 680, height: side, margin: named ? 84 : 16, aspectRatio: null, axis: null,
    x: { domain: [-1.05, 1.05] }, y: { domain: [-1.05, 1.05] }, color: { ...hues(), legend: true }, r: { type: "identity" },
    marks: [
      Plot.arrow(data.edges, { x1: e => x(e[0]), y1: e => y(e[0]), x2: e => x(e[1]), y2: e => y(e[1]), bend: 20, inset: 9, headLength: 7,
        stroke: e => colour(e[2] < 0 ? "bad" : "mark"), strokeWidth: e => 1 + 2.5 * Math.abs(e[2] || 0) / most }),
      Plot.dot(nodes, { x: (n, i) => x(i), y: (n, i) => y(i), r: named ? 8 : 5, fill: kindOf, stroke: "var(--bg)", sort: null }),
      named ? [-1, 1].map(half => Plot.text(d3.range(count).filter(i => (x(i) < 0) === (half < 0)), { x: i => 1.07 * x(i), y: i => 1.07 * y(i), dx: 6 * half, text: i => nodes[i].name.slice(0, 14), textAnchor: half < 0 ? "end" : "start", clip: false })) : [],
    ],
  });
  made.querySelectorAll("[aria-label=arrow] path").forEach((edge, i) => {
    const [from, to, gain] = data.edges[i];
    edge.setAttribute("class", "edge"); edge.dataset.from = from; edge.dataset.to = to;
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${nodes[to].name} learns from ${nodes[from].name}${nats(gain)}`; edge.append(title);
  });
  made.querySelectorAll("[aria-label=dot] circle").forEach((dot, i) => {
    const n = nodes[i];
    dot.setAttribute("class", "node"); dot.setAttribute("tabindex", 0); dot.setAttribute("role", "button");
    dot.setAttribute("aria-label", `${n.name}: learns from ${n.learns}, teaches ${n.teaches}`);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = n.name; dot.append(title);
    pressed(dot, () => choose(i));
  });
}

function marked() {
  const svg = at("graph"), nodes = data.nodes;
  svg.classList.toggle("dim", chosen >= 0);
  for (const edge of svg.querySelectorAll(".edge")) {
    edge.classList.toggle("in", +edge.dataset.to === chosen); edge.classList.toggle("out", +edge.dataset.from === chosen);
  }
  at("pick").value = chosen;
  if (chosen < 0) { at("said").textContent = "Choose a node to see whom it learns from."; return; }
  const from = data.edges.filter(e => e[1] === chosen), to = data.edges.filter(e => e[0] === chosen);
  const names = (edges, end, more) => edges.length ? edges.map(e => nodes[e[end]].name + more(e)).join(", ") : "nobody";
  at("said").textContent = `${nodes[chosen].name} learns from ${names(from, 0, e => nats(e[2]))}; teaches ${names(to, 1, () => "")}.`;
}

function choose(i) {
  chosen = i === chosen ? -1 : i;
  table(); curves(); marked();
}

function matrix() {
  const n = data.similarity.length, seats = data.order, names = seats.map(i => data.nodes[i].name);
  if (!shown("alike", n > 1)) return;
  const named = n <= 32, margin = named ? Math.min(110, 14 + 7 * Math.max(...names.map(s => s.length))) : 8;
  const side = Math.max(280, Math.min(at("matrix").clientWidth || 480, 560));
  const value = (a, b) => data.similarity[seats[a]][seats[b]] / 100;
  const axis = { label: null, domain: d3.range(n), ticks: named ? undefined : [], tickFormat: i => names[i].slice(0, 14) };
  const scale = { type: "linear", scheme: "RdBu", domain: [-1, 1], label: "cosine", legend: true };
  const cells = d3.cross(d3.range(n), d3.range(n)), told = ([a, b]) => `${names[a]} and ${names[b]}: ${value(a, b).toFixed(2)}`;
  // As a picture where cells would be too many elements.
  const whole = n > 64 ? { x: { axis: null, domain: [0, n] }, y: { axis: null, domain: [n, 0] }, marks: [Plot.raster(cells.map(([a, b]) => value(a, b)), { width: n, height: n, x1: 0, y1: 0, x2: n, y2: n, imageRendering: "pixelated" })] }
    : { x: { ...axis, tickRotate: -90, axis: "top" }, y: axis, marks: [Plot.cell(cells, { x: c => c[1], y: c => c[0], fill: ([a, b]) => value(a, b), inset: 0 }), Plot.tip(cells, Plot.pointer({ x: c => c[1], y: c => c[0], title: told }))] };
  chart("matrix", "Similarity of nodes, by true group", { widest: 560, height: side, marginLeft: margin, marginTop: margin, marginRight: 8, marginBottom: 8, color: scale, ...whole });
  const within = v => Math.max(0, Math.min(n - 1, v));
  at("matrix").onkeydown = e => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (!move) return;
    e.preventDefault(); cell = [within(cell[0] + move[0]), within(cell[1] + move[1])]; at("cell").textContent = told(cell);
  };
}

function bars(id, label, rows) {
  if (!shown(id + "-of", rows.length)) return;
  chart(id, label + ": " + rows.map(r => `${r[0]} ${r[2]}`).join(", "), {
    widest: 560, height: 30 * rows.length + 20, marginLeft: 130, marginRight: 90, marginBottom: 8, x: { axis: null }, y: { label: null, domain: rows.map(r => r[0]) },
    marks: [
      Plot.barX(rows, { y: "0", x: r => r[1] ?? 0, fill: "var(--mark)", insetTop: 2, insetBottom: 2, rx: 3 }),
      Plot.text(rows, { y: "0", x: r => r[1] ?? 0, text: "2", dx: 6, textAnchor: "start", fill: "currentColor", clip: false }),
    ],
  });
}

function choices() {
  const pick = at("pick");
  pick.replaceChildren();
  make("option", { value: -1 }, pick, "all nodes");
  data.nodes.forEach((n, i) => make("option", { value: i }, pick, n.name));
  pick.onchange = () => { chosen = -2; choose(+pick.value); };
}

function figures() {
  gains(); curves(); graph(); matrix(); marked();
  bars("pairs", "Pairs", data.pairs); bars("requests", "Requests of a lookup", data.requests); bars("bytes", "Bytes a node sends", data.bytes);
  shown("cost", data.pairs.length + data.requests.length + data.bytes.length);
}

function draw() { words(); choices(); table(); figures(); }

async function again() {
  try {
    const answer = await fetch("data.json");
    if (!answer.ok) throw new Error(answer.statusText);
    const name = chosen >= 0 ? data.nodes[chosen].name : null, news = await answer.json();
    if (!news.live) { location.reload(); return; }
    data = news; chosen = data.nodes.findIndex(n => n.name === name);
    draw();
  } catch (error) {
    at("verdict").textContent = "qsynth watch has ended, or cannot be reached: this is what it told last.";
  }
  setTimeout(again, EVERY_MS);
}

MEASURES.forEach((text, i) => make("option", { value: i + 1 }, at("measure"), text));
at("measure").onchange = curves;
draw();
let wide = innerWidth;
addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; figures(); } });
if (data.live) setTimeout(again, EVERY_MS);
