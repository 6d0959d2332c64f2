"""Recipes that somebody sends: data, never code, and never more than they may say."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.cli.main import main
from qsynth.errors import ConfigError, RecipeError
from qsynth.recipe.fetch import fetch
from qsynth.recipe.lint import lint, lint_text
from qsynth.recipe.pack import read_pack, write_pack

GOOD = (
    "# A recipe of somebody's.\ndefaults:\n  - override /data: digits\nname: theirs\n"
    "fleet:\n  mlp:\n    count: 2\n    model: {name: mlp}\n"
)

# One for each way in that we know, and some that look like one.
LOWERED = {
    "distill.min_support": "1",
    "distill.input_rank": "8",
    "distill.mixed": "1",
    "similarity.query_support": "1",
    "synthesis.gate": "none",
    "synthesis.support_cap": "null",
    "trust.max_support": "100000000",
    "trust.max_authors": "5000",
    "trust.max_clock_skew_s": "1e9",
    "mesh.max_message_bytes": "10000000",
    "mesh.max_pending": "100000",
    "mesh.requests_per_s": "1e9",
    "mesh.relay_most": "1000",
    "mesh.connections": "5000",
    "mesh.connections_of_host": "5000",
    "synthesis.gate_s": "null",
    "dht.max_records": "1000000",
    "dht.replication": "40",
    "dht.lookup_rpcs": "1e6",
}
MALICIOUS = {
    "a name with a line of its own": 'name: "abc\\n"\n',
    "defaults that take minutes": "defaults:\n"
    + "".join(f"  - /model@fleet.g{n}.model: mlp\n" for n in range(1500)),
    "a number of many digits": "# " + "9" * 70_000 + "\n",
    "hydra settings": "hydra:\n  run:\n    dir: /tmp\n",
    "hydra callbacks": "hydra:\n  callbacks:\n    x:\n      _target_: os.system\n",
    "hydra by a dotted key": "hydra.run.dir: /tmp\n",
    "hydra by a package key": "hydra@_global_: {}\n",
    "hydra nested": "data:\n  hydra:\n    x: 1\n",
    "hydra logging by defaults": "defaults:\n  - override /hydra/job_logging: x\n",
    "hydra callbacks by defaults": "defaults:\n  - /hydra/callbacks: x\n",
    "hydra optional by defaults": "defaults:\n  - optional /hydra/launcher: x\n",
    "hydra as a package": "defaults:\n  - /model@hydra.run: mlp\n",
    "hydra as a nested package": "defaults:\n  - /model@hydra.callbacks.x: mlp\n",
    "hydra as a relative group": "defaults:\n  - hydra/sweeper: x\n",
    "parent folder": "defaults:\n  - ../secrets: x\n",
    "parent folder as an option": "defaults:\n  - /model: ../../etc/passwd\n",
    "absolute file": "defaults:\n  - /etc/passwd\n",
    "absolute file as an option": "defaults:\n  - /model: /etc/passwd\n",
    "file address": "defaults:\n  - file:///etc/passwd\n",
    "package address": "defaults:\n  - pkg://evil.conf: x\n",
    "backslashes": "defaults:\n  - ..\\\\secrets: x\n",
    "unknown group": "defaults:\n  - evil: x\n",
    "another recipe": "defaults:\n  - recipe: digits_mesh\n",
    "itself": "defaults:\n  - /recipe: theirs\n",
    "several options with a path": "defaults:\n  - /model: [mlp, ../x]\n",
    "defaults that are no list": "defaults: /hydra/callbacks\n",
    "defaults of lists": "defaults:\n  - [hydra/callbacks, x]\n",
    "target of hydra": "data:\n  _target_: os.system\n",
    "target in a list": "baselines:\n  - _target_: os.system\n",
    "target deep inside": "fleet:\n  a:\n    model:\n      _target_: torch.load\n",
    "partial": "data:\n  _partial_: true\n",
    "args": "data:\n  _args_: [ls]\n",
    "model of one's own": "model:\n  name: module\n  target: os.system\n",
    "model of a group": "fleet:\n  a:\n    model: {name: module, target: builtins.eval}\n",
    "data of one's own": "data:\n  name: module\n  target: pkg.Class\n",
    "encoder that loads": "encoder:\n  name: module\n  target: torch.hub.load\n"
    "  arguments: {repo_or_dir: evil/repo}\n",
    "encoder that unpickles": "encoder:\n  name: module\n  target: torch.load\n",
    "encoder that reads": "encoder:\n  name: module\n  target: numpy.load\n",
    "metric of one's own": "similarity:\n  name: module\n  target: subprocess.run\n",
    "module that writes": "model:\n  name: module\n  target: pathlib.Path.write_text\n",
    "environment": "name: ${oc.env:HOME}\n",
    "environment in a key": '"${oc.env:HOME}": 1\n',
    "decoding": "name: ${oc.decode:x}\n",
    "resolver inside text": 'data:\n  path: "x${oc.env:HOME}y"\n',
    "nested resolver": "data:\n  path: ${oc.select:${oc.env:HOME},x}\n",
    "plain interpolation": "task:\n  title: /etc/x.npz\ndata:\n  path: ${task.title}\n",
    "a whole group by interpolation": "task:\n  x: {name: tcp}\nmesh: ${task.x}\n",
    "a mapping as a Trainer argument": "trainer:\n  arguments:\n    precision: {a: 1}\n",
    "an option that is a number": "defaults:\n  - {model: 5}\n",
    "an option that is a list of lists": "defaults:\n  - {model: [[a]]}\n",
    "nested a hundred deep": "a: " + "{b: " * 100 + "1" + "}" * 100 + "\n",
    "python tag": "name: !!python/object/apply:os.system [ls]\n",
    "python module tag": "name: !!python/name:os.system\n",
    "own tag": "name: !evil x\n",
    "binary tag": "name: !!binary aGk=\n",
    "anchor": "a: &x 1\nb: 2\n",
    "billion laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "merge of an alias": "a: &x {b: 1}\nc:\n  <<: *x\n",
    "directive": "%YAML 1.1\n---\na: 1\n",
    "two documents": "name: a\n---\nname: b\n",
    "a list": "- a list\n",
    "a word": "word\n",
    "not closed": "a: [\n",
    "deeply nested": "a: " + "[" * 5000 + "]" * 5000 + "\n",
    "too large": "a: " + "x" * 70_000,
    "not utf-8": "\xff\xfe",
    "null bytes": "a: \x00\n",
    "runs elsewhere": "folder: /etc/cron.d\n",
    "name that is a path": "name: ../../escape\n",
    "name with a slash": "name: a/b\n",
    "reads elsewhere": "data:\n  name: arrays\n  path: /etc/shadow.npz\n",
    "reads in the home": "data:\n  name: arrays\n  path: ~/secret.npz\n",
    "reads above": "data:\n  name: arrays\n  path: a/../../secret.npz\n",
    "reads another root": "data:\n  root: /home/other\n",
    "reads an address": "data:\n  name: arrays\n  unlabelled: https://evil.example/x.npz\n",
    "reads a public set": "distill:\n  name: reference_logits\n  file: /etc/x.npy\n",
    "joins a stranger": "mesh:\n  name: tcp\n  join: [tcp://evil.example:7700]\n",
    "listens to all": "mesh:\n  name: tcp\n  listen: tcp://0.0.0.0:7700\n",
    "listens on a host": "mesh:\n  name: tcp\n  host: 0.0.0.0\n",
    "without TLS": "mesh:\n  name: tcp\n  insecure: true\n",
    "metrics for anyone": "mesh:\n  name: tcp\n  metrics: 0.0.0.0:9100\n",
    "with other keys": "mesh:\n  name: tcp\n  tls: /tmp/evil\n",
    "lets one in": "trust:\n  allow: [ffff]\n",
    **{
        f"lowers {key}": f"{key.split('.')[0]}:\n  {key.split('.')[1]}: {value}\n"
        for key, value in LOWERED.items()
    },
    "sends single records": "distill: {min_support: 1, input_rank: 0}\n",
    "sends images": "defaults:\n  - override /distill: mosaic\n",
    "sends images, by name": "distill:\n  name: mosaic\n",
    "sends at once": "publish: auto\n",
    "Trainer writes": "trainer:\n  arguments: {default_root_dir: /etc}\n",
    "Trainer profiles": "trainer:\n  arguments: {profiler: advanced}\n",
    "Trainer loads plugins": "trainer:\n  arguments: {plugins: [evil.Plugin]}\n",
    "Trainer's strategy": "trainer:\n  arguments: {strategy: ddp_spawn}\n",
}


@pytest.mark.parametrize("text", MALICIOUS.values(), ids=MALICIOUS)
def test_each_way_in_is_refused_before_anything_is_composed(tmp_path, text, capsys) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError):
        lint(path)
    named = f"recipe={path}"
    for words in (
        ["recipe", "validate", str(path)],
        ["run", named],
        ["plan", named],
        ["node", "up", named, "mesh=tcp"],
    ):
        assert main(words) == 3, words
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_there_are_enough_of_them() -> None:
    assert len(MALICIOUS) >= 40


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(lint_text(text, "x"), dict)
    except RecipeError as error:
        assert "\n" not in str(error)


def test_validate_tells_wrong_from_untrusted(tmp_path, capsys) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(GOOD)
    assert main(["recipe", "validate", str(path)]) == 0
    assert "2 nodes" in capsys.readouterr().out
    path.write_text(GOOD + "mesh:\n  linger: 3\n")
    assert main(["recipe", "validate", str(path)]) == 2
    assert "did you mean" in capsys.readouterr().err
    own = "  - override /model: module\n"
    path.write_text(GOOD.replace("name: theirs", own + "name: theirs") + "model: {target: a.B}\n")
    assert main(["recipe", "validate", str(path)]) == 3
    assert main(["recipe", "validate", str(path), "--trust", "a.B"]) == 0


@pytest.mark.parametrize("key", LOWERED)
def test_what_lowers_ones_defence_is_confirmed_by_name(key, tmp_path, capsys) -> None:
    path = tmp_path / "theirs.yaml"
    group, name = key.split(".")
    path.write_text(f"{group}:\n  {name}: {LOWERED[key]}\n")
    with pytest.raises(RecipeError, match=f"--trust {key}"):
        lint(path)
    assert lint(path, frozenset({key}))


def test_what_raises_ones_defence_needs_no_word(tmp_path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(
        "distill: {min_support: 9, input_rank: 0}\nmesh: {max_pending: 8}\n"
        "synthesis: {support_cap: 2.0, gate: greedy}\npublish: ask\n"
        "similarity: {query_support: null}\n"
    )
    assert lint(path)["distill"]["min_support"] == 9


@pytest.mark.parametrize(
    "text",
    [
        "distill: {min_support: .nan}\n",
        "distill: {min_support: '9'}\n",
        "mesh: {max_pending: .inf}\n",
        "synthesis: {support_cap: .nan}\n",
        "synthesis: {support_cap: many}\n",
    ],
)
def test_what_is_no_number_is_no_limit(text, tmp_path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="--trust"):
        lint(path)


@pytest.mark.parametrize(
    "text", ["defaults:\n  - override /distill: mosaic\n", "distill:\n  name: mosaic\n"]
)
def test_an_option_is_confirmed_by_its_name(text, tmp_path) -> None:
    from qsynth.recipe.lint import needed_confirmations

    path = tmp_path / "theirs.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="--trust distill=mosaic"):
        lint(path)
    assert lint(path, frozenset({"distill=mosaic"}))
    assert needed_confirmations(text) == ["distill=mosaic"]


def test_a_plan_says_that_single_records_leave(capsys) -> None:
    assert main(["plan", "distill.min_support=1"]) == 0
    said = capsys.readouterr().out
    assert "of a single sample" in said
    assert "records" not in said.partition("never:")[2].splitlines()[0]
    assert main(["plan"]) == 0
    assert "records" in capsys.readouterr().out.partition("never:")[2].splitlines()[0]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "theirs.yaml").write_text(GOOD)
    return tmp_path


def test_an_added_recipe_is_pinned_and_a_changed_one_is_refused(here, capsys) -> None:
    assert main(["recipe", "add", "sent/theirs.yaml"]) == 0
    said = capsys.readouterr().out
    assert "imports: no code" in said
    assert "override /data" in said
    assert main(["recipe", "list"]) == 0
    assert "theirs" in capsys.readouterr().out
    assert main(["config", "+recipe=theirs"]) == 0
    stored = here / "qsynth-recipes" / "theirs.yaml"
    stored.write_text(GOOD + "seed: 3\n")
    capsys.readouterr()
    assert main(["config", "+recipe=theirs"]) == 3
    assert "has been changed" in capsys.readouterr().err
    assert main(["config", "recipe=qsynth-recipes/theirs.yaml"]) == 3  # nor by its path
    stored.unlink()
    assert main(["config", "+recipe=theirs"]) == 3
    assert main(["recipe", "add", "sent/theirs.yaml"]) == 0  # the same source may be added again
    assert main(["config", "+recipe=theirs"]) == 0


def test_names_are_not_taken_over(here, capsys) -> None:
    (here / "sent" / "other.yaml").write_text(GOOD.replace("theirs", "digits_mesh"))
    assert main(["recipe", "add", "sent/other.yaml"]) == 2
    assert "qsynth's own" in capsys.readouterr().err
    assert main(["recipe", "add", "sent/theirs.yaml"]) == 0
    (here / "sent" / "other.yaml").write_text(GOOD)
    assert main(["recipe", "add", "sent/other.yaml"]) == 2
    assert "already added from" in capsys.readouterr().err
    assert main(["recipe", "add", "sent/other.yaml", "--name", "others"]) == 0
    assert main(["recipe", "add", "sent/other.yaml", "--name", "../x"]) == 2
    (here / "qsynth.lock").write_text("{}")
    assert main(["recipe", "list"]) == 2
    assert "not a lock" in capsys.readouterr().err


def test_a_malicious_recipe_is_not_even_stored(here, capsys) -> None:
    (here / "sent" / "bad.yaml").write_text(MALICIOUS["model of one's own"])
    assert main(["recipe", "add", "sent/bad.yaml"]) == 3
    assert not (here / "qsynth-recipes").exists()
    assert main(["recipe", "add", "nowhere.yaml"]) == 2


class Served(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://evil.example/x.yaml")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        big = self.path == "/big"
        self.wfile.write(b"x" * 300_000 if big else GOOD.encode())

    def log_message(self, *_: object) -> None: ...


def test_a_recipe_comes_from_an_address(here, capsys) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert main(["recipe", "add", f"{base}/theirs.yaml"]) == 0
        with pytest.raises(RecipeError, match="more than"):
            fetch(f"{base}/big")
        with pytest.raises(ConfigError, match="must be https"):
            fetch(f"{base}/moved")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(ConfigError, match="must be https"):
        fetch("http://example.org/x.yaml")
    with pytest.raises(ConfigError, match="must be https"):
        fetch("ftp://127.0.0.1/x.yaml")
    with pytest.raises(ConfigError, match="cannot be fetched"):
        fetch(f"{base}/gone.yaml")


@pytest.mark.parametrize(
    "to",
    [
        "https://127.0.0.1/x",
        "https://localhost:8080/x",
        "https://[::1]/x",
        "http://0.0.0.0/x",
        "https://169.254.169.254/latest",
        "https://a.localhost/x",
        "http://127.8.8.8/x",
    ],
)
def test_an_address_does_not_lead_to_this_machine(to) -> None:
    from urllib.request import Request

    from qsynth.recipe.fetch import _SecureRedirects

    follow = _SecureRedirects().redirect_request
    with pytest.raises(ConfigError, match="leads to this machine"):
        follow(Request("https://example.org/x"), None, 302, "", {}, to)
    assert follow(Request("https://example.org/x"), None, 302, "", {}, "https://example.com/y")
    assert follow(Request("http://127.0.0.1/x"), None, 302, "", {}, "http://127.0.0.1:8/y")


def test_what_is_shown_cannot_write_on_a_terminal(here, capsys) -> None:
    (here / "evil.yaml").write_text("# \x1b]0;owned\x07\x1b[2Jtitle\nname: a\n\x9b31m\n")
    assert main(["recipe", "show", "./evil.yaml"]) == 0
    said = capsys.readouterr().out
    assert said == "# ?]0;owned??[2Jtitle\nname: a\n?31m\n"


def test_a_recipe_comes_from_a_git_repository(here, capsys) -> None:
    import subprocess

    git = partial(subprocess.run, check=True, capture_output=True, cwd=here / "sent")
    git(["git", "init", "-q", "-b", "main"])
    git(["git", "add", "theirs.yaml"])
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"])
    source = f"git+file://{here}/sent@main#theirs.yaml"
    assert main(["recipe", "add", source]) == 0
    assert fetch(source).decode() == GOOD
    for wrong in (f"git+file://{here}/sent#gone.yaml", "git+ssh://host/x#y", "git+https://h/x"):
        with pytest.raises(ConfigError):
            fetch(wrong)
    with pytest.raises(RecipeError, match="in the repository"):
        fetch(f"git+file://{here}/sent#../../etc/passwd")
    (here / "sent" / "link.yaml").symlink_to("/etc/passwd")
    git(["git", "add", "link.yaml"])
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "y"])
    text = fetch(f"git+file://{here}/sent#link.yaml").decode()
    assert text == "/etc/passwd"  # the link's own text, never what it points to


def test_a_pack_travels_and_is_what_was_packed(here, capsys) -> None:
    assert main(["recipe", "pack", "sent/theirs.yaml", "--out", "a.qpack"]) == 0
    assert main(["recipe", "pack", "sent/theirs.yaml", "--out", "b.qpack"]) == 0
    assert (here / "a.qpack").read_bytes() == (here / "b.qpack").read_bytes()
    with zipfile.ZipFile(here / "a.qpack") as file:
        assert sorted(file.namelist()) == ["README.md", "recipe.lock", "recipe.yaml"]
        assert "A recipe of somebody's." in file.read("README.md").decode()
    assert main(["recipe", "add", "a.qpack"]) == 0
    assert main(["config", "+recipe=theirs"]) == 0


def test_damaged_and_hostile_packs_are_refused(here) -> None:
    good = write_pack(GOOD.encode(), {}, "readme")
    assert read_pack(good, "x").recipe == GOOD.encode()
    for cut in range(0, len(good), 7):
        with pytest.raises(RecipeError):
            read_pack(good[:cut], "x")
    other = write_pack(b"name: other\n", {}, "readme")
    with zipfile.ZipFile(here / "mixed.zip", "w") as file:
        for name, data in (
            ("recipe.yaml", GOOD),
            ("README.md", ""),
            ("recipe.lock", json.dumps(read_pack(other, "x").lock)),
        ):
            file.writestr(name, data)
    with pytest.raises(RecipeError, match="not the one"):
        read_pack((here / "mixed.zip").read_bytes(), "x")
    with zipfile.ZipFile(here / "more.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("recipe.yaml", "README.md", "recipe.lock", "../evil"):
            file.writestr(name, "x")
    with pytest.raises(RecipeError, match="nothing else"):
        read_pack((here / "more.zip").read_bytes(), "x")
    with zipfile.ZipFile(here / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("recipe.yaml", "README.md", "recipe.lock"):
            file.writestr(name, "x" * 50_000_000)
    with pytest.raises(RecipeError, match="more than"):
        read_pack((here / "bomb.zip").read_bytes(), "x")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_pack_with_any_damage_is_read_or_refused(at: int, damage: bytes) -> None:
    data = bytearray(write_pack(GOOD.encode(), {"a": 1}, "readme"))
    at %= len(data)
    data[at : at + len(damage)] = damage
    try:
        assert read_pack(bytes(data), "x").recipe == GOOD.encode()
    except RecipeError as error:
        assert "\n" not in str(error)


def test_copies_and_differences(here, capsys) -> None:
    assert main(["recipe", "copy", "digits_mesh", "mine.yaml"]) == 0
    assert "recipe=mine.yaml --trust distill.input_rank" in capsys.readouterr().out
    assert main(["recipe", "copy", "digits_mesh", "mine.yaml"]) == 2
    text = (here / "mine.yaml").read_text().replace("alpha: 0.3", "alpha: 0.7")
    (here / "mine.yaml").write_text(text)
    capsys.readouterr()
    assert main(["recipe", "diff", "digits_mesh", "mine.yaml"]) == 3
    assert "sends statistics of the raw inputs" in capsys.readouterr().err
    allowed = ["--trust", "distill.input_rank"]
    assert main(["recipe", "diff", "digits_mesh", "mine.yaml", *allowed]) == 0
    assert capsys.readouterr().out == "partition.alpha: 0.3 -> 0.7\n"
    assert main(["recipe", "diff", "digits_mesh", "mine.yaml", "--json", *allowed]) == 0
    assert json.loads(capsys.readouterr().out)[0]["key"] == "partition.alpha"


@pytest.mark.parametrize(
    "words",
    [
        ["pack", "sent"],
        ["add", "https://127.0.0.1:1/my recipe.yaml"],
        ["add", "https://["],
        ["add", "~nobody-of-this-name/x.yaml"],
        ["copy", "digits_mesh", "nowhere/x.yaml"],
        ["lock", "--out", "nowhere/x", "encoder.fit_images=300", "encoder.dimensions=48"],
    ],
    ids=str,
)
def test_mistakes_are_one_line(here, words, capsys) -> None:
    assert main(["recipe", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_readme_cannot_hide_what_follows(here, capsys) -> None:
    pack = write_pack(GOOD.encode(), {}, "\x1b[2J\x1b[8mreadme")
    (here / "a.qpack").write_bytes(pack)
    assert main(["recipe", "add", "a.qpack"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_lock_does_not_write_over_a_recipe(here, capsys) -> None:
    (here / "recipe.yaml").write_text("precious: 1\n")
    words = ["encoder.fit_images=300", "encoder.dimensions=48", "encoder.filters=8"]
    assert main(["recipe", "lock", *words, "--out", "mine.lock"]) == 2
    assert (here / "recipe.yaml").read_text() == "precious: 1\n"


def test_what_a_lock_says_cannot_write_on_a_terminal(tmp_path, capsys) -> None:
    for override in (
        'fleet.mlp.count="\x1b[2Jpwn"',
        "\x1b[31mred=1",
        "seed=1\nfolder=/x",
        "fleet.mlp.count=" + "9" * 5000,
    ):
        pack = tmp_path / "theirs.qpack"
        digest = hashlib.sha256(GOOD.encode()).hexdigest()
        pack.write_bytes(
            write_pack(GOOD.encode(), {"recipe_sha256": digest, "overrides": [override]}, "")
        )
        assert main(["run", "--locked", str(pack)]) in (2, 3)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1, said
        assert "\x1b" not in said
