"""Optimizers, learning-rate schedules and averaged weights, each moved on once a batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pytorch_vision.runtime.cuda_graphs import CudaGraphs
from pytorch_vision.runtime.devices import fast_dtype
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Own

MUON_MOMENTUM = 0.6  # this and the next suit small images
NEWTON_SCHULZ_STEPS = 3
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients that Muon's authors chose
NONE = Own()


class FilterMuon(Optimizer):
    """Muon on convolution filters, each bank of them seen as a matrix (out, in * k * k).

    Every step scales each bank to the Frobenius norm sqrt(out) and moves it along its
    orthogonalised Nesterov momentum. So the rate is the relative size of a step, whatever the
    layer. Banks of one shape are worked on as one batch of matrices, which launches fewer kernels.

    Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.

    Args:
        filters: convolution weights (out, in, k, k), in any memory order.
        lr: the relative size of a step.
    """

    def __init__(self, filters: list[nn.Parameter], lr: float) -> None:
        super().__init__(filters, {"lr": lr})
        self._graphs = CudaGraphs(all(weight.is_cuda for weight in filters))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move the filters by their gradients; there is no use for a closure."""
        for group in self.param_groups:
            banks: dict[torch.Size, list[nn.Parameter]] = {}
            for weight in group["params"]:
                banks.setdefault(weight.shape, []).append(weight)
            directions = self._graphs(_all_orthogonalized, *map(self._pushed, banks.values()))
            for same, moves in zip(banks.values(), directions, strict=True):
                _move(same, moves, group["lr"])

    def _pushed(self, banks: list[nn.Parameter]) -> Tensor:
        """Return the Nesterov momentum of banks of one shape, (N, out, in * k * k)."""
        gradients = _matrices([_gradient(weight) for weight in banks])
        state = self.state[banks[0]]  # has the momentum of all of them
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradients)
        momentum = state["momentum"].lerp_(gradients, 1 - MUON_MOMENTUM)
        return gradients.lerp(momentum, MUON_MOMENTUM)


def _move(banks: list[nn.Parameter], moves: Tensor, lr: float) -> None:
    out, inputs = moves.shape[1:]
    length = lr * max(1, out / inputs) ** 0.5
    for weight, move in zip(banks, moves, strict=True):
        if weight.grad is None:  # it took no part
            continue
        growth = out**0.5 / weight.norm()
        weight.mul_(growth.where(growth.isfinite(), 1))  # filters that are zero have no size yet
        weight.sub_(move.view_as(weight), alpha=length)


def _all_orthogonalized(*matrices: Tensor) -> list[Tensor]:
    return [orthogonalized(same) for same in matrices]


def _gradient(weight: nn.Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def _matrices(filters: list[Tensor]) -> Tensor:
    """Return banks of one shape, (out, in, k, k) each, as (N, out, in * k * k)."""
    if len(filters) == 1:
        return filters[0].flatten(1)[None]  # without a copy, where its memory allows
    return torch.stack(filters).flatten(2)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Bring all singular values of each matrix near to one, by Newton-Schulz iterations.

    Each iteration multiplies X by a polynomial of X X'. So all of them together are one square
    matrix, of the shorter side, made from the first X X': half of the work for filters, which
    are wide (``benchmarks/muon.py`` has both ways). The products are made in 16 bits where the
    device has them in hardware; the norm that each matrix is divided by at first is not, so that
    float16 cannot overflow.

    Args:
        matrices: float32 (N, rows, columns).

    Returns:
        float32 (N, rows, columns); singular values between about 0.5 and 1.2.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.to(fast_dtype(x.device))
    a, b, c = NEWTON_SCHULZ
    gram = x @ x.mT
    product = factor = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for step in range(NEWTON_SCHULZ_STEPS):
        if step > 0:  # of the X that the last step has made: all of these matrices commute
            gram = torch.baddbmm(gram, gram, factor, beta=a)
            gram = torch.baddbmm(gram, gram, factor, beta=a)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # and a times the identity
        product = torch.baddbmm(product, factor, product, beta=a)
    x = product @ x
    return (x.mT if tall else x).to(matrices.dtype)


class CombinedOptimizer(Optimizer):
    """Several optimizers that make a step together or not at all.

    A gradient scaler (float16) unscales the gradients of the whole network, finds out whether one
    of them is infinite, and steps or skips. With two optimizers it would do that twice, and one
    could step when the other does not.

    Args:
        optimizers: of different parameters.
    """

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self.optimizers = optimizers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        """Step each of them; there is no use for a closure."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def make_optimizer(
    model: nn.Module, config: TrainConfig, steps: int, own: Own = NONE
) -> tuple[CombinedOptimizer, list[LRScheduler]]:
    """Return the optimizer that a configuration names, and its schedules, SGD's first.

    "muon" gives ``FilterMuon`` for the convolution filters and SGD for all others. Both rates
    rise linearly to their peak over a first share of the steps and fall linearly to zero over the
    rest. A model without convolutions has SGD alone.

    "sgd" gives SGD for all parameters, under a OneCycleLR that leaves the momentum as it is
    (Leslie Smith and Nicholay Topin, "Super-Convergence", arXiv 1708.07120).

    An optimizer of the caller's own has all parameters, and its rates rise and fall as Muon's do.

    Frozen parameters (``requires_grad`` False) are left alone.

    Args:
        model: on the device and in the memory order that it will be trained in.
        config: names the optimizer, its rates, momentum and weight decay.
        steps: how many there will be in the whole run.
        own: the caller's optimizer, if there is one.
    """
    warm_up = max(1, round(config.warm_up * steps))

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))

    if own.optimizer is not None:
        made = own.make_optimizer([one for one in model.parameters() if one.requires_grad])
        return CombinedOptimizer([made]), [LambdaLR(made, factor)]
    if config.optimizer == "sgd":
        sgd = _sgd(model, [], config)
        schedule = OneCycleLR(
            sgd, config.peak_learning_rate, total_steps=steps, cycle_momentum=False
        )
        return CombinedOptimizer([sgd]), [schedule]
    filters = [weight for weight in _weights(model, nn.Conv2d) if weight.requires_grad]
    optimizers: list[Optimizer] = [_sgd(model, filters, config)]
    if filters:
        optimizers.append(FilterMuon(filters, config.muon_learning_rate))
    return CombinedOptimizer(optimizers), [LambdaLR(optimizer, factor) for optimizer in optimizers]


def _weights(model: nn.Module, kinds: Any) -> list[nn.Parameter]:
    """Return the weights of layers of some kinds, each once.

    Those that a layer computes of others, as ``weight_norm`` has it, are not among them.
    """
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = [layer._parameters.get("weight") for layer in layers]
    real = [weight for weight in weights if weight is not None and weight.is_floating_point()]
    return list({id(weight): weight for weight in real}.values())


def _sgd(model: nn.Module, excluded: list[nn.Parameter], config: TrainConfig) -> SGD:
    """Return SGD in which convolution and linear weights decay; biases and BatchNorm do not."""
    seen = {id(parameter) for parameter in excluded}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in seen]
    weights = {id(weight) for weight in _weights(model, (nn.Conv2d, nn.Linear))}
    decaying = [parameter for parameter in trained if id(parameter) in weights]
    others = [parameter for parameter in trained if id(parameter) not in weights]
    return SGD(
        [
            {"params": decaying, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.peak_learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,  # without momentum there is none
    )


@torch.no_grad()
def move_average(averaged: nn.Module, model: nn.Module, weight: float) -> None:
    """Move averaged weights and running statistics a part of the way to a model's.

    What else the model keeps, such as frozen weights, masks and counters, is copied.

    Args:
        averaged: a copy of ``model``; changed in place.
        model: the network in training.
        weight: the part of the way, in [0, 1].
    """
    (moved, set_to), (moving, fixed) = _parts(averaged, model), _parts(model, model)
    if moved:
        get_ema_multi_avg_fn(1 - weight)(moved, moving, None)
    if set_to:
        torch._foreach_copy_(set_to, fixed)


def _parts(network: nn.Module, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is averaged of a network, and what is copied, as ``model`` is trained.

    Averaged are trained parameters and the running statistics of normalisation layers; these
    layers' counters are neither.
    """
    moved: list[Tensor] = []
    fixed: list[Tensor] = []
    for own, other in zip(network.parameters(), model.parameters(), strict=True):
        (moved if other.requires_grad else fixed).append(own.detach())
    norms = {
        id(buffer)
        for layer in network.modules()
        if isinstance(layer, _NormBase)
        for buffer in layer.buffers(recurse=False)
    }
    for buffer in network.buffers():
        if id(buffer) not in norms:
            fixed.append(buffer.detach())
        elif buffer.is_floating_point():
            moved.append(buffer.detach())
    return moved, fixed
