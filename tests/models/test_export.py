import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small import EXACT, left_alone
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.models.export import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


class Viewed(nn.Module):
    """As in many courses: grey images, no batch of one, flattened by ``view``, returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU())
        self.last = nn.Linear(900, 10)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.layers(images).squeeze()
        return self.last(maps.view(maps.size(0), -1)), maps


class Mixed(nn.Module):
    """Channels shuffled, maps rolled and resized, a product by einsum, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 5, 4), nn.GroupNorm(2, 8)
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.norm(self.conv(images)).relu()
        count, channels, *size = maps.shape
        maps = maps.view(count, 2, channels // 2, *size).transpose(1, 2).reshape(maps.shape)
        maps = F.interpolate(torch.roll(maps, (1, 1), (2, 3)), size=(9, 9), mode="bilinear")
        tokens = maps.flatten(2).transpose(1, 2)
        attended = self.attention(tokens, tokens, tokens)[0].mean(1)
        return self.last(attended + torch.einsum("nchw,nchw->nc", maps, maps) / 100)


@pytest.mark.parametrize(
    ("network", "options"), [("CustomResNet", {"mirrored": True}), (Viewed(), {}), (Mixed(), {})]
)
def test_a_file_predicts_the_same_as_the_classifier(tmp_path, few, network, options):
    classifier = Classifier(network, few, **options)
    with left_alone(classifier.network.train()):
        path = export_onnx(classifier, tmp_path / "new" / "model.onnx")
    graph = onnx.load(path).graph
    fixed = {one.name for one in graph.initializer}  # and so can be quantised
    assert all(node.input[1] in fixed for node in graph.node if node.op_type == "Conv")
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3):
        images = few.test_images[:count]
        (found,) = session.run(["probabilities"], {"images": images})
        assert found.dtype == np.float32
        assert found == pytest.approx(classifier.predict(images, EXACT), abs=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(metadata["class_names"])) == few.class_names
    assert json.loads(metadata["size"]) == [32, 32]


class Undecided(nn.Module):
    """What it does depends on the image, which ONNX cannot say."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)[:, :10]
        return flat if bool(images.sum() > 0) else -flat


def test_a_network_that_onnx_cannot_express_is_refused(tmp_path, few, capfd):
    """In one sentence, without torch's logs and graphs."""
    refusal = "cannot express what Undecided on a few images does: .*data-dependent"
    with pytest.raises(ValueError, match=refusal) as caught:
        export_onnx(Classifier(Undecided(), few), tmp_path / "model.onnx")
    assert "\x1b" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(tmp_path, few, tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(ModuleNotFoundError, match="export needs onnx, which is not installed"):
        export_onnx(tiny, tmp_path / "model.onnx")


def test_the_program_in_the_docs_runs_without_pytorch(tmp_path, few, tiny):
    """It gives the same probabilities as ``predict``."""
    export_onnx(tiny, tmp_path / "model.onnx")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 21
    without = "import sys; sys.modules['torch'] = sys.modules['pytorch_vision'] = None\n"
    Image.fromarray(few.test_images[0]).save(tmp_path / "cat.png")
    icon = np.full((32, 32, 4), 255, np.uint8)
    icon[:16, :, 3] = 0
    Image.fromarray(icon).save(tmp_path / "white.png")
    Image.fromarray(icon // 2).save(tmp_path / "grey.png")
    names = ["cat.png", "white.png", "grey.png"]
    command = [sys.executable, "-c", without + program, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for line, name in zip(done.stdout.splitlines(), names, strict=True):
        ((best, share),) = tiny.classify(tmp_path / name, top=1)
        assert line == f"{name}: {best} ({share:.1%})"
