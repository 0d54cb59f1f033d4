"""The command line, called in this process where that is the same: importing torch takes long."""

import contextlib
import csv
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pytorch_vision.app.command_line import parse
from pytorch_vision.app.commands import main
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "PyTorch_Vision"
CUSTOM_NETWORKS = """
from torch import nn

def small(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )

def flat(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))
"""
GALLERIES = [
    "class_accuracy.png",
    "confusion_matrix.png",
    "correct_gradcam.png",
    "misclassified.png",
    "misclassified_gradcam.png",
    "reliability.png",
]
TEST_LINE = re.compile(r"Test set: Average loss: \S+, Accuracy: (\d+)/(\d+) \((.*)%\)")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A user's folder, which is the working one, with custom networks."""
    (tmp_path / "networks.py").write_text(CUSTOM_NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    return tmp_path


@pytest.fixture
def run(capsys) -> Callable[..., str]:
    """Call the command line, and return what it printed."""

    def run_command(*arguments: str) -> str:
        status = main(list(arguments))
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return run_command


def save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def paint(folder: Path) -> None:
    """Write photographs of three classes that are easily told apart."""
    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (9, 250, 9)}.items():
        for number in range(20):
            save(folder / name / f"{number}.png", Image.new("RGB", (60 + number, 50), colour))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def result(printed: str) -> str:
    """Return the last test line."""
    return list(TEST_LINE.finditer(printed))[-1][0]


def test_the_whole_job(folder, few, run):
    """Train, evaluate, explain the errors and one image, and write the page of all errors."""
    for part in ("train", "test"):
        pairs = zip(getattr(few, f"{part}_images"), getattr(few, f"{part}_labels"), strict=True)
        for number, (image, label) in enumerate(pairs):
            name = few.class_names[label]
            save(folder / "few" / part / name / f"{number}.png", Image.fromarray(image))
    images = ("--data", "few", "--size", "32")
    exact = ("--precision", "32-true")  # as weights are tested
    trained = run("train", *images, *exact, "--epochs", "1", "--model", "CustomResNet")
    assert "few: 100 training and 50 test images of 32x32 pixels in 10 classes" in trained
    pictures = folder / "runs" / "few-CustomResNet" / "plots"
    assert names_in(pictures) == sorted([*GALLERIES, "history.csv", "training_curves.png"])
    assert all(Image.open(pictures / name).width > 600 for name in GALLERIES)

    weights = ("--weights", "runs/few-CustomResNet/weights.safetensors")
    evaluated = run("evaluate", *images, *weights)
    assert result(evaluated) == result(trained)
    assert "balanced" in evaluated
    classes = [row["class"] for row in table(pictures.parent / "metrics.csv")]
    assert classes == sorted(few.class_names)
    rows = table(pictures.parent / "test_predictions.csv")
    assert len(rows) == 50
    assert re.fullmatch(r"(test/)?airplane/\d+\.png", rows[0]["image"])

    drawn = contents(pictures)
    run("explain", *images, *weights, "--order", "confident", "--count", "3")
    assert names_in(pictures.parent / "explained") == GALLERIES
    assert contents(pictures) == drawn

    Image.new("LA", (70, 50), 128).save(folder / "cat.png")
    one = run("explain", "--image", "cat.png", *weights)
    assert "cat.png: 70x50 pixels, mode LA; its central 50x50 pixels resized to 32" in one
    assert len(re.findall(r"\w+ \(\d+\.\d %\)", one)) == 3
    assert Image.open(pictures / "cat_gradcam.png").width > 600

    reported = run("report", *images, *weights, "--output", "new")
    errors = 50 - int(TEST_LINE.search(evaluated)[1])
    assert f"{errors} errors in new/errors.html" in reported
    page = (folder / "new" / "errors.html").read_text()
    assert page.count('data-answers="wrong"') == errors
    assert page.count('data-answers="right"') == 50 - errors
    assert re.search(r"When the 30 % of the pixels [^<]* random pixels are, to [\d.]+ %\.", page)
    reported = run("report", *images, *weights, "--output", "new", "--split", "train")
    assert "errors in new/training_errors.html" in reported
    assert "training images are misclassified" in (folder / "new/training_errors.html").read_text()


def test_pictures_and_a_custom_network(folder, run, capsys):
    """A folder of photographs, a network from a file beside it, and all that follows."""
    paint(folder / "mine")
    network = ("--model", "networks:small")
    images = ("--data", "mine", "--size", "48", "--resize", "pad")
    settings = ("--optimizer", "sgd", "--learning-rate", "0.1", "--epochs", "4", "--cutout", "0")
    trained = run("train", *images, *network, *settings, "--precision", "32-true")
    assert "48 training and 12 test images of 48x48 pixels in 3 classes" in trained
    output = folder / "runs" / "mine-networks-small"
    assert names_in(output / "plots") == sorted([*GALLERIES, "history.csv", "training_curves.png"])

    weights = ("--weights", str(output / "weights.safetensors"))
    assert result(run("evaluate", "--data", "mine", *network, *weights)) == result(trained)
    one = run("explain", "--image", "mine/red/1.png", *network, *weights)
    assert "1.png: 61x50 pixels, mode RGB; resized and padded with grey to 48x48" in one
    assert main(["evaluate", "--data", "mine", *weights]) == 1
    assert "networks:small, which only you can make" in capsys.readouterr().err

    further = run("train", *images, *network, *weights, "--epochs", "1", "--output", "on")
    assert "Beginning with the weights of networks:small on mine" in further
    assert len(table(folder / "on" / "plots" / "history.csv")) == 1
    only_tested = ("--epochs", "0", "--precision", "32-true", "--output", "no")
    tested = run("train", *images, *network, *weights, *only_tested)
    assert result(tested) == result(trained)
    assert not (folder / "no" / "weights.safetensors").exists()


WORDS = ("train", "--data", "mine", "--size", "32", "--model", "networks:small")
WORDS = (*WORDS, "--optimizer", "sgd", "--epochs", "2")
WEIGHTS = "runs/mine-networks-small/weights.safetensors"
OF_WEIGHTS = ("--model", "networks:small", "--weights", WEIGHTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A user's folder with photographs, a network and a run, made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "networks.py").write_text(CUSTOM_NETWORKS)
    paint(folder / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "networks", raising=False)
        assert main([*WORDS]) == 0
        patch.delitem(sys.modules, "networks", raising=False)
    return folder


@pytest.fixture
def trained(folder, made) -> tuple[str, ...]:
    """Copy that folder into the working one; return the words that trained the run."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    manifest = folder / WEIGHTS.replace("weights.safetensors", "run.json")
    manifest.write_text(manifest.read_text().replace(str(made), str(folder)))
    return WORDS


def test_another_run_is_not_replaced(folder, run, trained):
    """Neither by another training nor by a test of new weights, unless ``overwrite`` is set."""
    before = (folder / WEIGHTS).read_bytes()
    run(*trained, "--epochs", "0")
    other = run(*trained, "--learning-rate", "0.1")
    assert "Weights in runs/mine-networks-small-2/weights.safetensors" in other
    assert (folder / WEIGHTS).read_bytes() == before
    assert names_in(folder / "runs") == ["mine-networks-small", "mine-networks-small-2"]
    assert "Weights in runs/mine-networks-small/" in run(*trained)  # the same run again
    told = run(*trained, "--learning-rate", "0.1", "--overwrite", "true")
    assert "Weights in runs/mine-networks-small/" in told


def test_all_pictures_are_trained_on_and_several_classifiers_asked(folder, run, trained):
    told = run(*trained, "--held-out-share", "0", "--output", "all")
    assert "All pictures of mine are trained on, and there is no test." in told
    assert "No pictures of errors: there are no test images" in told
    run("report", *OF_WEIGHTS[:2], "--weights", "all/weights.safetensors", "--split", "train")
    assert (folder / "all" / "training_errors.html").exists()
    told = run("predict", *OF_WEIGHTS, "all/weights.safetensors", "mine/red", "--output", "mean")
    assert told.count("Weights: ") == 2
    assert "20 pictures in mean/predictions.csv" in told


def test_kept_pictures_are_deleted(folder, run, trained):
    kept = sum(path.stat().st_size for path in (folder / "data").glob("pictures-*"))
    assert run("empty-cache") == f"Deleted {kept / 1e6:,.1f} MB of pictures in data\n"
    assert kept > 0
    assert not list((folder / "data").glob("pictures-*"))


def test_results_on_other_pictures_go_into_a_folder_beside(folder, run, trained, capsys):
    output = (folder / WEIGHTS).parent
    run("evaluate", *OF_WEIGHTS)
    before = contents(output)
    shutil.copytree(folder / "mine" / "red", folder / "new" / "red")
    told = run("evaluate", *OF_WEIGHTS, "--data", "new")
    assert "Tables in runs/mine-networks-small/on-new" in told
    run("report", *OF_WEIGHTS, "--data", "new")
    assert (output / "on-new" / "errors.html").exists()
    assert contents(output).items() >= before.items()

    (folder / "mine").rename(folder / "moved")
    assert main(["evaluate", *OF_WEIGHTS]) == 1
    assert f"mine, on which {WEIGHTS} was trained, does not exist" in capsys.readouterr().err
    run("predict", "new", *OF_WEIGHTS)
    assert main(["predict", "new", *OF_WEIGHTS, "--output", "table.csv"]) == 1
    assert "output is 'table.csv', expected a folder, such as 'table'" in capsys.readouterr().err
    (folder / "new" / "notes.txt").write_text("none")
    assert run("explain", "new", *OF_WEIGHTS).count("_gradcam.png") == 20


def test_the_command_in_the_manifest_makes_the_same_run(folder, run, trained):
    manifest = (folder / WEIGHTS).with_name("run.json")
    found = json.loads(manifest.read_text(encoding="utf-8"))
    words = shlex.split(found["command"])
    assert words[:4] == ["python", "-m", "pytorch_vision", "train"]
    shutil.rmtree(folder / "runs")
    run(*words[3:])
    again = json.loads(manifest.read_text(encoding="utf-8"))
    assert (again["identity"], again["settings"]) == (found["identity"], found["settings"])


def test_weights_are_tested_on_the_data_of_their_run(folder, run, trained, monkeypatch, capsys):
    expected = result(run("evaluate", *OF_WEIGHTS))
    monkeypatch.chdir(folder / "mine")  # from any working directory
    weights = ("--model", "networks:small", "--weights", str(folder / WEIGHTS))
    told = run("evaluate", *weights, "--size", "48", "--resize", "pad")
    assert "resize=pad and size=48 are not used" in told
    assert result(told) == expected
    shutil.copy(folder / WEIGHTS, folder / "alone.safetensors")
    alone = ("--model", "networks:small", "--weights", str(folder / "alone.safetensors"))
    assert main(["evaluate", *alone]) == 1  # without a download
    assert "has other classes (blue, green, red) than CIFAR-10" in capsys.readouterr().err


def test_labels_of_a_table_are_trained_on_and_remembered(folder, run):
    """When the weights are tested, the table is read again."""
    paint(folder / "mine")
    rows = ["file,label"]
    for number, path in enumerate(sorted((folder / "mine").rglob("*.png"))):
        path.rename(folder / "mine" / f"{number}.png")
        rows.append(f"{number},{'warm' if path.parent.name == 'red' else 'cold'}")
    (folder / "mine" / "train.csv").write_text("\n".join(rows))
    words = ("--labels", "train.csv", "--epochs", "1", "--precision", "32-true")
    trained = run(*WORDS, *words)
    assert "in 2 classes" in trained
    assert result(run("evaluate", *OF_WEIGHTS)) == result(trained)


def test_each_seed_is_trained_in_its_own_folder(folder, run):
    paint(folder / "mine")
    told = run(*WORDS, "--epochs", "1", "--seed", "3", "4", "3", "--checkpoints", "kept")
    runs = [f"runs/mine-networks-small/seed-{seed}" for seed in (3, 4)]
    for one in runs:
        assert f"Weights in {one}/weights.safetensors" in told
        assert (folder / "kept" / Path(one).name / "checkpoint.pt").exists()
    assert names_in(folder / "runs" / "mine-networks-small") == ["seed-3", "seed-4"]
    assert re.search("2 runs  test accuracy .* ± ", run("compare", *runs))


def test_a_finished_run_may_lie_in_a_folder_called_unfinished(folder, run):
    paint(folder / "mine")
    run(*WORDS, "--epochs", "1", "--output", "runs/unfinished")
    assert (folder / "runs" / "unfinished" / "plots" / "training_curves.png").exists()


def test_options_that_weights_override_are_told(folder, run, trained):
    other = ("--model", "CustomResNet", "--conv-padding", "standard")
    assert "not used" not in run("predict", "mine/red/1.png", *OF_WEIGHTS)
    for words in (("predict", "mine/red/1.png"), ("explain", "mine/red/1.png")):
        told = run(*words, *other)
        assert "conv_padding=standard and model=CustomResNet are not used: the weights are" in told


def test_names_may_be_as_long_as_a_disk_allows(folder, run, trained):
    """Names of results are cut to stay below 255 bytes."""
    picture = folder / "new" / "red" / ("猫" * 82 + ".png")
    save(picture, Image.new("RGB", (40, 40), (200, 10, 10)))
    told = run("explain", str(picture), *OF_WEIGHTS)
    assert Path(re.search("Picture in (.*)", told)[1]).exists()
    named = (folder / "new").rename(folder / ("猫" * 80))
    assert "Tables in " in run("evaluate", *OF_WEIGHTS, "--data", str(named))


def test_images_of_one_name_get_pictures_of_different_names(folder, run, trained, capsys):
    """An image that is explained again keeps its picture's name."""
    files = ("a/cat.png", "b/cat.png", "a/cat.jpg", "misclassified.png")
    for name, colour in zip(files, ("red", "blue", "green", "black"), strict=True):
        save(folder / name, Image.new("RGB", (40, 40), colour))
    plots = (folder / WEIGHTS).parent / "plots"
    before = contents(plots)
    for _ in range(2):
        assert run("explain", *OF_WEIGHTS, *files).count("Picture in ") == 4
    run("explain", *OF_WEIGHTS, "--image", "b/cat.png", "--image", "a/cat.png")
    after = contents(plots)
    assert {path.name for path in after.keys() - before.keys()} == {
        "cat_gradcam.png",
        "cat_gradcam-2.png",
        "cat_gradcam-3.png",
        "misclassified_gradcam-2.png",
    }
    assert after.items() >= before.items()
    assert main(["explain", *OF_WEIGHTS, "none.png", "a/cat.png"]) == 1
    printed = capsys.readouterr()
    assert "Picture in" in printed.out
    assert "none.png" in printed.err


def test_new_pictures_are_classified(folder, run, trained, capsys):
    paint(folder / "new" / "deep")
    (folder / "new" / "notes.png").write_text("no picture")
    told = run("predict", "new", "mine/red/1.png", *OF_WEIGHTS)
    assert "61 pictures in runs/mine-networks-small/predictions.csv; 1 could not be read" in told
    for name in ("red", "blue", "green"):
        assert f"  {name}: " in told
    told = run("predict", "mine/red/1.png", *OF_WEIGHTS)
    assert "1 picture in runs/mine-networks-small/predictions-2.csv\n" in told
    assert "predictions-2.csv" in run("predict", "mine/red/1.png", *OF_WEIGHTS)
    run("predict", "mine/red/1.png", *OF_WEIGHTS, "--output", "other")
    assert names_in(folder / "other") == ["predictions.csv"]  # and no folder for pictures
    (folder / "sample.csv").write_text("id,red,blue,green\n1,0,0,0\n")
    told = run("predict", "mine/red", *OF_WEIGHTS, "--like", "sample.csv")
    assert "20 pictures in runs/mine-networks-small/submission.csv" in told
    told = run("predict", "mine/red", *OF_WEIGHTS, "--probabilities", "--ids", "--output", "ids")
    assert (folder / "ids/predictions.csv").read_text().startswith("id,class,probability,runner_up")
    assert main(["predict", "new/notes.png", *OF_WEIGHTS, "--output", "none"]) == 1
    refusal = "none of 1 file could be read: none/predictions.csv says why"
    assert refusal in capsys.readouterr().err


def test_runs_are_compared(folder, run, trained, capsys):
    run(*trained, "--learning-rate", "0.05", "--seed", "1")
    told = run("compare", *(f"runs/{name}" for name in names_in(folder / "runs")))
    _, first, second, *below = (re.split(r"\s{2,}", line) for line in told.splitlines())
    assert [first[0], second[0]] == ["runs/mine-networks-small", "runs/mine-networks-small-2"]
    assert below[1:3] == [["learning_rate", "unset, 0.05"], ["seed", "0, 1"]]
    assert Image.open(folder / "runs" / "comparison.png").width > 600
    assert [row["seed"] for row in table(folder / "runs" / "comparison.csv")] == ["0", "1"]
    assert main(["compare", "mine"]) == 1
    assert "mine holds no run" in capsys.readouterr().err


def test_weights_are_exported(folder, run, trained):
    pytest.importorskip("onnxscript")
    told = run("export", *OF_WEIGHTS)
    assert "to within 0.0001" in told
    assert "written to runs/mine-networks-small/model.onnx" in told
    assert "model.onnx" in run("export", *OF_WEIGHTS)
    assert "model-2.onnx" not in names_in(folder / "runs" / "mine-networks-small")


def start(folder: Path, *words: str, **options: Any) -> subprocess.Popen:
    """Start Python in a process of its own: only there are signals and a lost output real."""
    environment = {"PYTHONPATH": f"{PACKAGE}:{folder}", "PYTHONUNBUFFERED": "1"}
    environment |= options.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(words, cwd=folder, env={**os.environ, **environment}, **streams)


@pytest.mark.parametrize(
    ("ending", "env", "status", "told"),
    [
        ("| head -1", {}, 0, ""),
        ("", {"PYTHONIOENCODING": "ascii"}, 0, ""),
        (">/dev/full", {}, 1, "error: not all could be printed: [Errno 28] No space left on d"),
    ],
)
def test_output_that_cannot_be_printed_stops_no_work(folder, ending, env, status, told):
    paint(folder / "mine")
    (folder / "mine" / "red").rename(folder / "mine" / "красный")
    words = "train --data mine --size 32 --model networks:small --epochs 1"
    command = f"{sys.executable} -m pytorch_vision {words} {ending}"
    process = start(folder, "bash", "-o", "pipefail", "-c", command, env=env)
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, errors[: len(told) or None]) == (status, told)
    assert (folder / WEIGHTS).exists()
    if env:
        assert r"\u043a\u0440\u0430\u0441\u043d\u044b\u0439" in out
        assert "\r" not in out
        assert sum(line.startswith("Epoch") for line in out.splitlines()) == 1


def test_a_learning_rate_is_found(folder, run):
    paint(folder / "mine")
    job = ("--data", "mine", "--size", "32", "--model", "networks:small", "--batch-size", "8")
    found = run("find-lr", *job, "--optimizer", "sgd")
    told = re.search(r"smallest at (--.*)", found)[1].split()
    assert 1e-2 < float(told[told.index("--learning-rate") + 1]) < 10
    parse(["train", *job, *told])
    pictures = folder / "runs" / "mine-networks-small" / "plots"
    assert (pictures / "lr_finder_learning_rate.png").exists()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def made(num_classes:\n    pass", r"cannot be imported: .* \(mine.py, line 1\)"),
        ("made = nn.Linear", r"cannot be imported: NameError: name 'nn' .* \(mine.py, line 1\)"),
        ("def made(num_classes):\n    assert 0, 'no'", r"AssertionError: no \(mine.py, line 2\)"),
        (
            "from torch import nn\ndef made(num_classes):\n    nn.Conv2d(3, 8, 3, groups=2)",
            r"ValueError: in_channels must be divisible by groups \(mine.py, line 3\)",
        ),
    ],
)
def test_a_mistake_in_a_custom_network_is_told_with_its_line(folder, capsys, code, told):
    (folder / "mine.py").write_text(code)
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()
    assert main(["train", "--data", "sample", "--model", "mine:made"]) == 1
    assert re.match(f"error: .*{told}$", capsys.readouterr().err.strip())


def test_a_network_without_a_map_has_all_other_pictures(folder, capsys):
    job = ["train", "--data", "sample", "--epochs", "1", "--model", "networks:flat"]
    assert main(job) == 0
    printed = capsys.readouterr().out
    assert "No Grad-CAM pictures: no layer of this network gives a map" in printed
    pictures = folder / "runs" / "sample-networks-flat" / "plots"
    others = [name for name in GALLERIES if "gradcam" not in name]
    assert set(names_in(pictures)) >= {"training_curves.png", *others}
    assert (pictures.parent / "weights.safetensors").exists()


def test_the_committed_weights_are_as_good_as_they_are_said_to_be(cifar10, run, monkeypatch):
    """They are what is evaluated by default; in float32, that takes a CPU twice as long."""
    monkeypatch.chdir(ROOT)
    history = Classifier.load("pretrained").history
    assert len(history.records) == 20
    fast = Machine().chosen_precision
    right, total, accuracy = TEST_LINE.search(run("evaluate", "--precision", fast)).groups()
    assert (int(total), float(accuracy)) == (10_000, int(right) / 100)
    assert float(accuracy) == pytest.approx(history.records[-1].test_accuracy, abs=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --data everything", "data is 'everything', expected 'full'"),
        ("train --data sample --epochs -1", "epochs is '-1', expected 0 or more"),
        ("train --data sample --model mine:network", "model is mine:network, which cannot be"),
        ("train --data sample --weights none.st", "there are no weights at none.st"),
        ("train --data .", ". has no folders, expected one for each class"),
        ("train --data notes.txt --model torchvision:resnet19", "data is 'notes.txt'"),
        ("train --data . --model torchvision:resnet19", "torchvision has no network 'resnet19'"),
        ("train --data . --weights none.st", "there are no weights at none"),
        ("train --data ~nobody-here/x", "~nobody-here/x has no home folder"),
        ("evaluate --weights none.safetensors", "there are no weights at none"),
        ("report --weights none.safetensors", "there are no weights at none"),
        ("explain --weights none.safetensors", "there are no weights at none"),
        ("explain --image notes.txt", "notes.txt is not an image"),
        ("explain --image none.png", "cannot open none.png: no such file"),
        ("train --data sample --batch-size 0", "batch_size is '0', expected 1 or more"),
        ("train --data sample --resize stretch", "resize is 'stretch', expected 'crop', 'pad' or"),
        ("train --data sample --output notes.txt/new", "cannot write to notes.txt/new: /"),
        ("evaluate --weights notes.txt", "notes.txt is not a whole safetensors"),
    ],
)
def test_an_error_is_one_message(tmp_path, monkeypatch, capsys, words, message):
    (tmp_path / "notes.txt").write_text("not weights")
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, 130, "runs/sample-networks-small-2/unfinished"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_ends_training_with_a_checkpoint_and_a_status(folder, number, status, told):
    """A finished run is there already: nothing of it is replaced."""
    good = folder / "runs" / "sample-networks-small" / "weights.safetensors"
    good.parent.mkdir(parents=True)
    good.write_text("of a finished run")
    words = "-m pytorch_vision train --data sample --model networks:small --batch-size 4"
    process = start(folder, sys.executable, *words.split(), "--checkpoints", "kept")
    while not (folder / "kept" / ".lock").exists():  # made before the first step
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert errors.strip().endswith(told)
    assert bool(errors) == bool(told)
    assert "Interrupted in epoch" in out
    assert (folder / "kept" / "checkpoint.pt").exists()
    assert good.read_text() == "of a finished run"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("at_work", [False, True])
def test_an_interrupt_outside_of_the_training_is_one_line(tmp_path, at_work):
    words = "-m pytorch_vision report --data sample"
    process = start(tmp_path, sys.executable, *words.split())
    if at_work:
        assert process.stdout.readline().startswith("Weights")
    else:  # while torch is being loaded
        while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted.\n")


def test_an_interrupted_download_leaves_nothing(tmp_path):
    """A mirror that is slow, but not too slow: there is time to end it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n\r\n")
            while True:
                connection.sendall(bytes(100_000))
                time.sleep(0.1)

    threading.Thread(target=serve, daemon=True).start()
    script = (
        "import sys; from pytorch_vision.data import cifar10; cifar10.MIRRORS = (sys.argv[1],);"
        "from pytorch_vision.app.commands import main;"
        "sys.exit(main(['evaluate', '--root', 'data']))"
    )
    address = f"http://127.0.0.1:{server.getsockname()[1]}/"
    temporary = {"TMPDIR": str(tmp_path)}
    quiet = subprocess.DEVNULL
    process = start(tmp_path, sys.executable, "-c", script, address, env=temporary, stdout=quiet)
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob("tmp*/*")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 143, process.stderr.read()
    assert os.listdir(tmp_path) == []
