"""Files that are whole or not there, and folders that one process uses at a time."""

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

from pytorch_vision.runtime.terminal import say

try:
    import fcntl
except ImportError:  # Windows, whose locks are others
    fcntl = None  # type: ignore[assignment]

SYSTEM_ERRORS = {
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}
# what a file system answers that does not know a call at all, in place of doing it
NOT_KNOWN_THERE = {
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EEXIST,
}
LOCK = ".lock"
HOLDER = ".in-use-by"
RUN_MANIFEST = "run.json"  # a folder that holds this file was written by a run


class CheckpointError(RuntimeError):
    """A checkpoint or a file of weights cannot be used; the message says why and what to do."""


class InUseError(RuntimeError):
    """Another process uses a folder; the message says which."""


def user_path(path: str | os.PathLike) -> Path:
    """Return a path in which ~ is the home folder, as a shell would have it.

    Raises:
        ValueError: it begins with the home folder of somebody who is not known here.
    """
    given = os.fspath(path)
    expanded = Path(os.path.expanduser(given))
    if given.startswith("~") and str(expanded) == str(Path(given)) and not expanded.exists():
        raise ValueError(
            f"{given} has no home folder: there is no such user here. Write ./{given} if a folder "
            "of that name is meant"
        )
    return expanded


def free_path(path: Path, may_replace: Callable[[Path], bool]) -> Path:
    """Return a path where nothing is lost: the path itself, or a numbered one such as cat-2.png.

    Args:
        path: a file or a folder, which need not exist.
        may_replace: returns whether an existing one may be replaced.
    """
    free, number = path, 1
    while free.exists() and not may_replace(free):
        number += 1
        name = path.name if path.is_dir() else path.stem
        free = path.with_name(f"{name}-{number}{path.name.removeprefix(name)}")
    return free


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator["AtomicFile"]:
    """Open a file under a temporary name of this thread's own, and rename it when it is complete.

    Whatever happens before that, the old file is untouched and no temporary one is left; one of a
    process that was killed goes with the next that is written there.

    Args:
        path: the file; its folder is made if it is missing.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}.tmp")
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _is_running(old.suffixes[-2].removeprefix(".")):
            old.unlink(missing_ok=True)
    try:
        with open(temporary, "wb") as file:
            written = AtomicFile(file)
            try:
                yield written
            except Exception:
                if written.error is None:
                    raise
                raise written.error from None
            file.flush()
            _sync(file)
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(file: IO[bytes]) -> None:
    """Have a file's content on the disk, where the file system can tell."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NOT_KNOWN_THERE:
            raise


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file over another one, if need be in two steps: some shares know no other way."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in NOT_KNOWN_THERE or not path.is_file():
            raise
        before = path.with_name(f".{path.name}.{os.getpid()}.old")
        os.rename(path, before)
        try:
            os.rename(temporary, path)
        except OSError:
            os.rename(before, path)
            raise
        before.unlink()


class AtomicFile:
    """A file to write to, which remembers that it could not be written.

    torch turns the error into one about positions in a file, which does not say that the disk is
    full.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write to the file."""
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


def write_csv(
    path: str | os.PathLike,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    mark: bool = False,
) -> None:
    """Write a table as CSV in UTF-8, whole or not at all.

    Args:
        path: the file; its folder is made if it is missing.
        header: the names of the columns.
        rows: None becomes an empty field.
        mark: begin with a byte order mark, without which Excel misreads letters beyond ASCII.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    encoded = text.getvalue().encode("utf-8", "backslashreplace")
    with atomic_write(path) as file:
        file.write(codecs.BOM_UTF8 * mark + encoded)


def _is_running(process: str) -> bool:
    """Tell whether there is a process of this number; True where that cannot be known."""
    if os.name == "nt":  # where asking a process in this way would end it
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (OSError, ValueError):
        return True
    return True


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it is missing.

    The operating system gives the lock back when its process ends, however it ends. Some file
    systems, most of them of networks, have no locks: a line says so, and nobody is kept out.

    Raises:
        InUseError: another process is in it.
        OSError: the folder cannot be made or written.
    """
    folder = user_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (reason := _why_no_locks(folder)) is not None:
        say(
            f"{folder} is on a file system without locks ({reason}): two runs that use it at the "
            "same time cannot be kept apart"
        )
        yield
        return
    holder = folder / HOLDER  # for people; what counts is the lock
    try:
        lock = filelock.FileLock(folder / LOCK).acquire(timeout=0)
    except filelock.Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise InUseError(f"{folder} is in use by {who}") from None
    with lock:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the folder can be gone
                holder.unlink()


def _why_no_locks(folder: Path) -> str | None:
    """Try to lock a file that nobody else has, and return why it cannot be done, or None."""
    if fcntl is None:
        return None
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
    return None


def is_system_error(error: Exception) -> bool:
    """Tell whether an error says nothing of a file's content.

    A damaged file makes its reader fail in many ways, an OSError for an impossible position
    included. Missing memory, permissions or file descriptors are not among them.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in SYSTEM_ERRORS
    )
