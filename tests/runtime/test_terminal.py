"""Text that cannot be printed is escaped or dropped, and the program goes on."""

import io
import os
import subprocess
import sys
import time

import pytest

from pytorch_vision.runtime.terminal import Bar, any_screen, bar_line, say
from pytorch_vision.runtime.text import shown


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A standard output that cannot be written."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def bar(count: int = 3) -> None:
    for _ in Bar(range(count), desc="work"):
        time.sleep(0.15)


@pytest.mark.parametrize("text", ["Кошка", "é", "\udcff of a name", "█"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch, text, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say(text, text)
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == f"{shown(text, encoding)}\n" * 2


@pytest.mark.parametrize("kind", ["none", "closed", "broken"])
def test_without_a_standard_output_the_program_goes_on(monkeypatch, kind):
    stream = {"none": None, "closed": io.StringIO(), "broken": Broken()}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    say("a line")
    bar(1)
    with any_screen():
        print("another line")
    assert sys.stdout is stream


def test_a_log_file_gets_no_bar(capsys):
    bar()
    assert capsys.readouterr() == ("", "")


def test_at_a_terminal_a_bar_moves(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    bar()
    assert "work:   0%" in sys.stdout.getvalue()
    assert sys.stdout.getvalue().count("\r") >= 3


def test_tqdm_disable_hides_bars():
    """In a log file and at a terminal; tqdm reads the variable when it is imported."""
    code = (
        "import sys; from pytorch_vision.runtime.terminal import Bar\n"
        "for _ in Bar(range(3)): sys.stdout.isatty = lambda: True\n"
        "for _ in Bar(range(3)): pass"
    )
    environment = {**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_printing_needs_no_torch():
    code = "import sys, pytorch_vision.runtime.terminal; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    loaded = set(done.stdout.split())
    assert b"pytorch_vision.runtime.terminal" in loaded
    assert not {b"torch", b"lightning_fabric", b"numpy"} & loaded


def test_bar_line(monkeypatch):
    assert bar_line("Epoch 1", 3, 12, 1, 1.0) == (
        "Epoch 1:  25%|██▌       | 3/12 [00:01<00:04,  2.00it/s]"
    )
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert "|##5       |" in bar_line("Epoch 1", 3, 12, 1, 1.0)
