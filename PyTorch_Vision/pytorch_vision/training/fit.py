"""Training: a whole run, from the first epoch or from a checkpoint, epoch after epoch."""

import os
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.runtime import Machine, Processes, start_processes
from pytorch_vision.runtime.devices import (
    describe_hardware,
    device_settings,
    gradients_on,
    is_lack_of_memory,
    memory_explained,
)
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.interrupts import deferred_signals
from pytorch_vision.runtime.processes import only_main_prints
from pytorch_vision.runtime.terminal import BAR, Bar, Screen, bar_line, say
from pytorch_vision.runtime.text import first_line
from pytorch_vision.training.checkpoint import NAME, Checkpoints
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom, Loss, LossError
from pytorch_vision.training.evaluate import Evaluation, evaluate_on
from pytorch_vision.training.hints import hints, unreached_parameters
from pytorch_vision.training.linear_probe import (
    begins_with_a_fit,
    describe_probe,
    fit_last_layer,
    partly_frozen,
)
from pytorch_vision.training.optimizers import MakeOptimizer
from pytorch_vision.training.trainer import Trainer

AfterEpoch = Callable[[Classifier], object]
BAR_SECONDS = 0.5  # between two readings of the loss, each of which waits for the device


def fit(
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig | None = None,
    machine: Machine | None = None,
    checkpoints: str | os.PathLike | None = None,
    after_epoch: AfterEpoch | None = None,
    loss: Loss | None = None,
    optimizer: MakeOptimizer | None = None,
) -> History:
    """Train a classifier in place, fill in its history, and return the history.

    Prints a progress bar and a line ``Test set: ...`` for each epoch; where the output is no
    terminal, the bar is printed once, at the epoch's end. An interrupt (Ctrl-C, or the notebook's
    stop button) ends the training after the current batch, with the history so far; a second one
    ends it at once. SIGTERM and SIGHUP do what they usually do once the current batch is saved.
    Afterwards the network holds the averaged weights, where ``config`` averages them, and is on the
    device that it was trained on.

    With several ``machine.devices``, each is trained on by a process of its own, which runs the
    whole script and returns from this call.

    ``config.seed`` decides the order of the images and their augmentation. The network's first
    weights are drawn where it is made: call ``torch.manual_seed`` before.

    Args:
        classifier: its network is trained; class names and size must be those of the data.
        data: images and labels; they are not copied.
        config: the recipe; ``TrainConfig()`` if None. With 0 epochs, the network is only tested.
        machine: ``Machine()`` if None.
        checkpoints: a folder in which the run saves its state after every epoch, and at least once
            a minute; the same call, made again, continues from there. On the same CPU with the
            same number of threads it ends with the same weights, bit for bit; on a GPU the last
            bits can differ, because cuDNN chooses its kernels anew in every process.
        after_epoch: called after each epoch, in the first process, with the classifier as it was
            tested and its history so far: to save it (the next epoch changes its weights, but not
            those of its ``copy()``), to draw it, to send its last record to a logger. Training ends
            early if it returns True; the classifier is then the one that was tested last.
        loss: a custom loss, in place of the recipe's cross-entropy, smoothing and class weights: a
            function of logits, float32 (N, C), and labels, int64 (N,), such as
            ``torch.nn.MultiMarginLoss()``. It returns a mean over the images, or a number for each.
        optimizer: a custom optimizer, in place of the recipe's: a function that makes one from a
            list of parameters, such as ``lambda parameters: torch.optim.AdamW(parameters,
            lr=1e-3)``. Its rates rise over ``config.warm_up`` of the steps, then fall to zero. Its
            step is called without a closure. A checkpoint holds its state, and recognises it and
            the loss by their code, but not by that of the functions that they call; numbers that
            they keep elsewhere, as in a global variable or a parameter of the loss, are in no
            checkpoint.

    Raises:
        FloatingPointError: the loss stopped being finite; names epoch and batch.
        MemoryError: there is too little memory; says which batch size to try.
        ValueError: the arguments are of another type, the data has other classes or another size,
            the network does not take such images, does not return one logit for each class or
            cannot be trained on them, or there are fewer devices.
        OSError: the folder cannot be written.
        pytorch_vision.runtime.CheckpointError: the folder holds the checkpoint of another run, or
            is in use by one.
        pytorch_vision.runtime.ProcessLostError: another process of the run is gone; says which.
    """
    if not isinstance(classifier, Classifier):
        raise ValueError(
            f"classifier is {type(classifier).__name__}, expected a Classifier, such as "
            "Classifier(network, data)"
        )
    classifier.check(data)
    config = config or TrainConfig()
    custom = Custom(loss, optimizer)
    fabric = start_processes(machine or Machine())
    processes = Processes(fabric)
    batch_size = config.batch_size_for(len(data.train_labels))
    smaller = f"try batch_size={max(1, batch_size // 2)}"
    with (
        deferred_signals() as interrupted,
        memory_explained(f"batches of {batch_size} images", smaller),
        processes.explained(lambda: _how_to_go_on(checkpoints)),
        only_main_prints(processes.rank),
        device_settings(fabric.device),
        warnings.catch_warnings(),
        gradients_on(),
    ):
        # float16's gradient scaler skips its first steps, until its scale fits; the schedule
        # goes on all the same
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        with classifier.on(fabric) as adapter, partly_frozen(adapter, classifier, config):
            if config.epochs == 0:
                say(f"Testing on {describe_hardware(fabric, adapter.call.autocast)}")
                say(evaluate_on(processes, classifier, data, adapter, train_batch_size=batch_size))
                return classifier.history
            _check_small_images(classifier, processes, config)
            kept = Checkpoints(checkpoints, config, data, classifier, custom)
            if begins_with_a_fit(classifier, config):
                say(describe_probe(fit_last_layer(fabric, adapter, classifier, data, config)))
            arguments = (processes, classifier, data, config, adapter, custom)
            _train(Trainer(*arguments), kept, data, after_epoch, interrupted)
    return classifier.history


def _how_to_go_on(checkpoints: str | os.PathLike | None) -> str:
    if checkpoints is None:
        return "No checkpoints were kept: run the same again, with a folder for them."
    if not (user_path(checkpoints) / NAME).exists():
        return f"There was no checkpoint yet in {checkpoints}: run the same again."
    return f"Run the same again: it goes on from the checkpoint in {checkpoints}."


def _check_small_images(classifier: Classifier, processes: Processes, config: TrainConfig) -> None:
    """Refuse a network that does not take the smaller images of the first epochs.

    Raises:
        ValueError: says which setting shows them.
    """
    if not config.small_epochs:
        return
    try:
        classifier.check_outputs(processes.fabric, config.scale_in(0))
    except ValueError as error:
        raise ValueError(f"{error}: set progressive_resizing=0") from error


def _train(
    trainer: Trainer,
    kept: Checkpoints,
    data: ImageData,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> None:
    """Train to the end, from the beginning or from a checkpoint.

    No frame above this one holds the trainer: ``memory_explained`` could not clear it there.
    """
    say(f"Training on {trainer.hardware}")
    for line in hints(trainer):
        say(line)
    with kept.locked(trainer.processes):
        kept.resume(trainer)
        try:
            _train_epochs(trainer, kept, data, after_epoch, interrupted)
            if trainer.progress.batch:  # interrupted: these weights were not tested
                trainer.update_statistics()
        finally:
            trainer.finish()


def _train_epochs(
    trainer: Trainer,
    kept: Checkpoints,
    data: ImageData,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> None:
    """Train to the end, until an interrupt, or until ``after_epoch`` returns True."""
    while trainer.progress.epoch < trainer.config.epochs:
        whole = _train_epoch(trainer, kept, interrupted) and _test(trainer, data, interrupted)
        kept.save(trainer)
        if not whole:
            say(
                f"Interrupted in epoch {trainer.progress.epoch + 1}; the history holds "
                f"{len(trainer.progress.history.records)} whole epoch(s)."
            )
            return
        if after_epoch is not None and _wants_to_stop(trainer, after_epoch):
            say(f"Stopped after epoch {trainer.progress.epoch}, as after_epoch asked for")
            return


def _wants_to_stop(trainer: Trainer, after_epoch: AfterEpoch) -> bool:
    tested = trainer.tested()
    return trainer.processes.on_main(lambda: is_yes(after_epoch(tested)))


def is_yes(answer: object) -> bool:
    """Tell whether an answer is True, be it Python's, NumPy's or torch's; 1 is not."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _train_epoch(trainer: Trainer, kept: Checkpoints, interrupted: Callable[[], bool]) -> bool:
    """Train to the end of the epoch and return True, or False if interrupted before it."""
    trainer.begin_epoch()
    progress, batches = trainer.progress, len(trainer.loader)
    if progress.batch == batches:  # resumed when only the test was missing
        say(progress.bar_line)
        return True
    first, begun = progress.batch, time.monotonic()
    started = begun - progress.seconds
    line, description, shown = "", "", 0.0
    with Bar(
        total=batches,
        initial=first,
        smoothing=0,  # the epoch's mean speed, not the last moment's
        bar_format=BAR,
        leave=False,  # its last line is printed below, on whatever there is
    ) as bar:
        for images, labels in trainer.loader.epoch(progress.epoch, first):
            if trainer.steps == 0:
                _first_step(trainer, images, labels)
            else:
                trainer.step(images, labels)
            now = time.monotonic()
            progress.seconds = now - started
            stop, show, save = trainer.processes.agree(
                interrupted(), now - shown > BAR_SECONDS, kept.is_due()
            )
            last = progress.batch == batches
            if last or show:
                shown, description = now, _description(trainer)
                bar.set_description_str(description, refresh=False)
            bar.update()
            if last or stop:
                line = bar_line(description, progress.batch, batches, first, now - begun)
            if last:
                progress.bar_line = line
            if stop:
                break
            if save:
                kept.save(trainer)
    say(line)
    return not stop


def _first_step(trainer: Trainer, images: Tensor, labels: Tensor) -> None:
    """Make the first step: it shows what a test does not, such as layers that only training uses.

    Raises:
        ValueError: it fails; names the network, its images' size and the reason.
    """
    try:
        trainer.step(images, labels)
    except Exception as error:  # of whatever kind a user's network raises
        memory = isinstance(error, torch.OutOfMemoryError) or is_lack_of_memory(error)
        # several processes have errors of their own, about each other
        if memory or isinstance(error, LossError) or trainer.processes.world_size > 1:
            raise
        height, width = images.shape[2:]
        raise ValueError(
            f"{type(trainer.network).__name__} cannot be trained on images of {height}x{width} "
            f"pixels, in batches of {len(images)}: {type(error).__name__}: {first_line(error)}"
        ) from error
    if trainer.processes.world_size == 1 and (names := unreached_parameters(trainer)):
        Bar.write(names, file=Screen())


def _description(trainer: Trainer) -> str:
    loss, accuracy = trainer.means()
    return (
        f"Epoch {trainer.progress.epoch + 1}/{trainer.config.epochs} Loss={loss:.4f} "
        f"Batch_id={trainer.progress.batch - 1} Accuracy={accuracy:.2f}"
    )


def _test(trainer: Trainer, data: ImageData, interrupted: Callable[[], bool]) -> bool:
    """Test, record the epoch and go on to the next; False if interrupted before the end."""
    started = time.monotonic()
    trainer.update_statistics()
    result = evaluate_on(
        trainer.processes,
        trainer.tested(),
        data,
        trainer.tested_adapter,
        interrupted,
        trainer.scale,
        trainer.loader.batch_size,
    )
    if result is None:
        return False
    say(f"{result}\n")
    _record(trainer, result, time.monotonic() - started)
    return True


def _record(trainer: Trainer, result: Evaluation, test_seconds: float) -> None:
    """Record the current epoch, with the result of its test, and begin the next one."""
    progress = trainer.progress
    train_loss, train_accuracy = trainer.means()
    record = EpochRecord(
        epoch=progress.epoch + 1,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=result.loss,
        test_accuracy=result.accuracy,
        learning_rate=progress.learning_rate,
        train_seconds=progress.seconds,
        test_seconds=test_seconds,
    )
    text = f"{progress.bar_line}\n{result}\n"
    trainer.end_epoch(record, text)
