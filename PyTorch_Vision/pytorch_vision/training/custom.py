"""A loss and an optimizer of the caller's own, in place of the recipe's."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pytorch_vision.training.fingerprint import describe_callable

Loss = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Own:
    """What a caller trains with in place of the recipe's.

    Attributes:
        loss: of logits float32 (N, C) and labels int64 (N,); a mean over the images, or one number
            for each.
        optimizer: makes one of the parameters that are trained.

    Raises:
        ValueError: one of them is of another kind; says what was expected.
    """

    loss: Loss | None = None
    optimizer: MakeOptimizer | None = None

    def __post_init__(self) -> None:
        kind = type(self.optimizer).__name__
        if isinstance(self.optimizer, Optimizer):
            raise ValueError(
                f"optimizer is one that is made already; expected a function that makes one: "
                f"optimizer=lambda weights: {kind}(weights, lr=...)"
            )
        if isinstance(self.loss, type):
            name = self.loss.__name__
            raise ValueError(f"loss is the class {name}, expected one of its kind: {name}()")
        for name, value in vars(self).items():
            if value is not None and not callable(value):
                raise ValueError(f"{name} is {value!r}, expected a function")

    def identity(self) -> dict[str, Any]:
        """Return in plain text by what a checkpoint knows them again; nothing for nothing."""
        return {
            f"own {name}": describe_callable(value)
            for name, value in vars(self).items()
            if value is not None
        }

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Call ``optimizer``.

        Raises:
            ValueError: it makes something else, or one that cannot be used.
        """
        assert self.optimizer is not None
        made = self.optimizer(parameters)
        if not isinstance(made, Optimizer):
            raise ValueError(f"optimizer made {type(made).__name__}, expected a torch optimizer")
        _, *others = inspect.signature(type(made).step).parameters.values()
        needed = [
            one
            for one in others
            if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
        ]
        if needed or any("lr" not in group for group in made.param_groups):
            raise ValueError(
                f"{type(made).__name__} cannot be used here: expected an optimizer with a learning "
                "rate, lr, that steps without a closure"
            )
        return made
