import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from pytorch_vision.commands import main
from pytorch_vision.options import COMMANDS

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


GALLERIES = [
    "class_accuracy.png",
    "confusion_matrix.png",
    "misclassified.png",
    "misclassified_gradcam.png",
    "reliability.png",
    "right_gradcam.png",
]


def test_the_whole_job(tmp_path):
    """Train, evaluate, explain the errors and one image, and write the page of all errors."""
    trained = run(tmp_path, "train", "--data", "sample", "--epochs", "1", "--model", "CustomResNet")
    assert trained.returncode == 0, trained.stderr
    assert "bundled sample, 1,000 images" in trained.stdout
    pictures = tmp_path / "runs" / "sample-CustomResNet" / "plots"
    curves = ["history.csv", "loss_accuracy.png"]
    assert sorted(path.name for path in pictures.iterdir()) == sorted(curves + GALLERIES)
    for name in GALLERIES:
        assert Image.open(pictures / name).width > 600

    weights = ("--weights", "runs/sample-CustomResNet/weights.safetensors")
    line = re.compile(r"Test set: Average loss: \S+, Accuracy: (\d+)/500 \(.*%\)")
    evaluated = run(tmp_path, "evaluate", "--data", "sample", *weights)
    assert evaluated.returncode == 0, evaluated.stderr
    assert line.search(evaluated.stdout)[0] == line.search(trained.stdout)[0]

    order = ("--output", "other", "--order", "spread")
    explained = run(tmp_path, "explain", "--data", "sample", *weights, *order)
    assert explained.returncode == 0, explained.stderr
    assert sorted(path.name for path in (tmp_path / "other" / "plots").iterdir()) == GALLERIES

    Image.new("LA", (70, 50), 128).save(tmp_path / "cat.png")
    one = run(tmp_path, "explain", "--image", "cat.png", *weights)
    assert one.returncode == 0, one.stderr
    assert "cat.png: 70x50 pixels, mode LA; its central 50x50 pixels resized to 32" in one.stdout
    assert len(re.findall(r"\w+ \(\d+\.\d%\)", one.stdout)) == 3
    assert Image.open(pictures / "cat_gradcam.png").width > 600

    reported = run(tmp_path, "report", "--data", "sample", *weights, "--output", "new")
    assert reported.returncode == 0, reported.stderr
    errors = 500 - int(line.search(evaluated.stdout)[1])
    assert f"{errors} errors in new/errors.html" in reported.stdout
    page = (tmp_path / "new" / "errors.html").read_text()
    assert page.count('data-answers="wrong"') == errors
    assert page.count('data-answers="right"') == min(500 - errors, 100)
    assert re.search(r"When the 30% of the pixels [^<]* random pixels are, to \d+%\.", page)


OWN_NETWORK = """
from torch import nn

def small(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )
"""


def test_pictures_and_a_network_of_ones_own(tmp_path):
    """A folder of photographs, a network from a file beside it, and all that follows."""
    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (9, 250, 9)}.items():
        for number in range(20):
            path = tmp_path / "mine" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60 + number, 50), colour).save(path)
    (tmp_path / "networks.py").write_text(OWN_NETWORK)
    network = ("--model", "networks:small")
    images = ("--data", "mine", "--size", "48", "--fit", "pad")
    settings = ("--optimizer", "sgd", "--learning-rate", "0.1", "--epochs", "4", "--cutout", "0")
    trained = run(tmp_path, "train", *images, *network, *settings)
    assert trained.returncode == 0, trained.stderr
    assert "48 training and 12 test images of 48x48 pixels in 3 classes" in trained.stdout
    output = tmp_path / "runs" / "mine-networks-small"
    assert sorted(path.name for path in (output / "plots").glob("*.png")) == sorted(
        [*GALLERIES, "loss_accuracy.png"]
    )
    weights = ("--weights", str(output / "weights.safetensors"))
    line = trained.stdout.rindex("Test set")
    evaluated = run(tmp_path, "evaluate", "--data", "mine", *network, *weights)
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.stdout.splitlines()[-1] == trained.stdout[line:].splitlines()[0]
    one = run(tmp_path, "explain", "--image", "mine/red/1.png", *network, *weights)
    assert one.returncode == 0, one.stderr
    assert "1.png: 61x50 pixels, mode RGB; resized and padded with grey to 48x48" in one.stdout
    unnamed = run(tmp_path, "evaluate", "--data", "mine", *weights)
    assert unnamed.returncode == 1
    assert "networks:small, which only you can make" in unnamed.stderr
    further = run(tmp_path, "train", *images, *network, *weights, "--epochs", "1", "--output", "on")
    assert further.returncode == 0, further.stderr
    assert "Beginning with the weights of networks:small on mine" in further.stdout
    assert (tmp_path / "on" / "weights.safetensors").exists()


def test_a_learning_rate_is_found(tmp_path):
    (tmp_path / "networks.py").write_text(OWN_NETWORK)
    network = ("--model", "networks:small", "--optimizer", "sgd")
    found = run(tmp_path, "find-lr", "--data", "sample", *network)
    assert found.returncode == 0, found.stderr
    rate = re.search(r"smallest at --learning-rate ([^\s;]+)", found.stdout)[1]
    assert 1e-2 < float(rate) < 10
    pictures = tmp_path / "runs" / "sample-networks-small" / "plots"
    assert (pictures / "lr_finder_learning_rate.png").exists()


def test_both_rates_are_found_for_muon(tmp_path):
    rates = ("--muon-rate", "0.1", "--learning-rate", "0.05")
    (tmp_path / "networks.py").write_text(OWN_NETWORK)
    found = run(tmp_path, "find-lr", "--data", "sample", "--model", "networks:small", *rates)
    assert found.returncode == 0, found.stderr
    told = re.search(r"smallest at --muon-rate (\S+) --learning-rate ([^\s;]+)", found.stdout)
    assert float(told[2]) == pytest.approx(float(told[1]) / 2, rel=0.1)


def test_a_network_without_a_map_has_all_other_pictures(tmp_path):
    (tmp_path / "networks.py").write_text(
        "from torch import nn\n"
        "def flat(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))\n"
    )
    job = ("train", "--data", "sample", "--epochs", "1", "--model", "networks:flat")
    trained = run(tmp_path, *job)
    assert trained.returncode == 1
    assert "no layer of this network gives a map" in trained.stderr
    pictures = tmp_path / "runs" / "sample-networks-flat" / "plots"
    others = [name for name in GALLERIES if "gradcam" not in name]
    assert {path.name for path in pictures.iterdir()} >= {"loss_accuracy.png", *others}
    assert (pictures.parent / "weights.safetensors").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "everything"), "error: data is 'everything', expected 'full'"),
        (
            ("train", "--data", "sample", "--epochs", "-1"),
            "error: epochs is -1, expected 0 or more",
        ),
        (
            ("train", "--data", "sample", "--model", "mine:network"),
            "error: model is mine:network, which cannot be",
        ),
        (("train", "--data", "sample", "--weights", "none.st"), "error: there are no weights at n"),
        (("train", "--data", "."), "error: . has no folders, expected one for each class"),
        (("evaluate", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("report", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("explain", "--weights", "none.safetensors"), "error: there are no weights at none"),
        (("explain", "--image", "notes.txt"), "error: notes.txt is not an image"),
        (("explain", "--image", "none.png"), "error: [Errno 2] No such file"),
        (("train", "--data", "sample", "--batch-size", "0"), "error: batch_size is 0, expected 1"),
        (("train", "--data", "sample", "--output", "notes.txt/new"), "error: [Errno 20]"),
        (("evaluate", "--weights", "notes.txt"), "error: notes.txt is not a whole safetensors"),
    ],
)
def test_an_error_is_one_message(tmp_path, monkeypatch, capsys, arguments, message):
    """In this process: importing torch anew for each would be most of the time."""
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
        (signal.SIGINT, 130, "Interrupted: what there is of it is in runs/sample/unfinished"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_ends_it_with_a_checkpoint_and_a_status(tmp_path, number, status, told):
    """A good run is there already: nothing of it is replaced."""
    good = tmp_path / "runs" / "sample" / "weights.safetensors"
    good.parent.mkdir(parents=True)
    good.write_text("of a finished run")
    arguments = ["--data", "sample", "--geometry", "standard", "--checkpoints", "kept"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytorch_vision", "train", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    shown = b""
    while b"Batch_id=0" not in shown:
        shown += process.stdout.read(50)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert errors.decode().strip() == told
    assert "Interrupted in epoch 1" in (shown + out).decode()
    assert (tmp_path / "kept" / "checkpoint.pt").exists()
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
        "import sys; from pytorch_vision.data import sources; sources.MIRRORS = (sys.argv[1],);"
        "from pytorch_vision.commands import main; sys.exit(main(['evaluate', '--root', 'data']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, f"http://127.0.0.1:{server.getsockname()[1]}/"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not list(tmp_path.glob("data/.download-*/archive.tar.gz")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 143, process.stderr.read()
    assert os.listdir(tmp_path / "data") == []
