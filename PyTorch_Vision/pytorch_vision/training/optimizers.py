"""The optimizers that a recipe can name, with their learning-rate schedules, stepped each batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from pytorch_vision.training.muon import FilterMuon

Recipe = Any  # a TrainConfig, whose module imports this one
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


class CombinedOptimizer(Optimizer):
    """Optimizers of different parameters that step together or not at all.

    A gradient scaler (float16) unscales an optimizer's gradients and skips its step if one is
    infinite. With two optimizers, one could step while the other skips.
    """

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self.optimizers = optimizers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        """Step all; a closure is not called."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state dicts of all."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def linear(optimizer: Optimizer, steps: int, config: Recipe) -> LRScheduler:
    """Return a linear schedule: up over ``config.warm_up`` of the steps, then down to 0."""
    warm_up = max(1, round(config.warm_up * steps))

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))

    return LambdaLR(optimizer, factor)


def one_cycle(optimizer: Optimizer, steps: int, config: Recipe) -> LRScheduler:
    """Return OneCycleLR without a cycle of the momentum.

    Leslie Smith and Nicholay Topin, "Super-Convergence", arXiv 1708.07120.
    """
    peak = config.chosen("learning_rate")
    return OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False)


def make_muon(model: nn.Module, config: Recipe) -> list[Optimizer]:
    """Return ``FilterMuon`` for convolution filters, if any, after SGD for all other parameters."""
    filters = [weight for weight in _weights(model, nn.Conv2d) if weight.requires_grad]
    optimizers = make_sgd(model, config, filters)
    if filters:
        rate, keeps_norms = config.chosen("muon_learning_rate"), config.transfer == "near"
        optimizers.append(FilterMuon(filters, rate, keeps_norms))
    return optimizers


def make_sgd(
    model: nn.Module, config: Recipe, excluded: Sequence[nn.Parameter] = ()
) -> list[Optimizer]:
    """Return SGD with momentum, for all trained parameters but the excluded ones."""
    groups = _decay_groups(model, config.chosen("weight_decay"), excluded)
    nesterov = config.nesterov and config.momentum > 0  # torch refuses it without momentum
    return [SGD(groups, config.chosen("learning_rate"), config.momentum, nesterov=nesterov)]


def make_adamw(model: nn.Module, config: Recipe) -> list[Optimizer]:
    """Return AdamW for all trained parameters."""
    groups = _decay_groups(model, config.chosen("weight_decay"))
    return [AdamW(groups, config.chosen("learning_rate"))]


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer that a recipe can name.

    Attributes:
        description: one line for the settings' help.
        make: returns the torch optimizers for a model, one for each learning rate.
        schedule: returns the schedule of one of them for a number of steps.
        defaults: the values of settings that are None unless they are set: the peak learning rates,
            in the order of ``make``, and the weight decay.
        others: the other settings of ``TrainConfig`` that it uses.
    """

    description: str
    make: Callable[[nn.Module, Recipe], list[Optimizer]]
    schedule: Callable[[Optimizer, int, Recipe], LRScheduler]
    defaults: dict[str, float]
    others: tuple[str, ...]

    @property
    def rates(self) -> list[str]:
        """The settings that are peak learning rates."""
        return [name for name in self.defaults if name.endswith("learning_rate")]


OPTIMIZERS: dict[str, NamedOptimizer] = {
    "muon": NamedOptimizer(
        "Muon on convolution filters and SGD on the rest, rates rising and falling linearly",
        make_muon,
        linear,
        {"learning_rate": 0.05, "muon_learning_rate": 0.1, "weight_decay": 5e-4},
        ("warm_up", "momentum", "nesterov"),
    ),
    "sgd": NamedOptimizer(
        "SGD under OneCycleLR",
        make_sgd,
        one_cycle,
        {"learning_rate": 0.2, "weight_decay": 5e-4},
        ("momentum", "nesterov"),
    ),
    "adamw": NamedOptimizer(
        "AdamW, its rate rising and falling linearly",
        make_adamw,
        linear,
        {"learning_rate": 1e-3, "weight_decay": 0.01},
        ("warm_up",),
    ),
}
if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]  # by which pydantic checks a name


def make_optimizer(
    model: nn.Module, config: Recipe, steps: int, custom: MakeOptimizer | None = None
) -> tuple[CombinedOptimizer, list[LRScheduler]]:
    """Return a recipe's optimizer and its schedules, one for each of its rates, in their order.

    Frozen parameters (``requires_grad`` False) are left out, and Muon if no filters are trained.

    Args:
        model: on the device and in the memory format in which it will be trained.
        config: names the optimizer, its rates, momentum and weight decay.
        steps: the number of steps of the whole run.
        custom: makes an optimizer from all trainable parameters in place of the recipe's; its
            rates follow the ``linear`` schedule.
    """
    if custom is not None:
        made = custom([one for one in model.parameters() if one.requires_grad])
        return CombinedOptimizer([made]), [linear(made, steps, config)]
    named = OPTIMIZERS[config.optimizer]
    optimizers = named.make(model, config)
    return CombinedOptimizer(optimizers), [named.schedule(one, steps, config) for one in optimizers]


def _weights(model: nn.Module, kinds: Any) -> list[nn.Parameter]:
    """Return the weights of layers of the given kinds, each once.

    Weights that a layer computes from other tensors, as with ``weight_norm``, are left out.
    """
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = [layer._parameters.get("weight") for layer in layers]
    real = [weight for weight in weights if weight is not None and weight.is_floating_point()]
    return list({id(weight): weight for weight in real}.values())


def _decay_groups(
    model: nn.Module, weight_decay: float, excluded: Sequence[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Return two parameter groups: convolution and linear weights, which decay, and the rest."""
    seen = {id(parameter) for parameter in excluded}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in seen]
    weights = {id(weight) for weight in _weights(model, (nn.Conv2d, nn.Linear))}
    return [
        {"params": [p for p in trained if id(p) in weights], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in weights], "weight_decay": 0.0},
    ]
