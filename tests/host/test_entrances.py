"""A script and a command line refuse the same inputs, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qsynth
from qsynth.cli.main import main
from qsynth.errors import QsynthError
from qsynth.mesh.ipc import Ipc
from qsynth.peers.central import Central
from qsynth.peers.oracle import Oracle

LABELS = tuple("0123456789")
TASK = qsynth.Task(
    name="digits",
    version=1,
    labels=LABELS,
    layout="image",
    shape=(1, 8, 8),
    units="",
    low=0.0,
    high=1.0,
)
X = np.random.default_rng(0).random((60, 1, 8, 8)).astype(np.float32)
Y = np.arange(60) % 10
OPTION = {
    "distill": qsynth.Analytic,
    "peers": qsynth.Semantic,
    "similarity": qsynth.ClassSketch,
    "synthesis": qsynth.AnalyticHead,
    "trust": qsynth.Checks,
    "dht": qsynth.Rings,
    "mesh": qsynth.Tcp,
    "encoder": qsynth.SeededConv,
    "privacy": qsynth.DifferentialPrivacy,
}
# A setting of an option, and a value that its rule refuses.
SETTINGS: list[tuple[str, Any]] = [
    ("distill.rank", -3),
    ("privacy.epsilon", 0.0),
    ("privacy.epsilon", float("nan")),
    ("privacy.delta", 1.0),
    ("privacy.releases", 0),
    ("privacy.norm", -1.0),
    ("distill.rank", 300),
    ("distill.rank", 1.5),
    ("distill.coding", "nonsense"),
    ("distill.min_support", 0),
    ("distill.max_bytes", 1),
    ("distill.ttl_s", 0.0),
    ("distill.ttl_s", 1e12),
    ("distill.d", 2),
    ("distill.d", "full"),
    ("distill.input_rank", -1),
    ("peers.k", -7),
    ("peers.k", 0),
    ("peers.k", "many"),
    ("peers.min_similarity", -1.0),
    ("peers.min_similarity", float("inf")),
    ("peers.k_most", 0),
    ("similarity.fingerprint_dim", 1),
    ("similarity.sketch_d", 0),
    ("synthesis.gate", "greddy"),
    ("synthesis.head_weight", 1.5),
    ("synthesis.most", 0),
    ("synthesis.merge", "all"),
    ("synthesis.support_cap", 0.0),
    ("synthesis.teach.weight", -1.0),
    ("synthesis.teach.batch_size", 0),
    ("synthesis.teach.inputs", "generate"),
    ("synthesis.teach.inputs", "generated"),
    ("synthesis.teach.inputs", "unlabelled"),
    ("trust.max_support", 0),
    ("trust.max_clock_skew_s", -1.0),
    ("trust.allow", ["zz"]),
    ("dht.ring_size", 0),
    ("dht.ef", 0),
    ("dht.lookup_s", 0.0),
    ("mesh.rpc_timeout_s", 0.0),
    ("mesh.linger_s", -1.0),
    ("mesh.max_message_bytes", 10),
    ("mesh.max_message_bytes", 4096),
    ("mesh.listen", "nonsense"),
    ("mesh.listen", "tcp://0.0.0.0:7700"),
    ("mesh.listen", "tcp://192.0.2.1:7700"),
    ("mesh.listen", "tls+tcp://127.0.0.1:7700"),
    ("mesh.listen", "tcp://127.0.0.1:77000"),
    ("mesh.join", ["nonsense"]),
    ("mesh.join", "tcp://h:1"),
    ("mesh.join", ["tcp://h:0"]),
    ("mesh.advertise", "site7"),
    ("mesh.dial_only", True),
    ("encoder.dimensions", 1),
    ("encoder.filters", 0),
    ("encoder.seed", -1),
    ("encoder.threshold", -0.5),
]
ARGUMENTS: list[tuple[str, str, Any]] = [
    ("trainer.period_steps", "period_steps", -5),
    ("trainer.period_steps", "period_steps", 2.5),
    ("seed", "seed", -1),
    ("seed", "seed", "one"),
    ("publish", "publish", "sometimes"),
    ("mesh.listen", "listen", "tcp://0.0.0.0:7700"),
    ("mesh.join", "join", "tcp://h:1"),
    ("mesh.join", "join", ["h:1"]),
    ("mesh.listen", "listen", "ipc:///tmp/x"),
]
OPTIONS: list[tuple[str, str, Any]] = [
    ("mesh=ipc", "mesh", Ipc()),
    ("peers=oracle", "peers", Oracle()),
    ("peers=central", "peers", Central()),
    ("synthesis=ridge", "synthesis", qsynth.Ridge()),
    ("synthesis=class_kd", "synthesis", qsynth.ClassKd()),
]


def holed(value: float, row: int = 3) -> np.ndarray:
    x = X.copy()
    x[row, 0, 2, 2] = value
    return x


# Samples: what stands in the arrays of a file, or is given to the script.
SAMPLES: dict[str, tuple[Any, Any]] = {
    "a NaN": (holed(np.nan), Y),
    "an infinite number": (holed(np.inf), Y),
    "a number beyond the range": (holed(1e30), Y),
    "pixels of 255": (X * 255, Y),
    "beyond float32": (X.astype(np.float64) * 1e300, Y),
    "text": (X.astype(str), Y),
    "complex numbers": (X + 1j, Y),
    "dates": (X.astype("datetime64[s]"), Y),
    "channels last": (X.transpose(0, 2, 3, 1), Y),
    "no channel": (X[:, 0], Y),
    "flat": (X.reshape(60, 64), Y),
    "no features": (X[:, :0], Y),
    "no samples": (X[:0], Y[:0]),
    "fewer labels": (X, Y[:50]),
    "fractions": (X, Y + 0.7),
    "labels of NaN": (X, np.where(Y == 3, np.nan, Y)),
    "from 1": (X, Y + 1),
    "from -1": (X, Y - 1),
    "one-hot": (X, np.eye(10)[Y]),
    "a label of 2**31": (X, np.where(Y == 3, 2**31, Y)),
    "an infinite label": (X, np.where(Y == 3, np.inf, Y)),
    "a label of 2**63": (X, np.where(Y == 3, 2**63 + 5, Y).astype(np.uint64)),
    "unknown names": (X, np.array(["zero", "one"])[Y % 2]),
    "complex labels": (X, Y + 1j),
    "labels of bytes": (X, Y.astype("S")),
    "three axes of labels": (X, Y.reshape(60, 1, 1)),
    "true and false": (X, Y > 4),
}


def refused(call: Any) -> str:
    """Return what a script is told."""
    with pytest.raises(QsynthError) as caught:
        call()
    assert caught.value.exit_code == 2
    told = str(caught.value)
    assert "\n" not in told
    return told


def command(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command line is told."""
    capsys.readouterr()
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    return told.removeprefix("qsynth: ").strip()


def shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(f'"{entry}"' for entry in value) + "]"
    return (
        "inf"
        if value == float("inf")
        else str(value).lower()
        if value is True
        else (f'"{value}"' if isinstance(value, str) else str(value))
    )


def made(key: str, value: Any) -> dict[str, Any]:
    """Return the script's option with one setting."""
    group, *rest = key.split(".")
    if rest[0] == "teach":
        return {"synthesis": qsynth.AnalyticHead(teach=qsynth.Teach(**{rest[1]: value}))}
    return {group: OPTION[group](**{rest[0]: value})}


def join(**more: Any) -> qsynth.JoinMesh:
    return qsynth.JoinMesh(TASK, (X, Y), (X, Y), **more)


UP = ["node", "up", "mesh=tcp", "synthesis=analytic_head", "distill.input_rank=null"]
UP.append("synthesis.teach.inputs=own_mix")


@pytest.mark.parametrize(("key", "value"), SETTINGS, ids=lambda v: str(v))
def test_a_setting_is_refused_in_the_same_words(key, value, capsys, tmp_path) -> None:
    words = [*UP, f"--home={tmp_path}", f"{key}={shown(value)}"]
    words += ["privacy=dp"] if key.startswith("privacy.") else []
    said = command(words, capsys)
    assert said == refused(lambda: join(**made(key, value)))
    assert said.startswith(key.rpartition(".")[0].split(".")[0])
    assert not (tmp_path / "identity").exists()


@pytest.mark.parametrize(("key", "name", "value"), ARGUMENTS, ids=lambda v: str(v))
def test_an_argument_is_refused_in_the_words_of_its_setting(
    key, name, value, capsys, tmp_path
) -> None:
    said = command([*UP, f"--home={tmp_path}", f"{key}={shown(value)}"], capsys)
    assert said == refused(lambda: join(**{name: value}))


@pytest.mark.parametrize(("word", "group", "value"), OPTIONS, ids=lambda v: str(v)[:20])
def test_an_option_that_no_node_can_have(word, group, value, capsys, tmp_path) -> None:
    words = ["node", "up", "mesh=tcp", f"--home={tmp_path}", word]
    if not word.startswith("synthesis=class"):
        words.append("synthesis.teach.inputs=own_mix")
    told = command(words, capsys)
    assert told.partition(":")[0] == refused(lambda: join(**{group: value})).partition(":")[0]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_samples_are_refused_in_the_same_words(name, capsys, tmp_path) -> None:
    x, y = SAMPLES[name]
    path = tmp_path / "own.npz"
    np.savez(path, x=x, y=y)
    words = [
        "data=arrays",
        f"data.path={path}",
        "partition=iid",
        f"folder={tmp_path}/runs",
        "task=declared",
        "task.title=digits",
        f"task.labels={list(LABELS)}",
        "task.layout=image",
        "task.shape=[1,8,8]",
    ]
    ran, planned = (command([verb, *words], capsys) for verb in ("run", "plan"))
    assert ran == planned
    told = refused(lambda: qsynth.JoinMesh(TASK, (x, y), (X, Y)))
    assert told == refused(lambda: qsynth.JoinMesh(TASK, (x, y), (X, Y)).alone())
    if name in ("channels last", "no channel", "flat"):
        assert ".transpose(" in ran or ".reshape(" in ran or "[:, None]" in ran
        assert ran.partition(": ")[2] == told.partition(": ")[2]
    elif name != "no samples":  # whose array it is comes first: a file's, or the script's
        assert ran.removeprefix(f"{path}: ") == told.removeprefix("train: ")
    assert not (tmp_path / "runs").exists()
    held = refused(lambda: qsynth.JoinMesh(TASK, (X, Y), (x, y))) if len(x) else ""
    assert held.startswith("validation: ") or not len(x)


def test_there_are_enough_of_them() -> None:
    assert len(SETTINGS) + len(ARGUMENTS) + len(OPTIONS) + len(SAMPLES) >= 60


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"join": ["tcp://h:1"], "mesh": qsynth.Tcp(join=("tcp://h:2",))}, "give one of them"),
        ({"publish": "ask"}, "needs home=FOLDER"),
        ({"weights": "bst"}, "did you mean best?"),
        ({"distill": "analytic"}, "must be an option of the group, qsynth.Analytic"),
        ({"distill": qsynth.AnalyticHead()}, "distill=AnalyticHead: must be an option"),
        ({"record": "/no/where/events.jsonl"}, "a folder that is there"),
        ({"home": 5}, "home=int: must be a path"),
        ({"home": "a", "identity": "b"}, "give one"),
        ({"unlabelled": (X, Y)}, "unlabelled: x must be"),
        ({"reference": X[:0]}, "reference: x holds no sample"),
        (
            {
                "mesh": qsynth.Tcp(dial_only=True, join=("tcp://h:1",)),
                "listen": "tcp://127.0.0.1:0",
            },
            "nobody dials this node",
        ),
    ],
)
def test_what_only_a_script_can_get_wrong(given, said) -> None:
    assert said in refused(lambda: join(**given))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (X, "must be a pair (x, y) of arrays"),
        ((X, Y, Y), "got 3 of them"),
        (None, "NoneType"),
        ({"x": X}, "got dict"),
        ((X[:2], Y[:2]), "2 training samples, a node needs 4"),
        ((np.ma.masked_less(X, 0.5), Y), "masked"),
        ((X, [None] * 60), "holds Python objects"),
        (("x.npz", Y), "must be an array of samples, got str"),
    ],
)
def test_train_must_be_a_pair_of_arrays(pair, said) -> None:
    assert said in refused(lambda: qsynth.JoinMesh(TASK, pair, (X, Y)))


@pytest.mark.parametrize(
    "labels",
    [
        Y.astype(float),
        Y[:, None],
        Y.tolist(),
        Y.astype(object),
        Y.astype(np.uint8),
        Y.astype(str),
        np.array(LABELS, dtype=object)[Y],
    ],
)
def test_labels_that_mean_the_same_are_taken(labels) -> None:
    mesh = qsynth.JoinMesh(TASK, (X, labels), (X, labels))
    assert np.array_equal(mesh.script.samples.train_y, Y)
    assert mesh.script.samples.train_y.dtype == np.int64


def test_tensors_are_taken_off_their_graph() -> None:
    import torch

    x = torch.tensor(X, requires_grad=True)
    for made in (x, x.detach().bfloat16()):
        mesh = qsynth.JoinMesh(TASK, (made, torch.tensor(Y)), (X, Y))
        assert np.allclose(mesh.script.samples.train_x, X, atol=0.01)


def test_the_public_names_are_these() -> None:
    import qsynth as package

    for name in package.__all__:
        assert getattr(package, name) is not None, name
    needed = {
        "JoinMesh",
        "MeshHost",
        "Task",
        "ConfigError",
        "QsynthError",
        "load_predictor",
        "record_key",
        "Analytic",
        "AnalyticHead",
        "Semantic",
        "Tcp",
        "Rings",
        "Checks",
        "Teach",
        "ClassSketch",
        "SeededConv",
        "SeededFourier",
        "Ridge",
        "DifferentialPrivacy",
    }
    assert needed <= set(package.__all__)
    assert set(dir(package)) == set(package.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        package.JoinMash  # noqa: B018
    root = Path(package.__file__).parent
    assert (root / "py.typed").exists()
