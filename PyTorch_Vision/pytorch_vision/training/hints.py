"""Hints about probable mistakes in a network, a loss or a recipe."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.models.state_dicts import listed
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.training.trainer import Trainer


def hints(trainer: Trainer) -> Iterator[str]:
    """Yield a line for each probable mistake, without changing the training."""
    config = trainer.config
    if trainer.custom.optimizer is None:
        for name in config.unused:
            yield f"{name}={getattr(config, name)} is not used: optimizer is {config.optimizer!r}"
    for name in hidden_layers(trainer.network):
        yield (
            f"{name} holds layers that are neither trained nor saved, as PyTorch does not see "
            "them there: make it an nn.ModuleList or an nn.ModuleDict"
        )
    if trainer.unreached:
        yield (
            f"The loss does not reach {listed(trainer.unreached)}, which stay as they are: only "
            "the first output of a network is trained. Freeze them (requires_grad_(False)), or add "
            "the network's other outputs to the first"
        )
    if _gives_probabilities(trainer):
        yield (
            "The network seems to end with a softmax. The loss and predict apply their own, and "
            "with two it learns badly: remove the network's"
        )
    loss = trainer.custom.loss
    if isinstance(loss, nn.Module):
        trained = {one for group in trainer.optimizer.param_groups for one in group["params"]}
        if not trained.issuperset(one for one in loss.parameters() if one.requires_grad):
            yield (
                "The loss has weights of its own, which no optimizer trains: give fit an "
                "optimizer=lambda weights: AdamW([*weights, *loss.parameters()])"
            )


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


def _gives_probabilities(trainer: Trainer) -> bool:
    """Tell whether a network's outputs for two black images are positive and add up to 1."""
    device = trainer.fabric.device
    images = torch.zeros(2, 3, *trainer.classifier.size, device=device)
    with (
        evaluating(trainer.network),
        random_state_kept(device),
        torch.no_grad(),
        trainer.fabric.autocast(),
    ):
        answers: Tensor = trainer.adapter(images)
    whole = (answers.sum(1) - 1).abs() < 0.01  # in bfloat16, too
    return answers.shape[1] > 1 and bool((answers >= 0).all() and whole.all())
