"""Files and folders that somebody has sent: opening them runs nothing of theirs."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import qsynth
from qsynth.cli.main import main
from qsynth.data.memory import check_unpacked
from qsynth.errors import DataError, QsynthError, UntrustedError
from qsynth.identity import seal as seals
from qsynth.identity.seal import key_path, seal, sealed
from qsynth.model import make_network
from qsynth.model.mlp import MLP
from qsynth.pipeline.predictor import Predictor
from qsynth.training.checkpoint import load_checkpoint
from qsynth.training.export import load_predictor, save_predictor

SMALL = [
    "+recipe=digits_mesh",
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=10",
    "trainer.max_steps=20",
    "placement=simulate",
]
# What a file may want to be called: commands, files, imports, and modules that are no networks.
CALLABLES = (
    "subprocess.check_call",
    "os.system",
    "os.mkdir",
    "builtins.exec",
    "builtins.eval",
    "pathlib.Path.touch",
    "shutil.rmtree",
    "importlib.import_module",
    "code.interact",
    "webbrowser.open",
    "runpy.run_path",
    "torch.load",
    "numpy.load",
    "torch.hub.load",
    "torch.nn.Linear",
    "torch.nn.Identity",
    "sys.exit",
)


class Payload:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


class Backbone(nn.Module):
    """A user's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


@pytest.fixture
def written(task, tmp_path) -> Callable[..., Path]:
    """Return what writes a predictor, with something else in place of what it would hold."""

    def write(**other: Any) -> Path:
        path = tmp_path / "p.pt"
        network = make_network(MLP(width=8), task)
        save_predictor(Predictor(network, None, task), path, {}, {"name": "mlp", "width": 8})
        stored = torch.load(path, weights_only=True)
        torch.save(stored | other, path)
        return path

    return write


@pytest.mark.parametrize("target", CALLABLES)
@pytest.mark.parametrize("part", ["encoder", "model"])
def test_a_predictor_names_no_code(part, target, written, tmp_path) -> None:
    mark = tmp_path / "mark"
    values = {"name": "module", "target": target, "arguments": {"args": str(mark)}}
    path = written(**{part: values})
    with pytest.raises(UntrustedError, match="which is code"):
        load_predictor(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"name": "mlp", "target": "os.system"},
        {"target": "os.system"},
        {"name": "os.system"},
        {"name": "module"},
        {"name": ["mlp"]},
        {"_target_": "os.system"},
        {"name": "mlp", "width": -1},
        {"name": "mlp", "width": "9" * 99},
        {"name": "cnn", "depth": 10**9},
    ],
    ids=str,
)
def test_a_predictor_of_a_strange_network_is_one_line(values, written) -> None:
    with pytest.raises(QsynthError):
        load_predictor(written(model=values))


def test_a_predictor_that_holds_objects_is_not_read(written, tmp_path) -> None:
    mark = tmp_path / "mark"
    for other in ({"state": Payload(mark)}, {"task": Payload(mark)}, {"more": Payload(mark)}):
        with pytest.raises(QsynthError):
            load_predictor(written(**other))
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Payload(mark), protocol=2))
    with pytest.raises(QsynthError):
        load_predictor(tmp_path / "p.pt")
    assert not mark.exists()


def test_ones_own_encoder_is_given_or_trusted_by_name(task, tmp_path) -> None:
    from qsynth.encoder import make_encoder
    from qsynth.encoder.config import ModuleEncoder

    name = f"{__name__}.Backbone"
    config = ModuleEncoder(target=name, dimensions=8, fit_inputs=300)
    encoder = make_encoder(config, task, Backbone())
    values = {"name": "module", "target": name, "dimensions": 8, "fit_inputs": 300}
    predictor = Predictor(make_network(MLP(width=8), task), encoder, task)
    path = tmp_path / "p.pt"
    save_predictor(predictor, path, values, {"name": "mlp", "width": 8})
    x = torch.rand(5, 1, 8, 8)
    with pytest.raises(UntrustedError, match=r"encoder=\.\.\. with a module"):
        load_predictor(path)
    with pytest.raises(UntrustedError):
        load_predictor(path, trust=[name + "s"])
    given = qsynth.load_predictor(path, encoder=Backbone())
    assert torch.equal(given(x), predictor.eval()(x))
    trusting = load_predictor(path, trust=[name])
    assert torch.equal(trusting(x), predictor(x))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of this user's."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["run", *SMALL, "trainer.checkpoint_s=1", f"folder={folder}", "--quiet"]) == 0
    (made,) = folder.iterdir()
    return made


@pytest.fixture
def received(run, tmp_path, monkeypatch) -> Path:
    """The same run, opened by somebody else: with a key of their own."""
    monkeypatch.setenv("QSYNTH_CONFIG_DIR", str(tmp_path / "theirs"))
    monkeypatch.setattr(seals, "_taken", set())
    return Path(shutil.copytree(run, tmp_path / "received"))


CODE = {
    "data": {"name": "module", "target": "os.system"},
    "encoder": {"name": "module", "target": "os.system"},
    "similarity": {"name": "module", "target": "os.system"},
}


@pytest.mark.parametrize("key", [*CODE, "model", "logger"])
@pytest.mark.parametrize("verb", ["report", "report --certificate", "run --resume", "part"])
def test_a_received_folder_runs_no_code(verb, key, received, tmp_path, monkeypatch, capsys) -> None:
    values = yaml.safe_load((received / "config.yaml").read_text())
    if key == "model":
        values["fleet"]["mlp"]["model"] = {"name": "module", "target": "evil.Net"}
    elif key == "logger":
        values["trainer"]["logger"] = "evil.Logger"
    else:
        values[key] = CODE[key] | {"target": "evil.Net"}
    (received / "config.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    more = ["mlp-0"] if verb == "part" else []
    assert main([*verb.split(), str(received), *more, "--quiet"]) == 3
    told = capsys.readouterr().err
    assert len(told.strip().splitlines()) == 1
    assert "--mine" in told
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("key", ["data.path", "data.root", "trainer.arguments.default_root_dir"])
def test_a_received_folder_reads_no_other_files(key, received, capsys) -> None:
    values = yaml.safe_load((received / "config.yaml").read_text())
    part, *rest = key.split(".")
    inner = values[part]
    for name in rest[:-1]:
        inner = inner.setdefault(name, {})
    inner[rest[-1]] = "/etc"
    (received / "config.yaml").write_text(yaml.safe_dump(values))
    assert main(["report", str(received), "--quiet"]) == 3
    assert "--mine" in capsys.readouterr().err


def test_a_received_folder_is_read_as_data_and_gone_on_with_by_its_owner_alone(
    received, run, capsys, monkeypatch
) -> None:
    assert main(["report", str(received), "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert "without a seal of yours" in said.err
    assert main(["run", "--resume", str(received), "--quiet"]) == 3
    assert "no seal of yours" in capsys.readouterr().err
    assert main(["run", "--resume", str(received), "--quiet", "--mine"]) == 0
    monkeypatch.delenv("QSYNTH_CONFIG_DIR")
    assert main(["run", "--mine", *SMALL]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_snapshot_of_others_is_not_unpickled(received, tmp_path, capsys) -> None:
    """Also where the config is the user's own: they may have sent the folder, and got it back."""
    mark = tmp_path / "mark"
    for path in received.glob("nodes/*/result.json"):
        path.unlink()
    (received / "summary.json").unlink()
    place = received / "snapshot"
    place.mkdir(exist_ok=True)
    with (place / "simulation.pickle").open("wb") as file:
        pickle.dump(Payload(mark), file)
    seal(received / "config.yaml")
    assert main(["run", "--resume", str(received), "--quiet"]) == 3
    assert "simulation.pickle: has no seal of yours" in capsys.readouterr().err
    assert not mark.exists()


def test_a_checkpoint_of_others_is_plain_values_or_nothing(tmp_path, monkeypatch) -> None:
    path, mark = tmp_path / "fit.ckpt", tmp_path / "mark"
    plain = {
        "state_dict": {"w": torch.ones(2)},
        "global_step": 3,
        "callbacks": {"a": {"b": (1, 2)}},
    }
    torch.save(plain, path)
    assert load_checkpoint(path)["global_step"] == 3
    torch.save(plain | {"more": Payload(mark)}, path)
    with pytest.raises(UntrustedError, match="holds code"):
        load_checkpoint(path)
    assert not mark.exists()
    seal(path)
    load_checkpoint(path)
    assert mark.exists(), "what this user has written is read whole"


@pytest.mark.parametrize("key", ["model=module", "trainer.logger"])
def test_a_trainer_unpickles_nothing_that_has_no_seal(key, tmp_path, monkeypatch) -> None:
    """A simulation's own snapshot may have come back with other checkpoints beside it."""
    from types import SimpleNamespace

    from qsynth.training import fit as train

    path, mark = tmp_path / "0.ckpt", tmp_path / "mark"
    torch.save({"state_dict": {}, "more": Payload(mark)}, path)
    monkeypatch.setattr(train, "why_a_trainer", lambda *_: key)
    plan = SimpleNamespace(trainer=SimpleNamespace(logger="csv"))
    with pytest.raises(UntrustedError, match="holds code"):
        train.check_checkpoint(plan, None, path)
    assert not mark.exists()


def test_a_seal_holds_for_what_was_written_and_what_is_about_to_be(tmp_path, monkeypatch) -> None:
    path, part = tmp_path / "a", tmp_path / "a.part"
    path.write_bytes(b"one")
    assert not sealed(path)
    seal(path)
    assert sealed(path)
    part.write_bytes(b"two")
    seal(path, part)
    assert sealed(path), "a process that is killed here leaves what was there before"
    part.replace(path)
    assert sealed(path)
    path.write_bytes(b"six")
    assert not sealed(path)
    path.write_bytes(b"two")
    assert key_path().stat().st_mode & 0o077 == 0
    monkeypatch.setenv("QSYNTH_CONFIG_DIR", str(tmp_path / "other"))
    assert not sealed(path), "another user's key"
    assert not key_path().exists(), "looking makes none"
    (tmp_path / "a.seal").write_bytes(b"")
    assert not sealed(path)
    (tmp_path / "other").write_text("no folder can be made here")
    seal(path)
    assert not sealed(path)


def test_a_key_is_not_written_through_a_link(tmp_path) -> None:
    from qsynth.identity.file import identity_of

    home, victim = tmp_path / "home", tmp_path / "victim"
    home.mkdir()
    victim.write_text("as it was")
    (home / "identity.part").symlink_to(victim)
    first = identity_of(home)
    assert victim.read_text() == "as it was"
    assert (home / "identity").stat().st_mode & 0o077 == 0
    assert identity_of(home).id == first.id


SHADOWS = (
    "torch",
    "numpy",
    "yaml",
    "json",
    "scipy",
    "pynng",
    "numba",
    "hydra",
    "omegaconf",
    "pytorch_lightning",
    "msgspec",
    "sklearn",
    "matplotlib",
    "rich",
    "sitecustomize",
    "usercustomize",
    "email",
    "logging",
    "typing_extensions",
    "tqdm",
)
VERBS = (
    "--help",
    "--version",
    "recipe list",
    "config",
    "plan",
    "plan --measure",
    "explain distill",
    "doctor",
    "watch NOWHERE",
    "report NOWHERE",
    "run --resume NOWHERE",
    "part NOWHERE a",
    "packet show",
    "packet audit",
    "recipe lock",
    "node up --home HOME --share 99",
    "node certificate --home HOME",
    "completion bash",
    "bench kernels --help",
    "compare arms=[nobody]",
    "run trainer.max_steps=-1",
    f"run {' '.join(SMALL)} folder=out --quiet",
)


@pytest.fixture
def shadowed(tmp_path) -> Path:
    """A folder whose modules have the names of those that are imported everywhere."""
    here = tmp_path / "here"
    here.mkdir()
    for name in SHADOWS:
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write('{name} ')")
    plugins = here / "hydra_plugins"
    plugins.mkdir()
    (plugins / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write('plugin')")
    return here


def test_what_lies_in_the_current_folder_is_not_imported(shadowed, tmp_path) -> None:
    for verb in ("recipe list", "config", "report NOWHERE"):
        words = [sys.executable, "-m", "qsynth", *verb.split()]
        done = subprocess.run(words, cwd=shadowed, capture_output=True, text=True, timeout=240)
        assert done.returncode == (2 if "NOWHERE" in verb else 0), done.stderr
    assert not (tmp_path / "mark").exists()


EACH = """
import os, sys
from qsynth.cli.main import main
for verb in sys.argv[1:]:
    try:
        main(verb.split())
    except SystemExit:
        pass
    before = [entry for entry in sys.path if entry in ("", ".", os.getcwd())]
    assert not before, (verb, before)
"""


@pytest.mark.slow
def test_no_verb_looks_for_modules_in_the_current_folder(shadowed, tmp_path) -> None:
    words = [sys.executable, "-P", "-c", EACH, *VERBS]
    done = subprocess.run(words, cwd=shadowed, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()


def test_a_module_of_ones_own_is_found_after_all_others(tmp_path, monkeypatch) -> None:
    from qsynth.schema import load_target

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "own_module_here.py").write_text("class Net: pass")
    (tmp_path / "fractions.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    assert load_target("model.target", "own_module_here.Net").__name__ == "Net"
    assert load_target("model.target", "fractions.Fraction")(1, 2) == 0.5
    assert sys.path[-1] == str(tmp_path)


def test_arrays_of_objects_are_not_read(tmp_path, capsys) -> None:
    mark = tmp_path / "mark"
    rows = np.array([Payload(mark)], dtype=object)
    np.savez(tmp_path / "a.npz", x=rows, y=rows)
    words = ["run", *SMALL, "data=arrays", f"data.path={tmp_path}/a.npz", "--quiet"]
    assert main(words) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not mark.exists()


def packed(path: Path, **arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_a_file_that_unpacks_to_what_nobody_means_is_refused(tmp_path, capsys, monkeypatch) -> None:
    bomb = packed(tmp_path / "bomb.npz", x=np.zeros((600, 40_000), np.float32), y=np.zeros(600))
    assert bomb.stat().st_size < 1 << 20
    for words in (["run"], ["plan"], ["doctor", "--home", str(tmp_path / "home")]):
        code = main([*words, "data=arrays", f"data.path={bomb}"])
        told = capsys.readouterr()
        assert code != 0, words
        assert "unpack" in told.err + told.out, words
    # Regular data that are not so large, and large ones that are not packed, are read.
    small = packed(tmp_path / "small.npz", x=np.zeros((60, 10), np.float32), y=np.arange(60) % 3)
    check_unpacked(small, "small")
    np.savez(tmp_path / "plain.npz", x=np.zeros((600, 40_000), np.float32))
    check_unpacked(tmp_path / "plain.npz", "plain")
    monkeypatch.setattr("qsynth.data.memory._memory", lambda: 1 << 20)
    with pytest.raises(DataError, match="MiB of memory are free"):
        check_unpacked(tmp_path / "plain.npz", "plain")
