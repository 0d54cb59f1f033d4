"""Atomic writes, locked folders, and the paths that users give."""

import codecs
import contextlib
import csv
import errno
import glob
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import filelock
import psutil

from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import first_line

# errno of an OSError from a damaged file: raised by a decoder, or by an impossible seek
DAMAGE = (None, errno.EINVAL)
ON_THE_CPU = "DefaultCPUAllocator"  # in torch's error when the CPU's memory is full
NO_MEMORY = (ON_THE_CPU, "out of memory", "ALLOC_FAILED")
NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # as on some network mounts
LOCK = ".lock"
RUN_MANIFEST = "run.json"  # a folder that holds this file was written by a run


class CheckpointError(RuntimeError):
    """A checkpoint or a file of weights cannot be used; the message says why and what to do."""


class InUseError(RuntimeError):
    """Another process has locked a folder; the message names the process."""


def user_path(path: str | os.PathLike) -> Path:
    """Return a path with a leading ~ expanded to the home folder, as a shell does."""
    return Path(os.path.expanduser(path))


def free_path(path: Path, may_replace: Callable[[Path], bool]) -> Path:
    """Return the path itself, or the first numbered one, such as cat-2.png, that may be written.

    Args:
        path: a file or a folder.
        may_replace: returns whether an existing file or folder may be replaced.
    """
    free, number = path, 1
    while free.exists() and not may_replace(free):
        number += 1
        name = path.name if path.is_dir() else path.stem
        free = path.with_name(f"{name}-{number}{path.name.removeprefix(name)}")
    return free


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path``, and rename it to ``path`` once it is complete.

    After an error, the old file is unchanged and the temporary one is removed. Also removes what
    killed processes of this host have left behind, and creates a missing folder.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname().replace(".", "-")  # other hosts may use a shared folder
    for old in path.parent.glob(f".*.*.{glob.escape(host)}.tmp"):
        process = old.name.split(".")[1]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            old.unlink(missing_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{threading.get_ident()}.{host}.tmp")
    try:
        with open(temporary, "wb") as file:
            try:
                yield file
            except RuntimeError as error:  # torch.save raises one in place of an OSError
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in NO_SYNC:
                    raise
        os.replace(temporary, path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(
    path: str | os.PathLike,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    mark: bool = False,
) -> None:
    """Write a table as CSV in UTF-8, as ``atomic_write`` does; None becomes an empty field.

    With ``mark`` it begins with a byte order mark, without which Excel misreads non-ASCII letters.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    encoded = text.getvalue().encode("utf-8", "backslashreplace")
    with atomic_write(path) as file:
        file.write(codecs.BOM_UTF8 * mark + encoded)


def check_writable(folder: str | os.PathLike) -> None:
    """Raise OSError if nothing can be written into a folder, which need not exist yet.

    A byte is written: ``os.access`` lets root write anywhere, and knows nothing of full disks.
    """
    folder = user_path(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"1")
    except OSError as error:
        reason = f"{existing} is not a folder"
        if existing.is_dir():
            reason = f"no file can be written in {existing} ({error.strerror})"
        raise type(error)(f"cannot write to {folder}: {reason}; choose another folder") from error


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Lock a folder against other processes, creating it if it is missing.

    The operating system releases the lock when the process ends, however it ends. On a file system
    without locks, such as some network mounts, prints a warning and locks nothing.

    Raises:
        InUseError: another process holds the lock.
        OSError: the folder cannot be created or written.
    """
    folder = user_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK  # its content only says in messages who holds the lock
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(path).acquire(timeout=0))
        except filelock.Timeout:
            raise InUseError(
                f"{folder} is in use by {path.read_text() or 'another process'}"
            ) from None
        except (OSError, NotImplementedError) as error:
            if getattr(error, "filename", None) is not None:  # the lock file cannot be opened
                raise
            say(
                f"{folder} is on a file system without locks ({first_line(error)}): do not let two "
                "runs use it at the same time, as nothing prevents it"
            )
        else:
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield


def is_system_error(error: Exception) -> bool:
    """Return whether the system failed, as for lack of permission or memory, not the content."""
    if isinstance(error, OSError):
        return error.errno not in DAMAGE
    return is_lack_of_memory(error)


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether an error from Python, NumPy or torch means that memory has run out."""
    is_lack = isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)
    return is_lack or isinstance(error, MemoryError)


@contextlib.contextmanager
def errors_named(
    message: Callable[[Exception], str],
    kind: type[Exception] = ValueError,
    unless: Callable[[Exception], bool] = is_lack_of_memory,
) -> Iterator[None]:
    """Replace an error of a user's code, or of a file's reader, which can raise anything.

    Args:
        message: returns the new error's message for the old error.
        kind: the type of the new error.
        unless: returns whether an error is raised as it is.
    """
    try:
        yield
    except Exception as error:
        if unless(error):
            raise
        raise kind(message(error)) from error
