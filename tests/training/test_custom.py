"""A custom loss and optimizer, and what ``after_epoch`` can do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import EXACT, tiny_classifier
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.fit import is_yes

CONFIG = TrainConfig(epochs=2, batch_size=16, optimizer="sgd", momentum=0.0, weight_decay=0.0)


def smooth(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The recipe's loss, as a user would write it."""
    assert logits.dtype == torch.float32
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def each(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")


def in_place(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    loss = smooth(logits, labels)
    logits.detach().zero_()
    return loss


def weights_of(classifier: Classifier) -> torch.Tensor:
    return nn.utils.parameters_to_vector(classifier.network.parameters()).detach()


@pytest.mark.parametrize(
    "loss",
    [
        smooth,
        each,
        in_place,
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"),
        nn.CrossEntropyLoss(torch.ones(10, dtype=torch.float64), label_smoothing=0.1),
    ],
)
def test_a_custom_loss_replaces_the_recipes(few, tiny, loss):
    """Also with class weights in float64, as scikit-learn computes them, which it keeps."""
    expected = tiny_classifier(few)
    theirs = fit(expected, few, CONFIG, EXACT)
    ours = fit(tiny, few, CONFIG, EXACT, loss=loss)
    assert torch.allclose(weights_of(tiny), weights_of(expected), atol=1e-5)
    assert ours.column("train_loss") == pytest.approx(theirs.column("train_loss"), rel=1e-5)
    assert ours.column("train_accuracy") == theirs.column("train_accuracy")
    weight = getattr(loss, "weight", None)
    assert weight is None or weight.dtype is torch.float64


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"loss": "mse"}, "loss is 'mse', expected a function"),
        ({"optimizer": "adam"}, "optimizer is 'adam', expected a function"),
        ({"optimizer": lambda parameters: parameters}, "optimizer made list, expected a torch opt"),
        ({"loss": lambda logits, labels: logits}, r"loss returns \(16, 10\), expected one number"),
        ({"loss": lambda logits, labels: 1.0}, "loss returns 1.0, expected one number"),
        (
            {"loss": lambda logits, labels: logits.detach().mean()},
            "without a gradient with respect",
        ),
        ({"loss": nn.CrossEntropyLoss}, r"loss is the class .*, expected an instance: Cross"),
        (
            {"loss": lambda *batch: F.cross_entropy(*batch, torch.ones(10, dtype=torch.float64))},
            r"loss failed on logits float32 \(16, 10\) and labels int64.*; make the loss's own",
        ),
        (
            {"optimizer": torch.optim.AdamW(nn.Linear(1, 1).parameters())},
            r"expected a function that makes one: optimizer=lambda weights: AdamW\(",
        ),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS cannot be used here: expected an optimizer with"),
        ({"optimizer": lambda: None}, "optimizer failed on .* parameters: TypeError: "),
        (
            {"optimizer": lambda _: torch.optim.AdamW(nn.Linear(1, 1).parameters())},
            "optimizer made one that trains nothing in the network",
        ),
    ],
)
def test_what_cannot_be_a_loss_or_an_optimizer_is_named(few, tiny, custom, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny, few, CONFIG, EXACT, **custom)


def test_lack_of_memory_is_not_taken_for_a_wrong_optimizer(few, tiny):
    with pytest.raises(MemoryError, match="try batch_size=8"):
        fit(tiny, few, CONFIG, EXACT, optimizer=lambda _: bytearray(2**62))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((answer, True) for answer in (True, np.True_, torch.tensor(True))),
        *((answer, False) for answer in (1, "yes", torch.tensor(2.5), np.float32(1), np.False_)),
    ],
)
def test_only_true_ends_a_training(answer, expected):
    assert is_yes(answer) is expected


def test_a_custom_optimizer_trains_all_trainable_parameters(few, tiny):
    """Its rate rises and falls."""
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


def test_a_run_with_both_is_resumed_to_the_same_bits_with_the_same_functions_only(few, tmp_path):
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
