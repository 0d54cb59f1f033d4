"""Decoded pictures are cached, and the cache is never trusted blindly."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from pytorch_vision.data import ImageData, image_cache, load_data, load_folder, read_image


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


def count(folder: Path) -> int:
    """Return the number of images in the folder's data."""
    data = load(folder)
    return len(data.train_labels) + len(data.test_labels)


def equal(one: ImageData, other: ImageData) -> bool:
    return all(np.array_equal(value, vars(other)[name]) for name, value in vars(one).items())


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that were read so far."""
    found: list[str] = []
    usual = image_cache.decode_picture

    def read(path, *arguments):
        found.append(Path(path).name)
        return usual(path, *arguments)

    monkeypatch.setattr(image_cache, "decode_picture", read)
    return found


def test_pictures_are_read_once(folder, reads, capsys):
    """Except for unreadable files, which are tried each time."""
    first = load(folder)
    told = capsys.readouterr().out
    assert len(reads) == 11
    again = load(folder)
    assert reads[11:] == ["notes.txt"]
    assert equal(first, again)
    told_again = capsys.readouterr().out
    for printed in (told, told_again):
        assert "1 of 11 files was left out:" in printed
        assert "notes.txt is not an image" in printed
    (kept,) = (folder / "kept").iterdir()
    assert f"Cached in {kept}: 0.0 MB, of 0.0 MB in all caches there" in told
    assert f"Read from {kept}, as no file has changed since" in told_again


def test_images_are_mapped_and_both_splits_are_slices_of_them(folder):
    """So they may be larger than memory, cached or not."""
    kept = load_data(folder / "mine", folder / "kept", 8)
    temporary = load_folder(folder / "mine", 8)
    for data in (kept, temporary):
        whole = data.train_images.base
        assert isinstance(whole.base, np.memmap)
        assert data.test_images.base is whole
    assert not kept.train_images.flags.writeable
    assert equal(kept, temporary)
    for split in ("train", "test"):
        names = [f"{split}_{kind}" for kind in ("files", "images", "labels")]
        for file, image, label in zip(*(getattr(kept, name) for name in names), strict=True):
            assert np.array_equal(read_image(folder / "mine" / file, (8, 8))[0], image)
            assert file.split("/")[0] == kept.class_names[label]


def test_each_size_resize_and_split_is_cached(folder, reads):
    """Each size and ``resize`` has a file of its own; another split only changes the order."""
    for settings in ({"size": 9}, {"resize": "pad"}, {"held_out_share": 0.5, "seed": 3}, {}):
        load(folder)
        load(folder, **settings)
        reads.clear()
        again = load(folder, **settings)
        assert reads == ["notes.txt"]
        assert equal(again, load_folder(folder / "mine", **{"size": 8, **settings}))
    assert len(list((folder / "kept").iterdir())) == 3


def redrawn(path: Path) -> None:
    """Write another picture of the same time."""
    times = path.stat()
    Image.new("RGB", (90, 90), "red").save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def swapped(path: Path) -> None:
    other = path.parents[1] / "dog" / path.name
    path.rename(path.with_name("aside"))
    other.rename(path)
    path.with_name("aside").rename(other)


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (redrawn, ["1.png"]),
        (swapped, ["1.png", "1.png"]),
        (os.utime, ["1.png"]),
        (lambda path: Image.new("RGB", (9, 9)).save(path.with_name("new.png")), ["new.png"]),
        (lambda path: path.rename(path.with_name("new.png")), ["new.png"]),
        (Path.unlink, []),
    ],
    ids=["content", "swapped", "time", "new", "name", "gone"],
)
def test_only_changed_files_are_read_again(folder, reads, change, read):
    load(folder)
    change(folder / "mine" / "cat" / "1.png")
    reads.clear()
    data = load(folder)
    assert sorted(reads) == [*read, "notes.txt"]
    assert equal(data, load_folder(folder / "mine", 8))
    assert len(list((folder / "kept").iterdir())) == 1


def test_a_format_that_is_registered_later_counts(folder):
    """As pillow_heif and others do; without them, their pictures are not read any more."""

    class Toy(ImageFile.ImageFile):
        format, format_description = "TOY", "a toy"

        def _open(self):
            if self.fp.read(4) != b"TOY!":
                raise SyntaxError
            self._mode, self._size = "RGB", (8, 8)
            self.tile = [ImageFile._Tile("raw", (0, 0, 8, 8), 4, ("RGB", 0, 1))]

    for number in range(3):
        (folder / "mine" / "cat" / f"{number}.toy").write_bytes(b"TOY!" + bytes([number] * 192))
    assert count(folder) == 10
    Image.register_open("TOY", Toy, lambda start: start.startswith(b"TOY!"))
    try:
        assert [count(folder), count(folder)] == [13, 13]
    finally:
        del Image.OPEN["TOY"]
        Image.ID.remove("TOY")
    assert count(folder) == 10


@pytest.mark.parametrize(
    ("module", "setting", "value"),
    [(ImageFile, "LOAD_TRUNCATED_IMAGES", True), (Image, "MAX_IMAGE_PIXELS", 9)],
)
def test_settings_of_pillow_count(folder, monkeypatch, module, setting, value):
    """One picture is cut off, and all have more than 18 pixels."""
    path = folder / "mine" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:-60])
    before = load(folder)
    assert count(folder) == 9
    with monkeypatch.context() as patch:
        patch.setattr(module, setting, value)
        if value is True:
            assert count(folder) == 10
        else:
            with pytest.raises(ValueError, match="has no readable picture of class"):
                load(folder)
    assert equal(load(folder), before)


def flipped(content: bytes) -> bytes:
    """Change one bit of the table."""
    place = content.index(b"table.npy") + 300
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[: len(whole) // 2], flipped, lambda _: b"", lambda _: b"hello hello"],
    ids=["cut", "flipped", "empty", "foreign"],
)
def test_a_damaged_cache_is_written_again(folder, reads, damage):
    first = load(folder)
    (kept,) = (folder / "kept").iterdir()
    whole = kept.read_bytes()
    kept.unlink()  # as it is mapped
    kept.write_bytes(damage(whole))
    assert equal(load(folder), first)
    assert len(reads) == 22
    assert len(kept.read_bytes()) == len(whole)


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fault", ["full", "a file"])
def test_a_cache_that_cannot_be_written_costs_a_line(folder, monkeypatch, capsys, fault):
    if fault == "full":
        monkeypatch.setattr(np, "savez", full)
    else:
        (folder / "kept").write_text("")
    data = load(folder)
    printed = capsys.readouterr().out
    assert "The pictures cannot be cached in" in printed
    assert ("no space left" if fault == "full" else "exists") in printed.lower()
    assert equal(data, load_folder(folder / "mine", 8))
    assert fault == "a file" or not list((folder / "kept").iterdir())


@pytest.mark.parametrize("kept", [True, False])
def test_a_disk_without_room_is_named_before_anything_is_read(folder, monkeypatch, reads, kept):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"images need 0\.0 MB of disk \(.*: No space left.*--root"):
        load(folder) if kept else load_folder(folder / "mine", 8)
    assert not reads


def test_the_least_recently_used_cache_is_deleted_first(folder, capsys):
    for size in (8, 9, 10):
        load(folder, size)
    load(folder, 8)
    sizes = {path: path.stat().st_size for path in (folder / "kept").iterdir()}
    limit = sum(sizes.values()) / 1e9
    capsys.readouterr()
    load(folder, 11, cache_limit=limit)
    assert "deleted the least recently used" in capsys.readouterr().out
    names = [
        image_cache.cache_path(folder / "kept", folder / "mine", (n, n), "crop") for n in (8, 9)
    ]
    assert [name.exists() for name in names] == [True, False]


def test_the_cache_can_be_emptied(folder):
    load(folder)
    (kept,) = (folder / "kept").iterdir()
    size = kept.stat().st_size
    for name in ("cifar10.npz", "pictures-2024.zip", "pictures-001.kept"):
        (folder / "kept" / name).write_text("mine")
    assert image_cache.empty_cache(folder / "kept") == size
    assert not kept.exists()
    assert len(list((folder / "kept").iterdir())) == 3


def deep(folder: Path, name: str, peak: int) -> None:
    values = np.full((8, 8), 1000, np.uint16)
    values[0], values[1] = peak, 500
    Image.fromarray(values).save(folder / "mine" / name)


@pytest.mark.parametrize("batch", [1, 1 << 26])
def test_values_of_more_than_8_bits_have_one_scale(folder, monkeypatch, capsys, reads, batch):
    """In whatever order they are read, and also after some were added or given another scale."""
    monkeypatch.setattr(image_cache, "BATCH", batch)

    def greys(**settings) -> set[int]:
        data = load(folder, **settings)
        assert equal(data, load_folder(folder / "mine", 8, **settings))
        files, images = data.train_files + data.test_files, [*data.train_images, *data.test_images]
        deep = [image for file, image in zip(files, images, strict=True) if "deep" in file]
        assert len(deep) == len(list(folder.glob("mine/*/deep*")))
        return {int(image[4, 4, 0]) for image in deep}

    for number, peak in enumerate((3000, 4095, 4096, 2000)):
        deep(folder, f"cat/deep{number}.png", peak)
    assert greys() == {255 * 500 // 3596}
    told = "Values of more than 8 bits (uint16), in 4 pictures: all scaled so that 500 is black and"
    assert f"{told} 4,096 is white" in capsys.readouterr().out
    deep(folder, "dog/deep.png", 8000)
    assert greys() == {255 * 500 // 7500}
    assert load(folder).scales == {"uint16": (500, 8000)}
    assert greys(scales={"uint16": (0, 4096)}) == {255 * 1000 // 4096}
    reads.clear()
    load(folder, scales={"uint16": (0, 4096), "float32": (0, 1)})
    assert reads == ["notes.txt"]
    (folder / "mine" / "dog" / "deep.png").unlink()
    assert greys() == {255 * 500 // 3596}


def test_a_file_that_the_system_refuses_once_is_tried_again(folder, monkeypatch, capsys):
    usual = image_cache.decode_picture

    def refuse(path, *arguments):
        if path.endswith("cat/1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return usual(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "decode_picture", refuse)
        assert count(folder) == 9
        assert "Permission denied" in capsys.readouterr().out
    assert count(folder) == 10
