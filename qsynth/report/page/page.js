"use strict";
// Draw a run's report from the data that stands in the page: no library, no network.
const data = JSON.parse(document.getElementById("data").textContent);
const nodes = data.nodes, SVG = "http://www.w3.org/2000/svg";
const absent = v => v === null || v === undefined;
const percent = v => absent(v) ? "–" : (100 * v).toFixed(1);
const signed = v => absent(v) ? "–" : (v >= 0 ? "+" : "−") + Math.abs(100 * v).toFixed(1);
let chosen = -1;

function make(kind, attributes, parent, text) {
  const element = kind in { svg: 1, g: 1, path: 1, line: 1, circle: 1, text: 1, rect: 1, title: 1 }
    ? document.createElementNS(SVG, kind) : document.createElement(kind);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

// One colour a true group; without groups one an architecture.
const kinds = [...new Set(nodes.map(n => n.group === null ? n.architecture : "group " + n.group))];
const kindOf = n => kinds.indexOf(n.group === null ? n.architecture : "group " + n.group);
const colour = n => `hsl(${Math.round(360 * kindOf(n) / kinds.length + 215) % 360} 60% 50%)`;

function ticks(last) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(s => last / s <= 8) || Math.ceil(last / 8);
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
}

function chart(id, label, series, y) {
  const place = document.getElementById(id), wide = 720, high = 310, left = 46, low = 262;
  place.replaceChildren();
  const svg = make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label }, place);
  const all = series.flatMap(s => s.points);
  if (!all.length) { make("text", { x: left, y: 40 }, svg, "nothing was measured (trainer.curve_points, or no true groups)"); return; }
  const last = Math.max(1, ...all.map(p => p[0])), values = all.map(p => p[1]);
  const from = Math.min(...values), to = Math.max(...values), span = Math.max(to - from, 1e-6);
  const px = v => left + (wide - left - 12) * v / last, py = v => low - (low - 14) * (v - from) / span;
  for (let i = 0; i <= 4; i++) {
    const value = from + span * i / 4;
    make("line", { x1: left, x2: wide - 12, y1: py(value), y2: py(value), class: "axis" }, svg);
    make("text", { x: 4, y: py(value) + 4 }, svg, y(value));
  }
  for (const t of ticks(last)) make("text", { x: px(t), y: low + 18, "text-anchor": "middle" }, svg, t);
  make("text", { x: wide - 12, y: high - 6, "text-anchor": "end" }, svg, "period");
  for (const s of series) {
    const path = s.points.map((p, i) => (i ? "L" : "M") + px(p[0]).toFixed(1) + " " + py(p[1]).toFixed(1)).join("");
    const line = make("path", { d: path, class: s.kind }, svg);
    if (s.name) make("title", {}, line, s.name);
  }
}

function mean(lines) {
  const sums = new Map();
  for (const points of lines) for (const [p, v] of points) { const s = sums.get(p) || [0, 0]; sums.set(p, [s[0] + v, s[1] + 1]); }
  const most = Math.max(0, ...[...sums.values()].map(s => s[1]));
  return [...sums].filter(([, s]) => s[1] === most).sort((a, b) => a[0] - b[0]).map(([p, s]) => [p, s[0] / s[1]]);
}

function accuracy() {
  const pick = document.getElementById("measure"), which = +pick.value;
  const of = curve => curve.filter(p => p[which] !== null).map(p => [p[0], p[which]]);
  const mesh = nodes.map(n => of(n.curve)), alone = nodes.map(n => of(n.curve_alone));
  const thin = (lines, kind) => lines.map((points, i) => ({ name: nodes[i].name, kind, points }));
  const series = [...thin(alone, "thin alone"), ...thin(mesh, "thin"), { name: "mean alone", kind: "bold alone", points: mean(alone) }, { name: "mean in the mesh", kind: "bold", points: mean(mesh) }];
  if (chosen >= 0) series.push({ name: nodes[chosen].name + " alone", kind: "one alone", points: alone[chosen] }, { name: nodes[chosen].name, kind: "one", points: mesh[chosen] });
  chart("curves", `Accuracy of ${pick.selectedOptions[0].text} by period, in the mesh and alone; means are bold`, series.filter(s => s.points.length), percent);
}

const columns = [["node", n => n.name], ["architecture", n => n.architecture], ["local", n => n.local], ["alone", n => n.alone],
  ["linear", n => n.linear], ["mesh", n => n.own], ["gain" + (data.best ? " over " + data.best : ""), n => n.gain], ["test samples", n => n.test_samples],
  ["network", n => n.network], ["group", n => n.group_accuracy], ["learns from", n => n.learns], ["teaches", n => n.teaches], ["KiB sent", n => n.bytes / 1024]];
const GAIN = 6, SAMPLES = 7;
// A gain is not told from zero where its interval holds it; without one nothing says so.
const unsure = n => !absent(n.gain_low) && n.gain_low <= 0 && n.gain_high >= 0;
const interval = n => n.test_samples !== null && n.test_samples < data.few ? ` (${signed(n.gain_low)} to ${signed(n.gain_high)})` : "";
let order = GAIN, turn = 1;
function table() {
  const place = document.getElementById("table");
  place.replaceChildren();
  const head = make("tr", {}, make("thead", {}, place)), body = make("tbody", {}, place);
  columns.forEach(([name], i) => {
    const cell = make("th", { scope: "col", "aria-sort": i === order ? (turn > 0 ? "ascending" : "descending") : "none" }, head);
    make("button", { type: "button" }, cell, name).onclick = () => { turn = i === order ? -turn : 1; order = i; table(); };
  });
  const rank = v => v === null ? -Infinity : v, value = columns[order][1];
  const rows = nodes.map((n, i) => i).sort((a, b) => { const x = rank(value(nodes[a])), y = rank(value(nodes[b])); return turn * (x < y ? -1 : x > y ? 1 : 0); });
  for (const i of rows) {
    const row = make("tr", { tabindex: 0, class: i === chosen ? "chosen" : "" }, body);
    row.onclick = () => choose(i); row.onkeydown = e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(i); } };
    columns.forEach(([name, get], c) => {
      const v = get(nodes[i]);
      if (c < 2) make("td", { class: "left" }, row, v);
      else if (c === GAIN) make("td", { class: absent(v) ? "" : unsure(nodes[i]) ? "unsure" : v >= 0 ? "up" : "down" }, row, absent(v) ? "–" : signed(v) + interval(nodes[i]));
      else if (c === SAMPLES) make("td", {}, row, absent(v) ? "–" : v);
      else make("td", {}, row, c < 10 ? percent(v) : c < 12 ? v : v.toFixed(0));
    });
  }
}

function graph() {
  const place = document.getElementById("graph"), size = 640, middle = size / 2, ring = middle - 95;
  const svg = make("svg", { viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": "Who learns from whom" }, place);
  const seats = nodes.map((n, i) => i).sort((a, b) => kindOf(nodes[a]) - kindOf(nodes[b]) || a - b);
  const at = []; seats.forEach((i, s) => { const t = 2 * Math.PI * s / nodes.length - Math.PI / 2; at[i] = [middle + ring * Math.cos(t), middle + ring * Math.sin(t), t]; });
  const most = Math.max(1e-9, ...data.edges.map(e => Math.abs(e[2] || 0)));
  for (const [from, to, gain] of data.edges) {
    const [a, b] = [at[from], at[to]];
    const bend = d => `M${a[0].toFixed(1)} ${a[1].toFixed(1)}Q${middle} ${middle} ${b[0].toFixed(1)} ${b[1].toFixed(1)}`;
    const edge = make("path", { d: bend(), class: "edge" + (gain < 0 ? " harm" : ""), "data-from": from, "data-to": to, "stroke-width": (1 + 3 * Math.abs(gain || 0) / most).toFixed(1) }, svg);
    make("title", {}, edge, `${nodes[to].name} learns from ${nodes[from].name}` + (gain === null ? "" : `: ${gain >= 0 ? "+" : ""}${gain.toFixed(3)} nats a sample`));
  }
  const gains = nodes.map(n => n.gain || 0), largest = Math.max(1e-9, ...gains.map(Math.abs));
  nodes.forEach((n, i) => {
    const sign = absent(n.gain) ? "" : unsure(n) ? " unsure" : gains[i] < 0 ? " lost" : "";
    const told = sign === " lost" ? "lost" : sign ? "not told from zero" : "gained";
    const seat = make("g", { class: "node" + sign, tabindex: 0, role: "button", "aria-label": `${n.name}: learns from ${n.learns}, teaches ${n.teaches}`, "data-node": i }, svg);
    make("circle", { cx: at[i][0], cy: at[i][1], r: (6 + 7 * Math.abs(gains[i]) / largest).toFixed(1), fill: colour(n), stroke: sign === " lost" ? colour(n) : "var(--bg)" }, seat);
    if (nodes.length <= 40) make("text", { x: at[i][0] + 14 * Math.cos(at[i][2]), y: at[i][1] + 14 * Math.sin(at[i][2]) + 4, "text-anchor": Math.cos(at[i][2]) < 0 ? "end" : "start" }, seat, n.name);
    make("title", {}, seat, absent(n.gain) ? n.name : `${n.name}: ${told}, ${signed(n.gain)} points`);
    seat.onclick = () => choose(i); seat.onkeydown = e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(i); } };
  });
  const legend = document.getElementById("legend");
  kinds.forEach(kind => { const item = make("span", {}, legend), n = nodes.find(x => kinds[kindOf(x)] === kind); make("i", { style: `background:${colour(n)}` }, item); item.append(kind); });
}

function choose(i) {
  chosen = i === chosen ? -1 : i;
  const svg = document.querySelector("#graph svg"), said = document.getElementById("said");
  svg.classList.toggle("dim", chosen >= 0);
  for (const edge of svg.querySelectorAll(".edge")) {
    edge.classList.toggle("in", +edge.dataset.to === chosen); edge.classList.toggle("out", +edge.dataset.from === chosen);
  }
  document.getElementById("pick").value = chosen;
  table(); accuracy();
  if (chosen < 0) { said.textContent = "Choose a node to see whom it learns from."; return; }
  const n = nodes[chosen], from = data.edges.filter(e => e[1] === chosen), to = data.edges.filter(e => e[0] === chosen);
  said.textContent = `${n.name} learns from ${from.length ? from.map(e => nodes[e[0]].name + (e[2] === null ? "" : ` (${e[2] >= 0 ? "+" : ""}${e[2].toFixed(3)})`)).join(", ") : "nobody"}; teaches ${to.length ? to.map(e => nodes[e[1]].name).join(", ") : "nobody"}.`;
}

function matrix() {
  const canvas = document.getElementById("matrix"), n = data.similarity.length, said = document.getElementById("cell");
  if (!n) { canvas.replaceWith("no fingerprints"); return; }
  canvas.width = canvas.height = n;
  const image = canvas.getContext("2d"), seats = data.order;
  seats.forEach((a, y) => seats.forEach((b, x) => {
    const v = data.similarity[a][b] / 100;
    image.fillStyle = v >= 0 ? `rgb(${Math.round(245 - 210 * v)},${Math.round(245 - 160 * v)},${Math.round(248 - 34 * v)})` : `rgb(${Math.round(245 + 10 * v)},${Math.round(245 + 150 * v)},${Math.round(245 + 150 * v)})`;
    image.fillRect(x, y, 1, 1);
  }));
  let at = [0, 0];
  const tell = () => {
    const [a, b] = at.map(s => seats[s]), v = data.similarity[a][b] / 100;
    said.textContent = `${nodes[a].name} and ${nodes[b].name}: ${v.toFixed(2)}`;
  };
  const within = v => Math.max(0, Math.min(n - 1, v));
  canvas.onpointermove = canvas.onclick = e => {
    const box = canvas.getBoundingClientRect();
    at = [within(Math.floor(n * (e.clientY - box.top) / box.height)), within(Math.floor(n * (e.clientX - box.left) / box.width))];
    tell();
  };
  canvas.onkeydown = e => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (!move) return;
    e.preventDefault(); at = [within(at[0] + move[0]), within(at[1] + move[1])]; tell();
  };
  if (n <= 32) for (const id of ["rows", "heads"]) for (const i of seats) make("span", {}, document.getElementById(id), nodes[i].name);
}

function bars(id, label, rows) {
  const place = document.getElementById(id), known = rows.filter(r => r[1] !== null), most = Math.max(1e-9, ...known.map(r => r[1]));
  const svg = make("svg", { viewBox: `0 0 560 ${34 * rows.length + 6}`, role: "img", "aria-label": label + ": " + rows.map(r => `${r[0]} ${r[2]}`).join(", ") }, place);
  rows.forEach(([name, value, text], i) => {
    make("text", { x: 0, y: 34 * i + 21 }, svg, name);
    if (value !== null) make("rect", { x: 170, y: 34 * i + 6, width: Math.max(1, 280 * value / most).toFixed(1), height: 20, fill: "var(--mark)", rx: 3 }, svg);
    make("text", { x: value === null ? 170 : 178 + Math.max(1, 280 * value / most), y: 34 * i + 21 }, svg, text);
  });
}

function picker() {
  const pick = document.getElementById("pick");
  make("option", { value: -1 }, pick, "all nodes");
  nodes.forEach((n, i) => make("option", { value: i }, pick, n.name));
  pick.onchange = () => { chosen = -2; choose(+pick.value); };
}

document.getElementById("measure").onchange = accuracy;
picker(); table(); graph(); matrix(); choose(-1);
bars("pairs", "Pairs", data.pairs); bars("bytes", "Bytes a node sends", data.bytes); bars("requests", "Requests of a lookup", data.requests);
