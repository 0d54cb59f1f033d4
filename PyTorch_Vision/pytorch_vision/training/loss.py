"""The recipe's training loss: cross-entropy with label smoothing and class weights."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.training.config import TrainConfig


class CrossEntropy:
    """A recipe's cross-entropy, summed over a batch's images.

    Args:
        data: its labels give the class frequencies.
        config: sets label smoothing and class weights.
        device: the logits' device.
    """

    def __init__(self, data: ImageData, config: TrainConfig, device: torch.device) -> None:
        self.label_smoothing = config.label_smoothing
        weights = class_weights(data, config.class_weights)
        self.weights = None if weights is None else weights.to(device)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the summed loss, float32 (); images with the label -100 do not count."""
        return F.cross_entropy(
            logits,
            labels,
            self.weights,
            label_smoothing=self.label_smoothing,
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
