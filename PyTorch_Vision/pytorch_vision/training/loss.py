"""The recipe's training loss: cross-entropy with label smoothing and class weights."""

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.training.config import TrainConfig


def cross_entropy(
    data: ImageData, config: TrainConfig, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a recipe's cross-entropy: a function of logits and labels that sums over images.

    Images with the label -100 do not count. The labels of ``data`` give the class frequencies;
    ``device`` is that of the logits.
    """
    weights = class_weights(data, config.class_weights)
    return functools.partial(
        F.cross_entropy,
        weight=None if weights is None else weights.to(device),
        label_smoothing=config.label_smoothing,
        reduction="sum",
    )


def class_weights(data: ImageData, power: float) -> Tensor | None:
    """Return the weight of each class in the loss, float32 (C,); None if all are equal.

    A class with n_c training images has the weight n_c ** -power, scaled so that the mean over the
    images is 1. A class without images has the weight 1.
    """
    if power == 0:
        return None
    counts, _ = data.class_counts
    weights = np.where(counts > 0, counts.clip(1).astype(np.float64) ** -power, 0)
    weights *= counts.sum() / (weights * counts).sum()
    return torch.tensor(np.where(counts > 0, weights, 1), dtype=torch.float32)
