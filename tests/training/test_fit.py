import gc
import re
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hooks import at_step, batches_shown, interrupt_at
from networks import Full
from small import EXACT, equal, state_of, tiny_classifier, tiny_network, without_seconds
from torch import nn

from pytorch_vision.analysis import grad_cam, predict
from pytorch_vision.data import Augmentation, Normalization
from pytorch_vision.models import Classifier, History
from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, evaluate, find_learning_rate, fit
from pytorch_vision.training.checkpoint import load
from pytorch_vision.training.trainer import Trainer

CONFIG = TrainConfig(epochs=3, batch_size=16, seed=1)
ON_CPU = Machine(accelerator="cpu")
BAR = re.compile(
    r"Epoch (\d)/3 Loss=\d+\.\d{4} Batch_id=6 Accuracy=\d+\.\d\d: "
    r"100%\|█{10}\| 7/7 \[\d\d:\d\d<00:00, .*(it/s|s/it)\]"
)
TEST = re.compile(r"Test set: Average loss: (\d+\.\d{4}), Accuracy: (\d+)/50 \((\d+\.\d\d)%\)")


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


def test_the_printed_lines(few, tiny, capsys):
    """The bars and test lines of three epochs, as a terminal shows them."""
    history = fit(tiny, few, CONFIG)
    printed = capsys.readouterr()
    assert printed.err == ""
    # a line that became shorter, as from 100.00it/s to 99.99it/s, is filled up with spaces
    lines = [line.split("\r")[-1].rstrip() for line in printed.out.split("\n")]
    assert lines[0].startswith("Training on ")
    bars = [bar[1] for bar in map(BAR.fullmatch, lines) if bar]
    tests = [TEST.fullmatch(line) for line in lines if line.startswith("Test set")]
    assert bars == ["1", "2", "3"]
    losses, _, accuracies = zip(*(map(float, test.groups()) for test in tests), strict=True)
    assert losses == pytest.approx(history.column("test_loss"), abs=1e-4)
    assert accuracies == pytest.approx(history.column("test_accuracy"))


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


def test_progressive_resizing_shows_smaller_images_first(few, tiny, capsys):
    """They are tested at that size, too."""
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


def test_zero_epochs_only_test_and_keep_the_history(few, tiny, capsys):
    fit(tiny, few, replace(CONFIG, epochs=1))
    before, history = state_of(tiny.network), tiny.history
    capsys.readouterr()
    assert fit(tiny, few, TrainConfig(epochs=0)) == tiny.history == history
    assert equal(before, state_of(tiny.network))
    assert len(TEST.findall(capsys.readouterr().out)) == 1


@pytest.mark.parametrize(("optimizer", "peak"), [("sgd", 0.2), ("muon", 0.05)])
def test_the_rates_move_once_a_batch(few, tiny, optimizer, peak):
    """The original notebook stepped OneCycleLR once an epoch, and its rate never left the floor."""
    history = fit(tiny, few, replace(CONFIG, optimizer=optimizer, epochs=4))
    rates = history.column("learning_rate")
    assert max(rates) > 0.75 * peak
    assert rates[-1] < 0.05 * peak
    muons = [2 * rate if optimizer == "muon" else 0 for rate in rates]
    assert history.column("muon_learning_rate") == pytest.approx(muons)


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


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_an_interrupt_ends_the_training_after_the_batch(few, tiny, capsys):
    handler = signal.getsignal(signal.SIGINT)
    interrupt_at(tiny.network, 12)
    history = fit(tiny, few, CONFIG)
    assert len(history.records) == 1
    assert tiny.history == history
    assert "Interrupted in epoch 2; the history holds 1 whole epoch" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler


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
