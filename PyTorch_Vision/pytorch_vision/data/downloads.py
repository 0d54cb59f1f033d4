"""Downloads that show their progress and cannot hang.

Each brings one file into a folder, or raises ``SourceError``.
"""

import http.client
import io
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytorch_vision.runtime.terminal import Bar

STALL_SECONDS = 20.0
STALL_BYTES_PER_SECOND = 200_000
HEADER_SECONDS = 30.0
LARGEST_DOWNLOAD = 250_000_000  # bytes; the official archive has 170 MB


class SourceError(Exception):
    """One source failed; the next one is tried."""


def download(url: str, folder: Path, label: str) -> Path:
    """Download an archive over HTTP.

    Args:
        url: where it lies.
        folder: where to put it.
        label: what the progress bar calls it.

    Returns:
        The file.

    Raises:
        SourceError: the server is not reached, serves a page, breaks off or stalls.
        OSError: the file cannot be written.
    """
    path = folder / "archive.tar.gz"
    with _opened(url) as response:
        if response.headers.get_content_type() == "text/html":
            raise SourceError("served an HTML page instead of the archive")
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        with open(path, "wb") as file:
            _watch(_copied(response, file), total, label)
    if total is not None and path.stat().st_size != total:
        raise SourceError(f"broke off after {path.stat().st_size:,} of {total:,} bytes")
    return path


def _opened(url: str) -> Any:
    """Return the response of a server, which has ``HEADER_SECONDS`` for its headers.

    A server that sends a header byte by byte never lets a socket's own time limit pass: another
    thread waits for it, and is left behind.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "pytorch_vision"})
    outcome: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcome.put(urllib.request.urlopen(request, timeout=STALL_SECONDS))
        except Exception as error:  # told to the thread that waits
            outcome.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        response = outcome.get(timeout=HEADER_SECONDS)
    except queue.Empty:
        raise SourceError(f"sent no whole header in {HEADER_SECONDS:.0f} s") from None
    if isinstance(response, (OSError, ValueError, http.client.HTTPException)):
        reason = getattr(response, "reason", response)
        raise SourceError(f"cannot be reached ({reason})") from response
    if isinstance(response, Exception):
        raise response
    return response


def _copied(response: Any, file: io.BufferedWriter) -> Iterator[int]:
    """Copy an HTTP response into a file, yielding the bytes copied so far."""
    copied = 0
    while True:
        try:
            # read1 hands over what has arrived; read would wait for a full block, and a
            # trickling server would never be seen to stall.
            block = response.read1(1 << 18)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceError(f"broke off after {copied:,} bytes ({error!r})") from error
        if not block:
            return
        copied += len(block)
        if copied > LARGEST_DOWNLOAD:
            raise SourceError(f"served more than {LARGEST_DOWNLOAD:,} bytes")
        file.write(block)
        yield copied


def npm_pack(package: str, folder: Path, label: str) -> Path:
    """Download a package from the npm registry, through npm itself.

    Args:
        package: its name and version, as in "name@1.0.0".
        folder: where to put it.
        label: what the progress bar calls it.

    Returns:
        The packed file.

    Raises:
        SourceError: npm is not there, fails or stalls.
        OSError: the file cannot be written.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not on PATH")
    cache = folder / "npm"  # npm's own cache, put here to be measured now and removed at the end
    command = [npm, "pack", package, "--pack-destination", str(folder), "--cache", str(cache)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _watch(_grown(cache, process), None, label)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        message = log.read().decode(errors="replace").strip()
    packed = list(folder.glob("*.tgz"))
    if process.returncode != 0 or not packed:
        last_line = message.splitlines()[-1] if message else f"exit status {process.returncode}"
        raise SourceError(f"npm pack failed ({last_line})")
    return packed[0]


def _grown(folder: Path, process: subprocess.Popen) -> Iterator[int]:
    """Yield the size of a folder, in bytes, twice a second until the process ends."""
    while process.poll() is None:
        size = 0
        for path in folder.rglob("*"):
            try:
                size += path.stat().st_size
            except FileNotFoundError:  # npm renames its files while we look
                continue
        if size > 2 * LARGEST_DOWNLOAD:  # npm's cache, and what it packs
            raise SourceError(f"npm fetched more than {2 * LARGEST_DOWNLOAD:,} bytes")
        yield size
        time.sleep(0.5)


def _watch(counts: Iterable[int], total: int | None, label: str) -> None:
    """Show the progress of cumulative byte counts, and stop a download that stalls.

    Raises:
        SourceError: fewer than ``STALL_BYTES_PER_SECOND`` over the last ``STALL_SECONDS``.
    """
    samples = deque([(time.monotonic(), 0)])
    with Bar(total=total, desc=label, unit="B", unit_scale=True) as bar:
        for count in counts:
            bar.update(max(count - bar.n, 0))
            now = time.monotonic()
            samples.append((now, count))
            while samples[1][0] <= now - STALL_SECONDS:
                samples.popleft()
            seconds, gained = now - samples[0][0], count - samples[0][1]
            if seconds >= STALL_SECONDS and gained < seconds * STALL_BYTES_PER_SECOND:
                raise SourceError(f"stalled: {gained:,} bytes in {seconds:.0f} s")
