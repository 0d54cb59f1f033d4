"""Files and servers of an attacker: nothing runs, nothing is written outside its folder.

Each case is read in a process of its own, with 1 GB of memory beside what it has and a minute.
"""

import importlib
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from small import served, tiny_network, without_data
from small_cifar10 import archive, batches, official, small_cifar10
from tqdm import tqdm

from pytorch_vision.analysis import Predictions, write_report
from pytorch_vision.data import DataError, cifar10, downloads, read_image
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError
from pytorch_vision.training import checkpoint
from torture.forks import result

Case = tuple[str, Callable[[], object]]
MEMORY = 1 << 30
REFUSED = "refused by name"
OURS = (CheckpointError, DataError, downloads.DownloadError, ValueError)


class Runs:
    """A pickle of it runs something when it is read."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def pickles(victim: Path) -> dict[str, bytes]:
    """Return pickles that would make a folder, or ask for gigabytes."""
    calls = {
        "os.mkdir": Runs(os.mkdir, str(victim)),
        "os.system": Runs(os.system, f"mkdir {victim}"),
        "eval": Runs(eval, f"__import__('os').mkdir({str(victim)!r})"),
        "exec": Runs(exec, f"import os; os.mkdir({str(victim)!r})"),
        "open": Runs(open, str(victim), "w"),
        "import": Runs(importlib.import_module, "antigravity"),
        "subprocess": Runs(subprocess.check_call, ["mkdir", str(victim)]),
        "numpy.zeros": Runs(np.zeros, (1 << 20, 1 << 13)),
        "bytearray": Runs(bytearray, 1 << 35),
    }
    found = {
        f"{name}, protocol {protocol}": pickle.dumps(call, protocol)
        for name, call in calls.items()
        for protocol in (0, 2, 4)
    }
    # asks the reader for a table of so many entries
    found["memo"] = b"\x80\x02]r" + struct.pack("<I", 0x7FFFFFF0) + b"."
    found["array of gigabytes"] = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        b"\x8a\x05\x00\x00\x00\x00\x01\x85U\x01btR."
    )
    found["deep"] = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    return found


def pickle_cases(root: Path, victim: Path) -> Iterator[Case]:
    """Each pickle, in every file that could hold one."""
    real = batches(small_cifar10()[0])
    header = io.BytesIO()
    facts = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(header, facts)
    for name, content in pickles(victim).items():
        torchs = {"archive/data.pkl": content, "archive/version": b"3\n"}
        numpys = {"train_images.npy": header.getvalue() + content}
        layout = {f"{cifar10.FOLDER}/{batch}": whole for batch, whole in real.items()}
        cases: dict[str, tuple[dict[str, bytes], Callable[[Path], object]]] = {
            "as checkpoint": ({checkpoint.NAME: content}, checkpoint.load),
            "in a checkpoint": ({checkpoint.NAME: _zipped(torchs)}, checkpoint.load),
            "in the cache": ({cifar10.KEPT: _zipped(numpys)}, cifar10._read_copy),
            "in the layout": (
                layout | {f"{cifar10.FOLDER}/data_batch_2": content},
                cifar10._read_copy,
            ),
            "in the archive": (
                {"packed.tar.gz": archive(real | {"test_batch": content})},
                lambda folder: cifar10._read_archive(folder / "packed.tar.gz"),
            ),
        }
        for place, (files, read) in cases.items():
            folder = root / f"{name} {place}"
            for file, whole in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(whole)
            yield f"a pickle {place}, {name}", partial(read, folder)


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


def archive_cases(root: Path, victim: Path) -> Iterator[Case]:
    real = official(small_cifar10()[0])
    archives = {f"a bomb as {name}": _bomb(name) for name in ("data_batch_1", "something else")}
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.type, member.linkname = kind, "/etc/passwd"
        archives[f"member of type {kind!r}"] = _with_member(member) + real
    for number, name in enumerate((f"../../{victim.name}", str(victim), "a/../../data_batch_1")):
        member = tarfile.TarInfo(name)
        member.size = 10
        archives[f"member {number}"] = _with_member(member) + real
    packages = {"a bomb as the npm package": _bomb("package/train_lables.json")}
    for files, read in ((archives, cifar10._read_archive), (packages, cifar10._read_npm)):
        for name, content in files.items():
            path = root / f"{name}.gz"
            path.write_bytes(content)
            yield name, lambda path=path, read=read: cifar10._verified(read(path))


def _with_member(member: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return packed.getvalue()


def _bomb(name: str, megabytes: int = 1908) -> bytes:
    """Return a tar.gz of a file of zeros, whose compressed blocks are all the same."""
    member = tarfile.TarInfo(name)
    member.size = megabytes << 20
    header, zeros = member.tobuf(), bytes(1 << 20)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    begin, block = (
        packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH) for content in (header, zeros)
    )
    checksum = zlib.crc32(header)
    for _ in range(megabytes):
        checksum = zlib.crc32(zeros, checksum)
    length = len(header) + member.size
    end = packer.flush() + struct.pack("<II", checksum, length & 0xFFFFFFFF)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + begin + block * megabytes + end


def weights_cases(root: Path) -> Iterator[Case]:
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    headers: dict[str, bytes] = {
        "not JSON": b"{" * 100,
        "deep": b'{"a":' * 50_000,
        "negative offsets": json.dumps({"a": {**one, "data_offsets": [-4, 0]}}).encode(),
        "far offsets": json.dumps({"a": {**one, "data_offsets": [0, 1 << 62]}}).encode(),
        "overlapping": json.dumps({"a": one, "b": one}).encode(),
        "huge shape": json.dumps({"a": {**one, "shape": [1 << 40, 1 << 40]}}).encode(),
        "odd type": json.dumps({"a": {**one, "dtype": "PICKLE"}}).encode(),
        "no tensors": b"{}",
        "a number": b"3",
        "metadata of numbers": json.dumps({"__metadata__": {"a": 1}, "a": one}).encode(),
        "no checksum": json.dumps({"__metadata__": {"blocks": "[1]"}, "a": one}).encode(),
    }
    for name, header in headers.items():
        for length in (len(header), 1 << 62, 200_000_000):
            path = root / f"{name}, {length}.safetensors"
            path.write_bytes(struct.pack("<Q", length) + header + bytes(4))
            yield f"weights: {name}, {length}", lambda path=path: Classifier.load(path)


def image_cases(root: Path, victim: Path) -> Iterator[Case]:
    eps = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n(%pipe%mkdir {victim})"
    )
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(chunk))
    for name, content in {
        "huge.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + checksum,
        "eps.png": eps.encode(),
        "eps.eps": eps.encode(),
        "svg.png": b'<svg onload="alert(1)"/>',
        "html.jpg": b"<script>alert(1)</script>",
        "empty.gif": b"",
    }.items():
        path = root / name
        path.write_bytes(content)
        yield f"image {name}", lambda path=path: read_image(path)
    Image.new("L", (8000, 8000)).save(root / "8000.png")
    yield "image of 64 million pixels", lambda: read_image(root / "8000.png") and _refused()


def _refused() -> None:
    raise ValueError("read, within memory and time: as it should be")


def page_cases(root: Path) -> Iterator[Case]:
    """Names from anywhere, in the page of errors."""
    harm = (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(1)//",
        "{{ 7 * 7 }}{% raw %}",
        "javascript:alert(1)",
        "'; alert(1); '",
        "\u202egnp.exe",
    )
    for text in harm:

        def work(text=text) -> None:
            probabilities = np.float32([[0.9, 0.1]])
            images = np.zeros((1, 32, 32, 3), np.uint8)
            errors = Predictions(images, np.array([1]), probabilities, np.array([0]), (text, "b"))
            classifier = without_data(tiny_network(classes=2), "a", "b", description=text)
            try:
                write_report(classifier, errors, root / "errors.html")
            except ValueError as error:
                raise AssertionError(f"there is no page: {error}") from error
            page = (root / "errors.html").read_text(encoding="utf-8")
            bare = page.replace("<script>\n", "").count(text)
            if any(mark in text for mark in '<"') and bare:
                raise AssertionError(f"{text} stands in the page as it is")
            _refused()

        yield f"a class named {text}", work


def server_cases(root: Path) -> Iterator[Case]:
    """Servers that do not do what servers do."""
    good = official(small_cifar10()[0])
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"

    def forever(connection: socket.socket, piece: bytes, pause: float) -> None:
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    replies: dict[str, bytes | Callable[[socket.socket], object]] = {
        "says nothing": lambda c: time.sleep(100),
        "hangs up": b"",
        "speaks nonsense": b"\x00\xff" * 100,
        "drips its header": lambda c: forever(c, b"H", 0.1),
        "an endless header": lambda c: forever(c, b"X: " + b"y" * 60_000, 0),
        "endless headers": lambda c: (c.sendall(ok), forever(c, b"A: b\r\n" * 100, 0)),
        "an endless body": lambda c: (c.sendall(ok + b"\r\n"), forever(c, bytes(1 << 20), 0)),
        "drips its body": lambda c: (c.sendall(ok + b"\r\n"), forever(c, b"x", 0.05)),
        "less than it says": ok + b"Content-Length: 99999999\r\n\r\n" + good,
        "a negative length": ok + b"Content-Length: -5\r\n\r\n" + good[:999],
        "no length": ok + b"Content-Length: many\r\n\r\n" + good[:999],
        "broken chunks": ok + chunked + b"5\r\nhello\r\nzz\r\n",
        "an endless chunk": lambda c: (
            c.sendall(ok + chunked + b"FFFFFFFFFFFF\r\n"),
            forever(c, bytes(1 << 20), 0),
        ),
        "a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        "not found": b"HTTP/1.1 404 Not Found\r\n\r\n",
        "an error": b"HTTP/1.1 503 Busy\r\n\r\n",
        "a redirect to itself": b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        "a redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        "half of a gzip": ok + b"\r\n" + good[: len(good) // 2],
        "no gzip": ok + b"\r\n" + b"hello" * 100,
        "a pickle": ok + b"\r\n" + pickle.dumps(Runs(os.getcwd)),
    }
    for name, reply in replies.items():

        def work(reply=reply) -> object:
            downloads.STALL_SECONDS, downloads.LARGEST_DOWNLOAD = 2.0, 50_000_000
            url = served(reply)
            with tempfile.TemporaryDirectory(dir=root) as folder:
                return cifar10._read_archive(downloads.download(url, Path(folder)))

        yield f"a server: {name}", work


def hostile(patch: Callable[[object, str, object], None], together: int = 1) -> Counter:
    """Read every hostile file, some of them together in one process; tell what came of it."""
    seen = Counter()
    _, settings = small_cifar10()
    for (module, name), value in settings.items():
        patch(module, name, value)
    with tempfile.TemporaryDirectory(prefix="torture-") as outer:
        root, victim, told = Path(outer) / "in", Path(outer) / "victim", Path(outer) / "told"
        root.mkdir()
        cases = [
            *pickle_cases(root, victim),
            *archive_cases(root, victim),
            *weights_cases(root),
            *image_cases(root, victim),
            *page_cases(root),
            *server_cases(root),
        ]
        for start in tqdm(range(0, len(cases), together), desc="hostile files"):
            group = cases[start : start + together]
            names = f"{group[0][0]} to {group[-1][0]}"

            def attempt(group=group) -> str:
                return json.dumps([(name, outcome(work)) for name, work in group])

            found = result(attempt, told, MEMORY)
            try:
                outcomes = json.loads(found)
            except ValueError:  # killed, or hung
                outcomes = [(names, found)]
            for name, what in outcomes:
                seen[what if what == REFUSED else f"{name}: {what[:100]}"] += 1
            if victim.exists():
                victim.rmdir() if victim.is_dir() else victim.unlink()
                seen[f"executed: {names}"] += 1
        if left := set(os.listdir(outer)) - {"in", "told"}:
            seen[f"outside of the folder: {sorted(left)}"] += 1
    return seen


def outcome(work: Callable[[], object]) -> str:
    """Tell what came of reading one file."""
    try:
        work()
    except OURS:
        return REFUSED
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"
