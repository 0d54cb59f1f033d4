import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PACKAGE = Path(__file__).parents[1] / "PyTorch_Vision"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Call the command line as a user does, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pytorch_vision", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
    )


def test_train_evaluate_explain(tmp_path):
    trained = run(tmp_path, "train", "--data", "sample", "--epochs", "1", "--geometry", "standard")
    assert trained.returncode == 0, trained.stderr
    assert "bundled sample, 1,000 images" in trained.stdout
    pictures = tmp_path / "runs" / "sample" / "plots"
    names = ["history.csv", "loss_accuracy.png", "misclassified.png", "misclassified_gradcam.png"]
    assert sorted(path.name for path in pictures.iterdir()) == names
    for name in names[1:]:
        assert Image.open(pictures / name).width > 900

    line = re.compile(r"Test set: Average loss: \S+, Accuracy: (\d+)/500 \(.*%\)")
    evaluated = run(tmp_path, "evaluate", "--data", "sample")
    assert evaluated.returncode == 0, evaluated.stderr
    assert line.search(evaluated.stdout)[0] == line.search(trained.stdout)[0]

    explained = run(
        tmp_path, "explain", "--data", "sample", "--plots", "other", "--order", "confident"
    )
    assert explained.returncode == 0, explained.stderr
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == names[2:]


@pytest.mark.parametrize("command", ["train", "evaluate", "explain"])
def test_help(tmp_path, command):
    shown = run(tmp_path, command, "--help")
    assert shown.returncode == 0
    assert "--weights" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "everything"), "error: data is 'everything', expected 'full'"),
        (
            ("train", "--data", "sample", "--epochs", "-1"),
            "error: epochs is -1, expected 0 or more",
        ),
        (("evaluate", "--data", "sample"), "error: there are no weights at runs/weights"),
        (("train", "--data", "sample", "--batch-size", "0"), "error: batch_size is 0, expected 1"),
        (("train", "--data", "sample", "--plots", "notes.txt/plots"), "error: [Errno 20]"),
        (("explain", "--weights", "notes.txt"), "error: notes.txt is not a whole safetensors"),
    ],
)
def test_an_error_is_one_message(tmp_path, arguments, message):
    (tmp_path / "notes.txt").write_text("not weights")
    failed = run(tmp_path, *arguments)
    assert failed.returncode == 1
    assert failed.stderr.startswith(message)
    assert "Traceback" not in failed.stderr
    assert os.listdir(tmp_path) == ["notes.txt"]
