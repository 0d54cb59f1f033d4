"""Several processes on one CPU, which communicate by gloo; all else is the same as on GPUs."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import several_processes as job
import torch
import torch.nn.functional as F
from hooks import at_step
from small import EXACT, few_images, tiny_classifier, tiny_network

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier, EpochRecord
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.runtime.processes import is_main_process
from pytorch_vision.training import fit
from pytorch_vision.training.checkpoint import load

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), str(TESTS.parent / "PyTorch_Vision")])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def start(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("variables", "is_main"),
    [
        ({"SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NTASKS": "4"}, True),
        ({"RANK": "1"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, False),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, True),
    ],
)
def test_a_rank_counts_only_if_processes_work_together(monkeypatch, variables, is_main):
    """A cluster's scheduler gives ranks to independent runs, too."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is is_main


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def done(out) -> subprocess.CompletedProcess:
    """Two processes, which Fabric starts by running the script again, until one is killed."""
    done = start(sys.executable, job.__file__, "main", out, "2")
    assert (out / "main0.json").exists(), done.stderr
    return done


@pytest.fixture(scope="module")
def both(out, done) -> list[dict]:
    """The results of both processes."""
    return [json.loads((out / f"main{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> tuple[EpochRecord, ...]:
    """The records of the same run in one process."""
    data = few_images()
    return fit(tiny_classifier(data), data, job.CONFIG, EXACT).records


def test_all_processes_have_the_same_weights_after_every_epoch(both):
    assert both[0]["world_size"] == 2
    assert both[0]["digests"] == both[1]["digests"]
    assert len({tuple(pair) for pair in both[0]["digests"]}) == 3
    assert len(both[0]["history"]) == 3


def test_pruning_uses_the_losses_of_all_processes(few, both):
    """Later epochs leave out the same images in both: some with a small loss in either."""
    classifier = Classifier(tiny_network(normalization=False), few)
    (images,) = eval_batches(few.train_images, classifier.normalization, torch.device("cpu"))
    with torch.no_grad():
        logits = classifier.network(images)
    losses = F.cross_entropy(logits, torch.from_numpy(few.train_labels), reduction="none")
    for epoch, (first, second) in enumerate(zip(both[0]["shown"], both[1]["shown"], strict=True)):
        assert abs(len(first) - len(second)) <= 4  # a batch is shared nearly equally
        left_out = np.setdiff1d(np.arange(100), first + second)
        assert len(first + second) == 100 - len(left_out) == (60 if epoch else 100)
        assert np.isin(left_out, losses.argsort()[:60].numpy()).all()


def test_the_gradient_is_that_of_one_process_for_any_shares(both):
    expected = torch.tensor(job.gradients(Processes(make_fabric(EXACT))))
    for seen in both:
        off = (torch.tensor(seen["gradients"]) - expected).norm(dim=1)
        assert (off < 1e-4 * expected.norm(dim=1)).all()


def test_the_loss_of_an_epoch_is_that_of_one_process(both, alone):
    """Except for BatchNorm, which takes its statistics from a process's part of the batch."""
    first = both[0]["history"][0]
    assert first["train_loss"] == pytest.approx(alone[0].train_loss, rel=0.02)
    assert both[0]["history"] == both[1]["history"]


def test_a_nan_loss_in_one_process_stops_both(both):
    for seen in both:
        assert "not finite at epoch 2, batch 2" in seen["not finite"]


def test_an_interrupt_of_one_stops_both_at_the_same_batch_and_one_process_resumes(
    few, out, both, alone, capsys
):
    assert [seen["stopped after"] for seen in both] == [1, 1]
    progress = load(out / "stopped")["run"]["progress"]
    assert (progress["epoch"], progress["batch"]) == (1, job.STOPPED_AT - 7)
    history = fit(tiny_classifier(few), few, job.CONFIG, EXACT, out / "stopped")
    shown = capsys.readouterr().out
    assert "Continuing from the checkpoint at epoch 2, batch 3" in shown
    assert "2 processes: the images will be the same, but the weights will differ" in shown
    assert history.records[-1].train_loss == pytest.approx(alone[-1].train_loss, rel=0.05)


def test_one_process_goes_first_and_its_error_is_raised_in_all(both):
    assert [seen["order"] for seen in both] == ["0", "01"]
    assert [seen["of the main"] for seen in both] == [0, 0]
    for seen in both:
        assert seen["local_main_first"] == seen["on_main"] == "there is no data"


def test_only_the_main_process_prints(done):
    assert done.stdout.count("Training on") == 5
    assert len(re.findall(r"^Test set", done.stdout, re.MULTILINE)) == 3 + 3 + 1 + 1 + 1


def test_a_killed_process_is_named_and_the_run_can_be_resumed(few, out, done, capsys):
    assert done.returncode != 0
    assert re.search(r"rank 1 of 2|\[rank: 1\] Child process .* terminated", done.stderr)
    assert f"it goes on from the checkpoint in {out / 'killed'}" in done.stderr
    history = fit(tiny_classifier(few), few, job.CONFIG, EXACT, out / "killed")
    assert len(history.records) == 3
    assert "Continuing from the checkpoint at epoch 2, batch 2" in capsys.readouterr().out


def test_two_processes_of_torchrun_resume_the_run_of_one(few, tiny, out, alone):
    at_step(tiny.network, job.STOPPED_AT, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    terminated = []
    before = signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
    try:
        stopped = fit(tiny, few, job.CONFIG, EXACT, out / "alone")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert terminated  # the signal takes effect once the checkpoint is written
    assert len(stopped.records) == 1
    done = start(*TORCHRUN, "2", job.__file__, "resumed", out, "1")
    assert done.returncode == 0, done.stderr
    assert "Continuing from the checkpoint at epoch 2, batch 3" in done.stdout
    seen = [json.loads((out / f"resumed{rank}.json").read_text()) for rank in range(2)]
    assert all(one["history"] == seen[0]["history"] and one["world_size"] == 2 for one in seen)
    last = seen[0]["history"][-1]
    assert last["train_loss"] == pytest.approx(alone[-1].train_loss, rel=0.05)
