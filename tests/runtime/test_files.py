import errno
import fcntl
import os
import resource
import socket
import subprocess
from pathlib import Path

import pytest

from pytorch_vision.runtime import atomic_write
from pytorch_vision.runtime.files import InUseError, is_system_error, locked, user_path, write_csv


def write(path: Path, content: bytes, error: Exception | None = None) -> None:
    """Write a file; raise an error before it is complete."""
    with atomic_write(path) as file:
        try:
            file.write(content)
            file.flush()
        finally:
            if error is not None:
                raise error


def test_after_an_error_the_old_file_is_unchanged(tmp_path):
    path = tmp_path / "new" / "file"
    write(path, b"first")
    with pytest.raises(KeyError, match="mine"):
        write(path, b"second", KeyError("mine"))
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_is_an_error_and_the_old_file_is_unchanged(tmp_path):
    """Also if the writer replaces the error by another, as torch does."""
    path = tmp_path / "file"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as a full disk would
    try:
        for own in (None, RuntimeError("unexpected pos 64 vs 0")):
            with pytest.raises(OSError, match="File too large"):
                write(path, bytes(100_000), own)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == [path.name]


def test_temporary_files_of_killed_processes_of_this_host_are_removed(tmp_path):
    child = subprocess.Popen(["true"])
    child.wait()
    host = socket.gethostname().replace(".", "-")
    dead, alive, elsewhere = (
        tmp_path / f".{process}.1.{place}.tmp"
        for process, place in ((child.pid, host), (os.getppid(), host), (child.pid, "other"))
    )
    for left in (dead, alive, elsewhere):
        left.write_bytes(b"half of it")
    write(tmp_path / f"{'é' * 124}.txt", b"all of it")  # as long as a name can be
    assert not dead.exists()
    assert len(os.listdir(tmp_path)) == 3


def fails(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Make a system call fail with an error number."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    module, function = name.split(".")
    monkeypatch.setattr({"os": os, "fcntl": fcntl}[module], function, refuse)


@pytest.mark.parametrize(
    ("call", "number", "is_error"),
    [
        ("os.fsync", errno.EIO, True),
        ("os.fsync", errno.ENOSPC, True),
        ("os.replace", errno.EACCES, True),
        *(("os.fsync", number, False) for number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)),
    ],
)
def test_a_file_that_cannot_be_written_is_named_unless_only_sync_is_missing(
    tmp_path, monkeypatch, call, number, is_error
):
    path = tmp_path / "file"
    write(path, b"first")
    fails(monkeypatch, call, number)
    if is_error:
        with pytest.raises(OSError, match=f"{os.strerror(number)}: '{path}'"):
            write(path, b"second")
    else:
        write(path, b"second")
    assert path.read_bytes() == (b"first" if is_error else b"second")
    assert os.listdir(tmp_path) == ["file"]


def test_a_locked_folder_is_in_use_until_it_is_released(tmp_path):
    folder = tmp_path / "new"
    second = locked(folder)
    with locked(folder), pytest.raises(InUseError, match=f"in use by process {os.getpid()} on "):
        second.__enter__()
    with locked(folder):
        assert os.listdir(folder) == [".lock"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EIO])
def test_without_locks_a_line_says_so(tmp_path, monkeypatch, capsys, number):
    fails(monkeypatch, "fcntl.flock", number)
    with locked(tmp_path), locked(tmp_path):
        pass
    printed = capsys.readouterr().out
    assert printed.count(f"{tmp_path} is on a file system without locks") == 2
    assert set(os.listdir(tmp_path)) <= {".lock"}


def test_a_lock_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match=r"\.lock"), locked(tmp_path):
        pass


def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert user_path("~") == tmp_path
    assert user_path(Path("~/new")) == tmp_path / "new"
    assert user_path("a/~/b") == Path("a/~/b")
    assert user_path("~odd") == user_path("./~odd") == Path("~odd")
    write(Path("~/file"), b"at home")
    with locked("~/kept"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "kept"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.EBUSY, "Device or resource busy"), True),
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.EINVAL, "Invalid argument"), False),
        (OSError("truncated"), False),
        (ValueError("damaged"), False),
    ],
)
def test_system_errors_are_distinguished_from_damaged_content(error, expected):
    assert is_system_error(error) is expected


def test_a_csv_is_utf_8_with_a_byte_order_mark_if_asked(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_csv(path, ["name", "count"], [["é, \udcff", 1], ["b", None]])
    assert path.read_bytes() == b'name,count\n"\xc3\xa9, \\udcff",1\nb,\n'
    write_csv(path, ["name"], [], mark=True)
    assert path.read_bytes() == b"\xef\xbb\xbfname\n"
