"""`qsynth privacy report`: what leaves, what is guaranteed, what is not, and what attacks find."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from qsynth.cli.main import main

WORDS = ["privacy", "report", "+recipe=digits_mesh", "synthesis.teach.inputs=own_mix"]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.text += data


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "dp_secure_sum"])
def test_a_page_tells_all_four_things_and_a_home_what_was_spent(
    tmp_path, capsys, rule, monkeypatch
) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    monkeypatch.setattr("qsynth.experiment.audit.RELEASES", 100)
    home, out = tmp_path / "home", tmp_path / "page.html"
    home.mkdir()
    if rule.startswith("dp"):
        spent = {"release": "a" * 64, "multiplier": 5.0}
        (home / "privacy.jsonl").write_text(json.dumps(spent) + "\n")
    words = [*WORDS, f"privacy={rule}", "--home", str(home), "--out", str(out), "--json"]
    assert main(words if "sum" not in rule else [*words, "privacy.cohort=8"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["privacy"] == rule
    assert made["sent"] == 0
    assert made["not_promised"]
    assert bool(made["guaranteed"]) == (rule != "none")
    area = made["audit"]["membership_auc"]
    assert area > 0.6 if rule == "none" else area < 0.65
    page = Text()
    page.feed(out.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    for told in (*made["leaves"], *made["not_promised"], f"{area:.2f}"):
        assert told in page.text
    if rule.startswith("dp"):
        assert 0.0 < made["spent"]["spent"] < 8.0
        assert "is spent in 1 releases" in page.text
    else:
        assert made["spent"] is None


def test_what_is_wrong_is_one_line(capsys, tmp_path) -> None:
    assert main(["privacy", "raport"]) == 2
    assert "did you mean report?" in capsys.readouterr().err
    assert main([*WORDS, "--home", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_where_no_attack_can_be_run_the_page_says_why(tmp_path, capsys, monkeypatch) -> None:
    out = tmp_path / "page.html"
    monkeypatch.setattr("qsynth.experiment.audit.LEAST", 10_000)
    assert main([*WORDS, "--out", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["audit"] is None
    assert "samples are left for the attacker" in made["not_attacked"]
    assert "none was run" in out.read_text(encoding="utf-8")
