"""What is printed about probable mistakes before a training."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Body
from small import EXACT, tiny_network
from torch import Tensor, nn

from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, fit

CONFIG = TrainConfig(epochs=1, batch_size=16)
# each hint has one of these
WORDS = (
    "is not used",
    "holds",
    "not reach",
    "seems to end",
    "running statistics",
    "of its own,",
    "different logits",
)


class Hidden(Body):
    """Holds two layers in a list, beside a dictionary of layers that PyTorch sees elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
        self.known = {"first": self.conv1}

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.blocks[1](self.blocks[0](x))).softmax(1)


class Auxiliary(Body):
    """Has a second output with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = super().forward(x)
        return logits, self.second(logits.detach())


class Dropped(Body):
    """Drops features in evaluation mode, too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.dropout(self.features(x).mean((2, 3)), 0.5))


class Centres(nn.Module):
    """A loss with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.ones(10))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits * self.centres, labels)


def with_recipe(**settings: Any) -> dict[str, Any]:
    return {"config": replace(CONFIG, **settings)}


LOSS = Centres()
NO_STATISTICS = nn.BatchNorm2d(3, track_running_stats=False)


@pytest.mark.parametrize(
    ("network", "options", "hints"),
    [
        (
            Hidden(),
            {},
            ["blocks holds layers that are neither trained nor saved", "to end with a softmax"],
        ),
        (
            nn.Sequential(NO_STATISTICS, tiny_network(), nn.Sigmoid()),
            {"machine": None},  # also in bfloat16, where a CPU has it
            ["to end with a sigmoid", "\n0: without running statistics"],
        ),
        (Auxiliary(), {}, ["The loss does not reach second.weight, second.bias, which"]),
        (
            Body(),
            with_recipe(optimizer="adamw", muon_learning_rate=0.3, momentum=0.8),
            [
                "muon_learning_rate=0.3 is not used: optimizer is 'adamw'",
                "momentum=0.8 is not used: optimizer is 'adamw'",
            ],
        ),
        (
            Body(),
            with_recipe(optimizer="sgd", warm_up=0.35, momentum=0.8),
            ["warm_up=0.35 is not used: optimizer is 'sgd'"],
        ),
        (Body(), {"config": TrainConfig.finetune(epochs=1, batch_size=16, optimizer="sgd")}, []),
        (
            Body(),
            with_recipe(train="head", muon_learning_rate=0.3, label_smoothing=0.25),
            ["muon_learning_rate=0.3 is not used: no convolution filters are trained"],
        ),
        (
            Body(),
            {"loss": F.cross_entropy, **with_recipe(label_smoothing=0.25, class_weights=0.5)},
            [
                "label_smoothing=0.25 is not used: the loss is a custom one",
                "class_weights=0.5 is not used: the loss is a custom one",
            ],
        ),
        (
            Body(),
            {"optimizer": torch.optim.SGD, **with_recipe(learning_rate=0.3, warm_up=0.35)},
            ["learning_rate=0.3 is not used: the optimizer is a custom one"],
        ),
        (Body(), {"loss": LOSS}, ["The loss has weights of its own, which"]),
        (
            Body(),
            {"loss": LOSS, "optimizer": lambda some: torch.optim.SGD([*some, LOSS.centres], 0.1)},
            [],
        ),
        (nn.Sequential(tiny_network(), nn.LogSoftmax(1)), {}, []),
        (Dropped(), {}, ["The same image gets different logits in evaluation mode"]),
    ],
)
def test_probable_mistakes_are_printed_and_nothing_else(few, capsys, network, options, hints):
    fit(Classifier(network, few), few, **{"config": CONFIG, "machine": EXACT, **options})
    printed = capsys.readouterr().out
    assert all(hint in printed for hint in hints)
    assert sum(map(printed.count, WORDS)) == len(hints)
