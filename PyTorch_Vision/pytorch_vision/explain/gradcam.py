"""Grad-CAM, with each cell of its maps drawn where it lies on the image.

Ramprasaath Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv 1610.02391. The package ``grad-cam`` computes the maps. It would also stretch
them over the image, as if their cells tiled it. But cell i of a layer is centred on pixel
offset + stride * i, and with padding the outer cells can even lie outside the image, so here maps
are sampled at the places that ``map_geometry`` finds.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, XGradCAM
from torch import Tensor, nn

from pytorch_vision.data import eval_batches
from pytorch_vision.explain.geometry import MapGeometry, NoMapError, trace_geometry
from pytorch_vision.models import Classifier
from pytorch_vision.models.classifier import PREDICTING
from pytorch_vision.models.inference import as_pixels, images_at_once
from pytorch_vision.models.module_utils import device_of
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.devices import (
    device_settings,
    gradients_on,
    memory_explained,
    random_state_kept,
)
from pytorch_vision.runtime.text import percent

METHODS: dict[str, Any] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "xgradcam": XGradCAM,
    "eigencam": EigenCAM,
}
METHOD_NAMES = {  # as in their papers
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "xgradcam": "XGrad-CAM",
    "eigencam": "Eigen-CAM",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """The most probable classes of a picture, and the places that support each of them.

    Attributes:
        image: uint8 (H, W, 3), the picture at the classifier's size.
        class_names: of the K most probable classes, the most probable first.
        probabilities: float32 (K,).
        maps: float32 (K, H, W) in [0, 1], as ``Explainer.maps`` returns them.
        name: the picture's file name; empty for a picture in memory.
    """

    image: np.ndarray
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    maps: np.ndarray
    name: str = ""

    @property
    def captions(self) -> list[str]:
        """Each class with its probability, as in "cat (97.1 %)"."""
        both = zip(self.class_names, self.probabilities, strict=True)
        return [f"{name} ({percent(probability, 1)})" for name, probability in both]

    def __str__(self) -> str:
        return ", ".join(self.captions)


class Explainer:
    """Makes Grad-CAM maps of one classifier: set up once, then used for any number of images.

    It keeps a float32 copy of the network, with the classifier's present weights, on its present
    device. The classifier is not changed.

        explanation = Explainer(Classifier.load("pretrained")).explain("cat.png")
        galleries.explanation(explanation).savefig("looked.png")

    Args:
        classifier: its network is explained.
        layer: the layer whose output is explained, as a module of the network or its dotted name;
            None for the last one whose output is a map, such as a ResNet's ``layer4``.

    Attributes:
        network: the copy, in evaluation mode.
        layer: the dotted name of the explained layer.
        geometry: where the cells of the layer's map lie on the image.

    Raises:
        NoMapError: the layer, or each layer, gives no map whose place on the image is known.
        ValueError: the network has no such layer, or does not take images of the classifier's size.
        MemoryError: there is too little memory for the copy.
    """

    def __init__(self, classifier: Classifier, layer: nn.Module | str | None = None) -> None:
        device = device_of(classifier.network)
        with memory_explained("a copy of the network"):
            self._adapter, self.layer, self.geometry = trace_geometry(classifier, layer, device)
        self.classifier = classifier
        self.network = self._adapter.network.requires_grad_(False)

    def explain(
        self,
        picture: Any,
        top: int = 3,
        method: str = "gradcam",
        machine: Machine | None = None,
    ) -> Explanation:
        """Classify a picture, and map the places that support its most probable classes.

        Args:
            picture: an image file or a Pillow image, which is resized as the training images were;
                or uint8 (H, W, 3) or (1, H, W, 3), of the classifier's size.
            top: how many classes, the most probable first.
            method: one of ``METHODS``.
            machine: what predicts; ``Machine()`` if None.

        Raises:
            ValueError: the picture cannot be read.
            OSError: the file cannot be opened.
        """
        one = picture[None] if isinstance(picture, np.ndarray) and picture.ndim == 3 else picture
        classifier = self.classifier
        images = as_pixels(one, classifier.size, classifier.resize, classifier.scales)[:1]
        probabilities = classifier.predict(images, machine)[0]
        likely = np.argsort(-probabilities, kind="stable")[:top]
        return Explanation(
            image=images[0],
            class_names=tuple(classifier.class_names[label] for label in likely),
            probabilities=probabilities[likely],
            maps=self.maps(images, likely[:, None], method)[:, 0],
            name=Path(picture).name if isinstance(picture, (str, os.PathLike)) else "",
        )

    def maps(
        self,
        images: np.ndarray,
        classes: Sequence[int] | np.ndarray,
        method: str | Sequence[str] = "gradcam",
        aligned: bool = True,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Return how much each pixel of each image supports a class.

        A Grad-CAM map is ReLU(sum over channels c of a_c A_c), where A is the layer's output and
        a_c the mean over all cells of the derivative of the class's logit by A_c.

        Args:
            images: uint8 (N, H, W, 3), of the classifier's size; N may be 0.
            classes: int (N,), the class to explain for each image; or (K, N), K classes for each.
            method: "gradcam"; "gradcam++" (arXiv 1710.11063); "xgradcam" (arXiv 2008.02312); or
                "eigencam" (arXiv 2008.00299), which does not depend on the class. Several of them,
                in a sequence, share the passes through the network.
            aligned: sample the map at the places of its cells, leaving out those that lie outside
                the image; False stretches it over the image, as is usual.
            batch_size: how many images go through the network at once, which bounds the memory;
                default: as for predictions.

        Returns:
            float32 (N, H, W), or (K, N, H, W) for K classes each, or (M, N, H, W) or (M, K, N, H,
            W) for a sequence of M methods; each map is divided by its own maximum: 0..1 (all 0
            where nothing supports the class).

        Raises:
            NoMapError: no gradient reaches the layer.
            ValueError: no such method, a class out of range, or images of a wrong type or size.
            MemoryError: the GPU has too little memory; says which batch size to try.
        """
        methods = [method] if isinstance(method, str) else list(method)
        for unknown in set(methods) - set(METHODS):
            raise ValueError(f"method is {unknown!r}, expected one of {', '.join(METHODS)}")
        classes = np.asarray(classes)
        shape = (*classes.shape, *images.shape[1:3])
        if not isinstance(method, str):
            shape = (len(methods), *shape)
        if not len(images) or not methods:
            return np.zeros(shape, np.float32)
        self._check(images, classes)
        if batch_size is None:
            batch_size = images_at_once(self.classifier.size, device_of(self.network))
        smaller = f"try batch_size={max(1, batch_size // 2)}"
        # one thread at a time: the hooks are on the layer
        with PREDICTING, memory_explained(f"maps of {batch_size} images at once", smaller):
            rows = classes.astype(np.int64).reshape(-1, len(images))
            pixels = self._pixel_maps(images, rows, methods, aligned, batch_size)
        peaks = pixels.amax(dim=(-2, -1), keepdim=True)
        return (pixels / peaks.where(peaks > 0, 1)).reshape(shape).numpy()

    def _check(self, images: np.ndarray, classes: np.ndarray) -> None:
        self.classifier.check_pixels(images)
        one_each = classes.ndim in (1, 2) and classes.shape[-1] == len(images)
        if not one_each or classes.dtype.kind not in "iu":
            raise ValueError(
                f"classes is {classes.dtype} of shape {classes.shape}, expected one integer for "
                f"each of {len(images)} images, or several rows of {len(images)}"
            )
        count = len(self.classifier.class_names)
        if (unknown := classes[(classes < 0) | (classes >= count)]).size:
            raise ValueError(f"class {unknown[0]} is out of range, expected 0..{count - 1}")

    def _pixel_maps(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        methods: list[str],
        aligned: bool,
        batch_size: int,
    ) -> Tensor:
        """Return the maps of M methods and K rows of classes: float32 (M, K, N, H, W)."""
        device = device_of(self.network)
        size, parts = self.classifier.size, []
        with (
            random_state_kept(device),
            gradients_on(),
            device_settings(device, tf32=False),
        ):
            batches = eval_batches(images, self.classifier.normalization, device, batch_size)
            parts_of_classes = torch.from_numpy(classes).split(batch_size, dim=1)
            for batch, rows in zip(batches, parts_of_classes, strict=True):
                cells = self._cells(batch, rows.to(device), methods)
                flat = cells.flatten(0, 1)
                if aligned:
                    laid = _laid(flat, size, self.geometry)
                else:
                    laid = F.interpolate(flat, size, mode="bilinear", align_corners=False)
                parts.append(laid.unflatten(0, cells.shape[:2]))
        return torch.cat(parts, dim=1).movedim(2, 0)

    def _cells(self, batch: Tensor, classes: Tensor, methods: list[str]) -> Tensor:
        """Return maps of the layer's cells, not yet rescaled: float32 (K, B, M, rows, columns).

        There is one for each of K classes (K, B), each image of a batch (B, 3, H, W) and each of M
        methods.
        """
        layer = self.network.get_submodule(self.layer)
        formulas = [METHODS[method](self.network, [layer]) for method in methods]
        for formula in formulas:
            formula.activations_and_grads.release()  # its hooks; ``_seen`` serves all methods
        wanted = any(formula.uses_gradients for formula in formulas)
        # a reentrant checkpoint passes gradients on only if its input requires them
        seen = self._seen(batch, classes, wanted) or self._seen(batch.requires_grad_(), classes)
        if not seen:
            raise NoMapError(
                f"no gradient of the logits reaches layer {self.layer!r}; choose one that they "
                "depend on without a detach() in between, or method='eigencam', which needs no "
                "gradient"
            )
        maps = [
            [one.get_cam_image(batch, layer, None, *given, False) for one in formulas]
            for given in seen
        ]
        return torch.from_numpy(np.maximum(maps, 0)).transpose(1, 2)

    def _seen(
        self, batch: Tensor, classes: Tensor, gradients: bool = True
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return the layer's output and its gradient for each row of classes.

        All rows share one forward pass; each has its own backward pass. If the layer is called
        several times, the last call counts.

        Returns:
            K pairs of float32 (B, C, rows, columns), the second None without ``gradients``; no pair
            if no gradient reaches the layer.
        """
        outputs: list[Tensor] = []

        def begin_graph(_module: nn.Module, _inputs: tuple, output: Any) -> Any:
            """Let gradients flow back to this layer, but no further."""
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return output
            with torch.enable_grad():  # the network may have switched them off around this layer
                outputs.append(output.detach().requires_grad_())
                return outputs[-1].clone()  # the network may change it in place

        # before the network's own hooks, which may store the output for later layers
        handle = self.network.get_submodule(self.layer).register_forward_hook(
            begin_graph, prepend=True
        )
        seen: list[tuple[np.ndarray, np.ndarray | None]] = []
        try:
            logits = self._adapter(batch)
            if not gradients:
                return [(outputs[-1].detach().cpu().numpy(), None) for _ in classes]
            for row in classes:
                if logits.requires_grad:
                    logits.gather(1, row[:, None]).sum().backward(retain_graph=True)
                # backward calls a checkpointed layer again, which adds to the outputs
                reached = [(one, one.grad) for one in outputs if one.grad is not None]
                if not reached:
                    return []
                output, gradient = reached[-1]
                seen.append((output.detach().cpu().numpy(), gradient.cpu().numpy()))
                for one in outputs:
                    one.grad = None
        finally:
            handle.remove()
        return seen


def grad_cam(
    classifier: Classifier,
    images: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    layer: nn.Module | str | None = None,
    method: str | Sequence[str] = "gradcam",
    aligned: bool = True,
    batch_size: int | None = None,
) -> np.ndarray:
    """Return how much each pixel of each image supports a class: ``Explainer.maps`` in one call.

    For several calls, make an ``Explainer`` once; arguments and errors are those of both.

    Returns:
        float32 maps in [0, 1], as ``Explainer.maps`` does.
    """
    return Explainer(classifier, layer).maps(images, classes, method, aligned, batch_size)


def _laid(cells: Tensor, size: tuple[int, int], geometry: MapGeometry) -> Tensor:
    """Sample maps (N, M, rows, columns) bilinearly at every pixel's place among the cells."""
    down, across = (
        # the pixel's position in cells, then in grid_sample's units: -1 at the first cell's centre
        # and 1 at the last one's
        2 * (torch.arange(pixels) - offset) / stride / max(count - 1, 1) - 1
        for pixels, offset, stride, count in zip(
            size, geometry.offset, geometry.stride, cells.shape[2:], strict=True
        )
    )
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    return F.grid_sample(
        cells,
        grid.expand(len(cells), -1, -1, -1).to(cells.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
