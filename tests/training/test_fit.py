import importlib
import os
import re
import shutil
import signal
import threading
import time
import warnings
import weakref
from dataclasses import replace

import lightning_fabric
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric.plugins import MixedPrecision
from small import tiny_network
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_vision.analysis import grad_cam, predict
from pytorch_vision.data import Augmentation, eval_transform
from pytorch_vision.models import CustomResNet
from pytorch_vision.training import (
    CheckpointError,
    EpochRecord,
    History,
    Processes,
    TrainConfig,
    checkpoint,
    evaluate,
    fit,
    make_fabric,
)
from pytorch_vision.training.run import Run

CONFIG = TrainConfig(epochs=3, batch_size=16, seed=1)
BAR = re.compile(
    r"Epoch (\d)/3 Loss=\d+\.\d{4} Batch_id=6 Accuracy=\d+\.\d\d: "
    r"100%\|█{10}\| 7/7 \[\d\d:\d\d<00:00, .*(it/s|s/it)\]"
)
TEST = re.compile(r"Test set: Average loss: (\d+\.\d{4}), Accuracy: (\d+)/50 \((\d+\.\d\d)%\)")


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}


def equal(some: dict, others: dict) -> bool:
    return all(torch.equal(some[name], others[name]) for name in some)


def without_seconds(history: History) -> list[EpochRecord]:
    return [replace(r, train_seconds=0, test_seconds=0) for r in history.records]


def test_it_learns(sample, capsys):
    """A network beats chance by far on images that it has not seen, after a minute's work."""
    torch.manual_seed(0)
    history = fit(CustomResNet(), sample, TrainConfig.quick(epochs=3, batch_size=32))
    assert history.records[-1].train_loss < history.records[0].train_loss
    assert history.records[-1].test_accuracy > 20


def test_what_is_printed(few, tiny, capsys):
    history = fit(tiny, few, CONFIG)
    printed = capsys.readouterr()
    assert printed.err == ""
    # a line that became shorter, as from 100.00it/s to 99.99it/s, is filled up with spaces
    lines = [line.split("\r")[-1].rstrip() for line in printed.out.split("\n")]
    assert lines[0].startswith("Training on ")
    bars = [line for line in lines if BAR.fullmatch(line)]
    tests = [TEST.fullmatch(line) for line in lines if line.startswith("Test set")]
    assert [BAR.fullmatch(bar)[1] for bar in bars] == ["1", "2", "3"]
    assert [float(match[1]) for match in tests] == pytest.approx(
        history.column("test_loss"), abs=1e-4
    )
    assert [float(match[3]) for match in tests] == pytest.approx(history.column("test_accuracy"))


def test_history(few, tiny):
    history = fit(tiny, few, CONFIG)
    assert history.column("epoch") == [1, 2, 3]
    result = evaluate(tiny, few)
    assert history.records[-1].test_loss == result.loss
    assert history.records[-1].test_accuracy == result.accuracy


def sides_seen(model: torch.nn.Module, training: bool = True) -> list[int]:
    """Return a list that grows by the images' height at every step of a training, or a test."""
    sides: list[int] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if module.training is training:
            sides.append(inputs[0].shape[2])

    model.register_forward_pre_hook(note)
    return sides


def test_first_epochs_can_show_smaller_images(few, tmp_path, monkeypatch, capsys):
    """They are tested as they are trained; also where the run was interrupted among them."""
    config = replace(CONFIG, small_share=0.75, accelerator="cpu")
    whole, stopped, resumed = new_model(), new_model(), new_model()
    sides, tested = sides_seen(whole), sides_seen(whole, training=False)
    expected = fit(whole, few, config)
    assert sides == [24] * 14 + [32] * 7
    assert tested == [32, 24, 24, 32]  # the first looks whether there is a logit a class
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Test set")]
    ends = [*[" at 0.75 of their size"] * 2, ""]
    assert [line.partition("%)")[2] for line in lines] == ends

    interrupt_at(monkeypatch, 10)
    fit(stopped, few, config, tmp_path)
    sides = sides_seen(resumed)
    history = fit(resumed, few, config, tmp_path)
    assert sides == [24] * 4 + [32] * 7
    assert without_seconds(history) == without_seconds(expected)
    assert equal(state(whole), state(resumed))


def test_small_images_are_varied_less(few, tiny, monkeypatch):
    """White images show it: padding, up to 2 of 3 pixels, and the hole are gray."""
    white = replace(
        few, train_images=np.full_like(few.train_images, 255), mean_and_std=((0.5,) * 3, (0.2,) * 3)
    )
    seen, step = [], Run.step

    def noted(self, images, labels):
        gray = images[:, 0] < 1
        seen.append([bool(gray[:, edge:-edge, edge:-edge].any()) for edge in (1, 2, 3)])
        step(self, images, labels)

    monkeypatch.setattr(Run, "step", noted)
    augmentation = Augmentation(padding=3, cutout=8, cutout_probability=1.0)
    fit(tiny, white, replace(CONFIG, small_share=0.4, augmentation=augmentation))
    assert seen == [[True, False, False]] * 7 + [[True, True, True]] * 14


def test_later_epochs_can_skip_easy_images(few, tmp_path, monkeypatch):
    """Chosen by the losses that an interrupted run had, too."""
    config = replace(CONFIG, skip_share=0.4, accelerator="cpu")
    whole, stopped, resumed = new_model(), new_model(), new_model()
    expected = fit(whole, few, config)

    interrupt_at(monkeypatch, 9)
    first = fit(stopped, few, config, tmp_path)
    history = fit(resumed, few, config, tmp_path)
    assert len(first.records) == 1
    assert without_seconds(history) == without_seconds(expected)
    assert equal(state(whole), state(resumed))
    other = new_model()
    fit(other, few, replace(config, skip_share=0.0))
    assert not equal(state(whole), state(other))


def test_what_is_skipped_lost_little(few, monkeypatch):
    """Later epochs show 60 of 100 images; the losses that they choose by are the images' own."""
    step, seen = Run.step, []

    def noted(self, images, labels):
        seen.append((self.loader.chosen, self.skipping.losses.clone()))
        step(self, images, labels)

    monkeypatch.setattr(Run, "step", noted)
    network = tiny_network(normalization=False)
    still = replace(
        CONFIG, optimizer="sgd", learning_rate=1e-12, augmentation=Augmentation(0, "none", 0)
    )
    fit(network, few, replace(still, skip_share=0.4, accelerator="cpu", precision="32-true"))
    assert [len(chosen) for chosen, _ in seen] == [100] * 7 + [60] * 8

    normalize = eval_transform(*few.mean_and_std)
    images = torch.stack([normalize(image=image)["image"] for image in few.train_images])
    with torch.no_grad():
        logits = network(images)
    losses = F.cross_entropy(logits, torch.from_numpy(few.train_labels), reduction="none")
    for chosen, known in (seen[7], seen[-1]):
        assert torch.allclose(known, losses, atol=1e-5)
        skipped = np.setdiff1d(np.arange(100), chosen)
        assert np.isin(skipped, known.argsort()[:60].numpy()).all()


def test_each_epoch_can_be_seen_as_it_comes(few, tiny):
    seen = []
    history = fit(tiny, few, CONFIG, after_epoch=seen.append)
    assert [len(one.records) for one in seen] == [1, 2, 3]
    assert seen[-1] == history


def test_a_run_can_be_ended_early_and_continued(few, tiny, tmp_path, capsys):
    history = fit(
        tiny, few, CONFIG, tmp_path, after_epoch=lambda history: len(history.records) == 2
    )
    assert len(history.records) == 2
    assert "Stopped after epoch 2, as after_epoch asked for" in capsys.readouterr().out
    torch.manual_seed(0)
    assert len(fit(tiny_network(), few, CONFIG, tmp_path).records) == 3


def test_an_error_of_after_epoch_is_the_callers(few, tiny, tmp_path):
    def fails(_history: History) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(tiny, few, CONFIG, tmp_path, after_epoch=fails)


def test_frozen_parameters_are_left_alone(few, tiny):
    """In both optimizers; the rest is trained."""
    for optimizer in ("muon", "sgd"):
        frozen, rest = state(tiny[0]), state(tiny[7])
        tiny[0].requires_grad_(False)
        fit(tiny, few, replace(CONFIG, epochs=1, optimizer=optimizer, average_weights=False))
        assert equal(frozen, state(tiny[0]))
        assert not torch.equal(rest["weight"], tiny[7].weight.cpu())
    tiny.requires_grad_(False)
    tiny[7].requires_grad_(True)
    fit(tiny, few, replace(CONFIG, epochs=1))
    assert equal(frozen, state(tiny[0]))


def test_a_second_training_has_a_history_of_its_own(few, tiny):
    fit(tiny, few, CONFIG)
    assert len(fit(tiny, few, CONFIG).records) == 3


def test_the_training_loss_is_a_mean_over_images(few):
    """The original notebook plotted the loss of each epoch's last batch."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    config = TrainConfig(
        epochs=1,
        batch_size=16,
        optimizer="sgd",
        learning_rate=1e-12,
        label_smoothing=0,
        augmentation=Augmentation(padding=0, flip="none", cutout=0),
        precision="32-true",
    )
    pipeline = eval_transform(*few.mean_and_std)
    images = torch.stack([pipeline(image=image)["image"] for image in few.train_images])
    with torch.no_grad():
        expected = F.cross_entropy(model(images), torch.from_numpy(few.train_labels)).item()
    assert fit(model, few, config).records[0].train_loss == pytest.approx(expected, rel=1e-4)


def test_zero_epochs_only_test(few, tiny, capsys):
    before = state(tiny)
    assert fit(tiny, few, TrainConfig(epochs=0)).records == ()
    assert equal(before, state(tiny))
    assert TEST.search(capsys.readouterr().out)


def test_the_original_recipe_trains(few, tiny):
    assert len(fit(tiny, few, TrainConfig.original_recipe(epochs=2)).records) == 2


def test_the_rate_moves_once_a_batch(few, tiny):
    """The original notebook stepped OneCycleLR once an epoch, and its rate never left the floor."""
    history = fit(tiny, few, replace(CONFIG, optimizer="sgd", epochs=4))
    rates = history.column("learning_rate")
    assert max(rates) > 0.15  # of 0.2, its peak
    assert rates[-1] < 1e-3


def test_a_loss_that_is_not_finite_stops_the_run(few, tiny, tmp_path):
    class Breaks(torch.nn.Module):
        """Gives NaN from the tenth training batch on: batch 2 of the second epoch."""

        def __init__(self):
            super().__init__()
            self.inner, self.calls = tiny, 0

        def forward(self, x):
            self.calls += self.training
            return self.inner(x) * (float("nan") if self.calls >= 10 else 1)

    model = Breaks()
    with pytest.raises(FloatingPointError, match="not finite at epoch 2, batch 2"):
        fit(model, few, CONFIG, tmp_path)


def use_float16(monkeypatch: pytest.MonkeyPatch, scale: float = 65536.0) -> torch.amp.GradScaler:
    """Have ``fit`` do on the CPU what an older GPU does in float16."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, plugins=[precision])
    fit_module = importlib.import_module("pytorch_vision.training.fit")  # not the function
    monkeypatch.setattr(fit_module, "start_processes", lambda _config: fabric)
    return scaler


def test_a_gradient_scaler_that_skips_steps_trains_without_a_warning(few, tiny, monkeypatch):
    scaler = use_float16(monkeypatch, 2.0**40)
    before = state(tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(tiny, few, replace(CONFIG, epochs=10))
    assert scaler.get_scale() < 2.0**40  # it did skip
    assert not equal(before, state(tiny))
    assert history.records[-1].train_loss < history.records[0].train_loss


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("to_float16", [True, False])
def test_a_run_goes_on_in_another_precision(
    few, tmp_path, monkeypatch, to_float16, finished, capsys
):
    """After a disconnect, Colab may hand out an older or a newer GPU."""
    for second in (False, True):
        with monkeypatch.context() as patch:
            if second is to_float16:
                use_float16(patch)
            if not second and not finished:
                interrupt_at(patch, 10)
            history = fit(new_model(), few, replace(CONFIG, precision="32-true"), tmp_path)
    assert len(history.records) == 3
    assert "From the checkpoint, run on" in capsys.readouterr().out


def test_a_warning_of_the_model_is_shown_once_and_not_at_every_step(few, tiny):
    class Warns(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny

        def forward(self, x):
            warnings.warn("look here", stacklevel=1)
            return self.inner(x)

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        fit(Warns(), few, CONFIG)
    assert len([one for one in shown if "look here" in str(one.message)]) == 1


def test_a_step_does_not_wait_for_the_device(few, tiny):
    """Reading a number from the device does; the bar may, twice a second, a step may not."""

    class CountsReadings(TorchDispatchMode):
        readings = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.readings += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    run = Run(Processes(make_fabric(CONFIG)), tiny, few, CONFIG)
    batches = list(run.loader.epoch(0))
    with CountsReadings() as counter:
        assert torch.ones(()).item() == 1
        assert counter.readings == 1
        for images, labels in batches:
            run.step(images, labels)
    assert counter.readings == 1


def test_a_compiled_run_resumes_to_the_same_bits_on_a_cpu(few, tmp_path, monkeypatch, capsys):
    config = replace(CONFIG, compile=True, epochs=2, accelerator="cpu")
    whole = new_model()
    expected = fit(whole, few, config)
    assert "compiled" in capsys.readouterr().out

    stopped = new_model()
    interrupt_at(monkeypatch, 6)  # just before the first epoch's short last batch
    assert fit(stopped, few, config, tmp_path).records == ()
    resumed = new_model()
    history = fit(resumed, few, config, tmp_path)
    assert equal(state(whole), state(resumed))
    assert without_seconds(history) == without_seconds(expected)


def test_without_a_compiler_it_trains_all_the_same(few, tiny, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert len(fit(tiny, few, replace(CONFIG, compile=True)).records) == 3
    assert "No C++ compiler found: training without torch.compile" in capsys.readouterr().out


def test_the_short_last_batch_is_not_compiled_again(few):
    compiled = []

    def backend(graph, inputs):
        compiled.append(inputs)
        return graph.forward

    model = new_model()
    run = Run(Processes(make_fabric(CONFIG)), model, few, CONFIG)
    run.compiled = True
    run.step_model = torch.compile(model, dynamic=False, backend=backend)
    sizes = set()
    for images, labels in run.loader.epoch(0):
        run.step(images, labels)
        sizes.add(len(images))
    assert sizes == {16, 4}
    assert len(compiled) == 1
    torch.compiler.reset()


def fails_at(call: int) -> torch.nn.Module:
    """A network for which the memory is not enough at the given call."""

    class Full(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = new_model(), 0

        def forward(self, x):
            self.calls += 1
            if self.calls >= call:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self.inner(x)

    return Full()


def test_too_little_memory_says_which_batch_size_to_try_and_holds_nothing(
    few, tmp_path, monkeypatch
):
    """A notebook keeps the error, its traceback, and all that the traceback's frames hold."""
    runs = []
    real = Run.__init__
    monkeypatch.setattr(
        Run, "__init__", lambda run, *args: runs.append(weakref.ref(run)) or real(run, *args)
    )
    with pytest.raises(
        MemoryError, match="no memory for batches of 16 images; try batch_size=8"
    ) as caught:
        fit(fails_at(3), few, CONFIG, tmp_path)
    assert runs[0]() is None
    assert caught.value.__context__ is None or caught.value.__context__.__traceback__ is None


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (evaluate, "no memory for this test; free some of it, or set accelerator='cpu'"),
        (predict, "no memory for this test; free some of it"),
        (
            lambda model, data: grad_cam(
                model, data.test_images, data.test_labels, data.mean_and_std, "inner.0"
            ),
            "no memory for maps of 250 images at once; try batch_size=125",
        ),
    ],
)
def test_all_of_them_speak_alike_of_too_little_memory(few, work, message):
    with pytest.raises(MemoryError, match=message):
        work(fails_at(1), few)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Have the process interrupted during a training step, counted from now on."""
    step, calls = Run.step, []

    def counted(self, images, labels):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, images, labels)

    monkeypatch.setattr(Run, "step", counted)


def test_an_interrupt_ends_it_cleanly(few, tiny, monkeypatch, capsys):
    handler = signal.getsignal(signal.SIGINT)
    interrupt_at(monkeypatch, 12)
    history = fit(tiny, few, CONFIG)
    assert len(history.records) == 1
    assert "Interrupted in epoch 2; the history holds 1 whole epoch" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_interrupt_ends_it_at_once(few, tiny, monkeypatch):
    """But not one that is the first, told twice: to a group of processes and to each of them."""
    step, calls = Run.step, []

    def interrupted(run, images, labels):
        calls.append(None)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            calls.append("still here")
            time.sleep(1.1)
            os.kill(os.getpid(), signal.SIGINT)
        step(run, images, labels)

    monkeypatch.setattr(Run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, few, CONFIG)
    assert calls[-1] == "still here"


def test_it_trains_outside_of_the_main_thread(few, tiny):
    done = []
    thread = threading.Thread(target=lambda: done.append(fit(tiny, few, CONFIG)))
    thread.start()
    thread.join()
    assert len(done[0].records) == 3


def new_model() -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 10),
    )


@pytest.mark.parametrize("call", [1, 3, 6, 7, 8, 14, 20])
@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_a_run_that_was_stopped_ends_with_the_same_bits_on_a_cpu(
    few, tmp_path, call, optimizer, monkeypatch, capsys
):
    config = replace(CONFIG, optimizer=optimizer, accelerator="cpu")
    whole = new_model()
    expected = fit(whole, few, config)

    stopped = new_model()
    interrupt_at(monkeypatch, call)
    assert len(fit(stopped, few, config, tmp_path).records) < 3
    capsys.readouterr()
    torch.manual_seed(99)  # what the new process draws must not matter
    resumed = torch.nn.Sequential(*new_model())
    history = fit(resumed, few, config, tmp_path)

    assert equal(state(whole), state(resumed))
    assert without_seconds(history) == without_seconds(expected)
    assert "from the checkpoint" in capsys.readouterr().out.lower()


def test_a_finished_run_is_not_trained_again(few, tmp_path, capsys):
    model = new_model()
    history = fit(model, few, CONFIG, tmp_path)
    first = capsys.readouterr().out
    again = torch.nn.Sequential(*new_model())
    assert fit(again, few, CONFIG, tmp_path) == history
    assert equal(state(model), state(again))
    shown = capsys.readouterr().out
    assert "From the checkpoint, run on " in shown
    assert re.findall(TEST, shown) == re.findall(TEST, first)
    assert len(BAR.findall(shown)) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"batch_size": 8},
        {"epochs": 4},
        {"muon_rate": 0.2},
        {"augmentation": Augmentation(padding=2)},
    ],
)
def test_the_checkpoint_of_another_run_is_refused(few, tmp_path, change):
    fit(new_model(), few, CONFIG, tmp_path)
    before = (tmp_path / checkpoint.NAME).read_bytes()
    with pytest.raises(CheckpointError, match=f"{next(iter(change))} was .* and is ") as caught:
        fit(new_model(), few, replace(CONFIG, **change), tmp_path)
    assert ("begin a new run with its weights" in str(caught.value)) == ("epochs" in change)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_the_checkpoint_of_other_data_or_another_model_is_refused(few, tmp_path, tiny):
    fit(new_model(), few, CONFIG, tmp_path)
    other = replace(few, test_labels=np.roll(few.test_labels, 1))
    with pytest.raises(CheckpointError, match="data was "):
        fit(new_model(), other, CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match="model was "):
        fit(tiny, few, CONFIG, tmp_path)


def test_a_folder_that_cannot_be_written_is_named_before_training(few, tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file/folder"):
        fit(tiny, few, CONFIG, tmp_path / "file" / "folder")
    assert "Epoch" not in capsys.readouterr().out


def test_a_folder_that_is_lost_on_the_way_does_not_stop_training(
    few, tiny, tmp_path, monkeypatch, capsys
):
    step, folder = Run.step, tmp_path / "kept"

    def loses(run, images, labels):
        if folder.is_dir():
            shutil.rmtree(folder)
            folder.write_text("in the way")
        step(run, images, labels)

    monkeypatch.setattr(Run, "step", loses)
    assert len(fit(tiny, few, CONFIG, folder).records) == 3
    assert "No checkpoint saved" in capsys.readouterr().out
