"""What must hold for any input: a right answer, or the error that the docstring names."""

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pytorch_vision.data import (
    Augmentation,
    ImageData,
    balanced_indices,
    denormalize,
    read_image,
    subset,
)
from pytorch_vision.data.cifar10 import tile, untile
from pytorch_vision.data.draws import Replay, augment_batch, draw
from pytorch_vision.data.load import check_choice
from pytorch_vision.data.loaders import TrainLoader, epoch_order, part_of
from pytorch_vision.data.transforms import Normalization
from pytorch_vision.settings import Settings
from pytorch_vision.training import TrainConfig
from pytorch_vision.training.files import checked_text
from pytorch_vision.training.optimizers import orthogonalized

# the same examples in every run, and however slow the machine is
settings.register_profile(
    "ours", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")
quickly = settings(max_examples=40)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([])
)


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_parts_are_all_of_it_once_and_near_to_equal(count, processes):
    parts = [part_of(count, rank, processes) for rank in range(processes)]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_balanced_indices_are_even_over_the_classes(labels, data):
    labels = np.array(labels)
    count = data.draw(st.integers(1, len(labels)))
    chosen = balanced_indices(labels, count)
    assert len(set(chosen.tolist())) == count
    assert (np.diff(chosen) > 0).all()
    taken, there = np.bincount(labels[chosen], minlength=6), np.bincount(labels, minlength=6)
    most = taken.max()
    assert ((taken >= most - 1) | (taken == there)).all()


@given(st.integers(1, 500), st.integers(0, 2**32), st.integers(0, 100))
def test_an_epochs_order_is_a_permutation(count, seed, epoch):
    assert sorted(epoch_order(count, seed, epoch).tolist()) == list(range(count))


@given(st.integers(1, 6), st.integers(1, 6))
def test_tiles_come_back(rows, columns):
    random = np.random.default_rng(rows)
    images = random.integers(0, 256, (rows * columns, 32, 32, 3), np.uint8)
    assert np.array_equal(untile(tile(images, columns)), images)


sizes = st.integers(1, 40)


@st.composite
def image_data(draw_one) -> ImageData:
    count, classes = draw_one(st.integers(1, 12)), draw_one(st.integers(1, 4))
    random = np.random.default_rng(draw_one(st.integers(0, 99)))
    shape = (count, draw_one(sizes), draw_one(sizes), 3)
    images = random.integers(0, draw_one(st.sampled_from([1, 2, 256])), shape, np.uint8)
    labels = random.integers(0, classes, count)
    return ImageData(images, labels, images, labels, [f"class {i}" for i in range(classes)], "any")


@quickly
@given(
    image_data(), st.sampled_from(["alternating", "random", "none"]), st.integers(0, 6), st.data()
)
def test_any_images_make_batches_and_both_ways_agree(data, flip, padding, more):
    cutout = more.draw(st.sampled_from([0, 2, 8]))
    augmentation = Augmentation(padding, flip, cutout, more.draw(st.sampled_from([0.0, 0.5, 1.0])))
    loader = TrainLoader(data, augmentation, more.draw(st.integers(1, 20)), 0)
    seen = 0
    for images, labels in loader.epoch(more.draw(st.integers(0, 5))):
        assert images.shape[1:] == (3, *data.train_images.shape[1:3])
        assert images.isfinite().all()
        seen += len(labels)
    assert seen == len(data.train_images)
    size = data.train_images.shape[1:3]
    draws = draw(augmentation, seen, size, np.random.SeedSequence(1))
    at_once = augment_batch(
        torch.from_numpy(data.train_images),
        augmentation,
        draws,
        Normalization(*data.mean_and_std, "cpu"),
    )
    replayed = Replay(augmentation, size, *data.mean_and_std)(data.train_images, draws)
    assert torch.allclose(at_once, replayed, atol=1e-4)
    pixels = denormalize(at_once, *data.mean_and_std)
    assert 0 <= pixels.min() <= pixels.max() <= 1


@quickly
@given(image_data(), st.integers(-2, 20))
def test_a_subset_is_one_or_is_refused(data, count):
    try:
        assert len(subset(data, count).train_images) == count
    except ValueError:
        assert not 1 <= count <= len(data.train_images)


@given(st.dictionaries(st.sampled_from(list(TrainConfig.__dataclass_fields__)), anything))
def test_a_configuration_is_sound_or_refused_by_name(changes):
    changes.pop("augmentation", None), changes.pop("compile", None)
    changes.pop("nesterov", None), changes.pop("average_weights", None)
    try:
        config = TrainConfig(**changes)
    except ValueError as error:
        assert any(name in str(error) for name in changes)  # noqa: PT017
        return
    assert config.epochs >= 0
    assert 0 < config.muon_rate < float("inf")
    assert 0 < config.peak_rate < float("inf")


@given(st.one_of(anything, st.just("sample"), st.integers(0, 60_000)))
def test_data_is_known_or_refused(which):
    try:
        known = check_choice(which) in ("full", "sample") or Path(str(which)).is_dir()
        assert known or 10 <= int(which) <= 50_000
    except ValueError as error:
        assert "data is" in str(error)  # noqa: PT017


@given(anything, anything)
def test_settings_are_sound_or_refused(devices, order):
    with contextlib.suppress(ValueError):
        chosen = Settings("sample", devices=devices, order=order)
        assert chosen.devices == "auto" or chosen.devices >= 1


@given(st.text(max_size=50), st.integers(0, 60))
def test_checked_text_can_be_printed(text, longest):
    with contextlib.suppress(ValueError):
        checked = checked_text(text, longest)
        assert checked == text
        assert "\x1b" not in checked
        assert len(checked) <= longest


@quickly
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_orthogonalized_matrices_have_singular_values_near_one(count, rows, columns, scale):
    torch.manual_seed(rows)
    matrices = scale * torch.randn(count, rows, columns)
    values = torch.linalg.svdvals(orthogonalized(matrices))
    assert values.isfinite().all()
    assert values.max() < 1.4


@quickly
@given(st.binary(max_size=300), st.sampled_from(["png", "gif", "avif", "tif", "eps", "txt"]))
def test_any_bytes_are_an_image_or_refused_by_name(tmp_path_factory, content, extension):
    path = tmp_path_factory.mktemp("any") / f"any.{extension}"
    whole = io.BytesIO()
    Image.new("RGB", (8, 8)).save(whole, "png")
    path.write_bytes(whole.getvalue()[: len(content) % 60] + content)
    try:
        assert read_image(path)[0].shape == (32, 32, 3)
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017
