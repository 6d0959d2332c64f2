"""What a user types, and what is answered: one line, the right code, before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qsynth.cli.main import main
from qsynth.errors import ConfigError, RecipeError
from qsynth.recipe.catalog import listed as listed_recipes
from qsynth.recipe.catalog import recipe_files, shipped, title
from qsynth.recipe.compose import compose
from qsynth.recipe.lint import lint

MISTAKES = [
    (["+recipe=cifar_mash"], "did you mean cifar_mesh"),
    (["recipe=digit_mesh"], "did you mean digits_mesh"),
    (["distil.max_bytes=3"], "did you mean distill"),
    (["mesh.linger=3"], "did you mean mesh.linger_s|did you mean linger_s"),
    (["+mesh.nodez=3"], "no such key in mesh"),
    (["++mesh.nodez=3"], "no such key in mesh"),
    (["distill.max_bytes=abc"], "must be a whole number"),
    (["distill.max_bytes=1"], ">= 512"),
    (["distill.d=full"], "whole number or auto"),
    (["data=fmist"], "did you mean fmnist"),
    (["+data=fmist"], "did you mean fmnist"),
    (["model=resnt"], "did you mean resnet"),
    (["partition=rotation"], "did you mean rotations"),
    (["placement=process"], "did you mean processes"),
    (["fleet.mpl.count=2"], "did you mean mlp"),
    (["model@fleet.mpl.model=cnn"], "did you mean mlp"),
    (["distill.ttl_s=1e12"], "<= 7"),
    (["mesh.max_message_bytes=4096"], "mesh.max_message_bytes=4096"),
    (["data=fmnist", "data.side=12"], "must divide 28"),
    (["partition.validation_share=0.6", "partition.audit_share=0.6"], "<= 0.9"),
    (["fleet.mlp.cuont=2"], "did you mean count"),
    (["fleet.mlp.count=-1"], ">= 0"),
    (["fleet.mlp.model.widht=3"], "did you mean width"),
    (["fleet.mlp.model=5"], "must be"),
    (["fleet.mlp.count=0", "fleet.cnn.count=0", "fleet.linear.count=0"], "at least one node"),
    (["seed=-1"], ">= 0"),
    (["seed=one"], "whole number"),
    (["seed.x=2"], "whole number"),
    (["nope=1"], "no such key"),
    (["baselines=[alon]"], "did you mean alone"),
    (["synthesis.teach.inputs=generate"], "did you mean generated"),
    (["synthesis.teach.inputz=none"], "did you mean inputs"),
    (["synthesis=analytic_head", "synthesis.gate=greddy"], "did you mean greedy"),
    (["synthesis.head_weight=1.5"], "<= 1.0"),
    (["distill.input_rank=null"], "distill.input_rank=8"),
    (["trainer.max_steps=1.5"], "whole number"),
    (["trainer.max_steps=null"], "whole number"),
    (["mesh=memory"], "placement=simulate"),
    (["mesh.rpc_timeout_s=.nan"], "must be"),
    (["model=module", "+fleet.own.count=1"], "package.Class"),
    (["hydra.run.dir=x"], "hydra"),
    (["~data"], "key=value"),
    (["~data=digits"], "nothing can be taken out"),
    (["foo"], "key=value"),
    (["data.batch_size=[1"], "data.batch_size"),
    (["--jsn"], "did you mean --json"),
    (["--recipe"], "needs a value"),
    (["recipe=none/such.yaml"], "no such file"),
    (["mesh.join=[tcp://h:1]"], "it is one of mesh=tcp"),
    (["trust.allow=[xyz]"], "64 digits of `qsynth node id`"),
    (["fleet.mlp.count=" + "9" * 5000], "fleet.mlp.count"),
    (["digits_mesh"], "did you mean [+]recipe=digits_mesh"),
    (["-recipe=digits_mesh"], "did you mean --recipe=digits_mesh"),
    (["baselines=none"], "list of text .* for none"),
    (["seed=0,1"], "a sweep is -m seed=0,1"),
    (["seed=0,"], "ends with a comma"),
    (["mesh=tcp", "mesh.join=[tcp://x:1"], "bracket is not closed"),
    (["name='x"], "quotation mark is not closed"),
    (["peer.k=3"], "did you mean peers.k"),
    (["trainer.steps=3"], "did you mean max_steps"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_each_mistake_is_answered_in_one_line(words, message, capsys) -> None:
    import re

    assert main(["run", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("qsynth: ")
    assert re.search(message, lines[0]), lines[0]


def test_a_mistake_is_found_before_torch_is_imported() -> None:
    code = (
        "import sys; from qsynth.cli.main import main; code = main(['run', '+mesh.nodez=3']);"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["2", "False"], done.stderr


def test_every_recipe_composes_and_begins_with_its_title(capsys) -> None:
    assert main(["recipe", "list"]) == 0
    listed = capsys.readouterr().out
    assert set(listed_recipes()) >= {"digits_mesh", "cifar_mesh", "fmnist_rotations"}
    for name, path in listed_recipes().items():
        named = [f"scipy_sentences.{part}" for part in ("WordNetwork", "sentence_encoder")]
        config = compose([f"+recipe={name}"], named).config
        assert config.recipe == name
        text = path.read_text()
        assert config.name == (name if "\nname: " in text else config.data.own_name())
        assert len(title(path)) > 20
        assert f"{name} " in listed
        for part in ("What it shows", "What to expect"):
            assert part in text, (name, part)


def test_overrides_reach_everything() -> None:
    composed = compose(
        [
            "+recipe=cifar_mesh",
            "fleet.small.count=12",
            "fleet.small.model.width=24",
            "distill.max_bytes=4096",
            "dht.ring_size=6",
        ]
    )
    config = composed.config
    assert config.fleet["small"].count == 12
    assert config.fleet["small"].model.width == 24
    assert config.distill.max_bytes == 4096
    assert config.dht.ring_size == 6


def test_another_option_leaves_out_the_recipes_settings_of_the_first() -> None:
    config = compose(["peers=random", "partition=iid"]).config
    assert config.peers.k == 7
    assert config.partition.name == "iid"
    with pytest.raises(ConfigError, match="min_similarity"):
        compose(["peers=random", "peers.min_similarity=0.1"])


def test_new_node_groups_can_be_added() -> None:
    config = compose(["+fleet.big.count=3", "model@fleet.big.model=resnet"]).config
    assert config.fleet["big"].count == 3
    assert config.fleet["big"].model.name == "resnet"
    changed = compose(["model@fleet.mlp.model=cnn"]).config
    assert changed.fleet["mlp"].model.name == "cnn"


def test_a_nested_setting_of_the_first_option_is_left_out_and_a_mistyped_one_is_not() -> None:
    # The recipe sets synthesis.teach.inputs, which the other rules do not have.
    assert (
        compose(["distill=class_logits", "synthesis=class_kd"]).config.synthesis.teach.weight == 3
    )
    for word in ("synthesis.teach={wieght:5}", "synthesis.teach.wieght=5"):
        with pytest.raises(ConfigError, match="did you mean weight"):
            compose(["distill=class_logits", "synthesis=class_kd", word])


def test_a_recipe_can_be_a_file(tmp_path) -> None:
    text = (shipped("recipes") / "digits_mesh.yaml").read_text().replace("alpha: 0.3", "alpha: 0.7")
    (tmp_path / "mine.yaml").write_text(text)
    for words in ([f"recipe={tmp_path}/mine.yaml"], [f"+recipe={tmp_path}/mine.yaml"]):
        assert compose(words, ["distill.input_rank"]).config.partition.alpha == 0.7


BAD_RECIPES = [
    "hydra:\n  run:\n    dir: /tmp\n",
    "defaults:\n  - override /hydra/job_logging: x\n",
    "defaults:\n  - /hydra/callbacks: x\n",
    "defaults:\n  - ../secrets: x\n",
    "defaults:\n  - file:///etc/passwd\n",
    "data:\n  _target_: os.system\n",
    "fleet:\n  a:\n    model:\n      _target_: torch.load\n",
    "model:\n  name: module\n  target: os.system\n",
    "data:\n  name: module\n  target: pkg.Class\n",
    "name: ${oc.env:HOME}\n",
    "name: ${oc.decode:x}\n",
    "name: !!python/object/apply:os.system [ls]\n",
    "a: &x 1\nb: *x\n",
    "%YAML 1.1\n---\na: 1\n",
    "- a list\n",
    "a: [\n",
    "\xff\xfe",
    "a: " + "x" * 70_000,
]


@pytest.mark.parametrize("text", BAD_RECIPES, ids=lambda t: t[:30])
def test_a_recipe_that_could_run_code_is_refused(tmp_path, text, capsys) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError):
        lint(path)
    assert main(["run", f"recipe={path}"]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_users_own_command_line_can_trust_a_class(tmp_path) -> None:
    text = (shipped("recipes") / "digits_mesh.yaml").read_text()
    path = tmp_path / "own.yaml"
    text = text.replace("input_rank: 8", "input_rank: 0")
    path.write_text(text + "model:\n  name: module\n  target: my.Net\n")
    with pytest.raises(RecipeError, match=r"--trust my\.Net"):
        lint(path)
    assert lint(path, frozenset({"my.Net"}))["model"]["target"] == "my.Net"


def test_unknown_verbs_and_empty_recipes(capsys) -> None:
    assert main(["rnu"]) == 2
    assert "did you mean run" in capsys.readouterr().err
    assert main(["recipe", "shw"]) == 2
    assert main(["recipe", "show"]) == 2
    capsys.readouterr()
    assert main(["recipe", "show", "digits_mesh"]) == 0
    assert capsys.readouterr().out == Path(recipe_files()["digits_mesh"]).read_text()
    assert main(["report"]) == 2
    assert main(["report", "/nowhere"]) == 2
    assert main(["config", "seed=3"]) == 0
    assert "seed: 3" in capsys.readouterr().out
    assert main(["--version"]) == 0
