"""Where the entries of a tensor lie on the input image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


class Factor(NamedTuple):
    """A factor of a dimension: how many entries, and how many pixels apart, down and across."""

    size: int
    down: float = 0.0
    across: float = 0.0

    @property
    def placed(self) -> bool:
        """Whether its entries lie at different places."""
        return bool(self.size > 1 and (self.down or self.across))


# from the outermost factor to the innermost; the product of their sizes is the dimension's size
Dimension = tuple[Factor, ...]


@dataclass(frozen=True)
class Layout:
    """Where the entries of a tensor lie on the input image.

    Attributes:
        origin: the pixel, down and across, of the entry whose indices are all 0.
        dimensions: the factors of each dimension, which say how far its entries are apart.
    """

    origin: tuple[float, float]
    dimensions: tuple[Dimension, ...]

    def moved(self, down: float, across: float) -> "Layout":
        """Return the same layout with another origin."""
        return replace(self, origin=(self.origin[0] + down, self.origin[1] + across))

    def with_dimension(self, number: int, dimension: Dimension) -> "Layout":
        """Return the same layout with one dimension replaced."""
        dimensions = list(self.dimensions)
        dimensions[number] = dimension
        return replace(self, dimensions=tuple(dimensions))

    def without(self, number: int) -> "Layout":
        """Return the layout of the tensor's mean over one dimension, which is then gone."""
        moved = self
        for factor in self.dimensions[number]:
            middle = (factor.size - 1) / 2
            moved = moved.moved(factor.down * middle, factor.across * middle)
        dimensions = self.dimensions[:number] + self.dimensions[number + 1 :]
        return replace(moved, dimensions=dimensions)


def of_image(shape: Sequence[int]) -> Layout:
    """Return the layout of images (N, C, H, W)."""
    count, channels, height, width = shape
    return Layout(
        (0.0, 0.0),
        ((Factor(count),), (Factor(channels),), (Factor(height, 1.0),), (Factor(width, 0.0, 1.0),)),
    )


def _merged(factors: Sequence[Factor]) -> Dimension:
    """Join neighbouring factors whose entries are evenly spaced; drop factors of one entry."""
    kept: list[Factor] = []
    for factor in factors:
        if factor.size == 1:
            continue
        last = kept[-1] if kept else None
        even = last is not None and (last.down, last.across) == (
            factor.size * factor.down,
            factor.size * factor.across,
        )
        if last is not None and even:
            kept[-1] = Factor(last.size * factor.size, factor.down, factor.across)
        else:
            kept.append(factor)
    return tuple(kept) or (Factor(1),)


def reshaped(source: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Distribute the factors over the dimensions of another shape; None where that fails."""
    left = [factor for dimension in source.dimensions for factor in dimension if factor.size > 1]
    dimensions = []
    for size in shape:
        taken: list[Factor] = []
        while size > 1:
            if not left:
                return None
            factor = left.pop(0)
            if size % factor.size == 0:
                taken.append(factor)
                size //= factor.size
            elif factor.size % size == 0:
                inner = factor.size // size
                taken.append(Factor(size, factor.down * inner, factor.across * inner))
                left.insert(0, factor._replace(size=inner))
                size = 1
            else:
                return None
        dimensions.append(_merged(taken))
    return replace(source, dimensions=tuple(dimensions)) if not left else None


def mean_of(layouts: Sequence[Layout]) -> Layout | None:
    """Return the layout of tensors that are added up, or joined along the channels.

    Their origins may differ, as those of every second row and of the rows between: the mean counts.
    """
    first = layouts[0]
    steps = [
        [[factor for factor in dimension if factor.placed] for dimension in one.dimensions]
        for one in layouts
    ]
    if any(step != steps[0] for step in steps):
        return None
    origin = tuple(math.fsum(one.origin[axis] for one in layouts) / len(layouts) for axis in (0, 1))
    return replace(first, origin=(origin[0], origin[1]))
