"""What cannot be shown is replaced or left out, and whoever shows it goes on."""

import io
import os
import subprocess
import sys
import time

import pytest

from pytorch_vision.runtime.terminal import Bar, Screen, any_screen, bar_line, say
from pytorch_vision.runtime.text import shown


class Terminal(io.StringIO):
    """A standard output that somebody watches."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A standard output that cannot be written any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def bar(count: int = 3) -> None:
    for _ in Bar(range(count), desc="work"):
        time.sleep(0.15)


@pytest.mark.parametrize("text", ["Кошка", "é", "\udcff of a name", "█"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_a_stream_without_the_letters_shows_escapes(monkeypatch, text, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say(text, text)
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == f"{shown(text, encoding)}\n" * 2


@pytest.mark.parametrize("kind", ["none", "closed", "broken"])
def test_without_an_output_the_work_goes_on(monkeypatch, kind):
    stream = {"none": None, "closed": io.StringIO(), "broken": Broken()}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    say("a line")
    bar(1)
    with any_screen():
        print("another line")
    assert sys.stdout is stream


def test_a_screen_remembers_what_went_wrong():
    screen = Screen(Broken())
    assert print("a line", file=screen) is None
    assert isinstance(screen.error, BrokenPipeError)


def test_where_nobody_watches_a_bar_is_one_line(capsys):
    bar()
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("\n") == printed.out.count("work: 100%") == 1
    assert "\r" not in printed.out


def test_at_a_terminal_a_bar_moves(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    bar()
    assert "work:   0%" in sys.stdout.getvalue()
    assert sys.stdout.getvalue().count("\r") >= 3


@pytest.mark.parametrize("watched", [False, True])
def test_bars_can_be_switched_off(watched):
    """tqdm reads it when it is imported."""
    terminal = "sys.stdout.isatty = lambda: True" if watched else ""
    code = (
        f"import sys; from pytorch_vision.runtime.terminal import Bar; {terminal}\n"
        "for _ in Bar(range(3)): pass"
    )
    environment = {**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_line_is_a_bar_as_it_stands(monkeypatch):
    assert bar_line("Epoch 1", 3, 12, 1, 1.0) == (
        "Epoch 1:  25%|██▌       | 3/12 [00:01<00:04,  2.00it/s]"
    )
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert "|##5       |" in bar_line("Epoch 1", 3, 12, 1, 1.0)
