from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from pytorch_vision.data import load_data, load_folder, read_image

COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def pictures(folder: Path, count: int, classes: tuple[str, ...] = tuple(COLOURS)) -> None:
    """Write pictures of one colour a class, of several sizes, formats and modes."""
    kinds = [("png", "RGB"), ("jpg", "RGB"), ("webp", "RGB"), ("gif", "P"), ("png", "RGBA")]
    for name in classes:
        for number in range(count):
            suffix, mode = kinds[number % len(kinds)]
            path = folder / name / ("below" if number % 2 else ".") / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (40 + 7 * number, 60 + 3 * number)
            Image.new("RGB", size, COLOURS[name]).convert(mode).save(path)


def colours_of(images: np.ndarray) -> list[int]:
    """Return the strongest channel of each image: 2 is blue, 1 green, 0 red."""
    return images.mean(axis=(1, 2)).argmax(axis=1).tolist()


@pytest.mark.parametrize("tested_on", ["val", "test"])
def test_train_and_test_folders(tmp_path, tested_on):
    pictures(tmp_path / "train", 10)
    pictures(tmp_path / tested_on, 5)
    data = load_folder(tmp_path, 48)
    assert data.class_names == ("blue", "green", "red")
    assert data.train_images.shape == (30, 48, 48, 3)
    assert data.test_images.shape == (15, 48, 48, 3)
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        assert colours_of(images) == (2 - labels).tolist()
    assert data.name == tmp_path.name


def test_test_is_tested_on_before_val(tmp_path):
    pictures(tmp_path / "train", 4)
    pictures(tmp_path / "val", 3)
    pictures(tmp_path / "test", 2, ("red", "blue"))
    data = load_folder(tmp_path, 32)
    assert data.test_labels.tolist() == [0, 0, 2, 2]
    assert colours_of(data.test_images) == [2, 2, 0, 0]


def test_one_folder_is_split_by_class_and_seed(tmp_path):
    pictures(tmp_path, 10)
    splits = [load_folder(tmp_path, 32, held_out_share=0.3, seed=seed) for seed in (0, 0, 1)]
    for data in splits:
        assert np.bincount(data.train_labels).tolist() == [7, 7, 7]
        assert np.bincount(data.test_labels).tolist() == [3, 3, 3]
    assert np.array_equal(splits[0].test_images, splits[1].test_images)


def test_pictures_are_resized_as_one_image_is(tmp_path):
    """By the same function, so a network is asked what it was trained on."""
    rows = np.linspace(0, 255, 90, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (90, 60, 3)).copy()).save(tmp_path / "ramp.png")
    for name in ("one", "two"):
        for number in range(2):
            (tmp_path / "all" / name).mkdir(parents=True, exist_ok=True)
            Image.open(tmp_path / "ramp.png").save(tmp_path / "all" / name / f"{number}.png")
    found = {}
    for resize in ("crop", "pad", "squash"):
        data = load_folder(tmp_path / "all", 32, resize)
        expected, _ = read_image(tmp_path / "ramp.png", (32, 32), resize)
        assert np.array_equal(data.train_images[0], expected)
        found[resize] = data.train_images[0]
    assert found["squash"][0].max() < 10 < found["crop"][0].min()  # the crop lost the dark end
    assert (found["pad"][:, 0] == 128).all()


def test_what_cannot_be_read_is_left_out_and_listed(tmp_path, capsys):
    pictures(tmp_path, 5)
    (tmp_path / "red" / "notes.txt").write_text("no picture")
    (tmp_path / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (tmp_path / "red" / ".hidden").write_text("not looked at")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    data = load_folder(tmp_path, 32)
    assert len(data.train_labels) + len(data.test_labels) == 15
    printed = capsys.readouterr().out
    assert "2 of 17 files were left out:" in printed
    assert "broken.jpg is a damaged image" in printed
    assert "notes.txt is not an image that Pillow can read" in printed
    assert "17 pictures of 32x32 pixels take 0.1 MB of memory" in printed


def test_too_many_pictures_are_refused_with_the_size_that_fits(tmp_path, monkeypatch):
    pictures(tmp_path, 10)
    available = 30 * 3 * 100 * 100 / 0.8
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    with pytest.raises(ValueError, match=r"30 pictures of 128x128 .* size=100 would fit"):
        load_folder(tmp_path, 128)
    assert load_folder(tmp_path, 100).size == (100, 100)
    available /= 100
    with pytest.raises(ValueError, match="even size=32 would not fit: take fewer pictures"):
        load_folder(tmp_path, 128)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "has no folders, expected one for each class"),
        ({"train/red/1.png": 1}, "none to test on: name it test or val"),
        ({"train/red/1.png": 1, "val/blue/1.png": 1}, "val has classes that .*train has not: blue"),
        ({"red/1.png": 1, "blue/.hidden": 0}, "blue has no files, expected pictures"),
        ({"train/red/1.png": 1, "train/blue/1.png": 0, "val/red/1.png": 1}, "picture of class 'bl"),
        ({"train/red/1.png": 1, "val/red/1.png": 0}, "has no readable picture to test on"),
    ],
)
def test_another_layout_says_what_is_expected(tmp_path, layout, message):
    for name, readable in layout.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if readable:
            Image.new("RGB", (50, 50)).save(path)
        else:
            path.write_text("nothing")
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path, 32)


def test_wrong_arguments_are_named(tmp_path):
    pictures(tmp_path, 2)
    for arguments, message in {
        ("size", 0): "size is .* expected 1 pixel or more",
        ("resize", "stretch"): "resize is 'stretch', expected 'crop', 'pad', 'squash'",
        ("held_out_share", 1.0): "held_out_share is 1.0",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_folder(tmp_path, **{arguments[0]: arguments[1]})
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load_folder(tmp_path / "nowhere")


def test_a_setting_can_name_it(tmp_path):
    pictures(tmp_path / "mine", 5)
    data = load_data(str(tmp_path / "mine"), size=40, resize="pad")
    assert (data.size, data.name) == ((40, 40), "mine")
    # the pictures are upright: what is beside them is grey
    assert (data.train_images[:, :, 0] == 128).all()
