"""Files that are whole or not there, and folders that one process uses at a time."""

import contextlib
import errno
import glob
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import filelock

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
LOCK = ".lock"
HOLDER = ".in-use-by"


class CheckpointError(RuntimeError):
    """A checkpoint or a file of weights cannot be used; the message says why and what to do."""


class InUseError(RuntimeError):
    """Another process uses a folder; the message says which."""


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator["AtomicFile"]:
    """Open a file under a temporary name of this process's own, and rename it when it is complete.

    Whatever happens before that, the old file is untouched and no temporary one is left; one of a
    process that was killed goes with the next that is written there.

    Args:
        path: the file; its folder is made if it is missing.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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

    The operating system gives the lock back when its process ends, however it ends.

    Raises:
        InUseError: another process is in it.
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
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


def checked_text(text: Any, longest: int) -> str:
    """Return the text of a file that anybody may have written.

    Raises:
        ValueError: it is no text, is too long, or holds what a terminal would obey.
    """
    if not isinstance(text, str) or len(text) > longest:
        raise ValueError(f"a text in it is none, or longer than {longest} characters")
    if not all(character.isprintable() or character == "\n" for character in text):
        raise ValueError("a text in it holds control characters")
    return text


def first_line(error: Exception) -> str:
    """Return what an error says, without the rest of a long message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_system_error(error: Exception) -> bool:
    """Tell whether an error says nothing of a file's content.

    A damaged file makes its reader fail in many ways, an OSError for an impossible position
    included. Missing memory, permissions or file descriptors are not among them.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in SYSTEM_ERRORS
    )
