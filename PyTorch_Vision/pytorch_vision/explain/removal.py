"""Whether a map is faithful: whether the network needs the pixels that the map calls important.

Pixels are removed in the map's order while the probability of the class is measured. Missing pixels
are filled in such a way that the hole's shape tells the network nothing. Yao Rong et al., "A
Consistent and Efficient Evaluation Strategy for Attribution Methods" (ROAD), arXiv 2202.00449.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightning_fabric
import numpy as np
import scipy.integrate
import scipy.ndimage
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.inference import images_at_once
from pytorch_vision.models.module_utils import evaluating
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import device_settings, make_fabric, memory_explained
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.runtime.text import percent

FRACTIONS = (0.1, 0.3, 0.6)  # of the pixels to remove
NOISE = 0.01  # standard deviation, in units of normalised pixels, as in ROAD


@dataclass(frozen=True, eq=False)
class Removal:
    """The probability of each image's class while its pixels are removed in a map's order.

    Attributes:
        fractions: float64 (F,), the shares of pixels removed, from 0 on.
        morf: float32 (N, F), the probability when the most relevant pixels go first. The lower
            the curve, the more the network needed the pixels that the map marks.
        lerf: float32 (N, F), the probability when the least relevant pixels go first. The higher
            the curve, the less the network needed the pixels that the map leaves out.
    """

    fractions: np.ndarray
    morf: np.ndarray
    lerf: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """The mean gap between the two curves, float64 (N,) in [-1, 1]: about 0 for random maps."""
        gap = self.lerf.astype(np.float64) - self.morf
        return scipy.integrate.trapezoid(gap, self.fractions) / np.ptp(self.fractions)


def removal(
    classifier: Classifier,
    images: np.ndarray,
    classes: np.ndarray,
    maps: Mapping[str, np.ndarray],
    fractions: Sequence[float] = FRACTIONS,
    machine: Machine | None = None,
    seed: int = 0,
) -> dict[str, Removal]:
    """Remove pixels in the order of each map, and measure how the probability of a class changes.

    Removed pixels are filled from their surroundings (see ``fill``). Pixels of equal importance go
    in random order. The network is moved to the device; its layers keep their modes.

    Args:
        classifier: the one that the maps explain.
        images: uint8 (N, H, W, 3).
        classes: int (N,), the class of each image whose probability is measured.
        maps: by name, float (N, H, W); the larger a value, the more important the pixel.
        fractions: the shares of pixels to remove, rising, each in (0, 1).
        machine: ``Machine()`` if None.
        seed: for the order of equally important pixels and for the noise.

    Returns:
        A ``Removal`` for each map, by the same names.

    Raises:
        ValueError: a map does not fit the images, or the fractions do not rise within (0, 1).
    """
    fractions = [float(fraction) for fraction in fractions]
    if not fractions or fractions != sorted({f for f in fractions if 0 < f < 1}):
        raise ValueError(f"fractions are {fractions}, expected rising numbers between 0 and 1")
    for name, map_ in maps.items():
        if map_.shape != images.shape[:3]:
            raise ValueError(f"map {name!r} is {map_.shape}, expected {images.shape[:3]}")
    fabric = make_fabric(machine)
    chance, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pixels = images.shape[1] * images.shape[2]
    counts = [round(fraction * pixels) for fraction in fractions]
    curves = {name: np.full((2, len(images), len(counts) + 1), np.nan, np.float32) for name in maps}
    size = images_at_once(classifier.size, fabric.device)
    with (
        memory_explained(),
        device_settings(fabric.device),
        classifier.on(fabric) as adapter,
        evaluating(adapter.network),
        Bar(total=len(images), desc="Pixels taken away", unit=" images") as bar,
    ):
        batches = eval_batches(images, classifier.normalization, fabric.device, size)
        for number, batch in enumerate(batches):
            part = slice(number * size, number * size + len(batch))
            asked = torch.from_numpy(np.asarray(classes[part], np.int64)).to(batch.device)
            whole = _probabilities(fabric, adapter, batch, asked)
            for name, map_ in maps.items():
                ranks = torch.from_numpy(_ranks(map_[part], chance)).to(batch.device)
                curves[name][:, part, 0] = whole
                for column, count in enumerate(counts, start=1):
                    for row, missing in enumerate((ranks < count, ranks >= pixels - count)):
                        filled = fill(batch, missing, noise)
                        answers = _probabilities(fabric, adapter, filled, asked)
                        curves[name][row, part, column] = answers
            bar.update(len(batch))
    shares = np.array([0.0, *fractions])
    return {name: Removal(shares, most, least) for name, (most, least) in curves.items()}


def _probabilities(
    fabric: lightning_fabric.Fabric, adapter: Adapter, batch: Tensor, classes: Tensor
) -> np.ndarray:
    """Return the probability of its class for each image of a batch, float32 (B,)."""
    with torch.no_grad(), fabric.autocast():
        logits = adapter(batch)
    return logits.softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()


def _ranks(maps: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Rank each map's pixels, 0 for the most important; int64 (N, H, W)."""
    flat = maps.reshape(len(maps), -1)
    order = np.lexsort((chance.random(flat.shape), -flat))
    return order.argsort(axis=1).reshape(maps.shape)


def fill(images: Tensor, missing: Tensor, noise: torch.Generator | None = None) -> Tensor:
    """Fill missing pixels with the weighted mean of their eight neighbours, missing or not.

    That is the linear system of ROAD's imputation. Conjugate gradients solve it for a whole batch;
    ``pytorch_grad_cam.metrics.road`` solves it image by image on the CPU.

    Args:
        images: float32 (N, C, H, W); not changed.
        missing: bool (N, H, W), on the same device; not all True for any image.
        noise: generator of the Gaussian noise of standard deviation ``NOISE`` that is added to the
            filled pixels; None adds none.

    Returns:
        float32 (N, C, H, W).
    """
    hole = missing[:, None].to(images.dtype)
    weights = _neighbours(torch.ones_like(images[:1]))  # less than 1 at the edge of the image
    known = images * (1 - hole)
    x = torch.zeros_like(images)
    residual = _neighbours(known) * hole
    direction, size = residual.clone(), residual.square().sum(dim=(2, 3), keepdim=True)
    limit = 1e-8 * size
    for step in range(500):
        if step % 10 == 0 and bool((size <= limit).all()):
            break
        moved = (weights * direction - _neighbours(direction)) * hole
        along = (direction * moved).sum(dim=(2, 3), keepdim=True)
        length = torch.where(size > limit, size / along.clamp(min=1e-30), 0)
        x += length * direction
        residual -= length * moved
        before, size = size, residual.square().sum(dim=(2, 3), keepdim=True)
        direction = residual + size / before.clamp(min=1e-30) * direction
    if noise is not None:
        x += NOISE * hole * torch.randn(images.shape, generator=noise).to(images)
    return known + x * hole


def _neighbours(x: Tensor) -> Tensor:
    """Return a sixth of each pixel's four neighbours plus a twelfth of its four diagonal ones.

    Sums of shifted images, because a convolution of so few channels is slow on a CPU.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    rows = torch.add(padded[..., :-2, :], padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=2)
    both = torch.add(rows[..., :-2], rows[..., 2:]).add_(rows[..., 1:-1], alpha=2)
    return both.sub_(x, alpha=4).div_(12)


def baseline_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return three baseline maps that depend on no network, for images, uint8 (N, H, W, 3).

    Returns:
        float32 (N, H, W) each: "random"; "centre", larger nearer to the image's centre; "edges",
        the Sobel gradient's magnitude in the mean of the three colours.
    """
    height, width = images.shape[1:3]
    random = np.random.default_rng(0).random(images.shape[:3], np.float32)
    down, across = np.ogrid[:height, :width]
    distance = np.hypot(down - (height - 1) / 2, across - (width - 1) / 2)
    centre = np.broadcast_to(-distance, images.shape[:3]).astype(np.float32)
    brightness = images.mean(axis=-1, dtype=np.float32)
    slopes = [scipy.ndimage.sobel(brightness, axis) for axis in (1, 2)]
    return {"random": random, "centre": centre, "edges": np.hypot(*slopes)}


def describe_removal(by_map: Removal, at_random: Removal) -> str:
    """Say in a sentence what it costs to remove the pixels a map marks, and as many random ones."""
    column = 1 + int(np.argmin(np.abs(by_map.fractions[1:] - 0.3)))
    before = by_map.morf[:, 0].mean()
    marked, random = (one.morf[:, column].mean() for one in (by_map, at_random))
    more = before - marked > before - random
    return (
        f"When the {percent(by_map.fractions[column])} of the pixels that the map calls most "
        "important are taken away, the probability of the predicted class goes from "
        f"{percent(before, 1)} to {percent(marked, 1)} on average; when as many random pixels are, "
        f"to {percent(random, 1)}." + ("" if more else " So these maps are no better than chance.")
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the bootstrap 95 % confidence interval of a mean, from 1,000 resamples.

    Args:
        values: float (N,), one for each image.

    Returns:
        The two ends; NaN for fewer than two values, which have no spread.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    low, high = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(low), float(high)
