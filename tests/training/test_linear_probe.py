"""The last layer, fitted to frozen features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import few_images, tiny_classifier, tiny_network
from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, ResNet, create
from pytorch_vision.models.adapter import Adapter, Call
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.training import TrainConfig, fit, linear_probe
from pytorch_vision.training.linear_probe import (
    begins_with_a_fit,
    features_below,
    fit_last_layer,
    fit_probe,
    last_layer,
    partly_frozen,
)

SIZE = (32, 32)


@pytest.fixture
def data() -> ImageData:
    return few_images()


def new_classifier(data: ImageData) -> Classifier:
    """A classifier that begins with weights of other classes."""
    classifier = tiny_classifier(data)
    classifier.is_partly_new = True
    return classifier


@pytest.mark.parametrize(
    ("network", "multiple"),
    [
        (tiny_network(), 1.0),
        (create("CustomResNet"), 0.125),
        (nn.Sequential(tiny_network(), nn.Softmax(1)), None),
        (nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), None),
    ],
    ids=["linear", "scaled", "softmax", "convolution"],
)
def test_last_layer_is_the_linear_one_that_gives_the_logits(
    network: nn.Module, multiple: float | None
) -> None:
    found = last_layer(Adapter(network, Call()), SIZE)

    if multiple is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] is [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
        assert found[1] == pytest.approx(multiple, rel=1e-3)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("width", [5, 200])  # fewer and more than there are rows
@pytest.mark.parametrize("intercept", [True, False])
def test_its_accuracy_is_that_of_fits_without_each_image(
    views: int, width: int, intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    strength = 0.1
    monkeypatch.setattr(linear_probe, "STRENGTHS", torch.tensor([strength]))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    centres = 0.3 * torch.randn(3, width, generator=generator)
    features = centres[labels] + torch.randn(views, 60, width, generator=generator)
    x = features.double()
    if intercept:
        x = x - x.mean((0, 1))
    x = x / x.square().mean((0, 1)).sqrt()
    targets = F.one_hot(labels, 3).double()
    targets = targets if intercept else targets - 1 / 3
    right = 0
    for one in range(60):
        others = torch.arange(60) != one
        rows, wanted = x[:, others].flatten(0, 1), targets[others].repeat(views, 1)
        mean, middle = rows.mean(0) * intercept, wanted.mean(0) * intercept
        rows = rows - mean
        gram = rows.T @ rows + strength * 60 * views * torch.eye(width)
        weight = torch.linalg.solve(gram, rows.T @ (wanted - middle))
        right += int(((x[0, one] - mean) @ weight + middle).argmax() == labels[one])

    probe = fit_probe(features, labels, 3, intercept)

    assert probe.accuracy == pytest.approx(100 * right / 60)
    assert 40 < probe.accuracy < 100  # neither chance nor certainty


def test_its_strength_and_its_scale_are_found_from_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    features = torch.randn(1, 400, 50, generator=generator)
    features[..., 0] += 2 * labels
    train, test = slice(0, 200), slice(200, 400)

    probe = fit_probe(features[:, train], labels[train], 2)

    logits = features[0, test] @ probe.weight.T + probe.bias
    accuracy = 100 * float((logits.argmax(1) == labels[test]).float().mean())
    best = 84.1  # of the classes' own densities
    assert accuracy > best - 10
    # as sure as it is right, though it could tell its own 200 images apart
    assert float(F.cross_entropy(logits, labels[test])) < 0.55


def test_features_that_never_change_do_no_harm() -> None:
    features = torch.ones(1, 20, 4)
    features[0, 10:, 1] = 3.0
    probe = fit_probe(features, torch.arange(20) // 10, 2)
    assert probe.accuracy == 100
    assert probe.weight.isfinite().all()


def test_features_are_a_layer_s_inputs_for_images_and_mirror_images(data: ImageData) -> None:
    classifier = tiny_classifier(data)
    adapter, layer = Adapter(classifier.network, Call()), classifier.network[-1]
    fabric = make_fabric(Machine("cpu", precision="32-true"))
    arguments = (classifier.normalization, True)

    both = features_below(fabric, adapter, layer, data.train_images, *arguments)
    turned = np.ascontiguousarray(data.train_images[:, :, ::-1])
    other = features_below(fabric, adapter, layer, turned, *arguments)

    assert both.shape == (2, 100, 16)
    assert not torch.allclose(both[0], both[1])
    torch.testing.assert_close(both.flip(0), other)
    classifier.network.eval()
    expected = classifier.predict(data.train_images)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(both[0]).softmax(1), torch.from_numpy(expected), atol=1e-2, rtol=1e-2
        )


def test_only_the_last_layer_is_fitted(data: ImageData) -> None:
    classifier = new_classifier(data)
    before = {name: one.clone() for name, one in classifier.network.state_dict().items()}
    fabric = make_fabric(Machine("cpu"))

    probe = fit_last_layer(
        fabric, Adapter(classifier.network, Call()), classifier, data, TrainConfig()
    )

    assert probe is not None
    assert probe.images == 100
    after = classifier.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"7.weight", "7.bias"}
    assert classifier.network.training
    answers = classifier.predict(data.train_images).argmax(1)
    assert (answers == data.train_labels).mean() > 0.2  # twice chance, from random filters


def test_transfer_fits_the_last_layer_and_freezes_the_normalisation_layers(
    data: ImageData, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = new_classifier(data)
    normalisation = {name: one.clone() for name, one in classifier.network[1].state_dict().items()}
    filters = classifier.network[0].weight.clone()

    fit(classifier, data, TrainConfig.finetune(epochs=1), Machine("cpu"))

    assert "The last layer is fitted to the features of 100 images" in capsys.readouterr().out
    for name, one in classifier.network[1].state_dict().items():
        torch.testing.assert_close(one, normalisation[name], rtol=0, atol=0, msg=name)
    assert all(one.requires_grad for one in classifier.network.parameters())
    assert not torch.equal(classifier.network[0].weight, filters)
    assert not classifier.is_partly_new


def test_training_the_head_trains_nothing_else(data: ImageData) -> None:
    classifier = tiny_classifier(data)
    before = {name: one.clone() for name, one in classifier.network.state_dict().items()}

    fit(classifier, data, TrainConfig(epochs=1, train="head"), Machine("cpu"))

    after = classifier.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"7.weight", "7.bias"}
    assert all(one.requires_grad for one in classifier.network.parameters())


def test_training_the_head_needs_a_linear_layer(data: ImageData) -> None:
    network = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(network, data)
    config = replace(TrainConfig(), train="head")
    with (
        pytest.raises(ValueError, match="does not end with a linear layer"),
        partly_frozen(Adapter(network, Call()), classifier, config),
    ):
        pass


def test_transfer_is_adamw_and_may_be_given_another_rate() -> None:
    recipe = TrainConfig.finetune(transfer_learning_rate=2e-4)
    assert (recipe.optimizer, recipe.peak_learning_rate) == ("sgd", 0.001)  # for the same classes
    transfer = recipe.for_transfer()
    assert (transfer.optimizer, transfer.peak_learning_rate) == ("adamw", 2e-4)
    assert not TrainConfig.finetune(learning_rate=0.1).transfers


@pytest.mark.parametrize(
    ("train", "expected"), [("all", ("muon", None, 0.05)), ("head", ("adamw", 3e-4, None))]
)
def test_a_resnet_of_ours_moves_far_unless_its_head_alone_is_trained(
    data: ImageData, train: str, expected: tuple[str, float | None, float | None]
) -> None:
    classifier = Classifier(ResNet(blocks=(1, 1, 1, 1)), data)
    classifier.is_partly_new = True
    recipe = TrainConfig.finetune(train=train)

    fitted = begins_with_a_fit(classifier, recipe)

    chosen = recipe.for_transfer(fitted)
    assert fitted == (train == "head")
    assert (chosen.optimizer, chosen.learning_rate, chosen.muon_learning_rate) == expected
