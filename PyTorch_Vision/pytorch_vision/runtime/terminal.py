"""Printing and progress bars that never stop a run, whatever standard output is.

It can be a log file, a terminal without UTF-8, a closed pipe, or missing. Characters that it cannot
encode are escaped; text that it cannot take is dropped.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from pytorch_vision.runtime.text import shown

BAR = "{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


@dataclass
class Screen:
    """A text stream whose ``write`` never fails.

    Screens of the same stream are equal, so that ``tqdm.write`` finds the bars that it has to move.

    Args:
        stream: where to write; default: standard output.
        error: the first write error, after which nothing is written.
    """

    stream: Any = field(default_factory=lambda: sys.stdout)
    error: Exception | None = field(default=None, compare=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write a text, escaping characters that the encoding lacks."""
        self._attempt("write", shown(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._attempt("flush")

    def _attempt(self, method: str, *arguments: str) -> None:
        if self.stream is not None and self.error is None:
            try:
                getattr(self.stream, method)(*arguments)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self.error = error


@contextlib.contextmanager
def any_screen() -> Iterator[Screen]:
    """Replace ``sys.stdout`` and ``sys.stderr`` with screens, and yield that of ``sys.stdout``."""
    with open(os.devnull, "w") as nowhere:
        screen, errors = Screen(sys.stdout or nowhere), Screen(sys.stderr or nowhere)
        try:
            with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(errors):
                yield screen
        finally:
            for one in (screen, errors):
                one.flush()
                if one.error is not None:  # else Python's flush at exit would fail again
                    with contextlib.suppress(OSError, ValueError, AttributeError):
                        os.dup2(nowhere.fileno(), one.fileno())


def say(*lines: object, sep: str = "\n") -> None:
    """Print lines to a ``Screen``."""
    print(*lines, sep=sep, file=Screen())


def is_interactive() -> bool:
    """Return whether Python runs interactively: in a notebook, a console, or at the prompt."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


def is_watched() -> bool:
    """Return whether standard output can show a moving bar: a terminal or a notebook."""
    try:
        return is_interactive() or bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # standard output is missing or closed
        return False


class Bar(tqdm):
    """A progress bar on standard output, if that can show it move; a log file gets none.

    If it is not drawn, as with ``TQDM_DISABLE=1``, ``n`` stays 0, so do not use it to count.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        if not is_watched():
            settings["disable"] = True
        super().__init__(
            *args, file=Screen(), dynamic_ncols=True, ascii=_lacks_blocks(), **settings
        )


def bar_line(description: str, done: int, total: int, initial: int, seconds: float) -> str:
    """Return a bar as one line of text, even if bars are disabled.

    Of ``total`` steps, ``initial`` were done when the bar began, ``seconds`` ago.
    """
    style = {"prefix": description, "ascii": _lacks_blocks(), "bar_format": BAR, "initial": initial}
    return tqdm.format_meter(done, total, seconds, **style)


def _lacks_blocks() -> bool:
    return shown("█", Screen().encoding) != "█"
