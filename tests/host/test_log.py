"""A node's lines, for people and for what gathers logs."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from qsynth.cli.main import main
from qsynth.errors import ConfigError, StateError
from qsynth.host.log import Log, LogOptions

SAID = 'refused by a peer: "task"=\x1b[2J\n labels differ'
SHOWN = 'refused by a peer: "task"=?[2J? labels differ'
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def said(capsys, form: str) -> str:
    log = Log(LogOptions(form), quiet=False)
    log.node = "ab12"
    log.warn(SAID)
    log.close()
    return capsys.readouterr().out


def test_a_line_is_one_line_in_each_format(capsys) -> None:
    assert said(capsys, "plain") == f"{SHOWN}\n"
    made = json.loads(said(capsys, "json"))
    assert re.fullmatch(TIME, made.pop("time"))
    assert made == {"level": "warning", "node": "ab12", "message": SHOWN}
    line = said(capsys, "keyvalue")
    assert line.count("\n") == 1
    pairs = dict(word.split("=", 1) for word in shlex.split(line))
    assert re.fullmatch(TIME, pairs.pop("time"))
    assert pairs == {"level": "warning", "node": "ab12", "message": SHOWN}


def test_the_file_has_the_same_lines_and_is_rotated(tmp_path, capsys) -> None:
    path = tmp_path / "logs" / "node.log"
    log = Log(LogOptions("json", str(path), file_bytes=4096, files=2), quiet=True)
    for number in range(200):
        log.tell(f"line {number}")
    log.close()
    assert capsys.readouterr().out == ""
    kept = sorted(each.name for each in path.parent.iterdir())
    assert kept == ["node.log", "node.log.1", "node.log.2"]
    assert all(each.stat().st_size <= 4096 for each in path.parent.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["message"] == "line 199"
    again = Log(LogOptions("json", str(path), file_bytes=4096, files=2), quiet=True)
    again.tell("goes on")
    again.close()
    assert "line 199" in path.read_text()


def test_words_of_the_command_line_are_taken_and_the_others_left() -> None:
    words = ["+recipe=table", "log.format=json", "log.file_bytes=8192", "log.file=a.log"]
    assert LogOptions.take(words) == (LogOptions("json", "a.log", 8192), ["+recipe=table"])
    for word, told in (
        ("log.format=jsn", "did you mean json"),
        ("log.fromat=json", "did you mean format"),
        ("log.files=0", "log.files=0"),
        ("log.file_bytes=much", "log.file_bytes=much"),
        ("log.format", "needs a value"),
    ):
        with pytest.raises(ConfigError, match=re.escape(told)):
            LogOptions.take([word])


def test_a_file_that_cannot_be_written_and_a_recipe_that_sets_it_are_refused(
    tmp_path, capsys
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"log\.file="):
        Log(LogOptions(file=str(tmp_path / "file" / "log")), quiet=True)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("log: {file: /tmp/x}\n")
    assert main(["plan", f"recipe={recipe}"]) == 2
    assert "log" in capsys.readouterr().err
    assert main(["run", "log.format=json", "--quiet"]) == 2
    assert "log" in capsys.readouterr().err
    assert main(["node", "up", "log.format=jsn"]) == 2
    assert "did you mean json" in capsys.readouterr().err
