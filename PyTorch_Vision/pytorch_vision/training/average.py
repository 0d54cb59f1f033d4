"""A running average of a network's weights, which is tested and kept in their place."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pytorch_vision.models.module_utils import copied, norm_layers


class Average:
    """An average of a network's trained parameters over the steps of its training.

    An exponential moving one reaches over a tenth of the steps so far, and over one epoch at most;
    one of the whole training weighs all steps alike, and the weights that it began with. Buffers,
    such as masks, and frozen parameters are copied. Running statistics of normalisation layers are
    left alone: those of an average are not the average of those of a network (see ``batchnorm``).

    Args:
        network: in training, on its device.
        enabled: False averages nothing.
        whole: True averages over the whole training.

    Attributes:
        network: the averaged copy; without an average, the network itself.
    """

    def __init__(self, network: nn.Module, enabled: bool = True, whole: bool = False) -> None:
        self.trained, self.whole = network, whole
        self.network = copied(network) if enabled else network

    @torch.no_grad()
    def update(self, step: int, epoch_steps: int) -> None:
        """Move the average towards the network as it is after a step, counted from 1."""
        if self.network is self.trained:
            return
        weight = 1 / (1 + step) if self.whole else max(9 / (9 + step), 1 / epoch_steps)
        averaged, copies = _tensors(self.network, self.trained)
        weights, others = _tensors(self.trained, self.trained)
        if averaged:
            get_ema_multi_avg_fn(1 - weight)(averaged, weights, None)
        if copies:
            torch._foreach_copy_(copies, others)


def _tensors(network: nn.Module, trained: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return a network's tensors that are averaged, and those that are copied."""
    averaged: list[Tensor] = []
    copies: list[Tensor] = []
    for parameter, its in zip(network.parameters(), trained.parameters(), strict=True):
        (averaged if its.requires_grad else copies).append(parameter.detach())
    statistics = {
        id(buffer) for layer in norm_layers(network) for buffer in layer.buffers(recurse=False)
    }
    copies += [one.detach() for one in network.buffers() if id(one) not in statistics]
    return averaged, copies
