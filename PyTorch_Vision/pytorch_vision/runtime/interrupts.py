"""Defer signals until a training step is complete."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# sent by Ctrl-C, a cluster's scheduler and a lost connection; Windows has no SIGHUP
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# seconds within which a second SIGINT belongs to the same Ctrl-C, which can reach a process twice:
# through its process group and from its parent
ONE_PRESS = 1.0


@contextlib.contextmanager
def _handled(handlers: dict[int, Callable[[int, Any], None]]) -> Iterator[None]:
    """Install signal handlers, and restore the old ones; outside the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual or signal.SIG_DFL)


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal to stop (SIGINT, SIGTERM, SIGHUP) has arrived.

    The caller can then stop where its state is consistent, such as between two batches. A second
    Ctrl-C acts at once. SIGTERM and SIGHUP are raised again at the end of the block, and then end
    the process by default. Ignored signals, such as SIGHUP under ``nohup``, stay ignored.
    """
    came: dict[int, float] = {}

    def remember(number: int, frame: Any) -> None:
        first = came.setdefault(number, time.monotonic())
        if number == signal.SIGINT and time.monotonic() - first > ONE_PRESS:
            signal.default_int_handler(number, frame)

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with _handled(dict.fromkeys(heard, remember)):
        yield lambda: bool(came)
    for number in came.keys() - {signal.SIGINT}:  # not after an error, which is raised instead
        signal.raise_signal(number)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise ``SystemExit`` with a shell's status, 128 + signal.

    So ``finally`` blocks run, which close files and remove temporary folders.
    """

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    asked = [number for number in SIGNALS if number != signal.SIGINT]
    usual = [number for number in asked if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(dict.fromkeys(usual, leave)):
        yield
