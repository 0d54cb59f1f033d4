"""What an operation does to the places of a tensor's numbers on the input image.

A convolution, a pooling, a slice or a padding moves and spreads them; a permutation, a reshape or
a shuffle only renames the dimensions; a matrix product keeps those of its rows.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from pytorch_vision.explain.tensor_layout import Dimension, Factor, Layout, reshaped


def behind(name: str, args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Return the layout of an operation's result; None where it is not known.

    Args:
        name: the operation's, as torch dispatches it.
        args: its arguments.
        source: the layout of its first argument that has one.
        before: that argument.
        after: the result; of several, one of them.
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
    return replace(source, dimensions=tuple(source.dimensions[d % before.ndim] for d in args[1]))


def _transposed(args: tuple, source: Layout, before: Tensor, _after: Tensor) -> Layout:
    first, second = args[1:3] if len(args) > 2 else (0, before.ndim - 1)
    dimensions = list(source.dimensions)
    first, second = first % before.ndim, second % before.ndim
    dimensions[first], dimensions[second] = dimensions[second], dimensions[first]
    return replace(source, dimensions=tuple(dimensions))


def _unshuffled(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Take squares of neighbours apart into channels."""
    (count, channels, rows, columns), side = before.shape, args[1]
    split = reshaped(source, (count, channels, rows // side, side, columns // side, side))
    if split is None:
        return None
    order = (0, 1, 3, 5, 2, 4)
    moved = replace(split, dimensions=tuple(split.dimensions[number] for number in order))
    return reshaped(moved, tuple(after.shape))


def _expanded(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout:
    added = after.ndim - before.ndim
    dimensions: list[Dimension] = [(Factor(size),) for size in after.shape[:added]]
    for dimension, old, new in zip(
        source.dimensions, before.shape, after.shape[added:], strict=True
    ):
        dimensions.append(dimension if old == new else (Factor(new),))
    return replace(source, dimensions=tuple(dimensions))


def _windows(
    source: Layout, kernel: Any, stride: Any, padding: Any, dilation: Any, after: Tensor
) -> Layout | None:
    """Move a window over the last dimensions, as convolutions and poolings do."""
    count = after.ndim - 2
    settings = [_each(values, count) for values in (kernel, stride, padding, dilation)]
    layout = source
    for number, (k, s, p, d) in enumerate(zip(*settings, strict=True), 2):
        dimension = source.dimensions[number]
        if len(dimension) > 1:
            return None
        step = dimension[0]
        shift = (k - 1) * d / 2 - p
        layout = layout.moved(step.down * shift, step.across * shift)
        sides = Factor(after.shape[number], step.down * s, step.across * s)
        layout = layout.with_dimension(number, (sides,))
    return layout.with_dimension(1, (Factor(after.shape[1]),))


def _each(values: Any, count: int) -> tuple:
    listed = tuple(values) if isinstance(values, (list, tuple)) else (values,)
    return listed * count if len(listed) == 1 else listed


def _convolved(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    weight, stride, padding, dilation, transposed = args[1], *args[3:7]
    if transposed or before is not args[0]:
        return None
    for factor in source.dimensions[1]:  # a mean over channels that lie at different places
        if factor.placed:
            source = source.moved(
                factor.down * (factor.size - 1) / 2, factor.across * (factor.size - 1) / 2
            )
    return _windows(source, weight.shape[2:], stride, padding, dilation, after)


def _pooled(args: tuple, source: Layout, _before: Tensor, after: Tensor) -> Layout | None:
    kernel, stride, padding = (*args[1:4], *(None, 0)[len(args) - 2 :])[:3]
    return _windows(source, kernel, stride or kernel, padding, 1, after)


def _max_pooled(args: tuple, source: Layout, _before: Tensor, after: Tensor) -> Layout | None:
    given = dict(zip(("kernel", "stride", "padding", "dilation"), args[1:], strict=False))
    return _windows(
        source,
        given["kernel"],
        given.get("stride") or given["kernel"],
        given.get("padding", 0),
        given.get("dilation", 1),
        after,
    )


def _pooled_to_size(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    sizes = list(zip(before.shape[2:], after.shape[2:], strict=True))
    if any(old % new for old, new in sizes):
        return None
    kernel = [old // new for old, new in sizes]
    return _windows(source, kernel, kernel, 0, 1, after)


def _padded(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    layout, sides = source, list(args[1])
    for number in range(len(sides) // 2):
        which = before.ndim - 1 - number
        if sides[2 * number : 2 * number + 2] == [0, 0]:
            continue
        dimension = layout.dimensions[which]
        if len(dimension) > 1:
            return None
        step = dimension[0]
        layout = layout.moved(-step.down * sides[2 * number], -step.across * sides[2 * number])
        layout = layout.with_dimension(which, (step._replace(size=after.shape[which]),))
    return layout


def _resampled(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Stretch rows and columns, which then lie closer together, or further apart."""
    corners, *scales = args[2:] if args[2:3] and isinstance(args[2], bool) else (False, *args[2:])
    layout = source
    for number, scale in zip((2, 3), (*scales, None, None), strict=False):
        if len(source.dimensions[number]) > 1:
            return None
        step, old, new = source.dimensions[number][0], before.shape[number], after.shape[number]
        ratio = 1 / scale if scale else old / new
        if corners:
            ratio = (old - 1) / max(new - 1, 1)
        shift = 0 if corners else (ratio - 1) / 2
        layout = layout.moved(step.down * shift, step.across * shift)
        sides = Factor(new, step.down * ratio, step.across * ratio)
        layout = layout.with_dimension(number, (sides,))
    return layout


def _repeated(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Repeat the nearest, which are known to lie where they do if nothing is left out."""
    if any(new < old for old, new in zip(before.shape[2:], after.shape[2:], strict=True)):
        return None
    return _resampled(args, source, before, after)


def _sliced(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    number = (args[1] if len(args) > 1 else 0) % before.ndim
    start = args[2] if len(args) > 2 and args[2] is not None else 0
    step = args[4] if len(args) > 4 else 1
    if before.shape == after.shape:
        return source
    dimension = source.dimensions[number]
    if len(dimension) > 1:
        return None
    factor = dimension[0]
    start = min(max(start + before.shape[number] * (start < 0), 0), before.shape[number])
    moved = source.moved(factor.down * start, factor.across * start)
    new = Factor(after.shape[number], factor.down * step, factor.across * step)
    return moved.with_dimension(number, (new,))


def _split(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Cut into parts, of which ``after`` is one: known where the parts lie at the same places."""
    number = (args[2] if len(args) > 2 else 0) % before.ndim
    if any(factor.placed for factor in source.dimensions[number]):
        return None
    return source.with_dimension(number, (Factor(after.shape[number]),))


def _unbound(args: tuple, source: Layout, before: Tensor, _after: Tensor) -> Layout | None:
    number = (args[1] if len(args) > 1 else 0) % before.ndim
    if any(factor.placed for factor in source.dimensions[number]):
        return None
    dimensions = source.dimensions[:number] + source.dimensions[number + 1 :]
    return replace(source, dimensions=dimensions)


def _joined(args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    number = (args[1] if len(args) > 1 else 0) % before.ndim
    if any(factor.placed for factor in source.dimensions[number]):
        return None
    return source.with_dimension(number, (Factor(after.shape[number]),))


def _product(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    """Keep the places of the rows; the columns are a mean over what the source had there."""
    if before.shape[:-1] != after.shape[:-1]:
        return None
    rows = source.without(before.ndim - 1)
    return replace(rows, dimensions=(*rows.dimensions, (Factor(after.shape[-1]),)))


def _attended(_args: tuple, source: Layout, before: Tensor, after: Tensor) -> Layout | None:
    return source if before.shape == after.shape else None


_RULES: dict[str, Any] = {
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze"), _viewed
    ),
    "pixel_unshuffle": _unshuffled,
    "permute": _permuted,
    "transpose": _transposed,
    "t": _transposed,
    "expand": _expanded,
    "convolution": _convolved,
    "max_pool2d_with_indices": _max_pooled,
    "avg_pool2d": _pooled,
    "_adaptive_avg_pool2d": _pooled_to_size,
    "adaptive_max_pool2d": _pooled_to_size,
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
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "unbind": _unbound,
    "cat": _joined,
    **dict.fromkeys(("mm", "bmm", "linear", "matmul"), _product),
    "addmm": _product,
    **dict.fromkeys(
        ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention"),
        _attended,
    ),
}
