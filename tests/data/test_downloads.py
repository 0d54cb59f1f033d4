import hashlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytorch_vision.data import downloads

CONTENT = bytes(range(256)) * 2000
KNOWN_HASH = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
HEADER = b"HTTP/1.1 200 OK\r\nContent-Length: 512000\r\n\r\n"


@pytest.fixture(scope="module")
def address():
    """A server whose answer depends on the path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/good":
                self.wfile.write(HEADER + CONTENT)
            elif self.path == "/page":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n<html>Moved</html>")
            else:  # without an end
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(1000):
                    self.wfile.write(bytes(100_000))
                    time.sleep(0.01)

        def log_message(self, *_):
            pass

        def handle(self):
            try:
                super().handle()
            except OSError:  # the client has been ended
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_is_downloaded(address, tmp_path):
    path = downloads.download(f"{address}/good", KNOWN_HASH, tmp_path)
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("page", "does not match the known hash"),
        ("endless", "served more than 2,000,000 bytes"),
    ],
)
def test_a_server_that_misbehaves_is_given_up(address, tmp_path, monkeypatch, path, reason):
    """``torture.hostile`` has more such servers."""
    monkeypatch.setattr(downloads, "STALL_SECONDS", 20)
    monkeypatch.setattr(downloads, "LARGEST_DOWNLOAD", 2_000_000)
    with pytest.raises(downloads.DownloadError, match=reason):
        downloads.download(f"{address}/{path}", KNOWN_HASH, tmp_path)


def test_a_server_that_is_not_there_is_given_up(tmp_path):
    with pytest.raises(downloads.DownloadError, match="Connection"):
        downloads.download("http://127.0.0.1:9/", KNOWN_HASH, tmp_path)


def fake_npm(folder: Path, script: str) -> None:
    """Write a program called npm, which runs as npm pack NAME --pack-destination FOLDER."""
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport sys, time, pathlib\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sys.exit('npm error code E404')", "npm error code E404"),
        ("time.sleep(60)", "stalled"),
        ("", "npm pack wrote no file"),
        (None, "npm is not on PATH"),
    ],
)
def test_npm_that_fails_is_given_up(tmp_path, monkeypatch, script, reason):
    if script is not None:
        fake_npm(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(downloads, "STALL_SECONDS", 20 if "stalled" not in reason else 0.5)
    with pytest.raises(downloads.DownloadError, match=reason):
        downloads.npm_pack("name@1.0.0", tmp_path)
