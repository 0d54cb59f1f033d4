"""The last layer of a network, fitted to the features below it: a linear probe in closed form.

A network with weights trained on other classes has a random last layer. Trained together with the
others, it first spoils what they have learned (Ananya Kumar et al., "Fine-Tuning can Distort
Pretrained Features and Underperform Out-of-Distribution", arXiv 2202.10054). So it is fitted first,
by ridge regression of one-hot labels on its inputs. Leave-one-out predictions, also
in closed form, choose the strength of the ridge; there is nothing to tune. They also decide how far
BatchNorm's statistics follow the new images.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning_fabric
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import ImageData, Normalization, eval_batches
from pytorch_vision.data.loaders import epoch_order
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.inference import images_at_once
from pytorch_vision.models.module_utils import device_of, evaluating, norm_layers
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import percent
from pytorch_vision.training.batchnorm import image_count, move_statistics, updated_layers
from pytorch_vision.training.config import TrainConfig

# strengths of the ridge, in units of a feature's variance; and scales of the logits
STRENGTHS = torch.logspace(-3, 3, 13, device="cpu")
SCALES = torch.logspace(0, 3, 61, device="cpu")
MOST_FEATURES = 2**28  # numbers, 1 GB; if all images have more, fewer images are used
SHARES = (0.1, 0.2, 0.4, 0.8)  # of the way to the images' statistics


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer, fitted to features.

    Attributes:
        weight, bias: float32 (C, D) and (C,); the bias is zero without an intercept.
        accuracy: leave-one-out accuracy, in [0, 1].
        losses: float32 (N,), the leave-one-out cross-entropies.
    """

    weight: Tensor
    bias: Tensor
    accuracy: float
    losses: Tensor


def fit_last_layer(
    fabric: lightning_fabric.Fabric,
    adapter: Adapter,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
) -> None:
    """Fit the last layer of a network with learned weights if the recipe stays near them.

    Before that, unless ``config.train`` is "head", move BatchNorm's running statistics (``adapt``).
    All stays as it is if the layer is right at least as often as a fitted one, as with the same
    classes. Prints what was done.

    ``adapter`` calls the classifier's network, on the device of ``fabric`` and in its precision.
    """
    if config.transfer == "no":
        return
    found = last_layer(adapter, classifier.size)
    # weights that are computed, as by weight_norm, cannot be set
    if found is None or "weight" not in found[0]._parameters or len(data.train_images) < 2:
        say(
            "The network does not end with a plain linear layer, or there is only one image, so no "
            "layer is fitted before the training"
        )
        return
    layer, multiple = found
    order = epoch_order(len(data.train_images), config.seed, 0)
    some = order[: image_count(len(order))]

    def probe(rows: np.ndarray) -> tuple[LinearProbe, Tensor, Tensor]:
        """Fit the layer to the images of these rows; also return their features and labels."""
        rows = np.sort(rows)
        features = features_below(
            fabric, adapter, layer, data.train_images, classifier.normalization, rows
        )
        labels = torch.from_numpy(data.train_labels[rows]).long()
        intercept = layer.bias is not None
        fitted = fit_probe(features, labels, layer.out_features, intercept, config.label_smoothing)
        return fitted, features, labels

    fitted, features, labels = probe(some)
    with torch.no_grad():
        answers = layer(features.to(fabric.device)).argmax(1).cpu()
    if (answers == labels).double().mean() >= fitted.accuracy:
        say(f"The last layer stays as it is. {_described(fitted)}, which is no better")
        return

    def moved_by(share: float) -> LinearProbe:
        """Move the statistics, and fit the layer again."""
        size = images_at_once(classifier.size, fabric.device)
        batches = eval_batches(  # in random order, as later ones count more
            data.train_images, classifier.normalization, fabric.device, size, some
        )
        move_statistics(adapter, batches, -(-len(some) // size), share, fabric.autocast)
        return probe(some)[0]

    share = 0.0
    if config.train == "all":
        share, fitted = adapt(adapter, fitted, moved_by)
    if len(some) < len(order):
        fitted, *_ = probe(order[: max(2, MOST_FEATURES // layer.in_features)])
    with torch.no_grad():
        layer.weight.copy_(fitted.weight / multiple)
        if layer.bias is not None:
            layer.bias.copy_(fitted.bias / multiple)
    classifier.learns_from(data.train_digests)
    if share:
        say(f"BatchNorm's running statistics moved {percent(share)} of the way to the images'")
    say(_described(fitted))


def _described(probe: LinearProbe) -> str:
    return (
        f"A last layer fitted to the features of {len(probe.losses):,} images classifies "
        f"{percent(probe.accuracy, 2)} of them correctly (leave-one-out)"
    )


def adapt(
    adapter: Adapter, first: LinearProbe, moved_by: Callable[[float], LinearProbe]
) -> tuple[float, LinearProbe]:
    """Move BatchNorm's running statistics as far as a fitted last layer allows.

    New pictures differ from the weights' own in style, which the statistics should follow, and in
    content, which they should not. So a mixture of the statistics is better than either (Steffen
    Schneider et al., "Improving robustness against common corruptions by covariate shift
    adaptation", arXiv 2006.16971). The share is the last one tried before the leave-one-out loss
    exceeds its minimum by more than one standard error.

    Args:
        adapter: calls the network.
        first: the layer fitted with the learned statistics.
        moved_by: moves the statistics by a share, and returns the layer fitted then.

    Returns:
        The share, and the layer fitted with it.
    """
    statistics = [
        statistic
        for layer in updated_layers(adapter.network)
        for statistic in layer.buffers(recurse=False)
        if statistic.is_floating_point()  # the third one counts batches
    ]
    if not statistics:
        return 0.0, first
    learned = [one.clone() for one in statistics]
    best, kept, chosen = first, learned, (0.0, first)
    for share in SHARES:
        torch._foreach_copy_(statistics, learned)
        probe = moved_by(share)
        worse = probe.losses - best.losses
        if float(worse.mean()) > float(worse.std()) / len(worse) ** 0.5:
            break
        kept, chosen = [one.clone() for one in statistics], (share, probe)
        best = probe if float(worse.mean()) < 0 else best
    torch._foreach_copy_(statistics, kept)
    return chosen


@contextlib.contextmanager
def partly_frozen(adapter: Adapter, size: tuple[int, int], config: TrainConfig) -> Iterator[None]:
    """Temporarily freeze what the recipe does not train.

    That is all but the last layer if ``config.train`` is "head", and the normalisation layers if
    ``config.transfer`` is "near".

    Raises:
        ValueError: the logits are not a linear layer's outputs.
    """
    frozen = set[nn.Parameter]()
    if config.train == "head":
        found = last_layer(adapter, size)
        if found is None:
            raise ValueError(
                "train is 'head', but the network does not end with a linear layer: train 'all', "
                "or freeze layers yourself (requires_grad_(False))"
            )
        frozen.update(set(adapter.network.parameters()).difference(found[0].parameters()))
    if config.transfer == "near":
        frozen.update(one for layer in norm_layers(adapter.network) for one in layer.parameters())
    frozen = {parameter for parameter in frozen if parameter.requires_grad}
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def last_layer(adapter: Adapter, size: tuple[int, int]) -> tuple[nn.Linear, float] | None:
    """Return the linear layer behind a network's logits, and the factor from its outputs to them.

    Args:
        adapter: calls the network, which is tried on two random images in evaluation mode.
        size: height and width of its images.

    Returns:
        None if the logits are no multiple of a linear layer's outputs, as after a softmax.
    """
    network, device = adapter.network, device_of(adapter.network)
    outputs: dict[nn.Linear, Tensor] = {}

    def keep(layer: nn.Linear, _inputs: Any, output: Tensor) -> None:
        outputs[layer] = output.clone()  # the network may change it in place

    with (
        contextlib.ExitStack() as hooks,
        random_state_kept(device),
        evaluating(network),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        for module in network.modules():
            if isinstance(module, nn.Linear):
                hooks.enter_context(module.register_forward_hook(keep))
        logits = adapter.unhooked(torch.randn(2, 3, *size, device=device))
    for layer, output in outputs.items():
        if output.shape != logits.shape:
            continue
        multiple = float((output * logits).sum() / (output * output).sum())
        if multiple > 0 and torch.allclose(multiple * output, logits, rtol=1e-3, atol=1e-5):
            return layer, multiple
    return None


@torch.no_grad()
def features_below(
    fabric: lightning_fabric.Fabric,
    adapter: Adapter,
    layer: nn.Linear,
    images: np.ndarray,
    normalization: Normalization,
    rows: np.ndarray,
) -> Tensor:
    """Return a layer's inputs for images, in evaluation mode: float32 (M, D), on the CPU.

    ``images`` are uint8 (N, H, W, 3); ``rows``, int64 (M,), are those to use.
    """
    features = torch.empty(len(rows), layer.in_features)
    size = images_at_once((images.shape[1], images.shape[2]), fabric.device)
    unhooked, seen, start = adapter.unhooked, list[Tensor](), 0
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with hook, evaluating(adapter.network):
        for batch in eval_batches(images, normalization, fabric.device, size, rows):
            with fabric.autocast():
                unhooked(batch)
            end = start + len(batch)
            # a network that fails on a single image gets it twice
            features[start:end] = seen.pop()[: len(batch)].float().cpu()
            start = end
    return features


@torch.no_grad()
def fit_probe(
    features: Tensor,
    labels: Tensor,
    classes: int,
    intercept: bool = True,
    label_smoothing: float = 0.0,
) -> LinearProbe:
    """Fit a linear layer to features.

    With U S V' the features, standardised, the hat matrix is H = U diag(s^2 / (s^2 + strength)) U'.
    The residual of an image that is left out is (y - H y)_i / (1 - H_ii), whatever the strength
    (Allen's PRESS, 1974). The strength minimises its mean square, the scale of the logits the
    cross-entropy of the leave-one-out predictions.

    Args:
        features: float32 (N, D), of at least two images.
        labels: int64 (N,).
        classes: C, their number.
        intercept: False fits no bias.
        label_smoothing: of the loss that the network is trained with afterwards.
    """
    mean = features.mean(0) if intercept else torch.zeros(features.shape[1])
    deviation = (features - mean).square().mean(0).sqrt()
    deviation = deviation.where(deviation > 1e-6 * deviation.max(), 1)  # 1 if constant
    one_hot = F.one_hot(labels, classes).float()
    middle = one_hot.mean(0) if intercept else torch.full((classes,), 1 / classes)
    left, squares, right = _singular_vectors((features - mean) / deviation)
    targets = one_hot - middle
    projected = left.T @ targets
    best: tuple[float, float, Tensor] | None = None
    for strength in (len(features) * STRENGTHS).tolist():
        shrunk = squares / (squares + strength)
        hats = left.square() @ shrunk + intercept / len(features)
        left_out = (targets - left @ (shrunk[:, None] * projected)) / (1 - hats)[:, None]
        error = float(left_out.square().mean())
        if best is None or error < best[0]:
            best = error, strength, one_hot - left_out
    assert best is not None
    _, strength, scores = best
    scaled = (SCALES[:, None, None] * scores).movedim(2, 1)  # (scales, C, N)
    losses = F.cross_entropy(
        scaled, labels.expand(len(SCALES), -1), reduction="none", label_smoothing=label_smoothing
    )
    least = int(losses.mean(1).argmin())
    scale = SCALES[least]
    ridge = squares.sqrt() / (squares + strength)
    weight = scale * (right @ (ridge[:, None] * projected)).T / deviation
    bias = scale * middle - weight @ mean if intercept else torch.zeros(classes)
    accuracy = float((scores.argmax(1) == labels).double().mean())
    return LinearProbe(weight, bias, accuracy, losses[least])


def _singular_vectors(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (N, R), the squares of the R singular values, and V (D, R) of a matrix (N, D).

    They come from the smaller Gram matrix, which is faster than ``torch.linalg.svd``; the small
    singular values that this loses, the ridge shrinks to nothing.
    """
    tall = len(x) > x.shape[1]
    squares, vectors = torch.linalg.eigh((x.T @ x if tall else x @ x.T).double())
    real = squares > 1e-6 * squares.max().clamp(min=1e-12)
    squares, vectors = squares[real].float(), vectors[:, real].float()
    others = (x if tall else x.T) @ vectors / squares.sqrt()
    return (others, squares, vectors) if tall else (vectors, squares, others)
