"""A custom loss and optimizer, in place of the recipe's."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime.files import errors_named, is_lack_of_memory
from pytorch_vision.runtime.text import counted, first_line
from pytorch_vision.training.fingerprint import describe_callable
from pytorch_vision.training.optimizers import MakeOptimizer

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Custom:
    """A custom loss and optimizer, as the arguments of ``fit`` of these names.

    Raises:
        ValueError: one of them is something else; the message says what was expected.
    """

    loss: Loss | None = None
    optimizer: MakeOptimizer | None = None

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, Optimizer):
            kind = type(self.optimizer).__name__
            raise ValueError(
                "optimizer is an optimizer, expected a function that makes one: "
                f"optimizer=lambda weights: {kind}(weights, lr=...)"
            )
        if isinstance(self.loss, type):
            name = self.loss.__name__
            raise ValueError(f"loss is the class {name}, expected an instance: {name}()")
        for name, value in vars(self).items():
            if value is not None and not callable(value):
                raise ValueError(f"{name} is {value!r}, expected a function")

    def fingerprint(self) -> dict[str, str]:
        """Return descriptions of the loss and the optimizer, which belong to a run's identity."""
        return {
            f"custom {name}": describe_callable(value)
            for name, value in vars(self).items()
            if value is not None
        }

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Call ``optimizer``.

        Raises:
            ValueError: it fails, or returns no optimizer, one of other parameters, one without
                ``lr``, or one whose step needs a closure, such as LBFGS.
        """
        assert self.optimizer is not None
        failed = f"optimizer failed on {counted(len(parameters), 'parameter')}"
        with errors_named(lambda error: f"{failed}: {type(error).__name__}: {first_line(error)}"):
            made: Any = self.optimizer(parameters)
        if not isinstance(made, Optimizer):
            raise ValueError(f"optimizer made {type(made).__name__}, expected a torch optimizer")
        try:
            inspect.signature(made.step).bind()
            usable = all("lr" in group for group in made.param_groups)
        except TypeError:
            usable = False
        if not usable:
            raise ValueError(
                f"{type(made).__name__} cannot be used here: expected an optimizer with a learning "
                "rate, lr, whose step needs no closure"
            )
        trained = {id(one) for group in made.param_groups for one in group["params"]}
        if trained.isdisjoint(map(id, parameters)):
            raise ValueError(
                "optimizer made one that trains nothing in the network, expected one of the "
                "parameters that it is given: optimizer=lambda weights: AdamW(weights, lr=1e-3)"
            )
        return made


class CustomLoss:
    """A custom loss, summed over a batch's images.

    Args:
        loss: as for ``fit``. A module is moved to the device; if it has float64 tensors, such as
            class weights from scikit-learn, a copy in float32 is used.
        device: the logits' device.
    """

    def __init__(self, loss: Loss, device: torch.device) -> None:
        self.loss = loss
        if isinstance(loss, nn.Module):
            if any(one.dtype is torch.float64 for one in loss.buffers()):
                loss = copied(loss).float()
            self.loss = loss.to(device)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the summed loss, float32 ().

        Raises:
            ValueError: the loss fails, returns something else, or has no gradient.
        """
        try:
            loss: Any = self.loss(logits.clone(), labels)  # a margin may be subtracted in place
        except Exception as error:  # a custom loss can raise anything
            if is_lack_of_memory(error):
                raise
            raise ValueError(
                f"loss failed on logits {_described(logits)} and labels {_described(labels)}: "
                f"{type(error).__name__}: {first_line(error)}"
                + ("; make the loss's own tensors float32" if "Double" in str(error) else "")
            ) from error
        if isinstance(loss, Tensor) and torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError(
                "loss returns a value without a gradient with respect to the logits: compute it "
                "from them differentiably, without counting, comparing, detach() or item()"
            )
        if not isinstance(loss, Tensor) or loss.shape not in ((), labels.shape):
            shown = tuple(loss.shape) if isinstance(loss, Tensor) else loss
            raise ValueError(f"loss returns {shown!r}, expected one number, or one for each image")
        is_sum = getattr(self.loss, "reduction", "") == "sum"
        return loss.sum() if is_sum else loss.mean() * len(labels)


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
