"""What a run shows: lines and bars that cannot stop it, whatever they are shown on.

A log in a file, a terminal that is not UTF-8, a pipe that somebody closed, no output at all: what
cannot be shown is replaced or left out, and the work goes on.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from tqdm import tqdm

from pytorch_vision.runtime.text import shown

BAR = "{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


class Screen:
    """A standard output, to which anything can be written.

    Args:
        stream: to write to; None is whatever ``sys.stdout`` is when something is written.

    Attributes:
        error: why something could not be written, or None; after that nothing is.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = stream
        self.error: Exception | None = None

    def __eq__(self, other: object) -> bool:  # by which tqdm finds the bars of a screen
        return isinstance(other, Screen) and self.stream is other.stream

    __hash__ = None  # type: ignore[assignment]

    def _target(self) -> Any:
        return sys.stdout if self.stream is None else self.stream

    @property
    def encoding(self) -> str:
        """Of the stream; by it, tqdm draws bars of letters where there are no blocks."""
        return getattr(self._target(), "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)

    def write(self, text: str) -> int:
        """Write a text, with escapes for the characters that the stream has not."""
        target = self._target()
        if target is not None and self.error is None:
            try:
                target.write(shown(text, self.encoding))
            except (OSError, ValueError) as error:  # a ValueError: it is closed
                self.error = error
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        target = self._target()
        if target is not None and self.error is None:
            try:
                target.flush()
            except (OSError, ValueError) as error:
                self.error = error


@contextlib.contextmanager
def any_screen() -> Iterator[Screen]:
    """Let all that is printed go to a ``Screen``, which is yielded."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        screen, errors = Screen(sys.stdout or nowhere), Screen(sys.stderr or nowhere)
        try:
            with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(errors):
                yield screen
        finally:
            for one in (screen, errors):
                one.flush()
                if one.error is not None:  # Python would try again when it ends, and complain
                    with contextlib.suppress(OSError, ValueError, AttributeError):
                        os.dup2(nowhere.fileno(), one.fileno())


def say(*lines: object, sep: str = "\n") -> None:
    """Print, on whatever there is to print on."""
    print(*lines, sep=sep, file=Screen())


def in_notebook() -> bool:
    """Tell whether Python is interactive: a notebook, a console or a terminal's prompt."""
    return hasattr(sys, "ps1")


def is_watched() -> bool:
    """Tell whether somebody can watch a bar move: at a terminal, or in a notebook."""
    try:
        return in_notebook() or bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


class Bar(tqdm):
    """A progress bar on the standard output; where nobody watches it move, its last line alone.

    A log in a file would keep every move. With ``TQDM_DISABLE=1`` there is not that line either,
    and ``n`` stays 0: nothing may be counted by a bar.

    Args:
        settings: those of tqdm.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.moves = is_watched()
        if self.moves:
            settings |= {"dynamic_ncols": True}
        else:  # then tqdm draws nothing by itself
            settings |= {"mininterval": float("inf"), "maxinterval": float("inf"), "delay": 1.0}
        super().__init__(*args, file=Screen(), **settings)

    def refresh(self, *args: Any, **settings: Any) -> Any:
        """Draw the bar as it is, if it moves."""
        return super().refresh(*args, **settings) if self.moves else None

    def close(self) -> None:
        """End it; without moves, its last line is written now."""
        last = not self.disable and not self.moves and self.leave
        super().close()
        if last:
            say(str(self))


def bar_line(description: str, done: int, total: int, initial: int, seconds: float) -> str:
    """Return a bar as it stands, in one line.

    Args:
        description: before it.
        done: how many of ``total``.
        initial: how many there were at its beginning.
        seconds: since then.
    """
    return tqdm.format_meter(
        done,
        total,
        seconds,
        prefix=description,
        ascii=shown("█", Screen().encoding) != "█",
        bar_format=BAR,
        initial=initial,
    )
