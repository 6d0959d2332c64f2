"""A predictor behind HTTP: what it answers, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from qsynth.cli.main import main
from qsynth.errors import QsynthError
from qsynth.inference.server import MOST_ROWS, answered
from qsynth.types import Task
from tests.commands import Command
from tests.data.test_table import csv, load, rows
from tests.inference.test_predict import answers, saved

pytest.importorskip("pyarrow")


def test_rows_are_answered_as_a_table_of_them_is(tmp_path, rng) -> None:
    columns = rows(rng, 40)
    table = csv(tmp_path / "t.csv", columns)
    predictor = saved(load(table).task, tmp_path / "predictor.pt", rng)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path), table, "--out", str(out), "--quiet"]) == 0
    given = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    made = answered(predictor, {"rows": given})["answers"]
    for one, other in zip(made, answers(out), strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["p:sick"] == pytest.approx(float(other["p:sick"]), abs=2e-6)
    # What a row does not say is missing, as an empty cell is.
    del given[0]["sugar"]
    columns["sugar"][0] = ""
    again = csv(tmp_path / "u.csv", columns)
    assert main(["predict", str(tmp_path), again, "--out", str(out), "--quiet"]) == 0
    first = answered(predictor, {"rows": given})["answers"][0]
    assert first["p:sick"] == pytest.approx(float(answers(out)[0]["p:sick"]), abs=2e-6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, r'must be \{"rows"'),
        ([], r'must be \{"rows"'),
        ({"inputs": [[1]]}, r'must be \{"rows"'),
        ({"rows": []}, "0 rows; from 1 to"),
        ({"rows": [{}] * (MOST_ROWS + 1)}, "rows; from 1 to"),
        ({"rows": [3]}, "row 0 must be a mapping"),
        ({"rows": [{"patient": 3}]}, "row 0 has none of age, seen, sugar, ward"),
        ({"rows": [{"age": 3, "suger": 5}]}, "row 0 has suger; did you mean sugar"),
        ({"rows": [{"age": [3], "seen": "2020-01-01", "sugar": 1, "ward": "east"}]}, "age must be"),
        ({"rows": [{"age": "old", "seen": "2020-01-01", "sugar": 1, "ward": "x"}]}, "is no number"),
        ({"rows": [{"age": 3, "seen": "soon", "sugar": 1, "ward": "east"}]}, "seen is no date"),
        ({"rows": [{"age": 1e999, "seen": "2020-01-01", "sugar": 1, "ward": "x"}]}, "finite"),
    ],
)
def test_a_request_that_is_none_is_refused_in_one_line(body, said, tmp_path, rng) -> None:
    task = load(csv(tmp_path / "t.csv", rows(rng))).task
    predictor = saved(task, tmp_path / "predictor.pt", rng)
    with pytest.raises(QsynthError, match=said) as error:
        answered(predictor, body)
    assert "\n" not in str(error.value)


def test_numbers_are_answered(tmp_path, rng) -> None:
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", -3.0, 3.0, (0.0,), (1.0,))
    predictor = saved(task, tmp_path / "predictor.pt", rng)
    made = answered(predictor, {"inputs": [[0.1, 0.2, 0.3]]})["answers"]
    with torch.no_grad():
        wanted = predictor(torch.tensor([[0.1, 0.2, 0.3]])).exp().numpy()
    assert made[0]["p:a"] == pytest.approx(float(wanted[0, 0]), abs=1e-6)
    for wrong in ([[1, 2]], [["a", "b", "c"]], [[1, None, 2]], [[1e30, 0, 0]], "abc"):
        with pytest.raises((QsynthError, ValueError, TypeError)):
            answered(predictor, {"inputs": wrong})


def test_names_of_classes_stay_names(tmp_path, rng) -> None:
    task = Task("t", 1, ("01", "1e5"), "vector", (3,), "", -3.0, 3.0, (0.0,), (1.0,))
    predictor = saved(task, tmp_path / "predictor.pt", rng)
    made = answered(predictor, {"inputs": [[0.1, 0.2, 0.3]]})["answers"][0]
    assert made["prediction"] in ("01", "1e5")
    assert isinstance(made["p:01"], float)


def test_a_row_is_read_as_a_line_of_a_file(tmp_path, rng) -> None:
    predictor = saved(load(csv(tmp_path / "t.csv", rows(rng))).task, tmp_path / "predictor.pt", rng)
    plain = {"age": 50, "seen": "2020-01-01", "sugar": 5.5, "ward": "east"}
    for other in (
        {**plain, "seen": "2020-01-01T00:00:00Z"},
        {**plain, "sugar": " 5.5 "},
        {**plain, "age": 50.0},
        {**plain, "age": "50"},
    ):
        made = answered(predictor, {"rows": [plain, other]})["answers"]
        assert made[0] == made[1]
    gone = answered(predictor, {"rows": [{**plain, "sugar": "NA"}, {**plain, "sugar": None}]})
    assert gone["answers"][0] == gone["answers"][1]


def _asked(url: str, body: object = None) -> tuple[int, dict]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _chunked(port: int, mebibytes: int) -> int:
    """Send a body that does not say how long it is; return the status."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sent:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        sent.sendall(head.encode())
        with contextlib.suppress(OSError):  # it may have answered, and closed, before the end
            for _ in range(mebibytes):
                sent.sendall(b"100000\r\n" + b"1" * 0x100000 + b"\r\n")
            sent.sendall(b"0\r\n\r\n")
        return int(sent.recv(64).split()[1])


@pytest.mark.slow
def test_a_server_answers_and_ends(tmp_path: Path, rng) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`")
    pytest.importorskip("starlette", reason="needs the extra `serve`")
    columns = rows(rng, 20)
    saved(load(csv(tmp_path / "t.csv", columns)).task, tmp_path / "predictor.pt", rng)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    url, kept = f"http://127.0.0.1:{port}", log.open("w")
    server = Command("serve", str(tmp_path), "--port", str(port), log=kept)
    try:
        deadline = time.monotonic() + 240.0
        while True:
            try:
                assert _asked(f"{url}/healthz") == (200, {"status": "well"})
                break
            except urllib.error.URLError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        given = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        status, made = _asked(f"{url}/predict", {"rows": given})
        assert status == 200
        assert len(made["answers"]) == 20
        assert _asked(f"{url}/task")[1]["labels"] == ["sick", "well"]
        assert _asked(f"{url}/predict", {"rows": 3})[0] == 422
        assert "must be" in _asked(f"{url}/predict", {"rows": 3})[1]["error"]
        assert np.isfinite(made["answers"][0]["p:sick"])
        deep = b"[" * 200_000
        request = urllib.request.Request(f"{url}/predict", deep)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=60)
        assert error.value.code == 400
        error.value.close()
        assert _chunked(port, 40) == 413
        assert _asked(f"{url}/healthz")[0] == 200
        assert "Traceback" not in log.read_text()
        server.send_signal(signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)
    finally:
        server.kill()
        kept.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "serve: needs a predictor"),
        (["nothing"], "nothing: no predictor there"),
        (["x", "--port", "seventy"], "--port=seventy: must be a number"),
    ],
)
def test_mistakes_of_the_verb_are_told(words, said, capsys) -> None:
    assert main(["serve", *words]) == 2
    assert said in capsys.readouterr().err
