"""A recipe's optimizer and its learning-rate schedules, which are stepped with each batch."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.muon import FilterMuon

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


def make_optimizer(
    model: nn.Module, config: TrainConfig, steps: int, custom: MakeOptimizer | None = None
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
        return CombinedOptimizer([made]), [linear(made, steps, config.warm_up)]
    optimizers = _torch_optimizers(model, config)
    if config.optimizer == "sgd":  # Smith and Topin, "Super-Convergence", arXiv 1708.07120
        (sgd,), peak = optimizers, config.chosen("learning_rate")
        schedule = OneCycleLR(sgd, peak, total_steps=steps, cycle_momentum=False)
        return CombinedOptimizer(optimizers), [schedule]
    return CombinedOptimizer(optimizers), [linear(one, steps, config.warm_up) for one in optimizers]


def linear(optimizer: Optimizer, steps: int, share: float) -> LRScheduler:
    """Return a linear schedule: up over a share of the steps, then down to 0."""
    warm_up = max(1, round(share * steps))

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))

    return LambdaLR(optimizer, factor)


def _torch_optimizers(model: nn.Module, config: TrainConfig) -> list[Optimizer]:
    rate, weight_decay = config.chosen("learning_rate"), config.chosen("weight_decay")
    if config.optimizer == "adamw":
        return [AdamW(_decay_groups(model, weight_decay), rate)]
    filters: list[nn.Parameter] = []
    if config.optimizer == "muon":
        filters = [weight for weight in _weights(model, nn.Conv2d) if weight.requires_grad]
    nesterov = config.nesterov and config.momentum > 0  # torch refuses it without momentum
    groups = _decay_groups(model, weight_decay, filters)
    sgd = SGD(groups, rate, config.momentum, nesterov=nesterov)
    if not filters:
        return [sgd]
    muon_rate, keeps_norms = config.chosen("muon_learning_rate"), config.transfer == "near"
    return [sgd, FilterMuon(filters, muon_rate, keeps_norms)]


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
