import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import paint, tiny_classifier, tiny_network

from pytorch_vision.app.settings import Settings
from pytorch_vision.data import hold_out, load_folder, read_image
from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, fit

COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def pictures(folder: Path, count: int) -> None:
    """Write pictures in one colour for each class, in several sizes, formats and modes."""
    kinds = [("png", "RGB"), ("jpg", "RGB"), ("webp", "RGB"), ("gif", "P"), ("png", "RGBA")]
    for name in COLOURS:
        for number in range(count):
            suffix, mode = kinds[number % len(kinds)]
            path = folder / name / ("below" if number % 2 else ".") / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (40 + 7 * number, 60 + 3 * number)
            Image.new("RGB", size, COLOURS[name]).convert(mode).save(path)


def test_images_and_labels_of_both_splits(tmp_path):
    pictures(tmp_path / "train", 10)
    pictures(tmp_path / "test", 5)
    data = load_folder(tmp_path, 48)
    assert data.class_names == ("blue", "green", "red")
    for split, count in {"train": 30, "test": 15}.items():
        images, labels = (getattr(data, f"{split}_{kind}") for kind in ("images", "labels"))
        assert images.shape == (count, 48, 48, 3)
        strongest = images.mean(axis=(1, 2)).argmax(axis=1)  # of red, green and blue
        assert strongest.tolist() == (2 - labels).tolist()
    assert data.name == tmp_path.name


def test_a_share_of_each_class_is_held_out_by_the_seed(tmp_path):
    paint(tmp_path, {"cat": 10, "dog": 20})
    splits = [load_folder(tmp_path, 8, held_out_share=0.3, seed=seed) for seed in (0, 0, 1)]
    for data in splits:
        assert np.bincount(data.train_labels).tolist() == [7, 14]
    assert splits[0].test_files == splits[1].test_files != splits[2].test_files


def test_a_folder_is_resized_as_a_single_image_is(tmp_path):
    """So a network sees new pictures as it saw those of its training."""
    rows = np.linspace(0, 255, 90, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (90, 60, 3)).copy()).save(tmp_path / "ramp.png")
    for name in ("one/0.png", "one/1.png", "two/0.png", "one/2.png"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "ramp.png", tmp_path / "all" / name)
    found = {}
    for resize in ("crop", "pad", "squash"):
        data = load_folder(tmp_path / "all", 32, resize)
        expected, _ = read_image(tmp_path / "ramp.png", (32, 32), resize)
        assert np.array_equal(data.train_images[0], expected)
        assert tiny_classifier(data).resize == resize
        found[resize] = data.train_images[0]
    assert found["squash"][0].max() < 10 < found["crop"][0].min()  # the crop lost the dark end
    assert (found["pad"][:, 0] == 128).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size is .* expected 1 pixel or more"),
        ({"resize": "stretch"}, "resize is 'stretch', expected 'crop', 'pad', 'squash'"),
        ({"held_out_share": 1.0}, "held_out_share is 1.0, expected 0 or more, less than 1"),
        ({"path": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_folder(**{"path": tmp_path, **change})


def test_each_class_is_held_out_by_its_share(tmp_path, capsys):
    """But nothing from one or two pictures; a file that cannot be read never counts."""
    counts = {"common": 100, "rare": 8, "seldom": 4, "two": 2, "one": 1}
    paint(tmp_path, counts)
    for name, count in counts.items():
        for number in range(count, count + 6):
            (tmp_path / name / f"{number}.png").write_text("broken")
    (tmp_path / "one" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    data = load_folder(tmp_path, 8)
    assert data.class_names == ("common", "one", "rare", "seldom", "two")
    assert np.bincount(data.train_labels).tolist() == [80, 1, 6, 3, 2]
    assert np.bincount(data.test_labels, minlength=5).tolist() == [20, 0, 2, 1, 0]
    printed = capsys.readouterr().out
    assert f"{tmp_path.name}: 146 pictures of 8x8 pixels take 0.0 MB of disk\n" in printed
    assert "31 of 146 files were left out:\n  common/100.png, common/101.png" in printed
    assert "and 25 more: is not an image that Pillow can read\n" in printed
    assert "  one/cut.jpg is a damaged image (" in printed
    assert "  one: 1 to train on, 0 to test on\n" in printed
    assert "very unequal: one has 1 to train on, common 80. Accuracy depends most on" in printed
    assert "or give them more weight (class_weights)" in printed


def test_classes_that_differ_only_in_case_are_told(tmp_path, capsys):
    paint(tmp_path, {"Cat": 3, "cat": 3, "dog": 3, "dog ": 3, "rat": 3})
    assert len(load_folder(tmp_path, 32).class_names) == 5
    told = "Classes whose names differ only in case or spaces: 'Cat', 'cat', 'dog', 'dog '. If"
    assert told in capsys.readouterr().out


def test_training_digests_add_up(tmp_path):
    """Over several trainings of one network, in Python and from a file."""
    for part, first in (("one", 0), ("two", 10)):
        paint(tmp_path / part, {"cat": 10, "dog": 10}, first)
    one, two = (load_folder(tmp_path / part, 32) for part in ("one", "two"))
    classifier, path = tiny_classifier(one), tmp_path / "weights.safetensors"
    config = TrainConfig(epochs=1, optimizer="sgd")
    fit(classifier, one, config, after_epoch=lambda tested: tested.save(path))
    saved = Classifier.load(path, tiny_network(classes=2))
    assert set(saved.train_digests) == set(one.train_digests)
    fit(classifier, hold_out(two, 4), config)
    begun = tiny_classifier(two)
    begun.begin_with(path)
    for some, learned in ((classifier, hold_out(two, 4)), (begun, two)):
        assert set(some.train_digests) == {*one.train_digests, *learned.train_digests}
    known = {"class_names": two.class_names, "train_digests": classifier.train_digests}
    again = load_folder(tmp_path / "two", 32, **known)
    assert len(again.test_labels) == 4 + 4  # held out by load_folder and by hold_out


def test_weights_recognise_their_training_folder(tmp_path, capsys):
    """Its held-out pictures are tested; in another folder, all pictures are."""
    for name, first in (("mine", 0), ("new", 10)):
        paint(tmp_path / name, {"cat": 10, "dog": 10}, first)
    mine, new = (Settings.of(data=tmp_path / n, root=tmp_path, size=32) for n in ("mine", "new"))
    data = mine.load_data()
    tiny_classifier(data).save(tmp_path / "weights.safetensors")
    loaded = Classifier.load(tmp_path / "weights.safetensors", tiny_network(classes=2))
    assert np.array_equal(mine.load_data(loaded).test_images, data.test_images)
    assert "None of them" not in capsys.readouterr().out
    assert len(new.load_data(loaded).test_images) == 20
    told = "None of them is, pixel for pixel, a training picture of the weights. If they were"
    assert told in capsys.readouterr().out
    held_out = replace(new, held_out=4).load_data(loaded)
    assert (len(held_out.train_images), len(held_out.test_images)) == (12, 4)
