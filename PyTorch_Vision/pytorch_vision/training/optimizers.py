"""Optimizers, learning-rate schedules and averaged weights, each moved on once a batch."""

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pytorch_vision.training.config import TrainConfig

WARM_UP = 0.1  # the share of all steps in which Muon's rate rises


class FilterMuon(torch.optim.Muon):
    """Muon on convolution filters, each bank of them seen as a matrix (out, in * k * k).

    Every step scales each bank to the Frobenius norm sqrt(out) and moves it along its
    orthogonalised momentum, so the rate is the relative size of a step whatever the layer.
    Momentum 0.6 with Nesterov and 3 Newton-Schulz steps suit small images.

    Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.

    Args:
        filters: convolution weights (out, in, k, k), on the device and in the memory order that
            they will be trained in.
        lr: the relative size of a step.
    """

    def __init__(self, filters: list[nn.Parameter], lr: float) -> None:
        self.filters = filters
        # torch.optim.Muon takes matrices only: these share the filters' memory.
        matrices = [nn.Parameter(_as_matrix(weight.detach(), weight)) for weight in filters]
        for weight, matrix in zip(filters, matrices, strict=True):
            # As soon as there is a gradient the matrix has it too, so that a gradient scaler,
            # which looks before the step, finds it.
            weight.register_post_accumulate_grad_hook(
                lambda weight, matrix=matrix: setattr(
                    matrix, "grad", _as_matrix(weight.grad, weight)
                )
            )
        super().__init__(matrices, lr=lr, weight_decay=0.0, momentum=0.6, nesterov=True, ns_steps=3)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the filters by their gradients; there is no use for a closure."""
        for matrix in self.param_groups[0]["params"]:
            matrix.mul_(len(matrix) ** 0.5 / matrix.norm())
        super().step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, of the filters as well as of their matrices."""
        for weight in self.filters:
            weight.grad = None
        super().zero_grad(set_to_none)


def _as_matrix(tensor: Tensor, weight: Tensor) -> Tensor:
    """See (out, in, k, k) as (out, in * k * k), columns in the order of ``weight``'s memory."""
    if weight.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)


def make_optimizers(
    model: nn.Module, config: TrainConfig, steps: int
) -> list[tuple[Optimizer, LRScheduler]]:
    """Return the optimizers that a configuration names, each with its schedule.

    "muon" gives SGD for all but the convolution filters and ``FilterMuon`` for those. Both rates
    rise linearly to their peak over the first tenth of the steps and fall linearly to zero over
    the others. SGD comes first: a gradient scaler may change its scale between the
    two steps, and Muon uses only the gradient's direction.

    "sgd" gives SGD for all parameters, under a OneCycleLR that leaves the momentum as it is
    (Leslie Smith and Nicholay Topin, "Super-Convergence", arXiv 1708.07120).

    Args:
        model: on the device and in the memory order that it will be trained in.
        config: names the optimizer, its rates, momentum and weight decay.
        steps: how many there will be in the whole run.
    """
    if config.optimizer == "sgd":
        sgd = _sgd(model, [], config)
        return [(sgd, OneCycleLR(sgd, config.peak_rate, total_steps=steps, cycle_momentum=False))]
    filters = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    optimizers = [_sgd(model, filters, config), FilterMuon(filters, config.muon_rate)]
    rising = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        return min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))

    return [(optimizer, LambdaLR(optimizer, factor)) for optimizer in optimizers]


def _sgd(model: nn.Module, excluded: list[nn.Parameter], config: TrainConfig) -> SGD:
    """Return SGD in which convolution and linear weights decay; biases and BatchNorm do not."""
    seen = {id(parameter) for parameter in excluded}
    decaying = [
        module.weight
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and id(module.weight) not in seen
    ]
    seen |= {id(parameter) for parameter in decaying}
    others = [parameter for parameter in model.parameters() if id(parameter) not in seen]
    return SGD(
        [
            {"params": decaying, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.peak_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
    )


@torch.no_grad()
def move_average(averaged: nn.Module, model: nn.Module, weight: float) -> None:
    """Move averaged weights and running statistics a part of the way to a model's.

    Args:
        averaged: a copy of ``model``; changed in place.
        model: the network in training.
        weight: the part of the way, in [0, 1].
    """
    get_ema_multi_avg_fn(1 - weight)(_float_tensors(averaged), _float_tensors(model), None)


def _float_tensors(model: nn.Module) -> list[Tensor]:
    """Return the parameters and the running statistics of a model, without their gradients."""
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
