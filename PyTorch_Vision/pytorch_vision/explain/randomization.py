"""Whether a map depends on what the network has learned.

Layer after layer gets new random weights, and each time the maps are compared with the true ones.
Julius Adebayo et al., "Sanity Checks for Saliency Maps", arXiv 1810.03292.
"""

from collections.abc import Sequence

import numpy as np
import scipy.stats
import torch
from torch import nn

from pytorch_vision.explain.gradcam import METHODS, Explainer
from pytorch_vision.models import Classifier
from pytorch_vision.models.module_utils import device_of
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
    """Randomise a copy of the network from the last layer to the first, and compare the maps.

    One after the other, the network's children that have parameters get new random weights, and
    keep them; the network's own parameters, such as a class token, get them with the first child.
    A map that stays the same did not depend on what the network learned there.

    Args:
        classifier, images, classes, layer: as for ``grad_cam``.
        methods: names from ``METHODS``.
        seed: for the new weights.

    Returns:
        For each method, by the name of the child that was randomised last, Spearman's rank
        correlation of each image's map with the true one: float64 (N,) in [-1, 1].

    Raises:
        NoMapError: the network gives no map.
    """
    explainer = Explainer(classifier, layer)
    children = [
        name for name, child in explainer.network.named_children() if list(child.parameters())
    ]
    true_maps = explainer.maps(images, classes, methods)
    correlations: dict[str, dict[str, np.ndarray]] = {method: {} for method in methods}
    with (
        random_state_kept(device_of(explainer.network)),
        Bar(total=len(children), desc="Layers randomised") as bar,
    ):
        torch.manual_seed(seed)
        for child in reversed(children):
            for module in explainer.network.get_submodule(child).modules():
                _randomize(module)
            if child == children[0]:
                _randomize(explainer.network)
            maps = explainer.maps(images, classes, methods)
            for method, true, random in zip(methods, true_maps, maps, strict=True):
                correlations[method][child] = rank_correlation(true, random)
            bar.update()
    return correlations


def _randomize(module: nn.Module) -> None:
    """Give a module's own parameters new random values, as when it was made if it can do that.

    Others, such as those of attention and LayerScale, are drawn with their own mean and spread.
    """
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()
        return
    numbers = [one for one in module.parameters(recurse=False) if one.is_floating_point()]
    for parameter in numbers:
        spread, mean = torch.std_mean(parameter, correction=0)
        parameter.copy_(mean + spread * torch.randn_like(parameter))


def rank_correlation(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each pair of maps, two arrays (N, H, W): float64 (N,).

    It is 0 where one of the two is constant.
    """
    pixels = some.shape[1] * some.shape[2]
    one, other = (
        scipy.stats.rankdata(maps.reshape(len(maps), pixels), axis=1) - (pixels + 1) / 2
        for maps in (some, others)
    )
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.where(sizes > 0, sizes, 1)
