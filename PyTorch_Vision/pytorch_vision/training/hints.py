"""Hints about probable mistakes in a network, a loss or a recipe."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.text import listed
from pytorch_vision.training.config import RECIPES
from pytorch_vision.training.optimizers import OPTIMIZERS
from pytorch_vision.training.trainer import Trainer

# what autograd calls the operations on logits in ``Adapter``, and activations
OF_THE_ADAPTER = ("ToCopy", "Slice")
ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "ReLU", "Tanh": "tanh"}


def hints(trainer: Trainer) -> Iterator[str]:
    """Yield a line for each probable mistake, without changing the training."""
    recipes = [recipe() for recipe in RECIPES.values()]
    for name, reason in sorted(unused(trainer).items()):
        value = getattr(trainer.config, name)
        # what a recipe sets need not be what a user asked for
        if all(value != getattr(recipe, name) for recipe in recipes):
            yield f"{name}={value} is not used: {reason}"
    for name in hidden_layers(trainer.network):
        yield (
            f"{name} holds layers that are neither trained nor saved, as PyTorch does not see "
            "them there: make it an nn.ModuleList or an nn.ModuleDict"
        )
    if trainer.unreached:
        yield (
            f"The loss does not reach {listed(trainer.unreached)}, which stay as they are: the "
            "first output of the network, which alone is trained, has no gradient with respect to "
            "them. Freeze them (requires_grad_(False)); or add the network's other outputs to the "
            "first; or remove the detach(), no_grad() or checkpoint(use_reentrant=True) after them"
        )
    first, second = _logits_twice(trainer)
    if last := _last_activation(first):
        yield (
            f"The network seems to end with a {last}. The loss and predict expect logits and apply "
            f"a softmax of their own, so it learns badly: remove the {last}"
        )
    if not torch.allclose(first.float(), second.float(), rtol=1e-2, atol=1e-2, equal_nan=True):
        yield (
            "The same image gets different logits in evaluation mode, so predictions are random: "
            "use nn.Dropout, or give F.dropout training=self.training"
        )
    if names := [
        name
        for name, layer in trainer.network.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is None
    ]:
        yield (
            f"{listed(names)}: without running statistics, predictions depend on which images are "
            "predicted together. Use BatchNorm with track_running_stats=True, or GroupNorm"
        )
    loss = trainer.custom.loss
    if isinstance(loss, nn.Module):
        trained = {one for group in trainer.optimizer.param_groups for one in group["params"]}
        if not trained.issuperset(one for one in loss.parameters() if one.requires_grad):
            yield (
                "The loss has weights of its own, which no optimizer trains: give fit an "
                "optimizer=lambda weights: AdamW([*weights, *loss.parameters()])"
            )


def unused(trainer: Trainer) -> dict[str, str]:
    """Return the settings of the recipe that this training does not use, each with the reason."""
    config, custom = trainer.config, trainer.custom
    of_optimizers = {name for one in OPTIMIZERS.values() for name in (*one.defaults, *one.others)}
    if custom.optimizer is not None:
        others = {"optimizer", *of_optimizers} - {"warm_up"}
        reasons = dict.fromkeys(others, "the optimizer is a custom one")
    else:
        own = OPTIMIZERS[config.optimizer]
        others = of_optimizers.difference(own.defaults, own.others)
        reasons = dict.fromkeys(others, f"optimizer is {config.optimizer!r}")
        without = config.rates[len(trainer.schedulers) :]
        reasons |= dict.fromkeys(without, "no convolution filters are trained")
    if custom.loss is not None:
        reasons["class_weights"] = "the loss is a custom one"
        if config.transfer == "no":  # otherwise it is used to fit the last layer
            reasons["label_smoothing"] = "the loss is a custom one"
    return reasons


def has_learned(network: nn.Module) -> bool:
    """Tell whether a network was trained before.

    A normalisation layer's weights are all equal when it is made, and never after a training step.
    """
    kinds = (_NormBase, nn.LayerNorm, nn.GroupNorm)
    weights = [layer.weight for layer in network.modules() if isinstance(layer, kinds)]
    return any(one is not None and one.numel() > 1 and bool(one.std() > 0) for one in weights)


def hidden_layers(network: nn.Module) -> list[str]:
    """Return the names of plain lists and dictionaries that hold layers unknown to PyTorch."""
    known = set(network.modules())
    found = []
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if not isinstance(value, (list, tuple, dict)):
                continue
            members = value.values() if isinstance(value, dict) else value
            if any(isinstance(one, nn.Module) and one not in known for one in members):
                found.append(f"{path}.{name}".lstrip("."))
    return found


def _logits_twice(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Return the logits of two random images, computed twice in evaluation mode."""
    device, precision = trainer.fabric.device, trainer.fabric.autocast()
    with evaluating(trainer.network), random_state_kept(device), torch.enable_grad(), precision:
        images = torch.rand(2, 3, *trainer.classifier.size, device=device)
        return trainer.adapter(images), trainer.adapter(images)


def _last_activation(logits: Tensor) -> str:
    """Return the activation that made a network's outputs, such as "softmax", or ""."""
    made_by = logits.grad_fn
    while made_by is not None and made_by.name().startswith(OF_THE_ADAPTER):
        made_by = made_by.next_functions[0][0]
    name = made_by.name() if made_by is not None else ""
    return next((text for start, text in ACTIVATIONS.items() if name.startswith(start)), "")
