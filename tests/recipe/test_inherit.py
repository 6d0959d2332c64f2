"""Recipes that build on another: what they take over, what they drop, and what is refused."""

from __future__ import annotations

import pytest

from qsynth.errors import RecipeError
from qsynth.recipe.catalog import listed, recipe_files
from qsynth.recipe.compose import compose
from qsynth.recipe.lint import lint_text
from qsynth.recipe.pins import pin

SMALL = "name: own\n"


def own(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return str(path)


def composed(tmp_path, text, *overrides, trusted=()):
    return compose([f"recipe={own(tmp_path, text)}", *overrides], trusted).config


def test_what_a_recipe_does_not_say_is_that_of_its_base(tmp_path) -> None:
    base = compose(["recipe=fmnist_rotations"]).config
    made = composed(tmp_path, "defaults:\n  - fmnist_rotations\nname: own\npeers: {k: 5}\n")
    assert made.name == "own"
    assert made.peers.k == 5
    assert made.peers.min_similarity == base.peers.min_similarity
    assert made.synthesis == base.synthesis
    assert made.fleet == base.fleet


def test_the_command_line_stands_above_both(tmp_path) -> None:
    text = "defaults:\n  - fmnist_rotations\npeers: {k: 5}\n"
    assert composed(tmp_path, text, "peers.k=2").peers.k == 2
    assert composed(tmp_path, text, "peers=all").peers.name == "all"


def test_another_option_drops_what_the_base_set_of_the_first(tmp_path) -> None:
    text = (
        "defaults:\n  - fmnist_rotations\n  - override /partition: dirichlet\n"
        "partition: {alpha: 0.2}\n"
    )
    made = composed(tmp_path, text).partition
    assert made.name == "dirichlet"
    assert made.alpha == 0.2
    assert made.samples_per_node == 80  # both options have it
    assert not hasattr(made, "groups")


def test_settings_of_an_option_that_is_the_default_are_dropped_too(tmp_path) -> None:
    text = "defaults:\n  - fmnist_rotations\n  - override /encoder: seeded_fourier\n"
    made = composed(tmp_path, text).encoder
    assert made.name == "seeded_fourier"
    assert made.dimensions == 320  # of the base: both options have it
    assert not hasattr(made, "filters")


def test_what_a_recipe_sets_itself_is_never_dropped(tmp_path) -> None:
    text = (
        "defaults:\n  - fmnist_rotations\n  - override /partition: dirichlet\n"
        "partition: {groups: 4}\n"
    )
    with pytest.raises(Exception, match=r"partition.groups=4: no such key.*own\.yaml:4"):
        composed(tmp_path, text)


def test_a_mistake_names_the_recipe_that_it_stands_in(tmp_path) -> None:
    text = "defaults:\n  - fmnist_rotations\nsynthesis: {head_weight: 2.0}\n"
    with pytest.raises(Exception, match=r"synthesis.head_weight=2.0: .*own\.yaml:3"):
        composed(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults: [fmnist_rotation]\n", "did you mean fmnist_rotations"),
        ("defaults: [fmnist_rotations, digits_skew]\n", "one recipe to build on, the first"),
        ("defaults: [override /peers: all, fmnist_rotations]\n", "one recipe to build on"),
        ("defaults: [optional digits_mesh]\n", "must be group: option"),
        ("defaults: [digits_mesh@_global_]\n", "must be group: option"),
        ("defaults: [/recipe/digits_mesh]\n", "must be group: option"),
        ("defaults: [../fmnist_rotations]\n", "paths are not allowed"),
        ("defaults: [hydra]\n", "hydra is not configured by a recipe"),
        # A base may lower what a recipe of somebody's may not.
        ("defaults: [digits_mesh]\n", "digits_mesh: distill.input_rank=8: sends statistics"),
        ("defaults: [fmnist_skew]\n", "fmnist_skew: distill.min_support=1: sends statistics"),
    ],
)
def test_what_is_refused(tmp_path, text, said) -> None:
    with pytest.raises(RecipeError, match=said):
        composed(tmp_path, text)


def test_what_a_base_lowers_can_be_confirmed_or_raised_again(tmp_path) -> None:
    text = "defaults: [digits_mesh]\n"
    assert composed(tmp_path, text, trusted=["distill.input_rank"]).distill.input_rank == 8
    again = text + "distill: {input_rank: 0}\nsynthesis: {teach: {inputs: own_mix}}\n"
    assert not composed(tmp_path, again).distill.input_rank


def test_a_base_whose_name_is_no_word_is_looked_at_too(tmp_path, monkeypatch) -> None:
    base = tmp_path / "some-base.yaml"
    base.write_text("distill: {min_support: 1}\n")
    files = recipe_files() | {"some-base": base}
    for module in ("inherit", "lint", "catalog"):
        monkeypatch.setattr(f"qsynth.recipe.{module}.recipe_files", lambda: files)
    with pytest.raises(RecipeError, match=r"some-base: distill.min_support=1"):
        lint_text("defaults: [some-base]\n", "own.yaml")


def test_a_base_that_was_added_must_be_what_was_pinned(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fleet = "fleet: {small: {count: 4}}\n"
    pin("theirs", f"{fleet}peers: {{k: 2}}\n".encode(), "here")
    text = "defaults: [theirs]\n"
    assert composed(tmp_path, text).peers.k == 2
    stored = tmp_path / "qsynth-recipes" / "theirs.yaml"
    stored.write_text(f"{fleet}peers: {{k: 9}}\n")
    with pytest.raises(Exception, match="theirs"):
        composed(tmp_path, text)


def test_circles_end(tmp_path, monkeypatch) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("defaults: [two]\n")
    two.write_text("defaults: [one]\n")
    files = recipe_files() | {"one": one, "two": two}
    for module in ("inherit", "lint", "catalog"):
        monkeypatch.setattr(f"qsynth.recipe.{module}.recipe_files", lambda: files)
    with pytest.raises(RecipeError, match="builds on"):
        lint_text(one.read_text(), str(one))


def test_what_is_only_built_on_is_not_listed() -> None:
    assert "_fmnist" in recipe_files()
    assert "_fmnist" not in listed()
    assert not any(name.startswith("_") for name in listed())
