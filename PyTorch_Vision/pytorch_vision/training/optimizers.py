"""The optimizers that a recipe can name, with their learning-rate schedules, stepped each batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from pytorch_vision.runtime.cuda_graphs import CudaGraphs
from pytorch_vision.runtime.devices import fast_dtype

MUON_MOMENTUM = 0.6  # this and the next suit small images
NEWTON_SCHULZ_STEPS = 3
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients that Muon's authors chose
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]
OptimizerName = Literal["muon", "sgd", "adamw"]  # the keys of OPTIMIZERS


class Recipe(Protocol):
    """The settings of ``TrainConfig`` that optimizers and schedules use."""

    @property
    def optimizer(self) -> OptimizerName: ...
    @property
    def warm_up(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def nesterov(self) -> bool: ...
    @property
    def peak_learning_rate(self) -> float: ...
    def chosen(self, setting: str) -> float: ...


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
        """Move the filters by their gradients; a closure is not called."""
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
        """Step each of them; a closure is not called."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def linear(optimizer: Optimizer, steps: int, config: Recipe) -> LRScheduler:
    """Return a schedule that rises linearly over ``config.warm_up`` of the steps, then falls to 0.

    Args:
        optimizer: with its peak rates.
        steps: of the whole run.
        config: the recipe.
    """
    warm_up = max(1, round(config.warm_up * steps))

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))

    return LambdaLR(optimizer, factor)


def one_cycle(optimizer: Optimizer, steps: int, config: Recipe) -> LRScheduler:
    """Return a OneCycleLR that leaves the momentum alone.

    Leslie Smith and Nicholay Topin, "Super-Convergence", arXiv 1708.07120.
    """
    peak = config.peak_learning_rate
    return OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False)


def make_muon(model: nn.Module, config: Recipe) -> list[Optimizer]:
    """Return SGD for what is no convolution filter, and ``FilterMuon`` for the filters, if any."""
    filters = [weight for weight in _weights(model, nn.Conv2d) if weight.requires_grad]
    optimizers = make_sgd(model, config, filters)
    if filters:
        optimizers.append(FilterMuon(filters, config.chosen("muon_learning_rate")))
    return optimizers


def make_sgd(
    model: nn.Module, config: Recipe, excluded: list[nn.Parameter] | None = None
) -> list[Optimizer]:
    """Return SGD with momentum, for all trained parameters but the excluded ones."""
    groups = _decay_groups(model, config.chosen("weight_decay"), excluded or [])
    nesterov = config.nesterov and config.momentum > 0  # without momentum there is none
    return [SGD(groups, config.peak_learning_rate, config.momentum, nesterov=nesterov)]


def make_adamw(model: nn.Module, config: Recipe) -> list[Optimizer]:
    """Return AdamW for all trained parameters."""
    return [AdamW(_decay_groups(model, config.chosen("weight_decay")), config.peak_learning_rate)]


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer that a recipe can name.

    Attributes:
        description: one line for the settings' help.
        make: returns the torch optimizers for a model, one for each learning rate.
        schedule: returns the schedule of one of them, for a number of steps.
        defaults: the settings of ``TrainConfig`` that it uses where they are set, with its own
            values where they are not; its peak learning rates in the order of ``make``.
    """

    description: str
    make: Callable[[nn.Module, Recipe], list[Optimizer]]
    schedule: Callable[[Optimizer, int, Recipe], LRScheduler]
    defaults: dict[str, float]

    @property
    def rates(self) -> list[str]:
        """The settings that are peak learning rates."""
        return [name for name in self.defaults if name.endswith("learning_rate")]


OPTIMIZERS: dict[OptimizerName, NamedOptimizer] = {
    "muon": NamedOptimizer(
        "Muon on convolution filters and SGD on the rest, rates rising and falling linearly",
        make_muon,
        linear,
        {"learning_rate": 0.05, "muon_learning_rate": 0.1, "weight_decay": 5e-4},
    ),
    "sgd": NamedOptimizer(
        "SGD under OneCycleLR", make_sgd, one_cycle, {"learning_rate": 0.2, "weight_decay": 5e-4}
    ),
    "adamw": NamedOptimizer(
        "AdamW, its rate rising and falling linearly",
        make_adamw,
        linear,
        {"learning_rate": 1e-3, "weight_decay": 0.01},
    ),
}


def make_optimizer(
    model: nn.Module, config: Recipe, steps: int, custom: MakeOptimizer | None = None
) -> tuple[CombinedOptimizer, list[LRScheduler]]:
    """Return the optimizer that a recipe names, and its schedules, one for each learning rate.

    Frozen parameters (``requires_grad`` False) are left out.

    Args:
        model: on the device and in the memory order that it will be trained in.
        config: names the optimizer, its rates, momentum and weight decay.
        steps: how many there will be in the whole run.
        custom: makes an optimizer of all trained parameters in place of the recipe's; its rates
            follow the ``linear`` schedule.
    """
    if custom is not None:
        made = custom([one for one in model.parameters() if one.requires_grad])
        return CombinedOptimizer([made]), [linear(made, steps, config)]
    named = OPTIMIZERS[config.optimizer]
    optimizers = named.make(model, config)
    return CombinedOptimizer(optimizers), [named.schedule(one, steps, config) for one in optimizers]


def _weights(model: nn.Module, kinds: Any) -> list[nn.Parameter]:
    """Return the weights of layers of some kinds, each once.

    Weights that a layer computes from other tensors, as ``weight_norm`` does, are left out.
    """
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = [layer._parameters.get("weight") for layer in layers]
    real = [weight for weight in weights if weight is not None and weight.is_floating_point()]
    return list({id(weight): weight for weight in real}.values())


def _decay_groups(
    model: nn.Module, weight_decay: float, excluded: list[nn.Parameter] | None = None
) -> list[dict[str, Any]]:
    """Return parameter groups, of which the convolution and linear weights decay."""
    seen = {id(parameter) for parameter in excluded or []}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in seen]
    weights = {id(weight) for weight in _weights(model, (nn.Conv2d, nn.Linear))}
    return [
        {"params": [p for p in trained if id(p) in weights], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in weights], "weight_decay": 0.0},
    ]
