"""What is allowed, but seldom meant, in somebody's own network or loss: told before it trains."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.training.run import Run


def hints(run: Run) -> Iterator[str]:
    """Yield a line for each thing that is probably not meant; the run is left as it was."""
    for name in hidden_layers(run.network):
        yield (
            f"{name} holds layers that are neither trained nor saved, as PyTorch does not see "
            "them there: make it an nn.ModuleList or an nn.ModuleDict"
        )
    if _gives_probabilities(run):
        yield (
            "The network seems to end with a softmax. The loss and predict do that themselves, "
            "and with two it learns badly: end it with the layer before"
        )
    trained = {one for group in run.optimizer.param_groups for one in group["params"]}
    if isinstance(run.own_loss, nn.Module):
        left = [one for one in run.own_loss.parameters() if one.requires_grad]
        if not trained.issuperset(left):
            yield (
                "The loss has weights of its own, which no optimizer has, so they stay as they "
                "are: give fit an optimizer=lambda weights: AdamW([*weights, *loss.parameters()])"
            )


def hidden_layers(network: nn.Module) -> list[str]:
    """Return the names of a network's plain lists and dictionaries of layers that it has not."""
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


def _gives_probabilities(run: Run) -> bool:
    """Tell whether a network's answers to two black images are shares that add up to 1."""
    device = run.fabric.device
    images = torch.zeros(2, 3, *run.classifier.size, device=device)
    with (
        evaluating(run.network),
        random_state_kept(device),
        torch.no_grad(),
        run.fabric.autocast(),
    ):
        answers: Tensor = run.adapter(images.to(memory_format=run.adapter.call.memory_format))
    whole = (answers.sum(1) - 1).abs() < 0.01  # in bfloat16, too
    return answers.shape[1] > 1 and bool((answers >= 0).all() and whole.all())
