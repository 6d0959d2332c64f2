"""`conf/` is what `make conf` writes."""

from __future__ import annotations

from qsynth.config.yaml_files import CONF, files, main


def test_the_files_are_those_of_the_options() -> None:
    there = {
        str(path.relative_to(CONF)): path.read_text(encoding="utf-8")
        for path in CONF.rglob("*/*.yaml")
    }
    assert there == files(), "run make conf"


def test_files_of_options_that_are_no_more_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("qsynth.config.yaml_files.CONF", tmp_path)
    (tmp_path / "dht").mkdir()
    (tmp_path / "dht" / "old.yaml").write_text("name: old\n")
    (tmp_path / "config.yaml").write_text("written: by hand\n")
    main()
    assert not (tmp_path / "dht" / "old.yaml").exists()
    assert (tmp_path / "config.yaml").exists()
    assert len(list(tmp_path.rglob("*/*.yaml"))) == len(files())
