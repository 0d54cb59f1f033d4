"""Signals that wait until a training step is whole."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# what a terminal, a cluster's scheduler and a closed laptop send; Windows has no SIGHUP
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
ONE_PRESS = 1.0  # seconds in which a second interrupt is the first one, told twice


@contextlib.contextmanager
def _handled(handlers: dict[int, Callable[[int, Any], None]]) -> Iterator[None]:
    """Handle signals in another way for a while, where Python delivers them: in the main thread."""
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
    """Yield a function that tells whether an interrupt or a request to end has arrived.

    Between two batches everything is in step; in the middle of one, the weights are not. A second
    interrupt acts as usual. SIGTERM and SIGHUP do so when the work is done: by default, they end
    the process then. What is ignored (as SIGHUP is under ``nohup``) stays ignored.
    """
    came: dict[int, float] = {}

    def remember(number: int, frame: Any) -> None:
        first = came.setdefault(number, time.monotonic())
        if number == signal.SIGINT and time.monotonic() - first > ONE_PRESS:
            signal.default_int_handler(number, frame)

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with _handled(dict.fromkeys(heard, remember)):
        yield lambda: bool(came)
    for number in came.keys() - {signal.SIGINT}:  # not after an error, which is to be told
        signal.raise_signal(number)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a request to end raise ``SystemExit``, with the status that a shell expects.

    Open files, temporary folders and programs that were started are then left as after an error.
    """

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    asked = [number for number in SIGNALS if number != signal.SIGINT]
    usual = [number for number in asked if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(dict.fromkeys(usual, leave)):
        yield
