"""What was read once is kept, and never believed blindly."""

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytorch_vision.data import ImageData, load_data, load_folder, read_image
from pytorch_vision.data import image_cache as decoding


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, and one file that is no picture."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(5):
            path = tmp_path / "mine" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    (tmp_path / "mine" / "dog" / "notes.txt").write_text("none")
    return tmp_path


def load(folder: Path, size: int = 8, **settings) -> ImageData:
    return load_folder(folder / "mine", size, cache=folder / "kept", **settings)


def equal(one: ImageData, other: ImageData) -> bool:
    return all(np.array_equal(value, vars(other)[name]) for name, value in vars(one).items())


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that were read so far."""
    found: list[str] = []
    usual = decoding.read_picture

    def read(path, *arguments):
        found.append(Path(path).name)
        return usual(path, *arguments)

    monkeypatch.setattr(decoding, "read_picture", read)
    return found


def test_files_that_have_changed_places_are_read_anew(folder):
    """Of the same size, and of the same time."""
    cat, dog = (folder / "mine" / name / "0.png" for name in ("cat", "dog"))
    for path in (cat, dog):
        path.write_bytes(path.read_bytes().ljust(1000, b"\0"))
        os.utime(path, (0, 0))
    before = load(folder)
    cat.rename(folder / "aside")
    dog.rename(cat)
    (folder / "aside").rename(dog)
    assert not equal(load(folder), before)
    assert equal(load(folder), load_folder(folder / "mine", 8))


def test_pictures_are_read_once(folder, reads, capsys):
    first = load(folder)
    told = capsys.readouterr().out
    assert len(reads) == 11
    again = load(folder)
    assert len(reads) == 11
    assert equal(first, again)
    told_again = capsys.readouterr().out
    for printed in (told, told_again):
        assert "1 of 11 files was left out:" in printed
        assert "notes.txt is not an image" in printed
    (kept,) = (folder / "kept").iterdir()
    assert f"Kept for the next time in {kept}" in told
    assert f"Read from {kept}, as no file has changed since" in told_again


def test_each_size_and_each_way_is_kept(folder, reads):
    for settings in ({"size": 8}, {"size": 9}, {"resize": "pad"}, {"size": 8}, {"resize": "pad"}):
        load(folder, **settings)
    assert len(reads) == 33
    assert len(list((folder / "kept").iterdir())) == 3


def test_another_split_of_the_same_pictures_needs_no_reading(folder, reads):
    load(folder)
    assert len(load(folder, held_out_share=0.5, seed=3).test_labels) == 6
    assert len(reads) == 11


@pytest.mark.parametrize("change", ["content", "time", "new", "gone"])
def test_a_change_is_seen(folder, reads, change):
    load(folder)
    path = folder / "mine" / "cat" / "1.png"
    times = path.stat()
    if change == "content":
        Image.new("RGB", (90, 90), "red").save(path)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "time":
        os.utime(path)
    elif change == "new":
        Image.new("RGB", (9, 9)).save(path.with_name("new.png"))
    else:
        path.unlink()
    reads.clear()
    load(folder)
    assert len(reads) == {"new": 12, "gone": 10}.get(change, 11)
    assert len(list((folder / "kept").iterdir())) == 1


def damaged(content: bytes, kind: str) -> bytes:
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "changed":
        middle = content.index(b"images.npy") + 300
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"empty": b"", "foreign": b"hello"}[kind]


@pytest.mark.parametrize("kind", ["cut", "changed", "empty", "foreign"])
def test_a_damaged_one_is_written_anew(folder, reads, kind):
    first = load(folder)
    (kept,) = (folder / "kept").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damaged(whole, kind))
    assert equal(load(folder), first)
    assert len(reads) == 22
    assert len(kept.read_bytes()) == len(whole)


def test_one_that_means_harm_is_not_believed(folder, reads):
    """Neither a pickle, nor more than the pictures can be, nor other pictures' places."""
    first = load(folder)
    (kept,) = (folder / "kept").iterdir()
    with np.load(kept) as file:
        good = dict(file)
    for change in (
        {"reasons": np.array([Path("x")], dtype=object)},
        {"images": np.zeros((10, 8, 8, 3), np.float64)},
        {"images": good["images"][:9]},
        {"readable": np.ones(11, bool)},
        {"sizes": good["sizes"][:3]},
    ):
        np.savez(kept, **{**good, **change})
        assert equal(load(folder), first)
    with zipfile.ZipFile(kept, "a", zipfile.ZIP_DEFLATED) as file, pytest.warns(match="Duplicate"):
        file.writestr("images.npy", bytes(50_000_000))
    assert equal(load(folder), first)
    assert len(reads) == 7 * 11


def test_a_full_disk_costs_a_line(folder, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = load(folder)
    (kept,) = (folder / "kept").iterdir()
    kept.unlink()
    monkeypatch.setattr(np, "savez", full)
    assert equal(load(folder), expected)
    assert f"are not kept for the next time in {kept}: [Errno 28]" in capsys.readouterr().out
    assert not list((folder / "kept").iterdir())


def test_a_root_that_is_a_file_costs_a_line(folder, capsys):
    (folder / "kept").write_text("")
    assert len(load(folder).train_labels) == 8
    assert "are not kept for the next time" in capsys.readouterr().out


def test_what_the_system_refuses_once_is_asked_for_again(folder, monkeypatch, capsys):
    usual = decoding.read_picture

    def refuse(path, *arguments):
        if path.endswith("cat/1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return usual(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_picture", refuse)
        assert len(load(folder).train_files) + len(load(folder).test_files) == 9
        assert "Permission denied" in capsys.readouterr().out
    assert len(load(folder).train_files) + len(load(folder).test_files) == 10


def test_a_setting_names_where_it_is_kept(folder, reads):
    for _ in range(2):
        load_data(folder / "mine", folder / "kept", 8)
    assert len(reads) == 11


def test_the_files_of_the_images_are_known(folder):
    data = load(folder)
    for part in ("train", "test"):
        files = getattr(data, f"{part}_files")
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        assert len(files) == len(images)
        for file, image, label in zip(files, images, labels, strict=True):
            assert np.array_equal(read_image(folder / "mine" / file, (8, 8))[0], image)
            assert file.split("/")[0] == data.class_names[label]
