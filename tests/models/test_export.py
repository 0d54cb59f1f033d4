import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import tiny_classifier
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.models.export import export_onnx
from pytorch_vision.runtime import Machine

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
EXACT = Machine(accelerator="cpu", precision="32-true")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


class OneChannel(nn.Module):
    """A network as others write them: gray, never a single image, a tuple for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(900, 10)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.layers(images)
        return self.last(maps), maps


@pytest.mark.parametrize("kind", ["tiny", "one channel"])
def test_a_file_answers_as_the_classifier(tmp_path, few, kind):
    classifier = tiny_classifier(few) if kind == "tiny" else Classifier(OneChannel(), few)
    state = {n: t.clone() for n, t in classifier.network.state_dict().items()}
    training = classifier.network.train().training
    path = export_onnx(classifier, tmp_path / "new" / "model.onnx", "these")
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3, 50):
        images = few.test_images[:count]
        (found,) = session.run(["probabilities"], {"images": images})
        assert found.dtype == np.float32
        assert found == pytest.approx(classifier.predict(images, EXACT), abs=1e-4)
    assert classifier.network.training is training
    assert all(torch.equal(t, state[n]) for n, t in classifier.network.state_dict().items())
    metadata = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(metadata["class_names"])) == few.class_names
    assert json.loads(metadata["size"]) == [32, 32]
    assert export_onnx(classifier, path, "these") == path
    assert export_onnx(classifier, path, "others") == path.with_name("model-2.onnx")


class Undecided(nn.Module):
    """What it does depends on the image, which ONNX cannot say."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)[:, :10]
        return flat if bool(images.sum() > 0) else -flat


def test_what_onnx_cannot_say_is_refused_and_nothing_is_written(tmp_path, few):
    with pytest.raises(ValueError, match="ONNX cannot say what Undecided on a few images does"):
        export_onnx(Classifier(Undecided(), few), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named(tmp_path, few, tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(ModuleNotFoundError, match="export needs onnx, which is not installed"):
        export_onnx(tiny, tmp_path / "model.onnx")


def test_the_program_of_the_page_runs_without_pytorch(tmp_path, few, tiny):
    """It gives what ``predict`` gives for the same picture."""
    export_onnx(tiny, tmp_path / "model.onnx")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 15
    without = "import sys; sys.modules['torch'] = sys.modules['pytorch_vision'] = None\n"
    Image.fromarray(few.test_images[0]).save(tmp_path / "cat.png")
    command = [sys.executable, "-c", without + program, "cat.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shares = tiny.predict(few.test_images[:1], EXACT)[0]
    expected = f"cat.png: {tiny.class_names[shares.argmax()]} ({shares.max():.1%})"
    assert done.stdout.strip() == expected
