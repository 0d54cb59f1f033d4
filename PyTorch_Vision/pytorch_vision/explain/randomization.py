"""Whether a map depends on what the network has learned.

Throw that away, layer by layer, and see whether the map changes. Julius Adebayo et al., "Sanity
Checks for Saliency Maps", arXiv 1810.03292.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
import torch

from pytorch_vision.explain.gradcam import METHODS, grad_cam
from pytorch_vision.models import Classifier
from pytorch_vision.models.module_utils import copied, device_of
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.terminal import Bar


def randomization(
    classifier: Classifier,
    images: np.ndarray,
    classes: np.ndarray,
    layer: str | None = None,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Throw away what was learned, from the last layer to the first, and compare the maps.

    The parts of the network are its children that have parameters, the last first. Each is given
    new random weights, and stays so while the next ones follow. A map that stays the same did not
    depend on what was learned there.

    Args:
        classifier, images, classes, layer: as for ``grad_cam``.
        methods: of ``grad_cam``.
        seed: of the new weights.

    Returns:
        For each method, by the name of the part that was randomised last, the rank correlation
        (Spearman) of each image's map with the true one: float64 (N,) in [-1, 1]; 0 where one of
        the two maps is the same everywhere.
    """
    parts = [
        name for name, child in classifier.network.named_children() if list(child.parameters())
    ]
    network = copied(classifier.network)
    randomized = classifier.with_network(network)
    correlations: dict[str, dict[str, np.ndarray]] = {method: {} for method in methods}
    true_maps = grad_cam(randomized, images, classes, layer, methods)
    with (
        random_state_kept(device_of(network)),
        Bar(total=len(parts), desc="Layers randomised") as bar,
    ):
        torch.manual_seed(seed)
        for part in reversed(parts):
            for module in network.get_submodule(part).modules():
                if hasattr(module, "reset_parameters"):
                    reset: Any = module.reset_parameters
                    reset()
            maps = grad_cam(randomized, images, classes, layer, methods)
            for method, true, forgotten in zip(methods, true_maps, maps, strict=True):
                correlations[method][part] = rank_correlation(true, forgotten)
            bar.update()
    return correlations


def rank_correlation(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each pair of maps (N, H, W): float64 (N,)."""
    pixels = some.shape[1] * some.shape[2]
    ranks = [
        scipy.stats.rankdata(maps.reshape(len(maps), pixels), axis=1).astype(np.float64)
        for maps in (some, others)
    ]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    product = (centred[0] * centred[1]).sum(axis=1)
    sizes = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.divide(product, sizes, out=np.zeros(len(some)), where=sizes > 0)
