"""How an operation moves the places of a tensor's entries on the input image.

A convolution, a pooling, a slice or a padding moves and spreads them; a permutation, a reshape or
a shuffle only renames the dimensions; a matrix product keeps the places of its rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from pytorch_vision.explain.tensor_layout import Dimension, Factor, Layout, reshaped


def behind(name: str, args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Return the layout of an operation's result; None if it is not known.

    Args:
        name: the operation's name in torch's dispatcher.
        args: its arguments.
        source: the layout of ``before``.
        before: its first argument that has a layout.
        after: its result, or one of them.
    """
    if name in _MOVES:
        return None
    if name in _RULES:
        return _RULES[name](args, source, before, after)
    return source if before.shape == after.shape else None


# these put entries elsewhere without changing the shape
_MOVES = {"roll", "flip", "rot90", "index", "gather", "index_select", "sort", "fft_fft2"}


def _viewed(_args: tuple, source: Layout, _before: Tensor, after: Tensor) -> Layout | None:
    return reshaped(source, tuple(after.shape))


def _permuted(args: tuple, source: Layout, before: Tensor, _after: Tensor) -> Layout:
    return _in_order(source, [number % before.ndim for number in args[1]])


def _transposed(args: tuple, source: Layout, before: Tensor, _after: Tensor) -> Layout:
    first, second = args[1:3] if len(args) > 2 else (0, 1)
    order = list(range(before.ndim))
    order[first], order[second] = order[second], order[first]
    return _in_order(source, order)


def _in_order(source: Layout, order: Sequence[int]) -> Layout:
    return replace(source, dimensions=tuple(source.dimensions[number] for number in order))


def _expanded(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout:
    added = after.ndim - before.ndim
    dimensions: list[Dimension] = [(Factor(size),) for size in after.shape[:added]]
    for dimension, old, new in zip(
        source.dimensions, before.shape, after.shape[added:], strict=True
    ):
        dimensions.append(dimension if old == new else (Factor(new),))
    return replace(source, dimensions=tuple(dimensions))


def _stepped(
    source: Layout | None, number: int, size: int, start: float = 0.0, step: float = 1.0
) -> Layout | None:
    """Return a layout whose dimension begins at ``start`` and goes on in steps, in its entries."""
    if source is None or len(source.dimensions[number]) > 1:
        return None
    (old,) = source.dimensions[number]
    moved = source.moved(old.down * start, old.across * start)
    return moved.with_dimension(number, (Factor(size, old.down * step, old.across * step),))


def _windows(
    source: Layout, kernel: Any, stride: Any, padding: Any, dilation: Any, after: Tensor
) -> Layout | None:
    """Move a window over the last dimensions, as convolutions and poolings do."""
    settings = [_each(values, after.ndim - 2) for values in (kernel, stride, padding, dilation)]
    layout: Layout | None = source
    for number, (k, s, p, d) in enumerate(zip(*settings, strict=True), 2):
        layout = _stepped(layout, number, after.shape[number], (k - 1) * d / 2 - p, s)
    return layout and layout.with_dimension(1, (Factor(after.shape[1]),))


def _each(values: Any, count: int) -> tuple:
    listed = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    return listed * count if len(listed) == 1 else listed


def _convolved(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    weight, stride, padding, dilation, transposed = args[1], *args[3:7]
    if transposed or before is not args[0]:
        return None
    for factor in source.dimensions[1]:  # the mean over channels that lie at different places
        middle = (factor.size - 1) / 2
        source = source.moved(factor.down * middle, factor.across * middle)
    return _windows(source, weight.shape[2:], stride, padding, dilation, after)


def _averaged(args: tuple, source: Layout, _before: Tensor, after: Tensor) -> Layout | None:
    kernel, stride, padding = (*args[1:4], *(None, 0)[len(args) - 2 :])[:3]
    return _windows(source, kernel, stride or kernel, padding, 1, after)


def _max_pooled(args: tuple, source: Layout, _before: Tensor, after: Tensor) -> Layout | None:
    kernel, stride, padding, dilation = (*args[1:5], *(None, 0, 1)[len(args) - 2 :])[:4]
    return _windows(source, kernel, stride or kernel, padding, dilation, after)


def _pooled_to_size(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    sizes = list(zip(before.shape[2:], after.shape[2:], strict=True))
    if any(old % new for old, new in sizes):
        return None
    kernel = [old // new for old, new in sizes]
    return _windows(source, kernel, kernel, 0, 1, after)


def _padded(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    layout: Layout | None = source
    for number, (first, last) in enumerate(zip(args[1][::2], args[1][1::2], strict=True), 1):
        if first or last:
            which = before.ndim - number
            layout = _stepped(layout, which, after.shape[which], -first)
    return layout


def _resampled(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Stretch rows and columns, which then lie closer together, or further apart."""
    corners, *scales = args[2:] if args[2:3] and isinstance(args[2], bool) else (False, *args[2:])
    layout: Layout | None = source
    for number, scale in zip((2, 3), (*scales, None, None), strict=False):
        old, new = before.shape[number], after.shape[number]
        ratio = 1 / scale if scale else old / new
        if corners:
            ratio = (old - 1) / max(new - 1, 1)
        layout = _stepped(layout, number, new, 0 if corners else (ratio - 1) / 2, ratio)
    return layout


def _repeated(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Repeat the nearest cells; their places are known if none is left out."""
    if any(new < old for old, new in zip(before.shape[2:], after.shape[2:], strict=True)):
        return None
    return _resampled(args, source, before, after)


def _sliced(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    if before.shape == after.shape:
        return source
    number = (args[1] if len(args) > 1 else 0) % before.ndim
    start, step = (args[2] if len(args) > 2 else None) or 0, args[4] if len(args) > 4 else 1
    size = before.shape[number]
    start = min(max(start + size * (start < 0), 0), size)
    return _stepped(source, number, after.shape[number], start, step)


def _resized(
    args: tuple, source: Layout, before: Tensor, after: Tensor, position: int
) -> Layout | None:
    """Change the size of a dimension, which is an argument, if all its entries lie at one place."""
    number = (args[position] if len(args) > position else 0) % before.ndim
    if any(factor.placed for factor in source.dimensions[number]):
        return None
    return source.with_dimension(number, (Factor(after.shape[number]),))


def _unbound(args: tuple, source: Layout, before: Tensor, _after: Tensor) -> Layout | None:
    number = (args[1] if len(args) > 1 else 0) % before.ndim
    if any(factor.placed for factor in source.dimensions[number]):
        return None
    return source.without(number)


def _product(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Keep the places of the rows; a column is a mean over those of the source."""
    if before.shape[:-1] != after.shape[:-1]:
        return None
    rows = source.without(before.ndim - 1)
    return replace(rows, dimensions=(*rows.dimensions, (Factor(after.shape[-1]),)))


_RULES: dict[str, Any] = {
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze"), _viewed
    ),
    "permute": _permuted,
    **dict.fromkeys(("transpose", "t"), _transposed),
    "expand": _expanded,
    "convolution": _convolved,
    "max_pool2d_with_indices": _max_pooled,
    "avg_pool2d": _averaged,
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _pooled_to_size),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _padded),
    **dict.fromkeys(
        (
            "upsample_bilinear2d",
            "_upsample_bilinear2d_aa",
            "upsample_bicubic2d",
            "_upsample_bicubic2d_aa",
        ),
        _resampled,
    ),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), _repeated),
    "slice": _sliced,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), partial(_resized, position=2)),
    "unbind": _unbound,
    "cat": partial(_resized, position=1),
    **dict.fromkeys(("mm", "bmm", "linear", "matmul", "addmm"), _product),
}
