"""A classifier as an ONNX file, for programs that have no PyTorch.

Scaling and normalisation are inside of it: it takes pictures as they are decoded.
"""

import importlib.util
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision import __version__
from pytorch_vision.models.adapter import LUMA, Call, as_logits
from pytorch_vision.models.classifier import Classifier
from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.devices import device_settings, make_fabric
from pytorch_vision.runtime.files import free_path, user_path
from pytorch_vision.runtime.text import first_line

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # of a probability, between onnxruntime and PyTorch in float32
COUNTS = (1, 2, 5)  # images at once, with which it is tried
EXACT = Machine(accelerator="cpu", precision="32-true")


class _Pipeline(nn.Module):
    """From pictures to probabilities, in operations that ONNX has."""

    def __init__(self, classifier: Classifier, call: Call) -> None:
        super().__init__()
        self.network, self.call = classifier.network, call
        for name in ("mean", "std"):
            values = torch.tensor(getattr(classifier.normalization, name), dtype=torch.float32)
            self.register_buffer(name, 255 * values.view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (N, C) for uint8 (N, H, W, 3)."""
        pixels: Any = images.permute(0, 3, 1, 2).float()
        pixels = (pixels - self.mean) / self.std
        if self.call.channels == 1:
            pixels = F.conv2d(pixels, pixels.new_tensor(LUMA).view(1, 3, 1, 1))
        if self.call.alone:
            return as_logits(self.network(pixels)).softmax(1)
        pixels = torch.cat([pixels, pixels[:1]])  # never one image by itself
        return as_logits(self.network(pixels))[:-1].softmax(1)


def check_export() -> None:
    """Raise ModuleNotFoundError unless what ``export_onnx`` needs is installed; names it."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"export needs {', '.join(missing)}, which is not installed here: "
            f"pip install {' '.join(missing)}"
        )


def export_onnx(classifier: Classifier, path: str | os.PathLike, source: str = "") -> Path:
    """Write a classifier as ONNX, once onnxruntime has given the same answers as PyTorch.

    Its input "images" is uint8 (N, H, W, 3), RGB, 0 to 255, of the classifier's size, N as large
    as one likes; its output "probabilities" is float32 (N, C). Its metadata are texts in JSON:
    "class_names", "size" (height and width), "resize", "description".

    Args:
        classifier: stays as it is.
        path: the file. What was made of another source is not replaced: of ``model.onnx``, the
            next one is ``model-2.onnx``.
        source: what the classifier was made of, which is kept in the file.

    Returns:
        Where it was written.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
        ValueError: ONNX cannot say what the network does, or onnxruntime's answers are others.
        OSError: it cannot be written.
    """
    check_export()
    exact = classifier.with_network(copied(classifier.network))
    model = _converted(exact)
    for key, value in {
        "class_names": exact.class_names,
        "size": exact.size,
        "resize": exact.resize,
        "description": exact.description,
        "source": source,
        "made_by": f"pytorch_vision {__version__}",
    }.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    content = model.SerializeToString()
    _check_answers(exact, content)
    path = free_path(user_path(path), lambda there: _source(there) == source)
    with atomic_write(path) as file:
        file.write(content)
    return path


def _converted(classifier: Classifier) -> Any:
    """Return the ONNX model of a classifier's pipeline."""
    fabric = make_fabric(EXACT)
    images = torch.zeros((2, *classifier.size, 3), dtype=torch.uint8, device="cpu")
    with device_settings(fabric.device), classifier.on(fabric) as adapter:
        pipeline = _Pipeline(classifier, adapter.call).eval()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its own workings
                program: Any = torch.onnx.export(
                    pipeline,
                    (images,),
                    input_names=["images"],
                    output_names=["probabilities"],
                    dynamic_shapes={"images": {0: torch.export.Dim.DYNAMIC}},
                    dynamo=True,
                    verbose=False,
                )
        except Exception as error:  # it can fail anywhere inside of somebody's network
            raise ValueError(
                f"ONNX cannot say what {classifier} does: {first_line(error)}"
            ) from error
    return program.model_proto


def _check_answers(classifier: Classifier, content: bytes) -> None:
    """Raise ValueError unless onnxruntime has the probabilities that PyTorch has."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        chance = np.random.default_rng(0)
        for count in COUNTS:
            shape = (count, *classifier.size, 3)
            images = chance.integers(0, 256, shape, np.uint8)
            images[0] = images[0].mean(dtype=np.float64)  # an even one, too
            (found,) = session.run(["probabilities"], {"images": images})
            expected = classifier.predict(images, EXACT)
            difference = float(np.abs(found - expected).max())
            if not difference <= TOLERANCE:
                raise ValueError(f"of {count} images, a probability differs by {difference:.2g}")
    except Exception as error:
        raise ValueError(
            f"onnxruntime does not answer as PyTorch does, so nothing was written: "
            f"{first_line(error)}"
        ) from error


def _source(path: Path) -> str | None:
    """Return what a file was made of; None for one that is not of ``export_onnx``."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        kept = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    except Exception:  # whatever it is, it stays as it is
        return None
    return kept.get("source")
