"""Export a classifier as an ONNX file, for programs without PyTorch.

The model includes scaling to [0, 1] and normalisation: its input is decoded pictures.
"""

import contextlib
import importlib.util
import io
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytorch_vision import __version__
from pytorch_vision.data.normalization import Normalizer
from pytorch_vision.models.adapter import CONTIGUOUS, Call, as_logits, find_call, luma
from pytorch_vision.models.classifier import Classifier
from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.devices import device_settings
from pytorch_vision.runtime.files import errors_named, user_path
from pytorch_vision.runtime.text import first_line

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # between probabilities of onnxruntime and PyTorch in float32
COUNTS = (1, 2, 5)  # batch sizes at which they are compared
EXACT = Machine(accelerator="cpu", precision="32-true")


class _Pipeline(nn.Module):
    """The exported model: from uint8 pictures to probabilities."""

    def __init__(self, classifier: Classifier, call: Call) -> None:
        super().__init__()
        self.network, self.call = classifier.network, call
        self.normalizer = Normalizer(classifier.normalization)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (N, C) for uint8 (N, H, W, 3)."""
        pixels: Any = self.normalizer(images).contiguous()  # ONNX has one memory format
        pixels = pixels if self.call.channels == 3 else luma(pixels)
        if self.call.alone:
            return as_logits(self.network(pixels)).softmax(1)
        pixels = torch.cat([pixels, pixels[:1]])  # never a batch of one image
        return as_logits(self.network(pixels))[:-1].softmax(1)


def check_export() -> None:
    """Raise ModuleNotFoundError that names the packages that ``export_onnx`` lacks, if any."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"export needs {', '.join(missing)}, which is not installed here: "
            f"pip install {' '.join(missing)}"
        )


def export_onnx(classifier: Classifier, path: str | os.PathLike) -> Path:
    """Write a classifier as an ONNX file, if onnxruntime predicts the same as PyTorch.

    The input "images" is uint8 (N, H, W, 3), RGB, 0 to 255, of the classifier's size, for any N;
    the output "probabilities" is float32 (N, C). The metadata are JSON: "class_names", "size"
    (height and width), "resize", "scales", "description", "made_by".

    Args:
        classifier: the classifier, which is not changed.
        path: the file; an existing one is replaced.

    Returns:
        The path of the file.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
        ValueError: ONNX cannot express the network, or onnxruntime predicts something else.
        OSError: the file cannot be written.
    """
    check_export()
    exact = classifier.with_network(copied(classifier.network))
    model = _converted(exact)
    for key, value in {
        "class_names": exact.class_names,
        "size": exact.size,
        "resize": exact.resize,
        "scales": exact.scales,
        "description": exact.description,
        "made_by": f"pytorch_vision {__version__}",
    }.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    content = model.SerializeToString()
    _check_answers(exact, content)
    with atomic_write(path) as file:
        file.write(content)
    return user_path(path)


def _converted(classifier: Classifier) -> Any:
    """Return the ONNX model of a classifier's pipeline."""
    from onnxscript import optimizer

    network, classes = classifier.network.cpu(), len(classifier.class_names)
    images = torch.zeros((2, *classifier.size, 3), dtype=torch.uint8, device="cpu")
    with device_settings(torch.device("cpu")):
        call = find_call(network, classifier.size, classes, calls=CONTIGUOUS)
        pipeline = _Pipeline(classifier, call).eval()
        refused = errors_named(
            lambda error: f"ONNX cannot express what {classifier} does: {_reason(error)}"
        )
        with refused, _silence():
            program: Any = torch.onnx.export(
                pipeline,
                (images,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes={"images": {0: torch.export.Dim.DYNAMIC}},
                dynamo=True,
                verbose=False,
            )
            # weights computed in the graph, too: onnxruntime quantises only constants
            most = {"input_size_limit": sys.maxsize, "output_size_limit": sys.maxsize}
            optimizer.fold_constants(program.model, **most)
            program.optimize()  # once more, as BatchNorm can now become part of convolutions
    return program.model_proto


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what torch says about its own internals: warnings, logs, and graphs on stderr."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stderr(io.StringIO()):
        logging.disable()
        try:
            yield
        finally:
            logging.disable(before)


def _reason(error: BaseException) -> str:
    """Return the first line of an error's root cause, without terminal colour codes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {first_line(error)}")


def _check_answers(classifier: Classifier, content: bytes) -> None:
    """Raise ValueError unless onnxruntime predicts the same probabilities as PyTorch."""
    import onnxruntime

    differs = "onnxruntime does not predict the same as PyTorch, so nothing was written"
    with errors_named(lambda error: f"{differs}: {first_line(error)}"):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        chance = np.random.default_rng(0)
        for count in COUNTS:
            shape = (count, *classifier.size, 3)
            images = chance.integers(0, 256, shape, np.uint8)
            images[0] = images[0].mean(dtype=np.float64)  # also a plain grey one
            (found,) = session.run(["probabilities"], {"images": images})
            expected = classifier.predict(images, EXACT)
            difference = float(np.abs(found - expected).max())
            if not difference <= TOLERANCE:
                raise ValueError(f"with {count} images, a probability differs by {difference:.2g}")
