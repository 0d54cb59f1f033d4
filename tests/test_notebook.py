"""The notebook as it is stored, its setup cell, and its run in an empty folder."""

import ast
import contextlib
import inspect
import io
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image
from repositories import commit, git

from pytorch_vision.app import RunFolder
from pytorch_vision.app.settings import FIELDS
from pytorch_vision.models import Classifier
from pytorch_vision.models.resnet import BasicBlock

ROOT = Path(__file__).parents[1]
PATH = ROOT / "S8_ResNet18.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook) -> list:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text(notebook) -> str:
    """Return all text that a reader sees in the outputs."""
    seen = outputs(notebook)
    return "\n".join(one.text if "text" in one else one.data["text/plain"] for one in seen)


def test_it_is_stored_executed_in_order_and_its_outputs_are_clean(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    seen, everything = outputs(notebook), text(notebook)
    assert {one.output_type for one in seen} <= {"stream", "display_data", "execute_result"}
    assert not [one for one in seen if one.get("name") == "stderr"]
    assert "\r" not in everything
    assert not re.search(r"warning", everything, re.IGNORECASE)
    assert not re.search(r"/(home|root|work|tmp|usr|content|Users)/|[A-Z]:\\", json.dumps(seen))
    assert PATH.stat().st_size <= 3_000_000


def test_each_picture_is_there_once(notebook):
    data = [one.data for one in outputs(notebook) if "data" in one]
    pictures = [one["image/png"] for one in data if "image/png" in one]
    assert len(pictures) == len(set(pictures)) == 12
    # classes, duplicates, views, curves, errors, their maps, correct answers', trust, confusions,
    # accuracies, reliability, photo


def test_its_contents_are_its_headings(notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    contents = re.findall(r"^(\d+\. )\[(.+)\]\(#(\w+)\)$", texts[0], re.MULTILINE)
    sections = re.findall(r'<a name="(\w+)"></a>\n\n## (.+)$', "\n".join(texts), re.MULTILINE)
    assert [(name, number + title) for number, title, name in contents] == sections
    assert len(sections) == "\n".join(texts).count("\n## ") == 13


def test_it_shows_the_librarys_source_as_it_is(notebook):
    assert inspect.getsource(BasicBlock.forward) in text(notebook)


def test_its_metadata(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.accelerator == "GPU"
    assert notebook.metadata.colab.gpuType == "T4"
    assert "widgets" not in notebook.metadata


def test_the_clone_address_stands_in_one_place_and_no_badge_leads_nowhere(notebook):
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert "OWNER" not in sources
    assert sources.count("https://github.com/") == 1


def test_requirements_are_the_packages():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "PyTorch_Vision" / "pyproject.toml").read_text())["project"]
    runs_notebooks = {line for line in listed if line.startswith(("ipykernel", "nbconvert"))}
    assert listed - runs_notebooks == set(project["dependencies"])


NOT_INSTALLED = (  # the library, which the tests' environment has
    "import sys; "
    "sys.meta_path = [one for one in sys.meta_path if 'editable' not in str(one).lower()]"
)


def setup(notebook, folder: Path, url: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the setup cell in a folder, and an environment, that has nothing of ours."""
    source = code_cells(notebook)[0].source
    where = "import pytorch_vision; print(os.path.relpath(pytorch_vision.__file__))"
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c"]
    return subprocess.run(
        [*command, f"{NOT_INSTALLED}\n{source}\n{where}"],
        cwd=folder,
        env={**os.environ, "PYTORCH_VISION_URL": url, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> str:
    """PyTorch_Vision as it is published, on a branch of its own (``test_publish`` has the rest)."""
    folder = tmp_path_factory.mktemp("published")
    git(ROOT, "clone", "--quiet", str(ROOT), str(folder))
    git(folder, "subtree", "split", "--prefix", "PyTorch_Vision", "--branch", "pytorch-vision")
    return f"{folder} --branch pytorch-vision"


@pytest.mark.parametrize("where", ["", "PyTorch_Vision/"])
def test_it_clones_the_utility_repo_or_one_that_holds_its_folder(
    notebook, tmp_path, published, where
):
    done = setup(notebook, tmp_path, str(ROOT) if where else published)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "PyTorch_Vision is ready; installed just now: nothing",
        f"PyTorch_Vision/{where}pytorch_vision/__init__.py",
    ]
    assert os.listdir(tmp_path) == ["PyTorch_Vision"]
    again = setup(notebook, tmp_path, "not asked for")  # it is beside the notebook now
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("url", ["nowhere --branch branch", "another"])
def test_a_wrong_address_says_what_to_do(notebook, tmp_path, url):
    if url == "another":
        url = str(tmp_path / url)
        git(tmp_path, "init", "--quiet", url)
        commit(Path(url), {"README.md": "something else"})
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = setup(notebook, empty, url)
    printed = failed.stdout + failed.stderr
    assert "PyTorch_Vision/pytorch_vision/__init__.py" not in printed
    assert "The text above says what to do" in printed
    if url.startswith("nowhere"):
        assert "fatal: repository 'nowhere' does not exist" in printed  # what git said


def test_a_folder_of_the_same_name_that_is_another_one_is_left_alone(notebook, tmp_path):
    (tmp_path / "PyTorch_Vision").mkdir()
    (tmp_path / "PyTorch_Vision" / "mine.txt").write_text("precious")
    failed = setup(notebook, tmp_path, "not asked for")
    assert "The text above says what to do" in failed.stdout + failed.stderr
    assert (tmp_path / "PyTorch_Vision" / "mine.txt").read_text() == "precious"
    assert os.listdir(tmp_path) == ["PyTorch_Vision"]


def test_its_setup_is_short_and_its_settings_are_a_form_of_eight(notebook):
    first, settings = code_cells(notebook)[:2]
    assert len(first.source.split("\n")) <= 12  # a student reads it
    assert ";" not in first.source
    form = [line for line in settings.source.splitlines() if "# @param" in line]
    assert len(form) == 8
    for line in form:  # Colab edits what stands between = and #: it must be a plain value
        name, value = re.fullmatch(r"([A-Z_]+) = (.+?)  # @param [\[{].*[\]}]", line).groups()
        assert isinstance(ast.literal_eval(value), (str, int, bool)), name
        assert name == "OVERRIDES" or name.lower() in FIELDS


Names = dict[str, Any]


def execute(names: Names, *ids: str, line: str = "") -> str:
    """Run cells by their ids, and return what they print.

    A line, if given, takes the place of the first one that sets the same name.
    """
    sources = {cell.id: cell.source for cell in nbformat.read(PATH, as_version=4).cells}
    printed = io.StringIO()
    for one in ids:
        source = sources[one]
        if line:
            same = rf"^( *){line.split(' = ')[0]} = .*$"
            source, count = re.subn(
                same, lambda at: at[1] + line, source, count=1, flags=re.MULTILINE
            )
            assert count, line
        with contextlib.redirect_stdout(printed):
            exec(compile(source, one, "exec"), names)
    return printed.getvalue()


def begun() -> Names:
    """Run the first sections, on the sample."""
    names: Names = {"display": lambda shown: None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S8_DATA", "sample")
        execute(names, "settings", "data", "duplicates")
    return names


def exercise(notebook, name: str) -> list[str]:
    """Return the blocks of code of an exercise."""
    (text,) = (cell.source for cell in notebook.cells if cell.id == f"exercise-{name}")
    assert text.startswith("**Try it yourself.** ")
    return [block.strip() for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)]


Learned = dict[str, tuple[float, float]]  # last loss and share of held-out images, by the rate


def learned(names: Names, line: str = "") -> Learned:
    """Run the loop in plain PyTorch with each learning rate."""
    execute(names, "loop", line=line)
    printed = execute(names, "choice")
    form = r"^learning rate (\S+): loss \S+, at the end (\S+); (\S+)% of"
    return {
        rate: (float(loss), float(share))
        for rate, loss, share in re.findall(form, printed, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def usual() -> Learned:
    return learned(begun())


def test_the_loop_in_plain_pytorch_learns_and_a_rate_can_be_chosen(usual):
    assert list(usual) == ["0.0001", "0.001", "0.01", "0.1"]
    losses, shares = zip(*usual.values(), strict=True)
    assert losses[3] == pytest.approx(math.log(10), abs=0.1)  # that of a guess
    assert max(losses[1:3]) < math.log(10) - 0.3
    assert min(shares[1:3]) > max(shares[0], shares[3]) + 5


def test_without_augmentation_epochs_show_the_same_and_the_loss_ends_lower(notebook, usual):
    names, (line,) = begun(), exercise(notebook, "augmentation")
    execute(names, "settings", line=line)
    figure: Figure = eval(next(c.source for c in notebook.cells if c.id == "transforms"), names)
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    of_one = [image for image in drawn[:8] if image.shape == drawn[0].shape]
    assert len(of_one) > 1
    assert all(np.allclose(image, drawn[0], atol=0.01) for image in of_one)
    found = learned(names)
    assert all(found[rate][0] < usual[rate][0] - 0.1 for rate in ("0.001", "0.01"))


def test_another_optimizer_needs_another_rate_and_another_loss_learns_too(notebook, usual):
    names, (optimizer, loss) = begun(), exercise(notebook, "training")
    assert learned(names, optimizer)["0.001"][1] < usual["0.001"][1] - 10
    other = learned(names, loss)
    assert max(value for value, _ in other.values()) < 1.5  # on another scale
    assert other["0.001"][1] == pytest.approx(usual["0.001"][1], abs=5)


def test_the_maps_of_another_layer_are_finer_and_a_metric_is_ones_own(notebook, tmp_path):
    names = begun()
    data = names["data"]
    few = replace(data, test_images=data.test_images[:100], test_labels=data.test_labels[:100])
    pretrained, folder = Classifier.load("pretrained"), RunFolder.prepare(tmp_path)
    names |= {"data": few, "classifier": pretrained, "folder": folder}
    execute(names, "errors", "gradcam")
    before = names["predicted_maps"]
    (line,) = exercise(notebook, "gradcam")
    execute(names, "gradcam", line=line)
    assert names["explainer"].layer == "layer3"
    assert names["explainer"].geometry.stride == (4, 4)
    assert np.abs(names["predicted_maps"] - before).mean() > 0.05
    (block,) = exercise(notebook, "metric")
    exec(block, names)
    predictions, errors = names["predictions"], names["errors"]
    assert 0 < len(errors) < 10  # all of them are there
    second = np.argsort(-errors.probabilities, axis=1)[:, 1] == errors.labels
    expected = 1 - np.count_nonzero(~second) / len(predictions)
    assert names["top2"] == pytest.approx(expected)


def run_all(notebook, folder: Path, patch: pytest.MonkeyPatch, **chosen: str) -> None:
    """Run the notebook in a folder, with settings from the environment."""
    for name, value in chosen.items():
        patch.setenv(f"S8_{name}", value)
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()


def test_it_runs_to_its_end_with_a_network_without_maps(notebook, sample, tmp_path, monkeypatch):
    """And on a folder of three classes."""
    for label, name in enumerate(sample.class_names[:3]):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number, image in enumerate(sample.train_images[sample.train_labels == label][:20]):
            Image.fromarray(image).save(tmp_path / "photographs" / name / f"{number}.png")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def mlp(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))\n"
    )
    (tmp_path / "PyTorch_Vision").symlink_to(ROOT / "PyTorch_Vision")
    chosen = {"DATA": "photographs", "MODEL": "mine:mlp", "SIZE": "32", "EPOCHS": "1"}
    chosen |= {"OUTPUT": "", "CONV_PADDING": ""}  # as without conftest.py
    run_all(notebook, tmp_path, monkeypatch, **chosen)
    by_id = {cell.id: cell.outputs for cell in code_cells(notebook)}
    assert by_id["gradcam"][0].text.startswith("Sections 8 and 9 are left out: no layer")
    assert not by_id["right"]
    assert not by_id["trust-plot"]
    assert set(sample.class_names[:3]) <= set(re.findall(r"'(\w+)'", str(by_id["photo"][0].data)))


def test_it_runs_in_an_empty_folder(notebook, tmp_path, published, monkeypatch):
    """With nothing but the notebook and the address: the whole story, but for the training."""
    monkeypatch.setenv("PYTORCH_VISION_URL", published)
    monkeypatch.delenv("S8_OUTPUT")
    notebook.cells.append(
        nbformat.v4.new_code_cell("import pytorch_vision; print(pytorch_vision.__file__)")
    )
    chosen = {"DATA": "sample", "WEIGHTS": "pretrained", "EPOCHS": "0", "ORDER": "spread"}
    run_all(notebook, tmp_path, monkeypatch, **chosen)
    assert notebook.cells[-1].outputs[0].text.startswith(str(tmp_path))
    run = tmp_path / "runs" / "sample"
    assert {path.stem for path in (run / "plots").glob("*.png")} >= {
        *("training_curves", "misclassified", "misclassified_gradcam", "correct_gradcam", "trust"),
        *("confusion_matrix", "class_accuracy", "reliability", "photo"),
    }
    accuracy = re.search(r"Test set: .* Accuracy: \d+/500 \((.*)%\)", text(notebook))[1]
    assert float(accuracy) > 90
    assert not (tmp_path / "plots").exists()
    assert (run / "errors.html").exists()
    assert not [one for one in outputs(notebook) if one.get("name") == "stderr"]
