"""BatchNorm's running statistics, where a run is too short for them: computed anew before a test.

They begin as those of nothing, and each step moves them by a part of the way, the momentum. After
few steps, or with a small momentum (torchvision's MobileNetV3 has 0.01), they tell of weights that
are long gone, and a network that has learned answers every test image alike. So, as
``torch.optim.swa_utils.update_bn`` does, they are computed from training images again.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytorch_vision.data import Normalization, eval_batches
from pytorch_vision.data.loaders import epoch_order
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.runtime.devices import random_state_kept

WINDOWS = 5  # of 1 / momentum steps, after which less than 1 % of what they hold is of before
IMAGES, PIXELS = 512, 2**26  # are enough to know means and variances


def statistics_of(network: nn.Module) -> list[Tensor]:
    """Return the running means and variances of a network's normalisation layers."""
    return [
        tensor
        for layer in network.modules()
        if isinstance(layer, _NormBase)
        for tensor in (layer.running_mean, layer.running_var)
        if tensor is not None
    ]


def are_young(network: nn.Module, steps: int) -> bool:
    """Tell whether a network's statistics are still, in part, those of before its training.

    Args:
        network: that was trained.
        steps: of its training so far.
    """
    return any(
        steps < WINDOWS / momentum
        for layer in network.modules()
        if isinstance(layer, _NormBase) and layer.running_mean is not None
        for momentum in [layer.momentum]
        if momentum  # without one, they are a mean over all steps, or never move
    )


def some_images(images: np.ndarray, seed: int) -> np.ndarray:
    """Return so many of some images, in an order by chance, that statistics are known well."""
    count = max(2, min(IMAGES, PIXELS // (images.shape[1] * images.shape[2])))
    return images[epoch_order(len(images), seed, 0)[:count]]


@torch.no_grad()
def compute_anew(
    adapter: Adapter,
    images: np.ndarray,
    normalization: Normalization,
    batch_size: int,
    scale: float = 1.0,
) -> None:
    """Compute the statistics of those layers that training moves, from some images.

    All else is as in a test: nothing is dropped, and nothing is drawn that others draw from.

    Args:
        adapter: of the network, on its device.
        images: uint8 (N, H, W, 3), of the training.
        normalization: of the network's images.
        batch_size: how many are shown at once, as in training.
        scale: the part of their height and width at which they are shown.
    """
    network = adapter.network
    device = next(network.parameters()).device
    size = -(-len(images) // max(1, round(len(images) / batch_size)))  # none is left alone
    unhooked = Adapter(network, adapter.call, adapter.classes, hooked=False)
    with random_state_kept(device), evaluating(network):
        layers = _moving(network)
        momenta = [layer.momentum for layer in layers]
        counters = [one for layer in layers if (one := layer.num_batches_tracked) is not None]
        counts = [counter.clone() for counter in counters]
        try:
            for number, batch in enumerate(eval_batches(images, normalization, device, size)):
                for layer in layers:
                    layer.momentum = 1 / (number + 1)  # a mean over all batches
                unhooked(scaled_down(batch, scale))
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
            for counter, count in zip(counters, counts, strict=True):
                counter.copy_(count)  # these were no steps of the training


def _moving(network: nn.Module) -> list[_NormBase]:
    """Put those layers in training mode whose statistics training moves, and return them."""
    layers = [one for one in network.modules() if isinstance(one, _NormBase)]
    network.train()  # which somebody's own may keep from some of them
    moving = [one for one in layers if one.training and one.running_mean is not None]
    network.eval()
    for layer in moving:
        layer.training = True
    return moving


@contextlib.contextmanager
def kept(network: nn.Module) -> Iterator[None]:
    """Put the statistics, and what counts their steps, back afterwards."""
    tensors = [
        tensor
        for layer in network.modules()
        if isinstance(layer, _NormBase)
        for tensor in layer.buffers(recurse=False)
    ]
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
