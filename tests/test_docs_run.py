"""Every command in README and docs is run: as it stands there, with less work to do.

Each runs in a folder that holds what its reader would have by then: a run, a recipe, a pack, own
data, a node's home.  The long comparisons of the pages of evidence run where QSYNTH_ALL_COMMANDS is
set (`make commands`).
"""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.identity import Identity
from tests.data.test_table import csv, rows
from tests.experiment.test_recipes import EXAMPLES, MADE, PRETRAINED, SITES, original, small
from tests.test_docs import commands

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=10",
    "trainer.max_steps=20",
    "placement=simulate",
]
ALL = bool(os.environ.get("QSYNTH_ALL_COMMANDS"))
LONG = ("docs/explanation", "docs/decisions")
OWNER = Identity.seeded("docs")  # of the home that commands name
IDENTITY = OWNER.id.hex()
# What only other hosts can answer, or what is no command but the shape of one; each with its test.
ELSEWHERE = {
    "qsynth recipe add https://": "tests/recipe/test_trust.py",
    "qsynth recipe add git+https://": "tests/recipe/test_trust.py",
    "qsynth node up --home": "tests/host/test_daemon.py, tests/mesh/test_tls.py",
    "qsynth node up recipe=lungs.yaml": "tests/data/test_data.py",
    "qsynth node up +recipe=task.yaml": "tests/recipe/test_task_file.py",
    "qsynth serve runs/CLINICS": "tests/inference/test_server.py",
    "qsynth node withdraw --home": "tests/host/test_control.py",
    "qsynth node forget": "tests/host/test_control.py",
    "qsynth packet show --home": "tests/host/test_control.py",
    "qsynth packet approve --home": "tests/host/test_control.py",
    "qsynth packet log --home": "tests/host/test_control.py",
    "qsynth node status": "tests/host/test_status.py",
    "qsynth node certificate --home": "tests/host/test_daemon.py",
    "qsynth watch": "tests/cli/test_verbs.py",
    "qsynth run +recipe=digits_mesh placement=slurm": "tests/placement/test_slurm.py",
    "qsynth run +recipe=digits_mesh placement=ray": "tests/placement/test_ray.py",
    "qsynth part": "tests/placement/test_shared_process.py",
    "qsynth bench route --data": "tests/bench/test_route.py",
    "qsynth bench lookup --nodes 1000,10000 --data": "tests/bench/test_route.py",
    "qsynth bench route --nodes N": "tests/bench/test_route.py",
    "qsynth node keys retire": "tests/identity/test_requests.py",
}
# Verbs that a sentence names.
BARE = (
    "qsynth VERB --help",
    "qsynth compare",
    "qsynth plan",
    "qsynth recipe copy",
    "qsynth packet audit",
    "qsynth packet approve",
    "qsynth node up",
    "qsynth node keys",
    "qsynth node keys issue",
    "qsynth node keys revoke",
    "qsynth bench",
    "qsynth run --json",
    "qsynth bench lookup",
    "qsynth bench mesh",
    "qsynth bench route",
    "qsynth explain KEY",
    "qsynth explain WORD",
    "qsynth task init",
)


def runnable() -> list[str]:
    """The commands that this module runs, each once."""
    kept, compared = [], set()
    for page, command in commands():
        if command in BARE or any(command.startswith(start) for start in ELSEWHERE):
            continue
        if command.startswith("qsynth compare") and not ALL:
            # Each recipe is run small in its own test; here one comparison for each set of keys.
            keys = frozenset(re.findall(r"([\w.]+)=", command))
            if page.startswith(LONG) or keys in compared:
                continue
            compared.add(keys)
        kept.append(command)
    return list(dict.fromkeys(kept))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with what a reader has by then."""
    folder = tmp_path_factory.mktemp("place")
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["recipe", "copy", "digits_mesh", "mine.yaml"]) == 0
        mine = Path("mine.yaml")
        text = mine.read_text().replace("name: digits_mesh", "name: mine") + "seed: 5\n"
        # Without what a reader of their own recipe has to confirm.
        text = text.replace("input_rank: 8", "input_rank: 0").replace("generated", "own_mix")
        mine.write_text(text)
        words = ["recipe=mine.yaml", *SMALL, "partition.audit_share=.2", "--quiet"]
        assert main(["run", *words]) == 0
        (made,) = Path("runs").iterdir()
        made.rename("runs/NAME")
        for other in ("ONE", "OTHER", "RUN"):
            shutil.copytree("runs/NAME", f"runs/{other}")
        assert main(["recipe", "pack", "runs/NAME", "--out", "mine.qpack"]) == 0
        Path("home").mkdir(mode=0o700)
        OWNER.save(Path("home/identity"))
        assert main(["node", "id", "--home", "home"]) == 0
        assert main(["node", "keys", "init", "--authority", "authority"]) == 0
        issue = ["node", "keys", "issue", "--authority", "authority", "--id", IDENTITY]
        assert main([*issue, "--host", "localhost", "--out", "before"]) == 0
        shutil.copy("before/certificate.pem", "certificate.pem")
        shutil.copy("before/authority.pem", "root.pem")
        request = ["node", "keys", "request", "--home", "home", "--host", "localhost"]
        assert main([*request, "--out", "."]) == 0
        rng = np.random.default_rng(0)
        y = np.arange(300) % 3
        x = (rng.standard_normal((300, 6)) + y[:, None]).astype(np.float32)
        np.savez("mine.npz", x=x, y=y, node=np.arange(300) // 100)
        if importlib.util.find_spec("PIL") is not None:
            _write_pictures(Path("pictures"))
        if importlib.util.find_spec("pyarrow") is not None:
            _write_clinics()
    finally:
        os.chdir(here)
    return folder


def _write_clinics() -> None:
    """Write what a reader has who follows the pages on tables: files, tasks, a run."""
    runpy.run_path(str(EXAMPLES / "clinics.py"))["main"](Path("clinics"))
    columns = rows(np.random.default_rng(0), 120)
    columns["clinic"] = ["Aachen", "Bonn"] * 60
    csv(Path("patients.csv"), columns)
    for name in ("Aachen", "Bonn"):
        words = [f"clinics/{name}.csv", "--label", "diagnosis", "--out", f"{name.lower()}.yaml"]
        assert main(["task", "init", *words]) == 0
    assert main(["task", "merge", "aachen.yaml", "bonn.yaml"]) == 0
    before = set(Path("runs").iterdir())
    words = ["data=table", "data.path=clinics", "data.label=diagnosis", *small("table")[1:]]
    assert main(["run", *words, "--quiet"]) == 0
    (made,) = set(Path("runs").iterdir()) - before
    made.rename("runs/CLINICS")


def _write_pictures(folder: Path) -> None:
    """Write pictures of four sites, of two classes that are told apart by their brightness."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for site in "abcd":
        for number, label in enumerate(("dark", "light")):
            (folder / site / label).mkdir(parents=True)
            for index in range(24):
                pixels = rng.integers(60 * number, 190 + 60 * number, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(folder / site / label / f"{index}.png")


def words_of(command: str, data: str | None) -> list[str]:
    """The words of a command, with what stands for a reader's own put in."""
    filled = {
        "DIR": "home",
        "FILE": "mine.yaml",
        "RECIPE": "digits_mesh",
        "RUN": "runs/RUN",
        "ID": IDENTITY,
        "FOLDER": data or "",
    }
    filled["NAME"] = "digits_mesh" if "recipe=NAME" in command else "NAME"
    command = command.replace("seeds=[...]", "seeds=[0]").replace(
        " data.root=FOLDER", "" if "recipe=NAME" in command else " data.root=FOLDER"
    )
    names = "|".join(filled)
    return shlex.split(re.sub(rf"\b({names})\b", lambda m: filled[m[0]], command))[1:]


def lighter(words: list[str]) -> list[str]:
    """The words, and overrides that leave little of their work."""
    if "--resume" in words:
        return words  # a run goes on as it began
    verb = words[0]
    if verb in ("run", "compare") or words[:2] == ["packet", "audit"]:
        recipe = next((w.split("=")[1] for w in words if "recipe=" in w), "")
        recipe = {"mine.yaml": "", "task.yaml": "table"}.get(recipe, recipe)
        own = {"data=table": "table", "data=images": "pictures"}
        recipe = recipe or next((own[w] for w in words if w in own), "digits_mesh")
        given = {word.partition("=")[0] for word in words}
        less = [w for w in small(recipe)[1:] if w.partition("=")[0] not in given]
        if "--locked" in words:
            less = []
        if "encoder=efficientnet_lite0" in words:
            less.append("encoder.side=32")
        if "encoder=seeded_fourier" in words or "encoder=efficientnet_lite0" in words:
            less = [w for w in less if "fit_images" not in w and "filters" not in w]
        if any(w.startswith("synthesis=") and w != "synthesis=replay" for w in words):
            less = [w for w in less if not w.startswith("synthesis.d=")]
        if verb == "compare":
            less = [w for w in less if not w.startswith(("placement", "baselines"))]
            less += [] if "arms" in given or ALL else ["arms=[alone,semantic]"]
            words = [re.sub(r"seeds=\[.*\]", "seeds=[0]", w) for w in words]
        elif verb == "packet":
            less = [w for w in less if not w.startswith(("placement", "baselines"))]
        if any("fleet." in w for w in words) and "mine.npz" not in " ".join(words):
            words = [re.sub(r"(fleet\.\w+\.count)=(8|12|16)$", r"\1=4", w) for w in words]
        words = [*words, *less]
    if verb == "bench":
        words = [re.sub(r"^10{3,}(,10+)*$", "300", w) for w in words]
    return words


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", runnable(), ids=lambda c: c[7:70])
def test_a_command_in_the_docs_does_what_it_says(
    command, place, tmp_path, monkeypatch, capsys, request
) -> None:
    whole = data = os.environ.get("QSYNTH_DATA_DIR")
    if data:  # a part of it is enough
        data = str(request.getfixturevalue("small_data"))
        monkeypatch.setenv("QSYNTH_DATA_DIR", data)
    fleet = re.search(r"recipe=(\w+)", command)
    name = fleet[1] if fleet else ""
    if not data and re.search(r"FOLDER|cifar|fmnist", command):
        pytest.skip("QSYNTH_DATA_DIR is not set: no real CIFAR-10 and Fashion-MNIST here")
    if name == "text" and importlib.util.find_spec("wordllama") is None:
        pytest.skip("needs the extra `text`")
    pretrained = name in PRETRAINED or "efficientnet_lite0" in command
    if pretrained and importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("needs the extra `vision`")
    if command.startswith("qsynth bench") and importlib.util.find_spec("faiss") is None:
        pytest.skip("needs the extra `bench`")
    folder = tmp_path / "place"
    shutil.copytree(place, folder)
    monkeypatch.chdir(folder)
    made = re.search(r"data\.path=(\w+\.npz)", command)
    if made and name in MADE:
        script = [sys.executable, str(EXAMPLES / MADE[name]), made[1]]
        script += [data] if name == "series" else [original(name, whole)] if name in SITES else []
        subprocess.run(script, check=True, timeout=300)
        monkeypatch.syspath_prepend(str(EXAMPLES))
    if command.startswith("qsynth recipe copy"):
        (folder / "mine.yaml").unlink()
    if re.search(r"FILE\.csv|clinics|patients|CLINICS|task\.yaml", command):
        pytest.importorskip("pyarrow", reason="needs the extra `table`")
    if command.startswith(("qsynth task init", "qsynth task merge")):
        (folder / command.split("--out ")[1].split()[0]).unlink(missing_ok=True)
    if command.startswith("qsynth node keys init"):
        shutil.rmtree(folder / "authority")
    words = lighter(words_of(command, data))
    code = main(words)
    said = capsys.readouterr()
    allowed = {0, 1} if words[0] == "doctor" else {0}
    assert code in allowed, f"{' '.join(words)}: {said.err[-800:]}"
    assert said.out or said.err or "--quiet" in words


def test_what_is_tested_elsewhere_is_in_the_docs_and_its_test_is_there() -> None:
    every = [command for _, command in commands()]
    for start, tests in ELSEWHERE.items():
        assert any(command.startswith(start) for command in every), start
        for test in tests.split(", "):
            assert (Path(__file__).parents[1] / test).exists()
    assert set(BARE) <= set(every)
    assert len(runnable()) > 35
