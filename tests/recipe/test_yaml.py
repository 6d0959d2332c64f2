"""A recipe is read as OmegaConf reads it; what readers take in different ways is refused."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from qsynth.cli.main import main
from qsynth.errors import QsynthError, RecipeError
from qsynth.recipe.compose import compose
from qsynth.recipe.lint import lint_text

HEAD = "# T.\ndefaults:\n  - /model@fleet.a.model: linear\nfleet: {a: {count: 2}}\n"
READ = [
    "1e-4",
    "1E-4",
    "1.e3",
    "+1e-4",
    "1_000",
    "0x10",
    "~",
    "",
    "2024-05-01",
    "'no'",
    "True",
    "0.5",
    "[1, 2]",
    "{x: 1}",
    "a b",
    "'010'",
    "-0",
    ".5",
]


@pytest.mark.parametrize("text", READ)
def test_a_value_is_what_omegaconf_makes_of_it(text) -> None:
    wanted = OmegaConf.to_container(OmegaConf.create(f"a: {text}"))
    assert lint_text(f"a: {text}", "r") == wanted


REFUSED = [
    ("seed: 1\nname: n\nseed: 2\n", 7, "duplicate key seed, also in line 5"),
    ("trainer: {max_steps: 3, max_steps: 4}\n", 5, "duplicate key max_steps"),
    ("trainer: {max_steps: 3}\nseed: 010\ntrainer: {}\n", 7, "duplicate key trainer"),
    ("seed: 010\n", 5, "write 10"),
    ("seed: 1:30\n", 5, "to the base of 60"),
    ("data: {test_share: no}\n", 5, "true or false"),
    ("task: {labels: [yes, no]}\n", 5, "'yes' for text"),
    ("data: {label_map: {0: a}}\n", 5, "the key 0 is no text; write it in quotes"),
    ("fleet2: {on: 1}\n", 5, "the key on is no text"),
    ("<<: {seed: 3}\n", 5, "the key << is no text"),
    ("seed: ???\n", 5, "a value that is missing"),
    ("# a\u2028seed: 7\n", 5, "a line break that editors do not show"),
    ("name: n\x85seed: 7\n", 5, "a line break that editors do not show"),
    ("name: [a\n", 6, "not YAML"),
]


@pytest.mark.parametrize(("text", "line", "said"), REFUSED)
def test_what_may_be_read_in_two_ways_is_refused_with_its_line(text, line, said, tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD + text, encoding="utf-8", newline="")
    with pytest.raises(RecipeError) as caught:
        compose([f"recipe={path}"])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: {version: 2024-05-01}\n", "task.version=2024-05-01: must be a whole number"),
        ("model: {learning_rate: 1e400}\n", "must be a finite number"),
        ("trainer: {gradient_clip_norm: .inf}\n", "must be a finite number"),
        ("data: [a]\n", "data: must be a mapping, not a list"),
        ("baselines: {a: b}\n", "a list stands where a mapping must"),
        ("data: {positives: [a, a]}\n", "names must differ"),
    ],
)
def test_a_value_that_cannot_be_is_named_by_its_key(text, said, tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(QsynthError) as caught:
        compose([f"recipe={path}"])
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "own_" not in str(caught.value)


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ("[{/model@fleet.a.model: [linear, mlp]}]", "one name"),
        ("[{/model@fleet.a.model: linear, override /data: digits}]", "one group: option an entry"),
        ("[{/model@fleet.a.model: linear}, {/model@fleet.a.model: mlp}]", "stands there twice"),
        ("[{override /data: digits}, {override /data: fmnist}]", "stands there twice"),
        ("[{override /peers: null}]", "names no option"),
        ("[{override /peers: semantics}]", "did you mean semantic?"),
    ],
)
def test_a_defaults_list_says_each_thing_once(defaults, said) -> None:
    with pytest.raises(RecipeError, match=said.replace("?", r"\?")):
        lint_text(f"defaults: {defaults}\nfleet: {{a: {{count: 2}}}}\n", "r")


def test_a_small_rate_is_a_number(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(HEAD + "model: {learning_rate: 1e-4}\n")
    assert compose([f"recipe={path}"]).config.model.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("folder=runs/é", """'folder="runs/é"'"""),
        ("mesh.listen=tcp://[::1]:7700", """'mesh.listen="tcp://[::1]:7700"'"""),
        ("mesh.join=[tcp://[::1]:7700]", """'mesh.join=["tcp://[::1]:7700"]'"""),
        ("data.path=a=b.npz", """'data.path="a=b.npz"'"""),
        ("folder=~/runs", """'folder="~/runs"'"""),
    ],
)
def test_a_command_line_says_how_to_quote(word, quoted, capsys) -> None:
    assert main(["config", "mesh=tcp", "data=arrays", word]) == 2
    said = capsys.readouterr().err
    assert quoted in said
    assert main(["config", "mesh=tcp", "data=arrays", quoted.strip("'")]) == 0
