"""Grad-CAM, with each cell of its maps where it truly is on the image.

Ramprasaath Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv 1610.02391. The maps come from the package ``grad-cam``. That package
stretches a map over the image, as if its cells tiled it; but cell i of a layer is centred on
pixel offset + stride * i, and with padding the outer cells can even lie outside of the image.
``map_geometry`` finds stride and offset, and ``grad_cam`` samples the map at the true places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, XGradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from pytorch_vision.data import eval_batches
from pytorch_vision.data.images import check_images
from pytorch_vision.explain.geometry import (
    MapGeometry,
    adapter_to_look,
    check_layers,
    layer_name,
    trace_geometry,
)
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.inference import PIXELS
from pytorch_vision.models.module_utils import device_of
from pytorch_vision.runtime.devices import device_settings, memory_explained, random_state_kept

BATCH_SIZE = 250  # at most


def grad_cam(
    classifier: Classifier,
    images: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    layer: nn.Module | str | None = None,
    method: str | Sequence[str] = "gradcam",
    aligned: bool = True,
    batch_size: int | None = None,
) -> np.ndarray:
    """Return, for each image, how much each of its pixels supports a class, or several.

    The map is ReLU(sum over channels c of a_c A_c), where A is the layer's output and a_c the
    mean over all cells of the derivative of the class's logit by A_c. The work is done in float32
    on a copy, so that the classifier is left as it was whatever happens.

    Args:
        classifier: its network can be on any device.
        images: uint8 (N, H, W, 3); N may be 0, where there is no error to explain.
        classes: int (N,), the class to explain for each image; or (K, N), K classes for each.
        layer: whose output is explained: a module of the network or its dotted name. None for the
            last one whose output is a map, as ``last_map`` finds it: a ResNet's ``layer4``.
        method: "gradcam"; "gradcam++" (arXiv 1710.11063); "xgradcam" (arXiv 2008.02312); or
            "eigencam" (arXiv 2008.00299), which does not depend on the class. Or several of
            them, whose maps then come from the same passes through the network.
        aligned: sample the map where its cells truly lie (cells outside of the image are cut
            off); False stretches it over the image, as is usual.
        batch_size: how many images go through the model at once, which bounds the memory; None
            for 250 small ones, and fewer of more than 64x64 pixels.

    Returns:
        float32 (N, H, W), or (K, N, H, W) for K classes each, or (M, N, H, W) or (M, K, N, H, W)
        for a sequence of M methods; every map is divided by its own maximum: 0..1 (all 0 where
        nothing supports the class).

    Raises:
        ValueError: no such method, no such layer, its output is not a map, no gradient reaches
            it, a class out of range, or images of a wrong kind.
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
    check_images(images)
    one_each = classes.ndim in (1, 2) and classes.shape[-1] == len(images)
    if not one_each or classes.dtype.kind not in "iu":
        raise ValueError(
            f"classes is {classes.dtype} of shape {classes.shape}, expected one integer for each "
            f"of {len(images)} images, or several rows of that"
        )
    if batch_size is None:
        batch_size = max(1, min(BATCH_SIZE, PIXELS // (shape[-2] * shape[-1])))
    smaller = f"try batch_size={max(1, batch_size // 2)}"
    with memory_explained(f"maps of {batch_size} images at once", smaller):
        pixels = _pixel_maps(
            classifier,
            images,
            classes,
            None if layer is None else layer_name(classifier.network, layer),
            methods,
            aligned,
            batch_size,
        )
    peaks = pixels.amax(dim=(-2, -1), keepdim=True)
    return (pixels / peaks.where(peaks > 0, 1)).reshape(shape).numpy()


def _pixel_maps(
    classifier: Classifier,
    images: np.ndarray,
    classes: np.ndarray,
    name: str | None,
    methods: list[str],
    aligned: bool,
    batch_size: int,
) -> Tensor:
    """Return the maps of all methods and all K rows of classes: float32 (M, K, N, H, W)."""
    size = images.shape[1:3]
    check_layers(classifier.network)
    device = device_of(classifier.network)
    adapter = adapter_to_look(classifier, device)
    duplicate = adapter.network.requires_grad_(False)
    geometry = None
    if aligned or name is None:
        name, traced = trace_geometry(adapter, name, size)
        geometry = traced if aligned else None
    rows = []
    with (
        random_state_kept(device),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        device_settings(device, tf32=False),
    ):
        # before the network's own hooks, which may keep what they are given for later layers
        duplicate.get_submodule(name).register_forward_hook(_begin_graph, prepend=True)
        cam = _Cells(adapter, duplicate.get_submodule(name), methods)
        normalization = classifier.normalization
        first = next(eval_batches(images[:1], normalization, device))
        _check_call(adapter, name, first, classes, cam.uses_gradients)
        for row in classes.reshape(-1, len(images)):
            maps = []
            batches = eval_batches(images, normalization, device, batch_size)
            for batch, start in zip(batches, range(0, len(images), batch_size), strict=True):
                targets = [ClassifierOutputTarget(int(c)) for c in row[start : start + len(batch)]]
                cells = torch.from_numpy(cam(batch, targets))
                maps.append(
                    _stretched(cells, size) if geometry is None else _laid(cells, size, geometry)
                )
            rows.append(torch.cat(maps))
    return torch.stack(rows).movedim(2, 0)


def _begin_graph(_module: nn.Module, _inputs: tuple, output: Any) -> Any:
    """Have gradients flow from here on and no further back, where nobody asks for them."""
    if isinstance(output, Tensor) and output.is_floating_point():
        with torch.enable_grad():  # the network may have switched them off around this layer
            return output.detach().requires_grad_().clone()  # a clone may be changed in place
    return output


METHODS: dict[str, Any] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "xgradcam": XGradCAM,
    "eigencam": EigenCAM,
}
METHOD_NAMES = {  # as their authors write them
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "xgradcam": "XGrad-CAM",
    "eigencam": "Eigen-CAM",
}


class _Cells(BaseCAM):
    """Gives the maps of several methods of ``grad-cam`` from one pass forward and one back.

    Called with float32 (N, 3, H, W) and N targets it returns float32 (N, methods, rows, columns):
    the maps in the layer's own cells, unscaled.
    """

    def __init__(self, network: nn.Module, layer: nn.Module, methods: Sequence[str]) -> None:
        super().__init__(network, [layer])
        self.methods = [METHODS[method](network, [layer]) for method in methods]
        self.uses_gradients = any(method.uses_gradients for method in self.methods)
        for method in self.methods:
            method.activations_and_grads.release()  # they get what this one's hooks have seen

    def compute_cam_per_layer(
        self, input_tensor: Tensor, targets: list, eigen_smooth: bool
    ) -> np.ndarray:
        seen = self.activations_and_grads
        activations = seen.activations[-1].numpy()  # of its last call, where there are several
        gradients = seen.gradients[-1].numpy() if self.uses_gradients else None
        given = (input_tensor, self.target_layers[0], targets, activations, gradients, eigen_smooth)
        return np.maximum(np.stack([m.get_cam_image(*given) for m in self.methods], axis=1), 0)

    def aggregate_multi_layers(self, cam_per_target_layer: np.ndarray) -> np.ndarray:
        return cam_per_target_layer


def _check_call(
    model: Adapter, name: str, image: Tensor, classes: np.ndarray, needs_gradient: bool
) -> None:
    """Raise ValueError for a class that the model has not, or a layer no gradient reaches."""
    outputs = []
    handle = model.network.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output)
    )
    logits = model(image)
    handle.remove()
    unknown = classes[(classes < 0) | (classes >= logits.shape[1])]
    if unknown.size:
        raise ValueError(f"class {unknown[0]} is out of range, expected 0..{logits.shape[1] - 1}")
    if not needs_gradient:
        return
    linked = logits.requires_grad and outputs[-1].requires_grad
    if not linked or torch.autograd.grad(logits.sum(), outputs[-1], allow_unused=True)[0] is None:
        raise ValueError(
            f"no gradient of the logits reaches layer {name!r}; choose one that they depend on "
            "without a detach() in between, or method='eigencam', which needs no gradient"
        )


def _laid(cells: Tensor, size: tuple[int, int], geometry: MapGeometry) -> Tensor:
    """Sample maps (N, M, rows, columns) bilinearly at every pixel's place among the cells."""
    down, across = (
        # the pixel's position counted in cells, then as grid_sample has it: -1 for the first
        # cell's centre and 1 for the last one's
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


def _stretched(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Stretch maps (N, M, rows, columns) over the image, as if their cells tiled it."""
    return F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
