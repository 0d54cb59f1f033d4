"""A running average of a network's weights, tested and kept in their place."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pytorch_vision.models.module_utils import copied, norm_layers


class Average:
    """Averages a network's trained parameters over its training steps.

    By default it is an exponential moving average over about the last tenth of the steps so far, at
    most one epoch. With ``whole``, all steps and the initial weights count alike. Frozen parameters
    and buffers, such as masks, are copied, but not the running statistics of normalisation layers
    (see ``batchnorm``).

    Attributes:
        network: the averaged copy; if not ``enabled``, the network in training itself.
    """

    def __init__(self, network: nn.Module, enabled: bool = True, whole: bool = False) -> None:
        self.trained, self.whole = network, whole
        self.network = copied(network) if enabled else network

    @torch.no_grad()
    def update(self, step: int, epoch_steps: int) -> None:
        """Move the average towards the network's weights after ``step``, counted from 1.

        Raises:
            ValueError: a buffer of the network has another shape than at the beginning.
        """
        if self.network is self.trained:
            return
        weight = 1 / (1 + step) if self.whole else max(9 / (9 + step), 1 / epoch_steps)
        averaged, copies = _tensors(self.network, self.trained)
        weights, others = _tensors(self.trained, self.trained)
        if averaged:
            get_ema_multi_avg_fn(1 - weight)(averaged, weights, None)
        for copy, its in zip(copies, others, strict=True):
            if copy.shape != its.shape:
                raise ValueError(
                    f"a buffer of the network changes from {tuple(copy.shape)} to "
                    f"{tuple(its.shape)} in training, so the network cannot be averaged: set "
                    "average_weights=False"
                )
        if copies:
            torch._foreach_copy_(copies, others)

    def copy_attributes(self) -> None:
        """Copy tensors that layers keep as attributes, such as a running mean that is no buffer."""
        if self.network is self.trained:
            return
        known = [*self.trained.parameters(), *self.trained.buffers()]
        averaged = {one.untyped_storage().data_ptr() for one in known if _is_dense(one)}
        copies = dict(self.network.named_modules())
        for name, module in self.trained.named_modules():
            for attribute, value in vars(module).items():
                if not isinstance(value, Tensor) or not _is_dense(value) or name not in copies:
                    continue
                # one that shares a parameter's memory follows the averaged parameter
                if value.untyped_storage().data_ptr() not in averaged:
                    setattr(copies[name], attribute, value.detach().clone())


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided


def _tensors(network: nn.Module, trained: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors of a network that are averaged, and those that are copied."""
    averaged, copies = list[Tensor](), list[Tensor]()
    for parameter, its in zip(network.parameters(), trained.parameters(), strict=True):
        (averaged if its.requires_grad else copies).append(parameter.detach())
    statistics = {
        id(buffer) for layer in norm_layers(network) for buffer in layer.buffers(recurse=False)
    }
    copies += [one.detach() for one in network.buffers() if id(one) not in statistics]
    return averaged, copies
