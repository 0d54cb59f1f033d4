"""What only a CUDA GPU can show. Skipped where there is none; ``make gpu`` wants them all."""

import copy
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from small import few_images, tiny_classifier, tiny_network

from pytorch_vision.analysis import grad_cam, predict
from pytorch_vision.data import Augmentation, Normalization, TrainLoader, load_data, train_loader
from pytorch_vision.models import Classifier, EpochRecord, ResNet18, create
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.cuda_graphs import CudaGraphs
from pytorch_vision.runtime.devices import device_settings, make_fabric
from pytorch_vision.training import TrainConfig, evaluate, fit
from pytorch_vision.training.state import restore_training, state_of_training
from pytorch_vision.training.trainer import Trainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
CONFIG = TrainConfig(epochs=2, batch_size=16)
ON_GPU, ON_CPU = Machine(accelerator="cuda"), Machine(accelerator="cpu")
EXACT = replace(ON_GPU, precision="32-true")


def test_a_gpu_is_what_a_run_takes():
    assert make_fabric().device.type == "cuda"


def test_the_inner_loop_does_not_wait_for_the_device():
    """But in float16, whose scaler must know whether a gradient was infinite."""
    data = few_images()
    run = Trainer(Processes(make_fabric(EXACT)), tiny_classifier(data), data, CONFIG)
    run.network.train()
    with device_settings(run.fabric.device):
        batches = run.loader.epoch(0)
        for _ in range(2):  # the first makes momentum and chooses kernels, the second captures them
            run.step(*next(batches))
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(4):
                run.step(*next(batches))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert run.progress.batch == 6


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("network", [tiny_network, ResNet18, partial(create, "CustomResNet")])
def test_captured_steps_are_those_of_the_host(precision, network):
    """On images of two sizes, and on short last batches; each step from the same state."""
    data, config = few_images(), replace(CONFIG, epochs=4, progressive_resizing=0.5)
    machine = replace(ON_GPU, precision=precision)
    captured, launched = (  # each with a gradient scaler of its own
        Trainer(Processes(make_fabric(machine)), Classifier(network(), data), data, config)
        for _ in range(2)
    )
    with device_settings(captured.fabric.device):
        for epoch in range(config.epochs):
            captured.begin_epoch()
            for batch in captured.loader.epoch(epoch):
                restore_training(launched, copy.deepcopy(state_of_training(captured)))
                launched.begin_epoch()
                before = weights(captured)
                captured.step(*batch)
                with mock.patch.object(CudaGraphs, "__call__", lambda _own, work, *on: work(*on)):
                    launched.step(*batch)
                assert captured.means() == pytest.approx(launched.means(), rel=0.01, abs=0.1)
                move = weights(captured) - before
                off = weights(launched) - before - move
                assert off.norm() <= 0.2 * move.norm()  # Muon enlarges what is rounded differently
            captured.end_epoch(EpochRecord(epoch + 1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), "")


def weights(own: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in own.network.parameters()])


def test_its_batches_are_those_of_the_cpu():
    data = load_data("sample")
    settings = (data, Normalization.of(data.train_images), Augmentation(), 200, 3)
    theirs = train_loader(*settings, device=torch.device("cuda")).epoch(1)
    for (images, labels), (expected, same) in zip(
        theirs, TrainLoader(*settings).epoch(1), strict=True
    ):
        assert images.is_cuda
        assert torch.equal(labels, same)
        assert torch.allclose(images.cpu(), expected, atol=1e-5)


@pytest.mark.parametrize(("first", "then"), [(ON_GPU, ON_CPU), (ON_CPU, ON_GPU)])
def test_a_run_goes_on_on_the_other_device(tmp_path, capsys, first, then):
    data = few_images()
    fit(tiny_classifier(data), data, CONFIG, first, tmp_path, lambda tested: True)
    history = fit(tiny_classifier(data), data, CONFIG, then, tmp_path)
    assert len(history.records) == 2
    assert "From the checkpoint, run on " in capsys.readouterr().out


def test_it_learns_as_on_the_cpu():
    data, config = few_images(), replace(CONFIG, epochs=3)
    histories = [
        fit(tiny_classifier(data), data, config, replace(machine, precision="32-true"))
        for machine in (ON_GPU, ON_CPU)
    ]
    losses = [history.column("train_loss") for history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_committed_weights_answer_as_on_the_cpu():
    classifier, data = Classifier.load("pretrained"), load_data("sample")
    here, there = (evaluate(classifier, data, machine) for machine in (ON_GPU, ON_CPU))
    assert abs(here.correct - there.correct) <= 2
    predictions = predict(classifier, data, ON_GPU)
    assert int((predictions.predicted == predictions.labels).sum()) == here.correct


def test_maps_are_those_of_the_cpu():
    classifier, data = Classifier.load("pretrained"), load_data("sample")
    images, classes = data.test_images[:20], data.test_labels[:20]
    maps = []
    for device in ("cuda", "cpu"):
        classifier.network.to(device)
        maps.append(grad_cam(classifier, images, classes))
    assert np.abs(maps[0] - maps[1]).max() < 0.01


def test_too_little_memory_is_told_and_given_back():
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5e9 / total))
    before = torch.cuda.memory_allocated()
    data = load_data("sample")
    classifier = Classifier(ResNet18(), data)
    try:
        with pytest.raises(MemoryError, match="batches of 1000 images; try batch_size=500"):
            fit(classifier, data, replace(CONFIG, batch_size=1000), EXACT)
        classifier.network.cpu()
        assert torch.cuda.memory_allocated() - before < 200e6
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
