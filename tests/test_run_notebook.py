"""The program behind ``make run``, with a notebook that takes a moment."""

import runpy
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
TRAINING = """
import time
print("Training on a machine")
for epoch in (1, 2):
    for share in (50, 100):
        print(f"\\rEpoch {epoch}/2 Loss=1: {share}%", end="")
    time.sleep(1.1)
    print("\\nTest set: 1 of 2 right")
"""
RESUMED = """
Training on a machine
From the checkpoint, run on a machine:
Epoch 1/3 Loss=1
Test set: 1 of 3 right
Continuing from the checkpoint
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Its main function, with another notebook and folder."""
    monkeypatch.setattr(sys, "argv", ["run_notebook.py"])
    names = runpy.run_path(str(ROOT / "run_notebook.py"))
    replaced = {"ROOT": tmp_path, "NOTEBOOK": tmp_path / "book.ipynb", "RUNS": tmp_path / "runs"}
    names["main"].__globals__.update(replaced)
    return names["main"]


def printed(capfd) -> list[str]:
    """Return the printed lines without the times before them."""
    return [line[10:].strip() for line in capfd.readouterr().out.splitlines()]


def test_progress_is_printed_and_notebook_and_page_are_written(program, tmp_path, capfd):
    """Epochs from a checkpoint, which take no time, say nothing of the time to go."""
    cells = [
        new_markdown_cell("# A book\n\n## 1. Training"),
        new_code_cell(TRAINING),
        new_markdown_cell("## 2. Going on"),
        new_code_cell(f"print({RESUMED!r})"),
        new_code_cell("print('forty-two')"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "book.ipynb")
    program()
    assert printed(capfd) == [
        "1. Training",
        "Training on a machine",
        "epoch 1/2: Test set: 1 of 2 right, about 0:01 to go",
        "epoch 2/2: Test set: 1 of 2 right",
        "2. Going on",
        "Training on a machine",
        "From the checkpoint, run on a machine:",
        "epoch 1/3: Test set: 1 of 3 right",
        "Continuing from the checkpoint",
        "done",
    ]
    written = nbformat.read(tmp_path / "runs" / "book.ipynb", as_version=4)
    assert "50%" not in written.cells[1].outputs[0].text
    assert written.cells[4].outputs[0].text == "forty-two\n"
    assert "forty-two" in (tmp_path / "runs" / "book.html").read_text()


def test_an_error_in_a_cell_is_printed_and_nothing_is_written(program, tmp_path):
    cells = [new_code_cell("raise ValueError('epochs is -1')")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "book.ipynb")
    with pytest.raises(SystemExit, match="epochs is -1"):
        program()
    assert not (tmp_path / "runs").exists()
