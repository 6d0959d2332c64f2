"""The tutorial's notebook runs from top to bottom, and its sentences are what its cells print."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

BOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial" / "clinics.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
    client = pytest.importorskip("nbclient", reason="needs the extra docs")
    pytest.importorskip("ipykernel", reason="needs the extra docs")
    pytest.importorskip("pyarrow", reason="needs the extra table")
    # Its kernel is this Python, whatever is installed for the user.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    book = nbformat.read(BOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "it is kept without outputs"
    client.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said = ["".join(o.get("text", "") for o in c.get("outputs", [])) for c in book.cells]
    assert any(text.startswith("The mesh") for text in said)
    rows = next(text for text in said if "row,prediction" in text).strip().splitlines()
    told = [[float(p) for p in row.split(",")[3:]] for row in rows[1:]]
    # What Python answers is what the command has answered.
    shown = str(book.cells[-2]["outputs"][0]["data"]["text/plain"])
    assert np.allclose(np.array(eval(shown, {"tensor": np.array})), told, atol=1e-4)
