"""The notebook as it is stored, its setup cell, and its run in an empty folder."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pytorch_vision.app.settings import FIELDS
from pytorch_vision.models.resnet import BasicBlock
from pytorch_vision.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
PATH = ROOT / "S8_ResNet18.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook) -> list[str]:
    """Return every text that a reader sees in the outputs."""
    return [
        output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain")
        for cell in code_cells(notebook)
        for output in cell.outputs
    ]


def test_it_is_stored_executed_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_its_outputs_are_clean(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert not [output for output in outputs if output.get("name") == "stderr"]
    everything = "\n".join(texts(notebook))
    assert "\r" not in everything
    assert not re.search(r"warning", everything, re.IGNORECASE)
    assert not re.search(r"/(home|root|work|tmp|usr|content|Users)/|[A-Z]:\\", json.dumps(outputs))
    assert PATH.stat().st_size <= 3_000_000


def test_each_picture_is_there_once(notebook):
    pictures = [
        output.data["image/png"]
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == len(set(pictures)) == 9
    # views, curves, errors, their maps, correct answers', trust, confusions, classes, reliability


def test_it_shows_its_training(notebook):
    training = next(cell for cell in code_cells(notebook) if "settings.train(" in cell.source)
    printed = "".join(output.text for output in training.outputs)
    assert len(re.findall(r"^Epoch \d+/\d+ Loss=.*100%\|█+\|", printed, re.MULTILINE)) == 20
    assert len(re.findall(r"^Test set: Average loss: .*%\)$", printed, re.MULTILINE)) == 20


def test_its_contents_are_its_headings(notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    contents = re.findall(r"^(\d+\. )\[(.+)\]\(#(\w+)\)$", texts[0], re.MULTILINE)
    sections = re.findall(r'<a name="(\w+)"></a>\n\n## (.+)$', "\n".join(texts), re.MULTILINE)
    assert [(name, number + title) for number, title, name in contents] == sections
    assert len(sections) == "\n".join(texts).count("\n## ") == 12


def test_it_shows_the_librarys_source_as_it_is(notebook):
    printed = "".join(text for text in texts(notebook) if text)
    for function in (BasicBlock.forward, Trainer.step, Trainer.forward_and_backward):
        assert inspect.getsource(function) in printed


def test_its_metadata(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.accelerator == "GPU"
    assert notebook.metadata.colab.gpuType == "T4"
    assert "widgets" not in notebook.metadata


def test_the_clone_address_stands_in_one_place_and_no_badge_leads_nowhere(notebook):
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert "OWNER" not in sources
    assert sources.count("https://github.com/") == 1


def test_requirements_are_the_packages(notebook):
    import tomllib

    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "PyTorch_Vision" / "pyproject.toml").read_text())["project"]
    runs_notebooks = {line for line in listed if line.startswith(("ipykernel", "nbconvert"))}
    assert listed - runs_notebooks == set(project["dependencies"])


def setup(notebook, folder: Path, url: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the setup cell in a folder that has nothing of ours."""
    source = code_cells(notebook)[0].source
    where = "import pytorch_vision; print(os.path.relpath(pytorch_vision.__file__))"
    return subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", f"{source}\n{where}"],
        cwd=folder,
        env={**os.environ, "PYTORCH_VISION_URL": url, **environment},
        capture_output=True,
        text=True,
    )


def git(*arguments: str, folder: Path = ROOT) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> str:
    """PyTorch_Vision as it is published, on a branch of its own (``test_publish`` has the rest)."""
    folder = tmp_path_factory.mktemp("published")
    git("clone", "--quiet", str(ROOT), str(folder))
    split = ("subtree", "split", "--prefix", "PyTorch_Vision")
    git(*split, "--branch", "pytorch-vision", folder=folder)
    return f"{folder} --branch pytorch-vision"


def repository_of(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git("init", "--quiet", folder=folder)
    git("add", ".", folder=folder)
    git("commit", "--quiet", "-m", "a repository", folder=folder)
    return str(folder)


def test_it_clones_the_utility_repo(notebook, tmp_path, published):
    done = setup(notebook, tmp_path, published)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "PyTorch_Vision is ready; installed just now: nothing",
        "PyTorch_Vision/pytorch_vision/__init__.py",
    ]
    assert os.listdir(tmp_path) == ["PyTorch_Vision"]
    again = setup(notebook, tmp_path, "not asked for")  # it is beside the notebook now
    assert again.returncode == 0, again.stderr


def test_it_clones_a_repository_that_holds_the_folder(notebook, tmp_path):
    done = setup(notebook, tmp_path, str(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nPyTorch_Vision/PyTorch_Vision/pytorch_vision/__init__.py\n")


@pytest.mark.parametrize("url", ["nowhere --branch branch", "another"])
def test_a_wrong_address_says_what_to_do(notebook, tmp_path, url):
    if url == "another":
        (tmp_path / "another").mkdir()
        url = repository_of(tmp_path / "another", {"README.md": "something else"})
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = setup(notebook, empty, url)
    printed = failed.stdout + failed.stderr
    assert "PyTorch_Vision/pytorch_vision/__init__.py" not in printed
    assert "set PYTORCH_VISION_URL to a git repository" in printed
    if url.startswith("nowhere"):
        assert "fatal: repository 'nowhere' does not exist" in printed  # what git said


def test_a_folder_of_the_same_name_that_is_another_one_is_left_alone(notebook, tmp_path):
    (tmp_path / "PyTorch_Vision").mkdir()
    (tmp_path / "PyTorch_Vision" / "mine.txt").write_text("precious")
    failed = setup(notebook, tmp_path, "not asked for")
    assert "the folder PyTorch_Vision is not what it should be" in failed.stdout + failed.stderr
    assert (tmp_path / "PyTorch_Vision" / "mine.txt").read_text() == "precious"
    assert os.listdir(tmp_path) == ["PyTorch_Vision"]


def test_its_setup_is_short_and_its_settings_are_a_form_of_eight(notebook):
    first, settings = code_cells(notebook)[:2]
    assert len(first.source.split("\n")) <= 9  # a student reads it
    form = [line for line in settings.source.splitlines() if "# @param" in line]
    assert len(form) == 8
    for line in form:  # Colab edits what stands between = and #: it must be a plain value
        name, value = re.fullmatch(r"([A-Z_]+) = (.+?)  # @param [\[{].*[\]}]", line).groups()
        assert isinstance(ast.literal_eval(value), (str, int, bool)), name
        assert name == "OVERRIDES" or name.lower() in FIELDS


def test_it_runs_in_an_empty_folder(notebook, tmp_path, published, monkeypatch):
    """With nothing but the notebook and the address: the whole story, but for the training."""
    monkeypatch.setenv("PYTORCH_VISION_URL", published)
    monkeypatch.setenv("S8_DATA", "sample")
    monkeypatch.setenv("S8_WEIGHTS", "pretrained")
    monkeypatch.setenv("S8_EPOCHS", "0")
    monkeypatch.setenv("S8_ORDER", "spread")
    monkeypatch.delenv("S8_OUTPUT")
    notebook.cells.append(
        nbformat.v4.new_code_cell("import pytorch_vision; print(pytorch_vision.__file__)")
    )
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert notebook.cells[-1].outputs[0].text.startswith(str(tmp_path))
    written = {
        str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png") if p.parent != tmp_path
    }
    assert {
        "runs/sample/plots/training_curves.png",
        "runs/sample/plots/misclassified.png",
        "runs/sample/plots/misclassified_gradcam.png",
        "runs/sample/plots/correct_gradcam.png",
        "runs/sample/plots/trust.png",
        "runs/sample/plots/confusion_matrix.png",
        "runs/sample/plots/class_accuracy.png",
        "runs/sample/plots/reliability.png",
    } <= written
    printed = "".join(o.text for c in code_cells(notebook) for o in c.outputs if "text" in o)
    accuracy = re.search(r"Test set: .* Accuracy: \d+/500 \((.*)%\)", printed)[1]
    assert float(accuracy) > 90
    assert not (tmp_path / "plots").exists()
    assert (tmp_path / "runs" / "sample" / "errors.html").exists()
    assert not [o for c in code_cells(notebook) for o in c.outputs if o.get("name") == "stderr"]
