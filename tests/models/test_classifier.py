import io
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from networks import Body
from PIL import Image
from small import EXACT, left_alone, tiny_network

from pytorch_vision.data import ImageData, Normalization
from pytorch_vision.models import Classifier, History, ResNet18, create
from pytorch_vision.models.registry import describe_network
from pytorch_vision.runtime import Machine

CPU = Machine(accelerator="cpu")
LUMA = (0.299, 0.587, 0.114)


def test_a_classifier_is_made_for_data(few):
    """From a network or from its name: they differ only in the description."""
    named = Classifier("ResNet18", few, conv_padding="standard", resize="pad")
    given = Classifier(ResNet18(10, "standard"), few, resize="pad", description="mine")
    for classifier in (named, given):
        assert describe_network(classifier.network) == "ResNet18 (conv_padding='standard')"
        assert classifier.class_names == few.class_names
        assert classifier.size == (32, 32)
        assert classifier.resize == "pad"
        assert classifier.normalization == Normalization.of(few.train_images)
        assert classifier.history == History()
    assert str(named) == "ResNet18 on a few images"
    assert str(given) == "mine"
    assert str(Classifier(tiny_network(), few)) == "Sequential on a few images"


def test_a_classifier_is_made_without_data(few):
    normalization = Normalization((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    given = {"class_names": ["a", "b"], "normalization": normalization, "size": (48, 64)}
    own = Classifier(tiny_network(classes=2), **given)
    assert (own.class_names, own.normalization, own.size) == (("a", "b"), normalization, (48, 64))
    assert str(own) == "Sequential"
    assert Classifier("CustomResNet", **given).network.linear.out_features == 2
    # arguments override the data
    other = Classifier(tiny_network(classes=2), few, **given)
    assert (other.class_names, other.normalization) == (("a", "b"), normalization)
    assert other.size == (48, 64)
    for name in given:
        with pytest.raises(ValueError, match="needs data, or else its class_names, normalization"):
            Classifier(tiny_network(), **{**given, name: None})


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (Body(), {"conv_padding": "standard"}, "conv_padding: only for a network that is given by"),
        (Body(), {"resize": "stretch"}, "resize is 'stretch', expected 'crop', 'pad', 'squash'"),
        (Body(), {"class_names": "ab"}, "class_names is 'ab', expected a sequence of names"),
        (Body(), {"class_names": ()}, "class_names is empty"),
        ("ResNet19", {}, "model is 'ResNet19', expected one of ResNet18"),
        (Body, {}, r"network is the class Body, expected a network: Body\(\)"),
        (Body().state_dict(), {}, "network is a dict, perhaps of weights: make a network"),
        ([1], {}, r"network is list, expected a torch\.nn\.Module"),
    ],
)
def test_a_wrong_network_or_option_is_refused(few, network, options, message):
    with pytest.raises(ValueError, match=message):
        Classifier(network, few, **options)


def test_initial_weights_depend_only_on_the_seed(few):
    """A cell that runs again gives the same weights; the global random state does not change."""
    torch.manual_seed(1)
    state, numpys, pythons = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    first, again, other = (
        Classifier("CustomResNet", few, **seed).network.linear.weight
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpys).all()
    assert random.getstate() == pythons
    usual = Classifier("CustomResNet", few, seed=5).network
    torch.manual_seed(5)
    assert torch.equal(usual.linear.weight, create("CustomResNet").linear.weight)


@pytest.mark.parametrize(("network", "weights"), [(tiny_network(), None), (Body(1), LUMA)])
def test_probabilities_are_the_networks(few, network, weights):
    """One channel is luma."""
    classifier = Classifier(network, few)
    found = classifier.predict(few.test_images, EXACT)
    assert found.dtype == np.float32
    assert found.shape == (50, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    statistics = classifier.normalization.mean, classifier.normalization.std
    mean, std = map(np.array, statistics)
    pixels = (few.test_images / 255 - mean) / std
    pixels = pixels if weights is None else np.average(pixels, 3, weights)[..., None]
    with torch.no_grad():
        expected = network.eval()(torch.tensor(pixels).permute(0, 3, 1, 2).float()).softmax(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("make", [partial(ResNet18, 10, "standard"), tiny_network])
def test_probabilities_do_not_depend_on_the_batch(sample, make):
    """Alone, among few and among many, in a batch and as the first of the next."""
    classifier, images = Classifier(make(), sample), sample.train_images[:66]
    many = classifier.predict(images, CPU)
    for some in (slice(1), slice(8), slice(9), slice(65), slice(-2, None)):
        np.testing.assert_allclose(classifier.predict(images[some], CPU), many[some], atol=1e-5)
    np.testing.assert_allclose(classifier.predict(images[:2], EXACT), many[:2], atol=1e-5)


def test_a_precision_that_is_set_is_used(few, tiny):
    half = Machine(accelerator="cpu", precision="bf16-mixed")
    exact, rounded = (tiny.predict(few.test_images, machine) for machine in (EXACT, half))
    assert 1e-5 < abs(exact - rounded).max() < 0.05


def test_image_files_are_predicted_like_their_pixels(tmp_path, few, tiny):
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path, image in zip(paths, few.test_images, strict=False):
        Image.fromarray(image).save(path)
    expected = tiny.predict(few.test_images[:12])
    content, backwards = paths[0].read_bytes(), few.test_images[:3, :, ::-1][:, :, ::-1]
    backwards.flags.writeable = False
    one = [paths[0], str(paths[0]), content, Image.open(paths[0])]
    with open(paths[0], "rb") as file:
        alone = [(image, [0]) for image in (*one, io.BytesIO(content), file)]
        for images, rows in (*alone, (one, [0] * 4), (paths, range(12)), (backwards, range(3))):
            np.testing.assert_allclose(tiny.predict(images), expected[rows], atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 32, 32, 3), np.float32), "images is float32 .* expected uint8"),
        (np.zeros((32, 32, 3), np.uint8), r"images is uint8 of shape \(32, 32, 3\)"),
        (np.zeros((1, 48, 32, 3), np.uint8), "images are 48x32 pixels, Sequential on .* takes 32x"),
        ([], "images are neither an array uint8 .* nor image files"),
        ([1, 2], "images are neither"),
        (3, "images are neither"),
        (b"no picture", "the image is not an image that Pillow can read"),
        (Image.new("RGB", (900, 3)), "the image is 900x3 pixels, of which 'crop' leaves"),
        (Image.new("RGB", (0, 3)), "the image has 0x3 pixels, expected 1 to "),
    ],
)
def test_other_values_than_images_are_refused(tiny, images, message):
    with pytest.raises(ValueError, match=message):
        tiny.predict(images)


def test_one_picture_of_16_bits_is_scaled_as_the_training_images_were(tmp_path, few, tiny):
    values = few.test_images[0, ..., 0].astype(np.uint16) * 10
    Image.fromarray(values).save(tmp_path / "grey.png")
    tiny.scales = Classifier(tiny.network, replace(few, scales={"uint16": (0, 5100)})).scales
    grey = np.repeat((values / 20).astype(np.uint8)[..., None], 3, axis=2)  # 255 / 5100
    expected = tiny.predict(grey[None])
    for image in (tmp_path / "grey.png", Image.fromarray(values)):
        np.testing.assert_allclose(tiny.predict(image), expected, atol=1e-6)
    read, _ = tiny.read(tmp_path / "grey.png")  # as the page that ``serve`` opens does
    assert np.abs(read.astype(int) - grey).max() <= 1


def test_a_picture_is_classified_in_one_call(tmp_path, few, tiny):
    Image.fromarray(few.test_images[0]).save(tmp_path / "cat.png")
    (shares,) = tiny.predict(few.test_images[:1])
    best = np.argsort(-shares)
    for image in (tmp_path / "cat.png", (tmp_path / "cat.png").read_bytes(), few.test_images[0]):
        found = tiny.classify(image, top=2)
        assert [name for name, _ in found] == [few.class_names[label] for label in best[:2]]
        assert [share for _, share in found] == pytest.approx(shares[best[:2]], abs=1e-5)
    assert len(tiny.classify(few.test_images[0], top=99)) == 10
    with torch.no_grad():  # of equal classes, the first is named
        for parameter in tiny.network.parameters():
            parameter.zero_()
    assert [name for name, _ in tiny.classify(few.test_images[0])] == list(few.class_names[:3])


def test_a_changed_network_gives_other_predictions(few):
    """The cached call is only for the layers for which it was found."""
    classifier, image = Classifier(tiny_network(), few), few.test_images[:1]
    first = classifier.predict(image, CPU)
    with torch.no_grad():
        classifier.network[-1].bias += torch.arange(10.0)
    assert not np.allclose(classifier.predict(image, CPU), first)
    classifier.network = tiny_network()
    np.testing.assert_array_equal(classifier.predict(image, CPU), first)
    classifier.normalization = Normalization((0.1,) * 3, (0.9,) * 3)
    assert not np.allclose(classifier.predict(image, CPU), first)
    classifier.network[-1] = torch.nn.Linear(16, 7)
    with pytest.raises(ValueError, match=r"the network returns \(1, 7\) for one image"):
        classifier.predict(image, CPU)


def test_after_a_prediction_it_can_be_copied_and_pickled(few, tiny):
    expected = tiny.predict(few.test_images[:1])
    file = io.BytesIO()
    torch.save(tiny, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (loaded, pickle.loads(pickle.dumps(tiny)), tiny.copy()):
        np.testing.assert_array_equal(other.predict(few.test_images[:1]), expected)


def test_threads_that_predict_do_not_disturb_each_other(few, tiny):
    tiny.network.train()
    images = few.test_images[:20]
    expected = tiny.predict(images)
    with left_alone(tiny.network), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: tiny.predict(images), range(40)))
    assert all(np.array_equal(answer, expected) for answer in answers)


def test_with_network_keeps_everything_else(trained):
    network = tiny_network()
    other = trained.with_network(network)
    assert other.network is network
    assert trained.network is not network
    for name in ("class_names", "normalization", "size", "resize", "history", "description"):
        assert getattr(other, name) == getattr(trained, name)
    assert trained.with_network(network, History()).history == History()


def test_class_names_may_be_assigned_as_a_list(few, tiny):
    tiny.class_names = np.array(few.class_names)
    tiny.check(few)
    with pytest.raises(ValueError, match="class_names"):
        tiny.class_names = ["a", "a"]


def test_data_that_was_read_otherwise_is_refused(few, tiny):
    tiny.check(replace(few, resize="crop"))
    with pytest.raises(ValueError, match="pictures resized by 'crop', those of a few images were "):
        tiny.check(replace(few, resize="pad"))
    tiny.scales = {"uint16": (0, 4095)}
    tiny.check(replace(few, scales={"uint16": (0, 4095), "int32": (0, 9)}))
    with pytest.raises(ValueError, match=r"at other scales .*: load them with scales=classifier\."):
        tiny.check(replace(few, scales={"uint16": (0, 65535)}))


def test_data_of_a_reloaded_class_is_accepted(few, tiny):
    """%autoreload makes another class with the same name."""
    values = {field.name: getattr(few, field.name) for field in fields(ImageData)}
    tiny.check(SimpleNamespace(**values, size=few.size))
