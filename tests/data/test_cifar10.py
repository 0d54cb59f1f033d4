import json
import shutil
from importlib import resources

import numpy as np
import pytest

from pytorch_vision.data import DataError, Normalization, load_data
from pytorch_vision.data import cifar10 as cifar10_module


def test_cifar10_has_its_shapes_labels_and_statistics(cifar10):
    assert cifar10.train_images.shape == (50_000, 32, 32, 3)
    assert cifar10.test_images.shape == (10_000, 32, 32, 3)
    assert np.bincount(cifar10.train_labels).tolist() == [5000] * 10
    normalization = Normalization.of(cifar10.train_images)
    np.testing.assert_allclose(normalization.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(normalization.std, (0.2470, 0.2435, 0.2616), atol=5e-5)


def test_sample_is_balanced_and_says_what_it_is(sample):
    assert np.bincount(sample.train_labels).tolist() == [100] * 10
    assert np.bincount(sample.test_labels).tolist() == [50] * 10
    assert sample.name == "bundled sample, 1,000 images"


def test_sample_is_real_cifar10(sample, cifar10):
    folder = resources.files("pytorch_vision.data") / "sample"
    stored = json.loads((folder / "labels.json").read_text())
    for part in ("train", "test"):
        chosen = stored[part]["indices"]
        for kind in ("images", "labels"):
            ours, real = (getattr(d, f"{part}_{kind}") for d in (sample, cifar10))
            assert np.array_equal(ours, real[chosen])


def test_sample_is_small_enough():
    folder = resources.files("pytorch_vision.data") / "sample"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 4_000_000


def test_a_number_gives_a_subset_with_the_whole_test_set(cifar10, monkeypatch):
    monkeypatch.setattr("pytorch_vision.data.load.load_cifar10", lambda root: cifar10)
    chosen = load_data("105", "anywhere")
    counts = np.bincount(chosen.train_labels)
    assert counts.tolist() == [11] * 5 + [10] * 5
    assert len(chosen.test_labels) == 10_000
    assert "105" in chosen.name


def test_held_out_images_take_the_place_of_the_test_images(sample):
    data = load_data("sample", held_out=100)
    assert len(data.train_labels) == 900
    assert np.bincount(data.test_labels).tolist() == [10] * 10
    ours, theirs = ({image.tobytes() for image in d.train_images} for d in (data, sample))
    assert {image.tobytes() for image in data.test_images} == theirs - ours
    with pytest.raises(ValueError, match="count is 1000, expected 1 to 990 images to hold out"):
        load_data("sample", held_out=1000)


@pytest.mark.parametrize("which", ["9", "50001", "-20", "all", "", "1e3"])
def test_an_unknown_data_set_is_named(which):
    with pytest.raises(ValueError, match=f"data is '{which}', expected 'full', 'sample'"):
        load_data(which)


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
