"""Any network: how it is called, and then from training to explanation."""

import copy
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from networks import NETWORKS, Answering, Body, FromScratch, Viewed, made
from small import EXACT, equal, few_images, left_alone, tiny_network
from torch import Tensor, nn

from pytorch_vision.analysis import grad_cam, removal
from pytorch_vision.data import ImageData, subset
from pytorch_vision.explain import baseline_maps, map_geometry
from pytorch_vision.models import Classifier, print_summary
from pytorch_vision.models.adapter import Call, LogitsError, find_call
from pytorch_vision.models.module_utils import tensors_of
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, evaluate, find_learning_rate, fit

SIZE = (32, 32)
CONTIGUOUS = torch.contiguous_format
HALF = Machine(accelerator="cpu", precision="bf16-mixed")
CONFIG = TrainConfig(epochs=1, batch_size=16)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("frozen", Call()),
        ("view", Call(memory_format=CONTIGUOUS)),
        ("one channel", Call(channels=1)),
        ("squeeze", Call(alone=False)),
        ("dictionary", Call()),
    ],
)
def test_the_fastest_call_that_works_is_found(kind, expected):
    network = made(kind)
    assert find_call(network, SIZE, 10) == expected
    assert network.training


def test_without_16_bits_there_is_no_autocast():
    precision = partial(torch.autocast, "cpu", torch.bfloat16)
    assert find_call(made("numpy"), SIZE, 10, precision) == Call(autocast=False)


@pytest.mark.parametrize(("groups", "autocast"), [(1, True), (4, True), (8, False)])
def test_depthwise_convolutions_run_in_float32_on_a_cpu(groups, autocast):
    network = tiny_network()
    network.insert(1, nn.Conv2d(8, 8, 3, groups=groups))
    assert find_call(network, SIZE, 10) == Call(autocast=autocast)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (tiny_network(classes=7), r"returns \(1, 7\) for one image, expected \(1, 10\)"),
        (Answering(lambda logits, x: (x, logits)), r"returns \(1, 8, 8, 8\) for one image"),
        (Answering(lambda logits, x: {}), "returns dict, expected logits: a tensor, a tuple that"),
        (Answering(lambda logits, x: None), "returns NoneType, expected logits"),
    ],
)
def test_other_outputs_are_refused(network, message):
    with pytest.raises(LogitsError, match=message):
        find_call(network, SIZE, 10)


@pytest.fixture(scope="module")
def data() -> ImageData:
    """33 training images: the last batch of 16 would have one."""
    few = few_images()
    return replace(
        subset(few, 33), test_images=few.test_images[:17], test_labels=few.test_labels[:17]
    )


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("kind", "machine"),
    [
        *((kind, EXACT) for kind in NETWORKS),
        *((kind, HALF) for kind in ("view", "tuple", "chance", "numpy", "one channel", "half")),
    ],
)
def test_a_network_is_trained_tested_saved_and_explained(data, tmp_path, kind, machine):
    classifier = Classifier(made(kind), data)
    find_learning_rate(classifier, data, CONFIG, machine, steps=10)
    before = copy.deepcopy(tensors_of(classifier.network))
    order = [parameter.stride() for parameter in classifier.network.parameters()]
    history = fit(classifier, data, CONFIG, machine)
    after = tensors_of(classifier.network)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert [parameter.stride() for parameter in classifier.network.parameters()] == order
    result = evaluate(classifier, data, machine)
    assert history.records[0].test_loss == pytest.approx(result.loss, rel=1e-4)
    assert np.isfinite(result.loss)

    path = tmp_path / "weights.safetensors"
    classifier.save(path)
    other = Classifier.load(path, made(kind))
    assert equal(tensors_of(other.network), after)
    found = classifier.predict(data.test_images, EXACT)
    np.testing.assert_allclose(other.predict(data.test_images, EXACT), found, atol=1e-5)
    assert Classifier(made(kind), data).begin_with(path).startswith("Beginning with the weights of")

    print_summary(classifier)
    if kind not in ("one channel, flat", "scripted", "traced"):  # these have no map
        maps = grad_cam(classifier, data.test_images[:3], [0, 1, 2])
        assert np.isfinite(maps).all()
        removal(classifier, data.test_images[:3], np.arange(3), {"map": maps}, (0.5,), machine)


@pytest.mark.parametrize(
    "kind", ["odd buffers", "two names", "chance", "weight_norm", "foreign state"]
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_resumed_training_ends_with_the_same_weights(data, tmp_path, kind):
    """The random states of Python and NumPy are saved, too."""
    config = replace(CONFIG, epochs=2)
    whole, resumed = [], []
    for stops, kept in ((False, whole), (True, resumed)):
        random.seed(0), np.random.seed(0)
        classifier = Classifier(made(kind), data)
        if stops:
            fit(classifier, data, config, EXACT, tmp_path, lambda tested: True)
            random.seed(7), np.random.seed(7)
            classifier = Classifier(made(kind), data)
        fit(classifier, data, config, EXACT, tmp_path if stops else None)
        kept.append(classifier.network)
    assert equal(tensors_of(whole[0]), tensors_of(resumed[0]))


def test_the_callers_gradient_mode_and_autocast_change_nothing(data):
    def work(classifier: Classifier) -> list[float]:
        history = fit(classifier, data, replace(CONFIG, epochs=2), EXACT)
        find_learning_rate(classifier, data, CONFIG, EXACT, steps=10)
        assert grad_cam(classifier, data.test_images[:2], [0, 1]).max() == 1
        return [*history.column("train_loss"), evaluate(classifier, data, EXACT).loss]

    expected = work(Classifier(tiny_network(), data))
    for mode in (torch.no_grad, torch.inference_mode):
        classifier = Classifier(tiny_network(), data)
        with mode():
            assert work(classifier) == expected
    classifier = Classifier(tiny_network(), data)
    with torch.autocast("cpu", torch.bfloat16):
        assert work(classifier) == expected


def test_statistics_of_a_network_from_scratch_are_those_of_training(data):
    classifier = Classifier(FromScratch(), data)
    history = fit(classifier, data, CONFIG, EXACT)
    assert history.records[-1].test_loss == pytest.approx(evaluate(classifier, data, EXACT).loss)


def test_counters_and_masks_are_those_of_the_last_step(data):
    """Only weights are averaged."""
    classifier = Classifier(made("odd buffers"), data)
    fit(classifier, data, replace(CONFIG, epochs=2), EXACT)
    assert classifier.network.steps == 4
    assert classifier.network.used[0]


def remove(classifier: Classifier, data: ImageData) -> None:
    images = data.test_images[:2]
    removal(classifier, images, [0, 1], baseline_maps(images), machine=EXACT)


WORKS = [
    lambda c, d: fit(c, d, CONFIG, EXACT),
    lambda c, d: fit(c, d, replace(CONFIG, epochs=0), EXACT),
    lambda c, d: evaluate(c, d, EXACT),
    lambda c, d: c.predict(d.test_images, EXACT),
    lambda c, d: find_learning_rate(c, d, CONFIG, EXACT, steps=10),
    lambda c, d: grad_cam(c, d.test_images[:1], [0]),
    lambda c, d: map_geometry(c),
    lambda c, d: print_summary(c),
]


@pytest.mark.parametrize("work", [*WORKS[1:], remove])
def test_only_a_training_changes_a_network_or_the_random_state(data, work):
    classifier = Classifier(tiny_network().train(), data)
    classifier.network[1].eval()  # layers keep their own modes
    with left_alone(classifier.network):
        work(classifier, data)
    assert classifier.history.records == ()


@pytest.mark.parametrize("work", WORKS)
def test_a_network_for_another_size_is_refused_everywhere(data, work):
    lenet = nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.Flatten(), nn.Linear(6 * 30 * 30, 10))
    message = r"Sequential cannot take images of 32x32 pixels \(RuntimeError: .*\)"
    with pytest.raises(ValueError, match=message):
        work(Classifier(lenet, data), data)


def test_a_network_that_refuses_small_images_is_named_before_progressive_resizing(data):
    with pytest.raises(ValueError, match=r"images of 24x24 pixels .* set progressive_resizing=0"):
        fit(Classifier(Viewed(), data), data, replace(CONFIG, epochs=2, progressive_resizing=0.5))


class Detached(Body):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (tiny_network().requires_grad_(False), "Sequential .*: all of it is frozen"),
        (Detached(), "Detached .*: its logits have no gradient"),
    ],
)
def test_a_network_with_nothing_to_train_is_refused(data, network, message):
    with pytest.raises(ValueError, match=f"nothing to train in {message}"):
        fit(Classifier(network, data), data, CONFIG)
