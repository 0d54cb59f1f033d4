import gc
import importlib
import os
import re
import shutil
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import lightning_fabric
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hooks import at_step, batches_shown, recognized
from lightning_fabric.plugins import MixedPrecision
from networks import Full
from small import EXACT, UNVARIED, equal, state_of, tiny_classifier, tiny_network
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_vision.analysis import grad_cam, predict
from pytorch_vision.data import Augmentation, ImageData, Normalization, eval_batches
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime import CheckpointError, Machine, Processes
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.training import TrainConfig, evaluate, find_learning_rate, fit
from pytorch_vision.training.checkpoint import NAME, load
from pytorch_vision.training.trainer import Trainer

CONFIG = TrainConfig(epochs=3, batch_size=16, seed=1)
ON_CPU = Machine(accelerator="cpu")
BAR = re.compile(
    r"Epoch (\d)/3 Loss=\d+\.\d{4} Batch_id=6 Accuracy=\d+\.\d\d: "
    r"100%\|█{10}\| 7/7 \[\d\d:\d\d<00:00, .*(it/s|s/it)\]"
)
TEST = re.compile(r"Test set: Average loss: (\d+\.\d{4}), Accuracy: (\d+)/50 \((\d+\.\d\d)%\)")


def without_seconds(history: History) -> list[EpochRecord]:
    return [replace(r, train_seconds=0, test_seconds=0) for r in history.records]


def interrupt_at(classifier: Classifier, step: int) -> None:
    """Interrupt this process in the middle of a training step, counted from 1."""
    at_step(classifier.network, step, lambda _: os.kill(os.getpid(), signal.SIGINT))


def assert_goes_on_to(
    whole: Classifier, data: ImageData, config: TrainConfig, step: int, folder: Path
) -> None:
    """Check that a run stopped in a step and then resumed ends with the bits of a whole run."""
    stopped, resumed = tiny_classifier(data), tiny_classifier(data)
    interrupt_at(stopped, step)
    assert len(fit(stopped, data, config, ON_CPU, folder).records) == (step - 1) // 7
    torch.manual_seed(99)  # a new process's random state must not matter
    history = fit(resumed, data, config, ON_CPU, folder)
    assert without_seconds(history) == without_seconds(whole.history)
    assert equal(state_of(whole.network), state_of(resumed.network))


def test_a_classifier_of_a_reloaded_class_is_accepted(few):
    """%autoreload makes another class with the same name; a network is no classifier."""
    members = {k: v for k, v in vars(Classifier).items() if k not in ("__dict__", "__weakref__")}
    again: type = type("Classifier", (), members)
    assert fit(again(tiny_network(), few), few, replace(CONFIG, epochs=1), ON_CPU).records
    with pytest.raises(ValueError, match="classifier is Sequential, expected a Classifier"):
        fit(tiny_network(), few)


def test_it_learns(sample):
    """A network beats chance by far on images that it has not seen, after seconds of work."""
    history = fit(tiny_classifier(sample), sample, TrainConfig(epochs=2, batch_size=32))
    assert history.records[-1].train_loss < history.records[0].train_loss
    assert history.records[-1].test_accuracy > 20


def assert_lines_are_of(history: History, printed: str) -> None:
    """Check the bars and test lines of three epochs, as a terminal shows them."""
    # a line that became shorter, as from 100.00it/s to 99.99it/s, is filled up with spaces
    lines = [line.split("\r")[-1].rstrip() for line in printed.split("\n")]
    assert lines[0].startswith("Training on ")
    bars = [bar[1] for bar in map(BAR.fullmatch, lines) if bar]
    tests = [TEST.fullmatch(line) for line in lines if line.startswith("Test set")]
    assert bars == ["1", "2", "3"]
    losses, _, accuracies = zip(*(map(float, test.groups()) for test in tests), strict=True)
    assert losses == pytest.approx(history.column("test_loss"), abs=1e-4)
    assert accuracies == pytest.approx(history.column("test_accuracy"))


def test_the_printed_lines(few, tiny, capsys):
    history = fit(tiny, few, CONFIG)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert_lines_are_of(history, printed.out)


@pytest.mark.parametrize("when", ["before the network is made", "after it"])
def test_the_callers_default_dtype_and_device_change_nothing(few, when):
    expected = fit(tiny_classifier(few), few, CONFIG, EXACT)
    classifier = tiny_classifier(few)
    torch.set_default_dtype(torch.float64)
    if when == "after it":
        torch.set_default_device("meta")
    else:
        weights = classifier.network.state_dict()
        classifier = tiny_classifier(few)
        classifier.network.load_state_dict(weights)
    try:
        history = fit(classifier, few, CONFIG, EXACT)
        result = evaluate(classifier, few, EXACT)
        predictions = predict(classifier, few, EXACT)
        maps = grad_cam(classifier, few.test_images[:3], few.test_labels[:3])
        find_learning_rate(
            classifier, few, CONFIG, EXACT, np.float32(1e-4), np.float64(1), np.int8(20)
        )
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert without_seconds(history) == without_seconds(expected)
    assert result.loss == history.records[-1].test_loss
    assert predictions.probabilities.dtype == maps.dtype == np.float32
    assert classifier.network[0].weight.dtype is torch.float32


def test_progressive_resizing_shows_smaller_images_first(few, tiny, tmp_path, capsys):
    """They are tested at that size, too, even if the run is interrupted in between."""
    config = replace(CONFIG, progressive_resizing=0.75)
    shown = batches_shown(tiny.network)
    tested = batches_shown(tiny.network, training=False)
    fit(tiny, few, config, ON_CPU)
    assert [images.shape[2] for images in shown] == [24] * 14 + [32] * 7
    # the first calls check which sizes it takes, and look for hints
    assert [images.shape[2] for images in tested] == [32, 24, 32, 32, 24, 24, 32]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Test set")]
    ends = [*[" at 0.75 of their size"] * 2, ""]
    assert [line.partition("%)")[2] for line in lines] == ends
    assert_goes_on_to(tiny, few, config, 10, tmp_path)


def test_small_images_are_varied_less(few):
    """White images show it: padding, up to 2 of 3 pixels, and the hole are gray."""
    white = replace(few, train_images=np.full_like(few.train_images, 255))
    classifier = tiny_classifier(white, normalization=Normalization((0.5,) * 3, (0.2,) * 3))
    shown = batches_shown(classifier.network)
    augmentation = Augmentation(padding=3, cutout=8, cutout_probability=1.0)
    fit(classifier, white, replace(CONFIG, progressive_resizing=0.4, augmentation=augmentation))
    gray = [images[:, 0] < 2.4 for images in shown]
    seen = [[bool(one[:, i:-i, i:-i].any()) for i in (1, 2, 3)] for one in gray]
    assert seen == [[True, False, False]] * 7 + [[True, True, True]] * 14


def test_pruning_shows_fewer_images_in_later_epochs(few, tiny, tmp_path):
    """A resumed run chooses by the losses of the interrupted one."""
    config = replace(CONFIG, pruning=0.4)
    shown = batches_shown(tiny.network)
    fit(tiny, few, config, ON_CPU)
    assert [len(images) for images in shown] == [*[16] * 6, 4, *[16, 16, 16, 12] * 2]
    assert_goes_on_to(tiny, few, config, 9, tmp_path)


@pytest.mark.parametrize("average_weights", [True, False])
def test_after_epoch_gets_the_classifier_as_it_was_tested(few, tiny, tmp_path, average_weights):
    """It can be used and saved without changing the training."""
    config = replace(CONFIG, average_weights=average_weights)
    expected = fit(tiny_classifier(few), few, config, EXACT)
    alike, lengths = [], []

    def look(tested: Classifier) -> None:
        last, result = tested.history.records[-1], evaluate(tested, few, EXACT)
        assert (last.test_loss, last.test_accuracy) == (result.loss, result.accuracy)
        alike.append(equal(state_of(tested.network), state_of(tiny.network)))
        tested.save(tmp_path / "best.safetensors")
        tested.predict(few.test_images)
        lengths.append(len(tested.history.records))

    history = fit(tiny, few, config, EXACT, after_epoch=look)
    assert lengths == [1, 2, 3]
    assert alike == [not average_weights] * 3
    assert without_seconds(history) == without_seconds(expected)
    kept = Classifier.load(tmp_path / "best.safetensors", tiny_network())
    assert kept.history == history
    assert equal(state_of(kept.network), state_of(tiny.network))


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_frozen_parameters_do_not_change(few, tiny, optimizer):
    """Also if all filters are frozen; the other parameters are trained."""
    network = tiny.network
    config = replace(CONFIG, epochs=1, optimizer=optimizer, average_weights=False)
    for count in (1, 4):
        network[:count].requires_grad_(False)
        frozen = [parameter.clone() for parameter in network[:count].parameters()]
        rest = network[7].weight.clone()
        fit(tiny, few, config, ON_CPU)
        assert all(map(torch.equal, frozen, network[:count].parameters()))
        assert not torch.equal(rest, network[7].weight)


def test_the_training_loss_is_a_mean_over_images(few):
    """The original notebook plotted the loss of each epoch's last batch."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    classifier = Classifier(network, few)
    config = TrainConfig(
        epochs=1,
        batch_size=16,
        optimizer="sgd",
        learning_rate=1e-12,
        label_smoothing=0,
        augmentation=UNVARIED,
    )
    (images,) = eval_batches(few.train_images, classifier.normalization, torch.device("cpu"))
    with torch.no_grad():
        expected = F.cross_entropy(network(images), torch.from_numpy(few.train_labels)).item()
    history = fit(classifier, few, config, Machine(precision="32-true"))
    assert history.records[0].train_loss == pytest.approx(expected, rel=1e-4)


def test_zero_epochs_only_test_and_keep_the_history(few, tiny, capsys):
    fit(tiny, few, replace(CONFIG, epochs=1))
    before, history = state_of(tiny.network), tiny.history
    capsys.readouterr()
    assert fit(tiny, few, TrainConfig(epochs=0)) == tiny.history == history
    assert equal(before, state_of(tiny.network))
    assert len(TEST.findall(capsys.readouterr().out)) == 1


def test_the_history_has_both_rates(few, tiny):
    (record,) = fit(tiny, few, replace(CONFIG, optimizer="muon", epochs=1)).records
    assert record.muon_learning_rate == pytest.approx(2 * record.learning_rate)


def test_the_rate_moves_once_a_batch(few, tiny):
    """The original notebook stepped OneCycleLR once an epoch, and its rate never left the floor."""
    history = fit(tiny, few, replace(CONFIG, optimizer="sgd", epochs=4))
    rates = history.column("learning_rate")
    assert max(rates) > 0.15  # of 0.2, its peak
    assert rates[-1] < 1e-3


def test_a_nan_loss_stops_the_run(few, tiny, tmp_path):
    """The epochs before it are in the history and in the checkpoint, the broken one is not."""
    at_step(tiny.network, 10, lambda images: images.fill_(float("nan")))
    with pytest.raises(FloatingPointError, match="not finite at epoch 2, batch 2") as caught:
        fit(tiny, few, CONFIG, None, tmp_path)
    assert caught.value.__traceback__ is not None  # which a notebook keeps
    assert alive(Trainer) == 0
    assert len(tiny.history.records) == 1
    progress = load(tmp_path)["run"]["progress"]
    assert (progress["epoch"], progress["batch"]) == (1, 0)


def test_weights_that_diverge_in_the_last_step_are_not_taken_for_trained(few, tiny):
    """Every class of a NaN is the first one, which some of the images have."""
    config = replace(CONFIG, optimizer="sgd", average_weights=False, epochs=1)
    last = lambda parameters: torch.optim.SGD(parameters, lr=1e30)  # noqa: E731
    config = replace(config, batch_size=len(few.train_labels))
    with pytest.raises(FloatingPointError, match=r"outputs of .* are not finite"):
        fit(tiny, few, config, EXACT, optimizer=last)
    with pytest.raises(FloatingPointError, match=r"outputs of .* are not finite"):
        tiny.predict(few.test_images, EXACT)


def use_float16(monkeypatch: pytest.MonkeyPatch, scale: float = 65536.0) -> torch.amp.GradScaler:
    """Make ``fit`` train in float16 with a gradient scaler on the CPU, as on an older GPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, plugins=[precision])
    fit_module = importlib.import_module("pytorch_vision.training.fit")  # not the function
    monkeypatch.setattr(fit_module, "start_processes", lambda _machine: fabric)
    return scaler


def test_a_gradient_scaler_that_skips_steps_trains_without_a_warning(few, tiny, monkeypatch):
    scaler = use_float16(monkeypatch, 2.0**40)
    before = state_of(tiny.network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(tiny, few, replace(CONFIG, epochs=10))
    assert scaler.get_scale() < 2.0**40  # it did skip
    assert not equal(before, state_of(tiny.network))
    assert history.records[-1].train_loss < history.records[0].train_loss


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("to_float16", [True, False])
def test_a_run_goes_on_in_another_precision(
    few, tmp_path, monkeypatch, to_float16, finished, capsys
):
    """After a disconnect, Colab may hand out an older or a newer GPU."""
    for second in (False, True):
        classifier = tiny_classifier(few)
        with monkeypatch.context() as patch:
            if second is to_float16:
                use_float16(patch)
            if not second and not finished:
                interrupt_at(classifier, 10)
            history = fit(classifier, few, CONFIG, EXACT, tmp_path)
    assert len(history.records) == 3
    assert "From the checkpoint, run on" in capsys.readouterr().out


def test_a_step_does_not_wait_for_the_device(few, tiny):
    """Reading a number does wait; the bar does so twice a second, a step never."""

    class CountsReadings(TorchDispatchMode):
        readings = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.readings += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    run = Trainer(Processes(make_fabric()), tiny, few, CONFIG)
    batches = list(run.loader.epoch(0))
    with CountsReadings() as counter:
        assert torch.ones(()).item() == 1
        assert counter.readings == 1
        for images, labels in batches:
            run.step(images, labels)
    assert counter.readings == 1


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_an_interrupt_ends_the_training_after_the_batch(few, tiny, capsys):
    handler = signal.getsignal(signal.SIGINT)
    interrupt_at(tiny, 12)
    history = fit(tiny, few, CONFIG)
    assert len(history.records) == 1
    assert tiny.history == history
    assert "Interrupted in epoch 2; the history holds 1 whole epoch" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory) -> dict[str, tuple[Path, Classifier]]:
    """With each optimizer, the folder of a finished run and what it has trained."""
    runs = {}
    for optimizer in ("muon", "sgd"):
        folder, classifier = tmp_path_factory.mktemp(optimizer), tiny_classifier(few)
        fit(classifier, few, replace(CONFIG, optimizer=optimizer), ON_CPU, folder)
        runs[optimizer] = folder, classifier
    return runs


def test_a_finished_run_is_not_trained_again(few, tiny, finished, capsys):
    folder, classifier = finished["muon"]
    assert fit(tiny, few, CONFIG, ON_CPU, folder) == classifier.history
    assert equal(classifier.network, tiny.network)
    printed = capsys.readouterr().out
    assert "From the checkpoint, run on " in printed
    assert_lines_are_of(tiny.history, printed)


def test_a_network_that_fails_in_its_first_step_is_named_and_has_learned_nothing(few):
    class Fails(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise RuntimeError("Kernel size can't be greater than input size\nmore")
            return super().forward(x)

    data = replace(few, train_digests=("a", "b"))
    classifier = Classifier(Fails(tiny_network()), data, train_digests=["c"])
    told = r"^Fails cannot be trained on images of 32x32 pixels \(RuntimeError: Kernel size .*\)$"
    with pytest.raises(ValueError, match=told):
        fit(classifier, data, CONFIG, EXACT)
    assert classifier.train_digests == ("c",)
    assert classifier.history == History()


@pytest.mark.parametrize(
    "network", [tiny_network(), nn.Sequential(nn.Dropout(0.5), tiny_network())]
)
def test_one_seed_gives_the_same_losses_and_leaves_the_random_state(few, network):
    """Dropout draws from the seed of the recipe, too."""
    losses = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        history = fit(Classifier(copied(network), few), few, CONFIG, EXACT)
        losses.append(history.column("train_loss"))
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]
    other = fit(Classifier(copied(network), few), few, replace(CONFIG, seed=2), EXACT)
    assert other.column("train_loss") != losses[0]


def test_two_trainings_have_one_history_also_with_checkpoints(few, tiny, tmp_path):
    first = fit(tiny, few, CONFIG, EXACT)
    second = replace(CONFIG, epochs=2, train="head")
    history = fit(tiny, few, second, EXACT, tmp_path)
    assert tiny.history == history
    assert history.records[:3] == first.records
    assert history.column("epoch") == [1, 2, 3, 4, 5]
    again = fit(tiny_classifier(few), few, second, EXACT, tmp_path)  # all of it from the checkpoint
    assert again == history
    result = evaluate(tiny, few, EXACT)
    last = history.records[-1]
    assert (last.test_loss, last.test_accuracy) == (result.loss, result.accuracy)


def test_pruning_leaves_out_images_of_small_loss(few):
    """Later epochs show 60 of 100 images, chosen anew; a network at rest has known losses."""
    classifier = Classifier(tiny_network(normalization=False), few)
    shown = batches_shown(classifier.network)
    still = replace(CONFIG, optimizer="sgd", learning_rate=1e-12, augmentation=UNVARIED)
    fit(classifier, few, replace(still, pruning=0.4), EXACT)
    found = [recognized(images, few, classifier.normalization) for images in shown]
    epochs = [list(chain(*part)) for part in (found[:7], found[7:11], found[11:])]
    for counted in (list, set):
        assert [len(counted(epoch)) for epoch in epochs] == [100, 60, 60]
    (images,) = eval_batches(few.train_images, classifier.normalization, torch.device("cpu"))
    with torch.no_grad():
        logits = classifier.network(images)
    losses = F.cross_entropy(logits, torch.from_numpy(few.train_labels), reduction="none")
    easier = losses.argsort()[:60].numpy()
    for epoch in epochs[1:]:
        assert np.isin(np.setdiff1d(np.arange(100), epoch), easier).all()
    assert set(epochs[1]) != set(epochs[2])


@pytest.mark.parametrize(
    ("work", "call", "message"),
    [
        (fit, 5, "batches of 16 images; try batch_size=8"),
        (find_learning_rate, 5, "batches of 16 images; free some of it, or set accelerator='cpu'"),
        (evaluate, 2, "this test; free some of it, or set accelerator='cpu'"),
        (predict, 2, "this test; free some of it, or set accelerator='cpu'"),
    ],
)
def test_too_little_memory_is_one_sentence_that_holds_no_tensors(few, work, call, message):
    """A notebook keeps the error, its traceback, and all that the traceback's frames hold."""
    classifier = Classifier(Full(call), few)
    arguments = () if work in (evaluate, predict) else (CONFIG,)
    with pytest.raises(MemoryError, match=f"^the GPU has no memory for {message}$") as caught:
        work(classifier, few, *arguments)
    assert alive(Full) == 1  # the caller's
    assert caught.value.__suppress_context__


def test_a_warning_is_shown_once_and_an_error_of_after_epoch_is_raised(few, tiny):
    """In another thread than the main one, too."""

    def warn(*_: object) -> None:
        warnings.warn("look here", stacklevel=1)

    def fails(_: Classifier) -> None:
        raise KeyError("mine")

    tiny.network.register_forward_pre_hook(warn)
    with warnings.catch_warnings(record=True) as shown, ThreadPoolExecutor(1) as threads:
        warnings.simplefilter("default")
        training = threads.submit(fit, tiny, few, CONFIG, after_epoch=fails)
        with pytest.raises(KeyError, match="mine"):
            training.result()
    assert len([one for one in shown if "look here" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("optimizer", "step"),
    [("muon", 1), ("muon", 6), ("muon", 7), ("muon", 8), ("sgd", 3), ("sgd", 14), ("sgd", 20)],
)
def test_a_stopped_run_ends_with_the_same_bits_on_a_cpu(few, finished, tmp_path, optimizer, step):
    config = replace(CONFIG, optimizer=optimizer)
    assert_goes_on_to(finished[optimizer][1], few, config, step, tmp_path)


def test_a_run_ended_by_after_epoch_can_be_continued(few, tiny, tmp_path, capsys):
    """Also with NumPy's numbers in its recipe, as from a loop over np.logspace."""
    rate = np.logspace(-2, -1, 3)[1]
    config = replace(CONFIG, seed=np.uint8(3), learning_rate=rate, label_smoothing=np.float32(0.25))
    plain = replace(CONFIG, seed=3, learning_rate=float(rate), label_smoothing=0.25)

    def second(tested: Classifier) -> bool:
        return len(tested.history.records) == 2

    for classifier in (tiny, tiny_classifier(few)):  # the second goes on from the checkpoint
        assert len(fit(classifier, few, config, None, tmp_path, second).records) == 2
        assert "Stopped after epoch 2: after_epoch returned True" in capsys.readouterr().out
    assert equal(tiny.network, classifier.network)
    assert len(fit(tiny_classifier(few), few, plain, None, tmp_path).records) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochs": 4}, "epochs was 3 and is 4"),
        ({"augmentation": Augmentation(padding=2)}, "augmentation was "),
        ({}, "data was "),
        ({}, "network was "),
        ({}, "normalization was "),
        ({}, "begins_with was 'missing' and is 'other weights'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(few, tiny, finished, change, named):
    folder, _ = finished["muon"]
    before = (folder / NAME).read_bytes()
    if named == "data was ":
        few = replace(few, test_labels=np.roll(few.test_labels, 1))
    elif named == "network was ":
        tiny = tiny.with_network(tiny_network(normalization=False))
    elif named == "normalization was ":
        tiny = tiny_classifier(few, normalization=Normalization((0.5,) * 3, (0.2,) * 3))
    elif named.startswith("begins_with"):
        tiny.begins_with = "other weights"
    with pytest.raises(CheckpointError, match=f"another run: {named}") as caught:
        fit(tiny, few, replace(CONFIG, **change), ON_CPU, folder)
    assert ("start a new run from its weights" in str(caught.value)) == ("epochs" in change)
    assert (folder / NAME).read_bytes() == before
    assert tiny.history == History()


def test_a_checkpoint_folder_that_cannot_be_written(few, tiny, tmp_path, capsys):
    """It is named before training; if it is lost later, training goes on."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file/folder"):
        fit(tiny, few, CONFIG, None, tmp_path / "file" / "folder")
    assert "Epoch" not in capsys.readouterr().out
    folder = tmp_path / "kept"

    def lose(_: torch.Tensor) -> None:
        shutil.rmtree(folder)
        folder.write_text("in the way")

    at_step(tiny.network, 1, lose)
    assert len(fit(tiny, few, CONFIG, None, folder).records) == 3
    assert "No checkpoint saved" in capsys.readouterr().out
