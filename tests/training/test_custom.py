"""A loss and an optimizer of the caller's own, unequal classes, and the best epoch kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import tiny_classifier
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError, Machine
from pytorch_vision.training import TrainConfig, evaluate, fit
from pytorch_vision.training.loss import class_weights

EXACT = Machine(accelerator="cpu", precision="32-true")
CONFIG = TrainConfig(epochs=2, batch_size=16, optimizer="sgd", momentum=0.0, weight_decay=0.0)


def smooth(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The recipe's own loss, as a caller would write it."""
    assert logits.dtype == torch.float32
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def each(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")


def weights_of(classifier: Classifier) -> torch.Tensor:
    return nn.utils.parameters_to_vector(classifier.network.parameters()).detach()


@pytest.mark.parametrize("loss", [smooth, each, nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_a_loss_of_ones_own_takes_the_place_of_the_recipes(few, tiny, loss):
    expected = tiny_classifier(few)
    theirs = fit(expected, few, CONFIG, EXACT)
    ours = fit(tiny, few, CONFIG, EXACT, loss=loss)
    assert torch.allclose(weights_of(tiny), weights_of(expected), atol=1e-5)
    assert ours.column("train_loss") == pytest.approx(theirs.column("train_loss"), rel=1e-5)


def test_an_optimizer_of_ones_own(few, tiny):
    """It has what is trained; its rate rises and falls; what is frozen stays."""
    made = []

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made.append((parameters, torch.optim.AdamW(parameters, lr=0.01)))
        return made[0][1]

    tiny.network[0].requires_grad_(False)
    before = weights_of(tiny)
    history = fit(tiny, few, CONFIG, EXACT, optimizer=make)
    parameters, adam = made[0]
    trained = [one for one in tiny.network.parameters() if one.requires_grad]
    assert list(map(id, parameters)) == list(map(id, trained))
    assert all("exp_avg" in adam.state[one] for one in trained)
    assert not torch.equal(weights_of(tiny), before)
    assert 0 < history.column("learning_rate")[-1] < history.column("learning_rate")[0] < 0.01


def test_a_run_with_both_goes_on_to_the_same_bits_and_knows_them(few, tmp_path):
    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=0.01)

    def another(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=0.02)

    own = {"loss": smooth, "optimizer": make}
    whole, stopped, resumed = (tiny_classifier(few) for _ in range(3))
    fit(whole, few, CONFIG, EXACT, **own)
    fit(stopped, few, CONFIG, EXACT, tmp_path, lambda tested: True, **own)
    for other in ({}, {"loss": smooth}, {"loss": each, "optimizer": make}):
        with pytest.raises(CheckpointError, match=r"another run: custom (loss|optimizer)"):
            fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path, **other)
    with pytest.raises(CheckpointError, match="another run: custom optimizer was"):
        fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path, loss=smooth, optimizer=another)
    fit(resumed, few, CONFIG, EXACT, tmp_path, **own)
    assert torch.equal(weights_of(whole), weights_of(resumed))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"loss": "mse"}, "loss is 'mse', expected a function"),
        ({"optimizer": "adam"}, "optimizer is 'adam', expected a function"),
        ({"optimizer": lambda parameters: parameters}, "optimizer made list, expected a torch opt"),
        ({"loss": lambda logits, labels: logits}, r"loss gives \(16, 10\), expected one number"),
        ({"loss": lambda logits, labels: 1.0}, "loss gives 1.0, expected one number"),
        (
            {"loss": lambda logits, labels: logits.detach().mean()},
            "no gradient with respect to the logits",
        ),
        ({"loss": nn.CrossEntropyLoss}, r"loss is the class .*, expected an instance: Cross"),
        (
            {"optimizer": torch.optim.AdamW(nn.Linear(1, 1).parameters())},
            r"made already; expected a function that makes one: optimizer=lambda weights: AdamW\(",
        ),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS cannot be used here: expected an optimizer with"),
    ],
)
def test_what_is_none_is_named(few, tiny, own, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny, few, CONFIG, EXACT, **own)


def test_numpys_numbers_in_an_optimizer_are_kept(few, tiny, tmp_path):
    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=np.float64(0.01), betas=(np.float64(0.9), 0.99), weight_decay=np.int64(0)
        )

    fit(tiny, few, CONFIG, EXACT, tmp_path, lambda tested: np.True_, optimizer=make)
    history = fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path, optimizer=make)
    assert len(history.records) == 2


@pytest.mark.parametrize("answer", [True, np.True_, torch.tensor(True)])
def test_whatever_is_true_ends_a_training(few, tiny, answer):
    assert len(fit(tiny, few, CONFIG, EXACT, after_epoch=lambda _: answer).records) == 1


@pytest.mark.parametrize("answer", [1, "yes", torch.tensor(2.5), np.float32(1), np.False_])
def test_nothing_else_does(few, tiny, answer):
    assert len(fit(tiny, few, CONFIG, EXACT, after_epoch=lambda _: answer).records) == 2


def test_a_loss_whose_weights_nobody_trains_is_told(few, tiny, capsys):
    class Centres(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.ones(10))

        def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(logits * self.centres, labels)

    loss = Centres()
    fit(tiny, few, CONFIG, EXACT, loss=loss)
    assert "The loss has weights of its own" in capsys.readouterr().out
    make = lambda parameters: torch.optim.SGD([*parameters, *loss.parameters()], lr=0.1)  # noqa: E731
    fit(tiny, few, CONFIG, EXACT, loss=loss, optimizer=make)
    assert "The loss has weights" not in capsys.readouterr().out
    assert not torch.equal(loss.centres, torch.ones(10))


def test_class_weights_are_the_inverse_of_the_frequency(few):
    labels = np.repeat([0, 1, 3], [80, 15, 5])
    unequal = replace(few, train_labels=labels)
    assert class_weights(unequal, 0) is None
    counts = torch.tensor([80.0, 15, 0, 5])
    for share in (0.5, 1.0):
        weights = class_weights(unequal, share)
        assert (weights * torch.tensor([80, 15, 0, 5] + [0] * 6)).sum() == pytest.approx(100)
        assert weights[3] / weights[0] == pytest.approx(float(counts[0] / counts[3]) ** share)
        assert weights[2] == 1  # has no image


def test_class_weights_help_the_rare(few, tiny):
    """One image in ten is of the rare class, and counts as much as the others together."""
    rare = np.arange(100) % 10 == 0
    images = few.train_images.copy()
    images[rare] = images[rare] // 4 * 3  # somewhat darker
    data = replace(
        few,
        train_images=images,
        train_labels=rare.astype(np.int64),
        test_images=images,
        test_labels=rare.astype(np.int64),
        class_names=("common", "rare"),
    )
    found = []
    for share in (0.0, 1.0):
        classifier = tiny_classifier(data)
        fit(classifier, data, replace(CONFIG, epochs=4, class_weights=share), EXACT)
        found.append(classifier.predict(images, EXACT)[rare, 1].mean())
    assert found[1] > found[0] + 0.2


def test_the_best_epoch_can_be_kept(few, tiny):
    best: list[Classifier] = []

    def keep(tested: Classifier) -> bool:
        accuracies = tested.history.column("test_loss")
        if accuracies[-1] == min(accuracies):
            best[:] = [tested.copy()]
        return len(accuracies) == 3

    fit(tiny, few, replace(CONFIG, epochs=5, learning_rate=0.5), EXACT, after_epoch=keep)
    losses = tiny.history.column("test_loss")
    assert len(losses) == 3  # stopped, and left as it was tested
    assert evaluate(tiny, few, EXACT).loss == losses[-1]
    assert evaluate(best[0], few, EXACT).loss == min(losses)
    assert len(best[0].history.records) == losses.index(min(losses)) + 1


def test_class_weights_in_float64_are_trained_with(few, tiny):
    """As scikit-learn computes them; the caller's loss keeps its type."""
    weights = torch.linspace(0.5, 1.5, 10, dtype=torch.float64)
    loss = nn.CrossEntropyLoss(weights)
    ours = fit(tiny, few, CONFIG, EXACT, loss=loss)
    theirs = fit(
        tiny_classifier(few), few, CONFIG, EXACT, loss=nn.CrossEntropyLoss(weights.float())
    )
    assert ours.column("train_loss") == theirs.column("train_loss")
    assert loss.weight.dtype is torch.float64


def test_a_loss_that_fails_is_named(few, tiny):
    weights = torch.ones(10, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"loss failed on logits float32 \(16, 10\) and labels int64"
    ):
        fit(tiny, few, CONFIG, EXACT, loss=lambda *batch: F.cross_entropy(*batch, weights))
