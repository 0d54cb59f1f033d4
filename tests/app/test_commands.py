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

import pytest
from PIL import Image

from pytorch_vision.app.command_line import parse
from pytorch_vision.app.commands import main
from pytorch_vision.models import Classifier

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


def paint(folder: Path) -> None:
    """Write photographs of three classes that are easily told apart."""
    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (9, 250, 9)}.items():
        for number in range(20):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60 + number, 50), colour).save(path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_whole_job(folder, few, run):
    """Train, evaluate, explain the errors and one image, and write the page of all errors."""
    for part in ("train", "test"):
        pairs = zip(getattr(few, f"{part}_images"), getattr(few, f"{part}_labels"), strict=True)
        for number, (image, label) in enumerate(pairs):
            path = folder / "few" / part / few.class_names[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    images = ("--data", "few", "--size", "32")
    trained = run("train", *images, "--epochs", "1", "--model", "CustomResNet")
    assert "few: 100 training and 50 test images of 32x32 pixels in 10 classes" in trained
    pictures = folder / "runs" / "few-CustomResNet" / "plots"
    assert names_in(pictures) == sorted([*GALLERIES, "history.csv", "training_curves.png"])
    for name in GALLERIES:
        assert Image.open(pictures / name).width > 600

    weights = ("--weights", "runs/few-CustomResNet/weights.safetensors")
    evaluated = run("evaluate", *images, *weights)
    line = TEST_LINE.search(evaluated)
    assert line[0] == TEST_LINE.search(trained)[0]
    assert "balanced" in evaluated
    tables = {}
    for name in ("metrics.csv", "test_predictions.csv"):
        with open(pictures.parent / name, newline="", encoding="utf-8") as file:
            tables[name] = list(csv.reader(file))
    assert [row[0] for row in tables["metrics.csv"]] == ["class", *sorted(few.class_names)]
    assert len(tables["test_predictions.csv"]) == 51
    assert re.fullmatch(r"(test/)?airplane/\d+\.png", tables["test_predictions.csv"][1][0])

    drawn = {path: path.read_bytes() for path in pictures.iterdir()}
    run("explain", *images, *weights, "--order", "confident", "--count", "3")
    assert names_in(pictures.parent / "explained") == GALLERIES
    assert {path: path.read_bytes() for path in pictures.iterdir()} == drawn

    Image.new("LA", (70, 50), 128).save(folder / "cat.png")
    one = run("explain", "--image", "cat.png", *weights)
    assert "cat.png: 70x50 pixels, mode LA; its central 50x50 pixels resized to 32" in one
    assert len(re.findall(r"\w+ \(\d+\.\d %\)", one)) == 3
    assert Image.open(pictures / "cat_gradcam.png").width > 600

    reported = run("report", *images, *weights, "--output", "new")
    errors = 50 - int(line[1])
    assert f"{errors} errors in new/errors.html" in reported
    page = (folder / "new" / "errors.html").read_text()
    assert page.count('data-answers="wrong"') == errors
    assert page.count('data-answers="right"') == 50 - errors
    assert re.search(r"When the 30 % of the pixels [^<]* random pixels are, to [\d.]+ %\.", page)
    reported = run("report", *images, *weights, "--output", "new", "--split", "train")
    assert "errors in new/training_errors.html" in reported
    assert "training images are misclassified" in (folder / "new/training_errors.html").read_text()


def test_pictures_and_a_network_of_ones_own(folder, run, capsys):
    """A folder of photographs, a network from a file beside it, and all that follows."""
    paint(folder / "mine")
    network = ("--model", "networks:small")
    images = ("--data", "mine", "--size", "48", "--resize", "pad")
    settings = ("--optimizer", "sgd", "--learning-rate", "0.1", "--epochs", "4", "--cutout", "0")
    trained = run("train", *images, *network, *settings)
    assert "48 training and 12 test images of 48x48 pixels in 3 classes" in trained
    output = folder / "runs" / "mine-networks-small"
    assert names_in(output / "plots") == sorted([*GALLERIES, "history.csv", "training_curves.png"])

    weights = ("--weights", str(output / "weights.safetensors"))
    evaluated = run("evaluate", "--data", "mine", *network, *weights)
    assert TEST_LINE.search(evaluated)[0] == list(TEST_LINE.finditer(trained))[-1][0]
    one = run("explain", "--image", "mine/red/1.png", *network, *weights)
    assert "1.png: 61x50 pixels, mode RGB; resized and padded with grey to 48x48" in one
    assert main(["evaluate", "--data", "mine", *weights]) == 1
    assert "networks:small, which only you can make" in capsys.readouterr().err

    further = run("train", *images, *network, *weights, "--epochs", "1", "--output", "on")
    assert "Beginning with the weights of networks:small on mine" in further
    assert len(Classifier.load(output / "weights.safetensors", _small()).history.records) == 4
    assert len(Classifier.load("on/weights.safetensors", _small()).history.records) == 1
    tested = run("train", *images, *network, *weights, "--epochs", "0", "--output", "no")
    assert TEST_LINE.search(tested)[0] == TEST_LINE.search(evaluated)[0]
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


def test_work_that_is_there_is_not_replaced(folder, run, trained):
    """By another training, by a test of fresh weights; only by the same again, or when told to."""
    before = (folder / WEIGHTS).read_bytes()
    run(*trained, "--epochs", "0")
    other = run(*trained, "--learning-rate", "0.1")
    assert "Weights in runs/mine-networks-small-2/weights.safetensors" in other
    assert (folder / WEIGHTS).read_bytes() == before
    assert names_in(folder / "runs") == ["mine-networks-small", "mine-networks-small-2"]
    assert "Weights in runs/mine-networks-small/" in run(*trained)
    assert "Weights in runs/mine-networks-small/" in run(
        *trained, "--learning-rate", "0.1", "--overwrite", "true"
    )


def test_what_is_found_on_other_pictures_goes_beside(folder, run, trained, capsys):
    output = (folder / WEIGHTS).parent
    run("evaluate", *OF_WEIGHTS)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    shutil.copytree(folder / "mine" / "red", folder / "new" / "red")
    assert "Tables in runs/mine-networks-small/on-new" in run(
        "evaluate", *OF_WEIGHTS, "--data", "new"
    )
    run("report", *OF_WEIGHTS, "--data", "new")
    assert (output / "on-new" / "errors.html").exists()
    assert {path: path.read_bytes() for path in before} == before

    (folder / "mine").rename(folder / "moved")
    assert main(["evaluate", *OF_WEIGHTS]) == 1
    told = capsys.readouterr().err
    assert (
        "mine, on which runs/mine-networks-small/weights.safetensors was trained, does not exist"
        in told
    )
    run("predict", "new", *OF_WEIGHTS)
    assert main(["predict", "new", *OF_WEIGHTS, "--output", "table.csv"]) == 1
    assert "output is 'table.csv', expected a folder, such as 'table'" in capsys.readouterr().err
    (folder / "new" / "notes.txt").write_text("none")
    assert run("explain", "new", *OF_WEIGHTS).count("_gradcam.png") == 20


def test_the_command_of_a_run_can_be_read_back(folder, run, trained):
    def made_with() -> dict:
        return json.loads((folder / WEIGHTS).with_name("run.json").read_text(encoding="utf-8"))

    found = made_with()
    words = shlex.split(found["command"])
    assert words[:4] == ["python", "-m", "pytorch_vision", "train"]
    shutil.rmtree(folder / "runs")
    run(*words[3:])
    again = made_with()
    assert (again["identity"], again["settings"]) == (found["identity"], found["settings"])


def test_weights_know_their_data(folder, run, trained, monkeypatch, capsys):
    expected = list(TEST_LINE.finditer(run(*trained)))[-1][0]
    monkeypatch.chdir(folder / "mine")  # from wherever it is asked
    weights = ("--model", "networks:small", "--weights", str(folder / WEIGHTS))
    told = run("evaluate", *weights, "--size", "48", "--resize", "pad")
    assert "resize=pad and size=48 are not used" in told
    assert TEST_LINE.search(told)[0] == expected
    shutil.copy(folder / WEIGHTS, folder / "alone.safetensors")
    alone = ("--model", "networks:small", "--weights", str(folder / "alone.safetensors"))
    assert main(["evaluate", *alone]) == 1  # without a download
    assert "has other classes (blue, green, red) than CIFAR-10" in capsys.readouterr().err


def test_labels_of_a_table_are_trained_on_and_remembered(folder, run):
    """The same classes are found again when the weights are tested."""
    paint(folder / "mine")
    rows = ["file,label"]
    for number, path in enumerate(sorted((folder / "mine").rglob("*.png"))):
        path.rename(folder / "mine" / f"{number}.png")
        rows.append(f"{number},{'warm' if path.parent.name == 'red' else 'cold'}")
    (folder / "mine" / "train.csv").write_text("\n".join(rows))
    trained = run(*WORDS, "--labels", "train.csv", "--epochs", "1")
    assert "in 2 classes" in trained
    evaluated = run("evaluate", *OF_WEIGHTS)
    assert TEST_LINE.search(evaluated)[0] == list(TEST_LINE.finditer(trained))[-1][0]


def test_each_seed_is_trained_in_a_folder_of_its_own(folder, run):
    paint(folder / "mine")
    told = run(*WORDS, "--epochs", "1", "--seed", "3", "4", "3", "--checkpoints", "kept")
    for seed in (3, 4):
        assert f"Weights in runs/mine-networks-small/seed-{seed}/weights.safetensors" in told
        assert (folder / "kept" / f"seed-{seed}" / "checkpoint.pt").exists()
    assert names_in(folder / "runs" / "mine-networks-small") == ["seed-3", "seed-4"]
    compared = run("compare", *(f"runs/mine-networks-small/seed-{seed}" for seed in (3, 4)))
    assert "2 runs  test accuracy" in compared
    assert " ± " in compared


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
    """250 bytes: what is made of them has shorter names."""
    picture = folder / "new" / "red" / ("猫" * 82 + ".png")
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (40, 40), (200, 10, 10)).save(picture)
    told = run("explain", str(picture), *OF_WEIGHTS)
    assert Path(re.search("Picture in (.*)", told)[1]).exists()
    named = (folder / "new").rename(folder / ("猫" * 80))
    assert "Tables in " in run("evaluate", *OF_WEIGHTS, "--data", str(named))


def test_images_of_one_name_have_pictures_of_their_own(folder, run, trained, capsys):
    """In whatever folder and format they are; one that is explained again has the same."""
    for name, colour in {"a/cat.png": "red", "b/cat.png": "blue", "a/cat.jpg": "green"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), colour).save(folder / name)
    Image.new("RGB", (40, 40)).save(folder / "misclassified.png")
    plots = folder / WEIGHTS.replace("weights.safetensors", "plots")
    before = {path: path.read_bytes() for path in plots.iterdir()}
    files = ("a/cat.png", "b/cat.png", "a/cat.jpg", "misclassified.png")
    for _ in range(2):
        told = run("explain", *OF_WEIGHTS, *files)
        assert told.count("Picture in ") == 4
    run("explain", *OF_WEIGHTS, "--image", "b/cat.png", "--image", "a/cat.png")
    drawn = {path.name for path in plots.iterdir()} - {path.name for path in before}
    assert drawn == {
        "cat_gradcam.png",
        "cat_gradcam-2.png",
        "cat_gradcam-3.png",
        "misclassified_gradcam-2.png",
    }
    assert {path: path.read_bytes() for path in before} == before
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
    runs = [f"runs/{name}" for name in names_in(folder / "runs")]
    told = run("compare", *runs)
    _, first, second, *below = (re.split(r"\s{2,}", line) for line in told.splitlines())
    assert [first[0], second[0]] == ["runs/mine-networks-small", "runs/mine-networks-small-2"]
    assert below[1:3] == [["learning_rate", "unset, 0.05"], ["seed", "0, 1"]]
    assert "momentum" not in told
    assert Image.open(folder / "runs" / "comparison.png").width > 600
    with open(folder / "runs" / "comparison.csv", newline="", encoding="utf-8") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1"]
    assert main(["compare", "mine"]) == 1
    assert "mine holds no run" in capsys.readouterr().err


def test_weights_are_exported(folder, run, trained):
    pytest.importorskip("onnxscript")
    told = run("export", *OF_WEIGHTS)
    assert "to within 0.0001" in told
    assert "written to runs/mine-networks-small/model.onnx" in told
    assert "model.onnx" in run("export", *OF_WEIGHTS)
    assert "model-2.onnx" not in names_in(folder / "runs" / "mine-networks-small")


@pytest.mark.parametrize("place", ["pipe", "ascii", "full"])
def test_what_cannot_be_shown_costs_no_work(folder, place):
    """By the shell, as only a process of its own has a standard output that it can lose."""
    paint(folder / "mine")
    (folder / "mine" / "red").rename(folder / "mine" / "красный")
    words = "train --data mine --size 32 --model networks:small --epochs 1"
    command = f"{sys.executable} -m pytorch_vision {words}"
    ending = {"pipe": "| head -1", "ascii": "", "full": ">/dev/full"}[place]
    encoding = {"PYTHONIOENCODING": "ascii"} if place == "ascii" else {}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} {ending}"],
        cwd=folder,
        env={**os.environ, **encoding, "PYTHONPATH": f"{PACKAGE}:{folder}"},
        capture_output=True,
        text=True,
    )
    expected = "error: not all could be printed: [Errno 28] No space left on device\n"
    assert done.stderr == (expected if place == "full" else "")
    assert done.returncode == (1 if place == "full" else 0)
    assert (folder / WEIGHTS).exists()
    if place == "ascii":
        assert r"\u043a\u0440\u0430\u0441\u043d\u044b\u0439" in done.stdout
        assert "\r" not in done.stdout
        assert len([line for line in done.stdout.splitlines() if line.startswith("Epoch")]) == 1


def _small():
    import networks

    return networks.small


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
def test_a_mistake_in_ones_own_file_is_told_with_its_place(folder, capsys, code, told):
    (folder / "mine.py").write_text(code)
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()
    assert main(["train", "--data", "sample", "--model", "mine:made"]) == 1
    assert re.match(f"error: .*{told}$", capsys.readouterr().err.strip())


def test_a_network_without_a_map_has_all_other_pictures(folder, capsys):
    job = ["train", "--data", "sample", "--epochs", "1", "--model", "networks:flat"]
    assert main(job) == 0
    printed = capsys.readouterr().out
    assert "No picture of where it looked: no layer of this network gives a map" in printed
    pictures = folder / "runs" / "sample-networks-flat" / "plots"
    others = [name for name in GALLERIES if "gradcam" not in name]
    assert set(names_in(pictures)) >= {"training_curves.png", *others}
    assert (pictures.parent / "weights.safetensors").exists()


def test_the_committed_weights_are_as_good_as_they_are_said_to_be(cifar10, run, monkeypatch):
    """By the command that README gives for it: they are what is evaluated by default."""
    monkeypatch.chdir(ROOT)
    history = Classifier.load("pretrained").history
    assert len(history.records) == 20
    right, total, accuracy = TEST_LINE.search(run("evaluate")).groups()
    assert (int(total), float(accuracy)) == (10_000, int(right) / 100)
    assert float(accuracy) == pytest.approx(history.records[-1].test_accuracy, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "everything"), "error: data is 'everything', expected 'full'"),
        (
            ("train", "--data", "sample", "--epochs", "-1"),
            "error: epochs is '-1', expected 0 or more",
        ),
        (
            ("train", "--data", "sample", "--model", "mine:network"),
            "error: model is mine:network, which cannot be",
        ),
        (("train", "--data", "sample", "--weights", "none.st"), "error: there are no weights at n"),
        (("train", "--data", "."), "error: . has no folders, expected one for each class"),
        (
            ("train", "--data", "notes.txt", "--model", "torchvision:resnet19"),
            "error: data is 'notes.txt'",
        ),
        (
            ("train", "--data", ".", "--model", "torchvision:resnet19"),
            "error: torchvision has no network 'resnet19'",
        ),
        (("train", "--data", ".", "--weights", "none.st"), "error: there are no weights at none"),
        (("train", "--data", "~nobody-here/x"), "error: ~nobody-here/x has no home folder"),
        (("evaluate", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("report", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("explain", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("explain", "--image", "notes.txt"), "error: notes.txt is not an image"),
        (("explain", "--image", "none.png"), "error: cannot open none.png: no such file"),
        (
            ("train", "--data", "sample", "--batch-size", "0"),
            "error: batch_size is '0', expected 1 or more",
        ),
        (
            ("train", "--data", "sample", "--resize", "stretch"),
            "error: resize is 'stretch', expected 'crop', 'pad' or 'squash'",
        ),
        (
            ("train", "--data", "sample", "--output", "notes.txt/new"),
            "error: cannot write to notes.txt/new: /",
        ),
        (("evaluate", "--weights", "notes.txt"), "error: notes.txt is not a whole safetensors"),
    ],
)
def test_an_error_is_one_message(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "notes.txt").write_text("not weights")
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) == 1
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (
            signal.SIGINT,
            130,
            "Interrupted: what there is of it is in runs/sample-networks-small-2/unfinished",
        ),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_ends_it_with_a_checkpoint_and_a_status(folder, number, status, told):
    """A good run is there already: nothing of it is replaced."""
    good = folder / "runs" / "sample-networks-small" / "weights.safetensors"
    good.parent.mkdir(parents=True)
    good.write_text("of a finished run")
    arguments = ["--data", "sample", "--model", "networks:small", "--batch-size", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytorch_vision", "train", *arguments, "--checkpoints", "kept"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{PACKAGE}:{folder}", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not (folder / "kept" / ".in-use-by").exists():  # which it takes before the first step
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert errors.decode().strip() == told
    assert "Interrupted in epoch" in out.decode()
    assert (folder / "kept" / "checkpoint.pt").exists()
    assert good.read_text() == "of a finished run"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("at_work", [False, True])
def test_an_interrupt_outside_of_the_training_is_one_line(tmp_path, at_work):
    process = subprocess.Popen(
        [sys.executable, "-m", "pytorch_vision", "report", "--data", "sample"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if at_work:
        assert process.stdout.readline().startswith("Weights")
    else:  # while torch is being loaded
        while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "Interrupted.\n"


def test_a_download_that_is_ended_leaves_nothing(tmp_path):
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
    process = subprocess.Popen(
        [sys.executable, "-c", script, f"http://127.0.0.1:{server.getsockname()[1]}/"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob("tmp*/*")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 143, process.stderr.read()
    assert os.listdir(tmp_path) == []
