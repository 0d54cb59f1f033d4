"""The last layer, fitted to frozen features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from small import EXACT, State, state_of, tiny_classifier, tiny_network
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, create
from pytorch_vision.models.adapter import Adapter, Call
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.training import TrainConfig, fit, linear_probe
from pytorch_vision.training.linear_probe import (
    LinearProbe,
    adapt,
    fit_last_layer,
    fit_probe,
    last_layer,
)

SIZE = (32, 32)
CPU = Machine("cpu")


@pytest.fixture
def easy() -> ImageData:
    """Three classes of one colour each, with noise, which random filters tell apart."""
    labels = np.arange(60) % 3
    noise = np.random.default_rng(0).integers(0, 100, (60, *SIZE, 3))
    images = (noise + 150 * np.eye(3)[labels][:, None, None]).astype(np.uint8)
    return ImageData(images, labels, images[:6], labels[:6], ("red", "green", "blue"), "colours")


class Scaled(nn.Module):
    """Its logits are sharper than the outputs of its last layer."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(images.mean((2, 3)))
        logits /= 0.05
        return logits


CONVOLUTION = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "multiple"),
    [
        (tiny_network(), 1.0),
        (create("CustomResNet"), 0.125),
        (Scaled(nn.Linear(3, 2)), 20.0),
        (nn.Sequential(tiny_network(), nn.Softmax(1)), None),
        (CONVOLUTION, None),
    ],
    ids=["linear", "scaled", "scaled in place", "softmax", "convolution"],
)
def test_last_layer_is_the_linear_one_that_gives_the_logits(network, multiple):
    found = last_layer(Adapter(network, Call()), SIZE)
    if multiple is None:
        assert found is None
    else:
        assert found[0] is [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
        assert found[1] == pytest.approx(multiple, rel=1e-3)


@pytest.mark.parametrize("width", [5, 200])  # fewer and more than there are rows
@pytest.mark.parametrize("intercept", [True, False])
def test_its_accuracy_is_that_of_fits_without_each_image(width, intercept, monkeypatch):
    strength = 0.1
    monkeypatch.setattr(linear_probe, "STRENGTHS", torch.tensor([strength]))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    centres = 0.3 * torch.randn(3, width, generator=generator)
    features = centres[labels] + torch.randn(60, width, generator=generator)
    x = features.double()
    if intercept:
        x = x - x.mean(0)
    x = x / x.square().mean(0).sqrt()
    targets = F.one_hot(labels, 3).double()
    targets = targets if intercept else targets - 1 / 3
    ridge = Ridge(60 * strength, fit_intercept=intercept)
    answers = cross_val_predict(ridge, x.numpy(), targets.numpy(), cv=LeaveOneOut()).argmax(1)
    probe = fit_probe(features, labels, 3, intercept)
    assert probe.accuracy == pytest.approx((answers == labels.numpy()).mean())
    assert 0.4 < probe.accuracy < 1  # neither chance nor certainty


def test_its_strength_and_its_scale_are_found_from_the_images():
    labels = torch.arange(400) % 2
    features = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    features[:, 0] += 2 * labels
    train, test = slice(0, 200), slice(200, 400)
    probe = fit_probe(features[train], labels[train], 2)
    logits = features[test] @ probe.weight.T + probe.bias
    accuracy = 100 * float((logits.argmax(1) == labels[test]).float().mean())
    best = 84.1  # of the classes' own densities
    assert accuracy > best - 10
    # as sure as it is right, though it could tell its own 200 images apart
    assert float(F.cross_entropy(logits, labels[test])) < 0.55


def test_features_that_never_change_do_no_harm():
    features = torch.ones(20, 4)
    features[10:, 1] = 3.0
    probe = fit_probe(features, torch.arange(20) // 10, 2)
    assert probe.accuracy == 1
    assert probe.weight.isfinite().all()


def test_a_layer_of_computed_weights_is_not_fitted(easy, capsys):
    network = Scaled(parametrizations.weight_norm(nn.Linear(3, 3)))
    fit(Classifier(network, easy), easy, TrainConfig.finetune(epochs=1), CPU)
    assert "no layer is fitted before the training" in capsys.readouterr().out


def changed(classifier: Classifier, before: State) -> set[str]:
    """Return the names of the tensors of a network that are others than before."""
    after = classifier.network.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_only_the_last_layer_is_fitted_if_it_alone_is_trained(easy, capsys, monkeypatch):
    monkeypatch.setattr(linear_probe, "image_count", lambda _: 15)  # decide; all are fitted
    classifier, head = tiny_classifier(easy), TrainConfig.finetune(train="head")
    before = state_of(classifier.network)
    adapter, fabric = Adapter(classifier.network, Call()), make_fabric(CPU)
    fit_last_layer(fabric, adapter, classifier, easy, head)
    assert f"fitted to the features of {len(easy.train_labels)} images" in capsys.readouterr().out
    assert changed(classifier, before) == {"7.weight", "7.bias"}
    answers = classifier.predict(easy.train_images).argmax(1)
    assert (answers == easy.train_labels).mean() > 0.9
    fit_last_layer(fabric, adapter, classifier, easy, head)
    assert "The last layer stays as it is" in capsys.readouterr().out


FIRST = [1.0, 0.7, 1.0, 0.7]


def probe_of(losses: list[float]) -> LinearProbe:
    return LinearProbe(torch.empty(0), torch.empty(0), 0.0, torch.tensor(losses))


@pytest.mark.parametrize(
    ("losses", "accepted"),
    [
        ([[1.2, 0.8, 1.2, 0.8]], 0),  # worse for all
        ([[0.8, 0.6, 0.8, 0.6], [0.9, 0.7, 0.9, 0.7]], 1),  # better, then worse
        ([[0.8, 0.6, 0.8, 0.6], [0.9, 0.6, 0.7, 0.6], [2, 2, 2, 2]], 2),  # within the error
        ([[0.9, 0.5, 0.9, 0.5], [0.8, 0.5, 0.8, 0.5], [0.7, 0.4, 0.7, 0.4], [0, 0, 0, 0]], 4),
    ],
)
def test_statistics_move_until_the_fit_is_worse_by_more_than_its_error(losses, accepted):
    network, given, share = tiny_network(), iter(losses), (0.0, *linear_probe.SHARES)[accepted]
    before = state_of(network)

    def moved_by(share: float) -> LinearProbe:
        network[1].running_mean += share
        network[1].running_var += 2 * share
        return probe_of(next(given))

    moved, fitted = adapt(Adapter(network, Call()), probe_of(FIRST), moved_by)
    assert moved == share
    assert fitted.losses.tolist() == pytest.approx([FIRST, *losses][accepted])
    assert list(given) == []
    wanted = before | {
        "1.running_mean": before["1.running_mean"] + share,
        "1.running_var": before["1.running_var"] + 2 * share,
    }
    assert all(torch.equal(wanted[name], value) for name, value in state_of(network).items())


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_move_unless_their_layer_is_frozen(easy, frozen, capsys):
    classifier, data = tiny_classifier(easy), replace(easy, train_digests=("a", "b"))
    classifier.network[1].requires_grad_(not frozen)
    before = state_of(classifier.network)
    adapter, fabric = Adapter(classifier.network, Call()), make_fabric(CPU)
    fit_last_layer(fabric, adapter, classifier, data, TrainConfig.finetune())
    moved = set() if frozen else {"1.running_mean", "1.running_var"}
    assert changed(classifier, before) == {"7.weight", "7.bias"} | moved
    assert ("statistics moved" in capsys.readouterr().out) != frozen
    assert classifier.train_digests == data.train_digests != ()


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        (
            TrainConfig.finetune(epochs=1),
            "0.weight 1.running_mean 1.running_var 3.weight 3.bias 7.weight 7.bias",
        ),
        (TrainConfig.finetune(epochs=1, train="head"), "7.weight 7.bias"),
        (TrainConfig(epochs=1, train="head"), "7.weight 7.bias"),
    ],
)
def test_parameters_of_normalisation_or_all_below_the_head_stay(easy, config, trained):
    """``finetune`` freezes normalisation layers; afterwards nothing is frozen."""
    classifier = tiny_classifier(easy)
    before = state_of(classifier.network)
    fit(classifier, easy, config, CPU)
    assert all(one.requires_grad for one in classifier.network.parameters())
    assert changed(classifier, before) == set(trained.split())


def test_training_the_head_needs_a_linear_layer(few):
    with pytest.raises(ValueError, match="does not end with a linear layer"):
        fit(Classifier(CONVOLUTION, few), few, TrainConfig(train="head"), CPU)


def test_a_recipe_for_random_weights_is_questioned_after_learned_ones(few, tiny, capsys):
    for recipe, questioned in ((TrainConfig, 0), (TrainConfig, 1), (TrainConfig.finetune, 0)):
        fit(tiny, few, recipe(epochs=1), CPU)
        assert capsys.readouterr().out.count("begins with learned weights") == questioned


def test_a_run_that_goes_on_fits_no_last_layer(easy, tmp_path, capsys):
    config = TrainConfig.finetune(epochs=1)
    for fitted in (True, False):
        classifier = tiny_classifier(easy)
        fit(classifier, easy, config, EXACT, checkpoints=tmp_path)
        assert ("A last layer fitted" in capsys.readouterr().out) == fitted
        if fitted:
            first = state_of(classifier.network)
    assert not changed(classifier, first)
