import hashlib
import warnings
from dataclasses import replace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from pytorch_vision.data import (
    Augmentation,
    ImageData,
    Normalization,
    TrainLoader,
    eval_batches,
    read_image,
)
from pytorch_vision.data.loaders import DeviceTrainLoader


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((100, 32, 32, 3))}, "train_images is float64"),
        ({"train_images": np.zeros((100, 3, 32, 32), np.uint8)}, "expected uint8 .N, H, W, 3"),
        ({"test_images": np.zeros((50, 32, 32), np.uint8)}, "test_images is uint8 of shape"),
        ({"test_images": np.zeros((50, 28, 28, 3), np.uint8)}, r"test_images are \(28, 28, 3\)"),
        ({"train_labels": np.zeros(99, np.int64)}, r"train_labels .* expected int64 \(100,\)"),
        ({"test_labels": np.zeros(50)}, "test_labels is float64"),
        ({"test_labels": np.full(50, 10)}, r"test_labels\[0\] is 10, expected a class in 0\.\.9"),
        ({"class_names": ()}, "class_names is empty"),
        (
            {"class_names": "abcdefghij"},
            "class_names is 'abcdefghij', expected a sequence of names",
        ),
        ({"class_names": list(range(10))}, "class_names is .*, expected a sequence of names"),
        (
            {"train_images": [np.zeros((2, 2, 3)), np.zeros((3, 3, 3))]},
            "train_images is not an array",
        ),
        ({"train_labels": np.zeros(100, bool)}, "train_labels is bool"),
        ({"train_files": ("a", "b", "c")}, "train_files has 3 names, expected 100: one for each"),
        (
            {"class_names": ("crane", *"bcd", "crane", *"fghij")},
            "class_names has 'crane' 2 times, for the labels 0, 4: give each class a name of its",
        ),
        ({"class_names": ("\x1b", "\\x1b", *"cdefghij")}, r"class_names has .* the labels 0, 1"),
    ],
)
def test_wrong_images_and_labels_are_named(few, change, message):
    with pytest.raises(ValueError, match=message):
        replace(few, **change)


def test_images_say_what_they_are():
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1])
    own = ImageData(images, labels, images, labels, ("left", "right"), "my photographs")
    assert str(own) == ("my photographs: 6 training and 6 test images of 40x48 pixels in 2 classes")


def test_what_is_harmless_is_converted(few):
    own = ImageData(
        list(few.train_images),
        few.train_labels.astype(np.int32),
        few.test_images,
        few.test_labels.tolist(),
        list(few.class_names),
        "lists",
    )
    assert own.class_names == few.class_names
    assert own.train_labels.dtype == own.test_labels.dtype == np.int64
    assert np.array_equal(own.train_images, few.train_images)
    assert replace(few).train_images is few.train_images  # nothing is copied


def test_a_fingerprint_is_computed_once_and_of_all_arrays(few, monkeypatch):
    data = replace(few)
    assert data.fingerprint == few.fingerprint
    monkeypatch.setattr(hashlib, "sha256", None)
    assert data.fingerprint == few.fingerprint
    monkeypatch.undo()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(few, name).copy()
        changed[1] = changed[0]
        changed[3] = 5
        assert replace(few, **{name: changed}).fingerprint != few.fingerprint


def test_an_image_of_the_right_size_is_read_as_it_is(tmp_path, few):
    Image.fromarray(few.test_images[0]).save(tmp_path / "a.png")
    image, told = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8
    assert np.array_equal(image, few.test_images[0])
    assert told == "a.png: 32x32 pixels, mode RGB; not resized"


def test_the_central_part_is_resized(tmp_path):
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, :20], picture[:, 80:], picture[:, 20:80] = (255, 0, 0), (255, 0, 0), (0, 0, 255)
    Image.fromarray(picture).save(tmp_path / "wide.png")
    image, told = read_image(tmp_path / "wide.png")
    assert np.abs(image.astype(int) - (0, 0, 255)).max() < 20  # but for a blend at the cut
    assert "its central 60x60 pixels resized to 32x32" in told


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_an_image_of_any_mode_is_read(tmp_path, mode):
    """A black-to-white step, in whatever way the file holds it."""
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("before version 13, Pillow could not read the YCbCr that it wrote itself")
    step = np.zeros((64, 64))
    step[:, 32:] = 1
    kinds = {"I;16": (65_535, np.uint16), "I": (65_535, np.int32), "F": (1, np.float32)}
    if mode in kinds:
        top, dtype = kinds[mode]
        picture = Image.fromarray((step * top).astype(dtype))
    else:
        picture = Image.fromarray((255 * step).astype(np.uint8)).convert("RGB").convert(mode)
    assert picture.mode == mode
    picture.save(tmp_path / "step.tif")
    image, told = read_image(tmp_path / "step.tif")
    assert f"mode {mode};" in told
    assert image.shape == (32, 32, 3)
    assert image[:, :12].max() <= 2
    assert image[:, 20:].min() >= 253


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png")[0] == 255).all()


def test_a_photograph_is_turned_upright(tmp_path):
    picture = Image.fromarray(np.repeat(np.uint8([[0], [255]]), 32, axis=0).repeat(64, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    image, _ = read_image(tmp_path / "turned.png")
    assert image[:12].min() == 255
    assert image[20:].max() == 0


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it can do without
@pytest.mark.parametrize("extension", ["avif", "dds", "webp", "gif", "tif", "jp2", "bmp", "ico"])
def test_a_damaged_image_of_any_format_is_named(tmp_path, extension):
    """Each decoder has errors of its own."""
    path = tmp_path / f"damaged.{extension}"
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (48, 48, 3), np.uint8))
    try:
        picture.save(path)
    except (KeyError, OSError, ValueError) as error:
        pytest.skip(f"this Pillow cannot write it: {error}")
    whole = path.read_bytes()
    messages = []
    for _ in range(150):
        content = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(0, min(len(content), 200), 5):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            read_image(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(path.name in message for message in messages)


def test_no_image_starts_ghostscript(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: started.append(1))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.eps")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.eps").read_bytes())
    for name in ("a.eps", "a.png"):
        with pytest.raises(ValueError, match=f"{name} is not an image"):
            read_image(tmp_path / name)
    assert not started


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    Image.new("RGB", (20_000, 20)).save(tmp_path / "wide.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    (tmp_path / "text.png").write_text("hello")
    Image.new("RGB", (300, 300), "red").save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name, message in {
        "wide.png": "20000x20 pixels, of which 'crop' leaves one part in 1,000",
        "huge.png": "too large, expected at most 178,956,970 pixels",
        "text.png": "not an image",
        "cut.jpg": "a damaged image",
    }.items():
        with pytest.raises(ValueError, match=rf"{name} is {message}"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_image(tmp_path / "none.png")


def test_reversed_and_read_only_arrays_are_used(few):
    """Such as BGR turned to RGB, or mapped from a file; torch takes none of them."""
    normalization = Normalization.of(few.train_images)
    frozen = few.train_images.copy()
    frozen.flags.writeable = False
    for images, labels in (
        (few.train_images[..., ::-1], few.train_labels),
        (few.train_images[::-1], few.train_labels[::-1]),
        (few.train_images[:, ::-1, ::-1], few.train_labels),
        (np.asfortranarray(few.train_images), few.train_labels),
        (frozen, few.train_labels),
    ):
        data = replace(few, train_images=images, train_labels=labels, test_images=images[:50])
        assert np.array_equal(data.train_images, images)
        cpu = torch.device("cpu")
        settings = (data, normalization, Augmentation(), 50, 0)
        for loader in (TrainLoader(*settings), DeviceTrainLoader(*settings, device=cpu)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert len(list(loader.epoch(0))) == 2
        assert len(next(eval_batches(images, normalization, batch_size=4))) == 4


def test_an_array_is_copied_only_if_it_must_be(few):
    wide = np.zeros((100, 32, 32, 4), np.uint8)
    assert np.shares_memory(replace(few, train_images=wide[..., :3]).train_images, wide)


def test_bool_labels_are_for_two_classes(few):
    truth = few.train_labels == 3
    data = replace(few, class_names=("other", "cat"), train_labels=truth, test_labels=truth[:50])
    assert data.train_labels.tolist() == truth.astype(int).tolist()


def test_data_that_is_only_tested_on_has_no_training_images(few):
    empty = {"train_images": few.train_images[:0], "train_labels": []}
    data = replace(few, **empty)
    assert str(data).startswith("a few images: 0 training and 50 test images of 32x32")
    with pytest.raises(ValueError, match="a few images has no training images, only test images"):
        TrainLoader(data, Normalization.of(few.train_images), Augmentation(), 8, 0)
