import socket
import sys
import time

import pytest
from small import served

from pytorch_vision.data import downloads

CONTENT = bytes(range(256)) * 2000
OK = b"HTTP/1.1 200 OK\r\n"


def test_a_file_is_downloaded(tmp_path):
    address = served(OK + b"Content-Length: 512000\r\n\r\n" + CONTENT)
    path = downloads.download(address, tmp_path)
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def send_without_end(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(bytes(100_000))
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (send_without_end, "served more than 2,000,000 bytes"),
        (None, "Connection"),
    ],
    ids=["an error", "endless", "not there"],
)
def test_a_server_that_misbehaves_is_given_up(tmp_path, monkeypatch, answer, reason):
    """``torture.hostile`` has more such servers."""
    monkeypatch.setattr(downloads, "LARGEST_DOWNLOAD", 2_000_000)
    address = "http://127.0.0.1:9/" if answer is None else served(answer)
    with pytest.raises(downloads.DownloadError, match=reason):
        downloads.download(address, tmp_path)


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
    """npm is a program that is called with pack NAME --pack-destination FOLDER."""
    if script is not None:
        program = tmp_path / "npm"
        program.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(downloads, "STALL_SECONDS", 20 if "stalled" not in reason else 0.5)
    with pytest.raises(downloads.DownloadError, match=reason):
        downloads.npm_pack("name@1.0.0", tmp_path)
