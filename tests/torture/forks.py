"""Work in forks of this process: they start at once, and can be killed."""

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm


def start(work: Callable[[], str], told: Path, memory: int | None = None) -> int:
    """Start work in a fork, which writes what it returns, or its error, into a file.

    Args:
        work: returns what to tell.
        told: the file; it is made last.
        memory: bytes that it may take beside what it has.

    Returns:
        The number of the process.
    """
    told.unlink(missing_ok=True)
    if pid := os.fork():
        return pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else 0)
    nowhere = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    sys.stdout = sys.stderr = nowhere
    tqdm.set_lock(threading.RLock())  # of its own: whoever is killed must not keep the others' one
    torch.set_num_threads(1)  # OpenMP hangs in a fork if it has run before
    if memory is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    try:
        text = work()
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
    os.seteuid(os.getuid())
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    half = told.with_suffix(".half")
    half.write_text(text)
    half.replace(told)
    os._exit(0)


def wait(pid: int, seconds: float = 60.0) -> int:
    """Wait for a process and return its status, as ``os.waitpid`` has it; -1 if it hangs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def result(work: Callable[[], str], told: Path, memory: int | None = None) -> str:
    """Do work in a fork and return what it tells, "killed" or "hung"."""
    status = wait(start(work, told, memory))
    if status == -1:
        return "hung"
    return told.read_text() if told.exists() else "killed"
