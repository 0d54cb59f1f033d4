import os
import signal
import threading
import time

import pytest

from pytorch_vision.runtime.interrupts import deferred_signals


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_an_interrupt_is_deferred_and_a_second_one_is_not():
    """A second SIGINT within a second belongs to the first Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    with deferred_signals() as interrupted:
        assert not interrupted()
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert interrupted()
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_are_deferred_and_then_act_as_usual(kind):
    """A signal that was ignored before, as under nohup, stays ignored."""
    came = []
    before = signal.signal(kind, lambda *_: came.append("usual"))
    try:
        with deferred_signals() as interrupted:
            send(kind)
            assert interrupted()
            assert came == []
        assert came == ["usual"]
        signal.signal(kind, signal.SIG_IGN)
        with deferred_signals() as interrupted:
            send(kind)
            assert not interrupted()
    finally:
        signal.signal(kind, before)


def test_an_error_is_raised_instead_of_a_deferred_signal():
    def fail_when_asked_to_end() -> None:
        with deferred_signals():
            send(signal.SIGTERM)
            raise KeyError("mine")

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which would end the tests
    try:
        with pytest.raises(KeyError, match="mine"):
            fail_when_asked_to_end()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_gets_no_signals():
    heard = []

    def work() -> None:
        with deferred_signals() as interrupted:
            heard.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
