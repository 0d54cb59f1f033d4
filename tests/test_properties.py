"""What must hold for any input: a right answer, or the error that the docstring names."""

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytorch_vision.app.settings import FIELDS, Settings
from pytorch_vision.data import Augmentation, ImageData, Normalization, TrainLoader, denormalize

# the same examples in every run, and however slow the machine is
settings.register_profile(
    "ours", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")
quickly = settings(max_examples=40)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([])
)


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
    normalization = Normalization.of(data.train_images)
    settings = (data, normalization, augmentation, more.draw(st.integers(1, 20)), 0)
    epoch = more.draw(st.integers(0, 5))
    on_device = TrainLoader(*settings, device=torch.device("cpu")).epoch(epoch)
    seen = 0
    for (images, labels), (others, _) in zip(
        TrainLoader(*settings).epoch(epoch), on_device, strict=True
    ):
        assert images.shape[1:] == (3, *data.train_images.shape[1:3])
        assert torch.equal(images, others)
        pixels = denormalize(images, normalization)
        assert 0 <= pixels.min() <= pixels.max() <= 1
        seen += len(labels)
    assert seen == len(data.train_images)


# what is not looked at when the settings are made, or looks for itself
others = {"root", "weights", "checkpoints", "output", "keep_on_drive", "data", "model"}


@given(st.dictionaries(st.sampled_from(sorted(FIELDS.keys() - others)), anything))
def test_settings_are_sound_or_refused_by_name(changes):
    try:
        settings = Settings.of(**changes)
    except ValueError as error:
        assert any(name in str(error) for name in changes)  # noqa: PT017
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return
    config, machine = settings.config, settings.machine
    assert config.epochs >= 0
    if config.optimizer == "muon":
        assert 0 < config.chosen("muon_learning_rate") < float("inf")
    assert 0 < config.chosen("learning_rate") < float("inf")
    assert config.batch_size_for(100) >= 1
    assert 0 <= config.small_epochs <= config.epochs
    assert machine.devices == "auto" or machine.devices >= 1
