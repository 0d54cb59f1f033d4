"""The command line, called in this process where that is the same: importing torch takes long."""

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
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from small import contents, paint, served
from torture import forks

from pytorch_vision.app import commands
from pytorch_vision.app.command_line import parse
from pytorch_vision.app.commands import main
from pytorch_vision.data import cifar10
from pytorch_vision.models import Classifier

ROOT = Path(__file__).parents[2]
NETWORKS = """
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
SMALL = ("--size", "32", "--model", "networks:small", "--optimizer", "sgd", "--epochs", "1")
TRAIN = ("train", "--data", "mine", *SMALL, "--precision", "32-true")  # as weights are tested
OUTPUT = "runs/mine-networks-small"
OF_WEIGHTS = ("--model", "networks:small", "--weights", f"{OUTPUT}/weights.safetensors")


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Go into a user's folder, from which custom networks are imported."""
    (folder / "networks.py").write_text(NETWORKS)
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    patch.delitem(sys.modules, "networks", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """A user's folder with pictures and a run that was trained on them, and what that printed."""
    folder = tmp_path_factory.mktemp("made")
    paint(folder / "mine", {"blue": 20, "green": 20, "red": 20}, side=40)
    with pytest.MonkeyPatch.context() as patch, open(folder / "printed", "w") as file:
        enter(folder, patch)
        with redirect_stdout(file):
            assert main([*TRAIN]) == 0
    return folder, (folder / "printed").read_text()


@pytest.fixture
def mine(folder, made) -> Path:
    """The folder of pictures, in the user's folder, which is the working one."""
    return Path(shutil.copytree(made[0] / "mine", folder / "mine"))


@pytest.fixture
def trained(folder, mine, made) -> Path:
    """The folder of the run, in the user's folder."""
    output = Path(shutil.copytree(made[0] / OUTPUT, folder / OUTPUT))
    manifest = (output / "run.json").read_text()
    (output / "run.json").write_text(manifest.replace(str(made[0]), str(folder)))
    return output


@pytest.fixture
def run(capsys) -> Callable[..., str]:
    """Call the command line, and return what it printed."""

    def run_command(*arguments: str) -> str:
        status = main(list(arguments))
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return run_command


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Call the command line, and return its error."""

    def run_command(*arguments: str) -> str:
        assert main(list(arguments)) == 1
        return capsys.readouterr().err

    return run_command


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Train without drawing the errors, which takes most of the time."""
    monkeypatch.setattr(commands, "_draw_errors", lambda *_: "")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def result(printed: str) -> str:
    """Return the last test line."""
    return list(TEST_LINE.finditer(printed))[-1][0]


def test_training_leaves_weights_tables_and_pictures(made):
    folder, printed = made
    assert "mine: 48 training and 12 test images of 32x32 pixels in 3 classes" in printed
    assert f"Weights in {OUTPUT}/weights.safetensors" in printed
    pictures = folder / OUTPUT / "plots"
    assert {*os.listdir(pictures)} == {*GALLERIES, "history.csv", "training_curves.png"}
    assert all(Image.open(pictures / name).width > 600 for name in GALLERIES)


def test_weights_are_tested_and_their_errors_drawn(made, trained, run):
    before = contents(trained)
    evaluated = run("evaluate", *OF_WEIGHTS)
    assert result(evaluated) == result(made[1])
    assert "balanced" in evaluated
    assert [row["class"] for row in table(trained / "metrics.csv")] == ["blue", "green", "red"]
    images = [row["image"] for row in table(trained / "test_predictions.csv")]
    assert len(images) == 12
    assert re.fullmatch(r"blue/\d+\.png", images[0])

    run("explain", *OF_WEIGHTS, "--order", "confident", "--count", "3")
    assert sorted(os.listdir(trained / "explained")) == GALLERIES

    errors = 12 - int(TEST_LINE.search(evaluated)[1])
    assert 0 < errors < 12
    assert f"{errors} errors in new/errors.html" in run("report", *OF_WEIGHTS, "--output", "new")
    page = Path("new/errors.html").read_text()
    assert page.count('data-answers="wrong"') == errors
    assert page.count('data-answers="right"') == 12 - errors
    told = run("report", *OF_WEIGHTS, "--output", "new", "--split", "train")
    assert "errors in new/training_errors.html" in told
    assert "training images are misclassified" in Path("new/training_errors.html").read_text()
    assert contents(trained).items() >= before.items()


def test_weights_are_trained_further_or_only_tested(made, trained, run, refused, undrawn):
    weights = OF_WEIGHTS[2:]
    assert "networks:small, which only you can make" in refused("evaluate", *weights)
    further = run(*TRAIN, *weights, "--output", "on")
    assert "Beginning with the weights of networks:small on mine" in further
    assert len(table(Path("on/plots/history.csv"))) == 1
    assert result(run(*TRAIN, *weights, "--epochs", "0", "--output", "no")) == result(made[1])
    assert not Path("no").exists()


def test_another_run_is_not_replaced_and_runs_are_compared(trained, run, refused, undrawn):
    before = contents(trained)
    other = run(*TRAIN, "--learning-rate", "0.05", "--seed", "1")
    assert f"Weights in {OUTPUT}-2/weights.safetensors" in other
    assert contents(trained) == before
    told = run("compare", OUTPUT, f"{OUTPUT}-2")
    _, first, second, *below = (re.split(r"\s{2,}", line) for line in told.splitlines())
    assert [first[0], second[0]] == [OUTPUT, f"{OUTPUT}-2"]
    assert below[1:3] == [["learning_rate", "unset, 0.05"], ["seed", "0, 1"]]
    assert Image.open("runs/comparison.png").width > 600
    assert [row["seed"] for row in table(Path("runs/comparison.csv"))] == ["0", "1"]
    assert "mine holds no run" in refused("compare", "mine")
    told = run(*TRAIN, "--learning-rate", "0.1", "--overwrite", "true")
    assert f"Weights in {OUTPUT}/weights.safetensors" in told


def test_all_pictures_are_trained_on_and_several_classifiers_asked(folder, trained, run, refused):
    told = run(*TRAIN, "--held-out-share", "0", "--output", "all")
    assert "All pictures of mine are trained on, and there is no test." in told
    assert "No plots of errors: there are no test images" in told
    of_all = (*OF_WEIGHTS[:2], "--weights", "all/weights.safetensors")
    run("report", *of_all, "--split", "train")
    assert (folder / "all" / "training_errors.html").exists()
    assert "no test images" in refused("explain", *of_all, "--output", "none")
    assert not (folder / "none").exists()
    held = run(*TRAIN, "--held-out-share", "0", "--held-out", "9", "--output", "held")
    tested = run("evaluate", *OF_WEIGHTS[:2], "--weights", "held/weights.safetensors")
    assert result(tested) == result(held)  # on the same pictures
    told = run("predict", *OF_WEIGHTS, "all/weights.safetensors", "mine/red", "--output", "mean")
    assert told.count("Weights: ") == 2
    assert "20 pictures classified. Table in mean/predictions.csv" in told


def test_a_folder_is_checked_for_duplicates(folder, few, run):
    for number in np.flatnonzero(few.train_labels < 2):
        path = folder / "mine" / few.class_names[few.train_labels[number]] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(few.train_images[number]).save(path)
    with Image.open(path) as picture:
        picture.save(path.with_name("copy.png"))
        picture.resize((90, 70)).save(path.with_name("large copy.png"))
    (path.parent / "notes.txt").touch()
    printed = run("check", "--data", "mine", "--size", "32", "--output", "out")
    for text in (
        "1 of 23 files was left out:",
        " to train on, 2 to test on\n",
        "In their files, pictures have from 32x32 to 90x70 pixels, median 32x32.",
        "Images that occur twice: 1 the same, ",
        "Table in out/duplicates.csv",
    ):
        assert text in printed
    assert "copy.png" in Path("out/duplicates.csv").read_text()


def test_kept_pictures_are_deleted(folder, trained, run):
    run("evaluate", *OF_WEIGHTS)
    kept = sum(path.stat().st_size for path in (folder / "data").glob("pictures-*"))
    assert run("empty-cache") == f"Deleted {kept / 1e6:,.1f} MB of pictures in data\n"
    assert kept > 0
    assert not list((folder / "data").glob("pictures-*"))


def test_results_on_other_pictures_go_into_a_folder_beside(trained, mine, run, refused):
    before = contents(trained)
    shutil.copytree(mine / "red", "new/red")
    assert f"Tables in {OUTPUT}/on-new" in run("evaluate", *OF_WEIGHTS, "--data", "new")
    run("report", *OF_WEIGHTS, "--data", "new")
    assert (trained / "on-new" / "errors.html").exists()
    assert contents(trained).items() >= before.items()

    mine.rename("moved")
    weights = OF_WEIGHTS[-1]
    told = refused("evaluate", *OF_WEIGHTS)
    assert f"mine, on which {weights} was trained, does not exist" in told
    run("predict", "new", *OF_WEIGHTS)
    told = refused("predict", "new", *OF_WEIGHTS, "--output", "table.csv")
    assert "output is 'table.csv', expected a folder, such as 'table'" in told
    Path("new/notes.txt").write_text("none")
    assert run("explain", "new", *OF_WEIGHTS).count("_gradcam.png") == 20


def test_the_command_in_the_manifest_makes_the_same_run(trained, run, undrawn):
    """Also in a folder whose name is that of unfinished runs."""
    found = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    words = shlex.split(found["command"])
    assert words[:4] == ["python", "-m", "pytorch_vision", "train"]
    run(*words[3:], "--output", "runs/unfinished")
    again = json.loads(Path("runs/unfinished/run.json").read_text(encoding="utf-8"))
    assert again["identity"] == found["identity"]
    assert again["settings"] == {**found["settings"], "output": "runs/unfinished"}
    assert Path("runs/unfinished/plots/training_curves.png").exists()


def test_weights_are_tested_on_the_data_of_their_run(
    folder, mine, made, trained, run, refused, monkeypatch
):
    monkeypatch.chdir(mine)  # from any working directory
    weights = (*OF_WEIGHTS[:3], str(trained / "weights.safetensors"))
    told = run("evaluate", *weights, "--size", "48", "--resize", "pad")
    assert "resize=pad and size=48 are not used" in told
    assert result(told) == result(made[1])
    shutil.copy(weights[-1], folder / "alone.safetensors")
    told = refused("evaluate", *OF_WEIGHTS[:3], str(folder / "alone.safetensors"))
    assert "has other classes (blue, green, red) than CIFAR-10" in told  # without a download


def test_labels_of_a_table_are_trained_on_and_remembered(mine, run, undrawn, monkeypatch):
    """When the weights are tested, the table is read again."""
    rows = ["file,label"]
    for number, path in enumerate(sorted(mine.rglob("*.png"))):
        path.rename(mine / f"{number}.png")
        rows.append(f"{number},{'warm' if path.parent.name == 'red' else 'cold'}")
    Path("beside.csv").write_text("\n".join(rows))
    trained = run(*TRAIN, "--labels", "beside.csv")
    assert "in 2 classes" in trained
    weights = Path(OF_WEIGHTS[-1]).absolute()
    monkeypatch.chdir(mine)  # from any working directory
    assert result(run("evaluate", *OF_WEIGHTS[:3], str(weights))) == result(trained)


def test_each_seed_is_trained_in_its_own_folder(folder, mine, run, undrawn):
    told = run(*TRAIN, "--seed", "3", "4", "3", "--checkpoints", "kept")
    assert sorted(os.listdir(folder / OUTPUT)) == ["seed-3", "seed-4"]
    for name in ("seed-3", "seed-4"):
        assert f"Weights in {OUTPUT}/{name}/weights.safetensors" in told
        assert (folder / "kept" / name / "checkpoint.pt").exists()
    compared = run("compare", f"{OUTPUT}/seed-3", f"{OUTPUT}/seed-4")
    assert re.search("2 runs  test accuracy .* ± ", compared)


def test_names_may_be_as_long_as_a_disk_allows(folder, trained, run):
    """Names of results are cut to stay below 255 bytes."""
    paint(folder / "new", {"red": 1})
    picture = (folder / "new/red/0.png").rename(folder / "new/red" / ("猫" * 82 + ".png"))
    told = run("explain", str(picture), *OF_WEIGHTS, "--conv-padding", "standard")
    assert "conv_padding=standard is not used: the weights are of" in told
    assert Path(re.search("Plot in (.*)", told)[1]).exists()
    named = (folder / "new").rename(folder / ("猫" * 80))
    assert "Tables in " in run("evaluate", *OF_WEIGHTS, "--data", str(named))


def test_images_of_one_name_get_pictures_of_different_names(folder, trained, run, refused, capsys):
    """An image that is explained again keeps its picture's name."""
    files = ("a/cat.png", "b/cat.png", "a/cat.jpg", "misclassified.png")
    for name, colour in zip(files, ("red", "blue", "green", "black"), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (70, 50), colour).save(folder / name)
    plots = trained / "plots"
    before = contents(plots)
    for _ in range(2):
        told = run("explain", *OF_WEIGHTS, *files)
        assert told.count("Plot in ") == 4
    assert "cat.png: 70x50 pixels, mode RGB; its central 50x50 pixels resized to 32" in told
    assert len(re.findall(r"\w+ \(\d+\.\d %\)", told)) == 3 * 4
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
    assert "Plot in" in printed.out
    assert "none.png" in printed.err


def test_new_pictures_are_classified(folder, trained, run, refused):
    paint(folder / "new" / "deep", {"red": 10, "blue": 10}, side=40)
    (folder / "new" / "notes.png").write_text("no picture")
    told = run("predict", "new", "mine/red/1.png", *OF_WEIGHTS, "--conv-padding", "standard")
    assert "conv_padding=standard is not used: the weights are of" in told
    assert f"Table in {OUTPUT}/predictions.csv\n" in told
    assert "21 pictures classified; 1 could" in told
    assert re.search(r"^  (red|green|blue): \d+$", told, re.MULTILINE)
    for _ in range(2):
        told = run("predict", "mine/red/1.png", *OF_WEIGHTS)
        assert f"1 picture classified. Table in {OUTPUT}/predictions-2.csv\n" in told
    run("predict", "mine/red/1.png", *OF_WEIGHTS, "--output", "other")
    assert os.listdir(folder / "other") == ["predictions.csv"]  # and no folder for pictures
    (folder / "sample.csv").write_text("id,red,blue,green\n1,0,0,0\n")
    told = run("predict", "mine/red", *OF_WEIGHTS, "--like", "sample.csv")
    assert f"20 pictures classified. Table in {OUTPUT}/submission.csv" in told
    run("predict", "mine/red", *OF_WEIGHTS, "--probabilities", "--ids", "--output", "ids")
    assert (folder / "ids/predictions.csv").read_text().startswith("id,class,probability,runner_up")
    told = refused("predict", "new/notes.png", *OF_WEIGHTS, "--output", "none")
    assert "none of 1 file could be read: " in told


def test_weights_are_exported(trained, run):
    pytest.importorskip("onnxscript")
    told = run("export", *OF_WEIGHTS)
    assert "to within 0.0001" in told
    assert f"written to {OUTPUT}/model.onnx" in told


def test_a_learning_rate_is_found(mine, run):
    job = ("--data", "mine", *SMALL, "--batch-size", "8")
    told = re.search(r"smallest at (--.*)", run("find-lr", *job))[1].split()
    assert 1e-2 < float(told[told.index("--learning-rate") + 1]) < 10
    parse(["train", *job, *told])
    assert Path(OUTPUT, "plots", "lr_finder_learning_rate.png").exists()


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
def test_a_mistake_in_a_custom_network_is_told_with_its_line(folder, refused, code, told):
    (folder / "mine.py").write_text(code)
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()
    error = refused("train", "--data", "sample", "--model", "mine:made")
    assert re.match(f"error: .*{told}$", error.strip())


def test_a_network_without_a_map_has_all_other_pictures(folder, mine, run):
    printed = run(*TRAIN, "--model", "networks:flat", "--output", "flat")
    assert "No Grad-CAM plots: no layer of this network gives a map" in printed
    others = [name for name in GALLERIES if "gradcam" not in name]
    assert {*os.listdir("flat/plots")} == {*others, "history.csv", "training_curves.png"}
    assert (folder / "flat" / "weights.safetensors").exists()


def test_the_committed_weights_are_evaluated_by_default(folder, run):
    """On 500 of the test images; of all 10,000, results.md has their hash and their accuracy."""
    history = Classifier.load("pretrained").history
    assert len(history.records) == 20
    right, total, accuracy = TEST_LINE.search(run("evaluate", "--data", "sample")).groups()
    assert (int(total), float(accuracy)) == (500, int(right) / 5)
    assert float(accuracy) == pytest.approx(history.records[-1].test_accuracy, abs=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --data everything", "data is 'everything', expected 'full'"),
        ("train --data sample --epochs -1", "epochs is '-1', expected 0 or more"),
        ("train --data sample --model mine:network", "model is mine:network, which cannot be"),
        ("train --data sample --weights none.st", "there are no weights at none.st"),
        ("train --data .", ". has no folders of pictures, expected one for each class"),
        ("train --data notes.txt --model torchvision:resnet19", "data is 'notes.txt'"),
        ("train --data . --model torchvision:resnet19", "torchvision has no network 'resnet19'"),
        ("evaluate --weights none.safetensors", "there are no weights at none"),
        ("explain --image notes.txt", "notes.txt is not an image"),
        ("explain --image none.png", "cannot open none.png: no such file"),
        ("train --data sample --output notes.txt/new", "cannot write to notes.txt/new: /"),
        ("evaluate --weights notes.txt", "notes.txt is not a whole safetensors"),
    ],
)
def test_an_error_is_one_message(tmp_path, monkeypatch, refused, words, message):
    (tmp_path / "notes.txt").write_text("not weights")
    monkeypatch.chdir(tmp_path)
    told = refused(*words.split())
    assert told.startswith(f"error: {message}")
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == ["notes.txt"]


# Signals and lost output; a process of its own is a fork where that is the same


def start(folder: Path, *arguments: str) -> int:
    """Call the command line in a fork, which writes what it prints and its status into files."""

    def work() -> str:
        with (
            open(folder / "out", "w") as out,
            open(folder / "errors", "w") as errors,
            redirect_stdout(out),
            redirect_stderr(errors),
        ):
            return str(main([*arguments]))

    return forks.start(work, folder / "status")


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, "130", "runs/sample-networks-small-2/unfinished\n"),
        (signal.SIGTERM, "SystemExit: 143", ""),
        (signal.SIGHUP, "SystemExit: 129", ""),
    ],
)
def test_a_signal_ends_training_with_a_checkpoint_and_a_status(folder, number, status, told):
    """A finished run is there already: nothing of it is replaced."""
    good = folder / "runs" / "sample-networks-small" / "weights.safetensors"
    good.parent.mkdir(parents=True)
    good.write_text("of a finished run")
    job = ("--model", "networks:small", "--batch-size", "4", "--checkpoints", "kept")
    process = start(folder, "train", "--data", "sample", *job)
    while not (folder / "kept" / ".lock").exists():  # made before the first step
        assert not (folder / "status").exists()
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(process, number)
    forks.wait(process)
    assert (folder / "status").read_text() == status
    errors = (folder / "errors").read_text()
    assert errors.endswith(told)
    assert bool(errors) == bool(told)
    assert "Interrupted in epoch" in (folder / "out").read_text()
    assert (folder / "kept" / "checkpoint.pt").exists()
    assert good.read_text() == "of a finished run"


def test_an_interrupted_download_leaves_nothing(folder, monkeypatch):
    """A mirror that is slow, but not too slow: there is time to end it."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n\r\n")
        while True:
            connection.sendall(bytes(100_000))
            time.sleep(0.1)

    monkeypatch.setattr(cifar10, "MIRRORS", (served(drip),))
    work = folder / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    process = start(folder, "evaluate", "--root", "data")
    while not any(path.stat().st_size > 100_000 for path in work.glob("tmp*/*")):
        assert not (folder / "status").exists()
        time.sleep(0.1)
    os.kill(process, signal.SIGTERM)
    forks.wait(process)
    assert (folder / "status").read_text() == "SystemExit: 143"
    assert os.listdir(work) == []


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (KeyboardInterrupt, 130, "Interrupted: no results were written.\n"),
        (MemoryError, 1, "error: there is no memory left\n"),
    ],
)
def test_an_error_without_a_message_is_one_line(monkeypatch, capsys, error, status, told):
    monkeypatch.setitem(commands.COMMANDS, "report", Mock(side_effect=error))
    assert main(["report", "--data", "sample"]) == status
    assert capsys.readouterr().err == told


def test_the_environments_matplotlib_backend_does_not_matter(monkeypatch, folder):
    """``import matplotlib`` fails if there is no backend of the name."""
    monkeypatch.setenv("MPLBACKEND", "none of these")
    monkeypatch.setattr(sys, "argv", ["pytorch_vision", "compare", "nowhere"])
    assert importlib.import_module("pytorch_vision.__main__").main() == 1
    assert "MPLBACKEND" not in os.environ


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "PyTorch_Vision"), "PYTHONUNBUFFERED": "1"}
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_an_interrupt_while_torch_is_loaded_is_one_line(tmp_path):
    command = [sys.executable, "-m", "pytorch_vision", "report", "--data", "sample"]
    process = subprocess.Popen(command, cwd=tmp_path, **PIPES)
    while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted.\n")


def test_a_closed_pipe_stops_no_work(folder, mine):
    command = f"{sys.executable} -m pytorch_vision {shlex.join(TRAIN)} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, **PIPES)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / OUTPUT / "plots" / "training_curves.png").exists()


def test_a_full_disk_for_what_is_printed_stops_no_work(folder, mine, undrawn, monkeypatch, capsys):
    """Nor do letters that its encoding lacks."""
    (mine / "red").rename(mine / "красный")
    with open("/dev/full", "w", encoding="ascii") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert main([*TRAIN]) == 1
    told = "error: some output could not be printed: [Errno 28] No space left on device\n"
    assert capsys.readouterr().err == told
    assert (folder / OUTPUT / "weights.safetensors").exists()
