"""Training a classifier: a whole run, from the first epoch or from a checkpoint."""

import os
import time
import traceback
from collections.abc import Callable

import numpy as np
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.models.classifier import set_seed
from pytorch_vision.models.inference import inference_machine
from pytorch_vision.runtime import Machine, Processes, start_processes
from pytorch_vision.runtime.devices import describe_hardware, memory_explained
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.interrupts import deferred_signals
from pytorch_vision.runtime.processes import only_main_prints
from pytorch_vision.runtime.terminal import BAR, Bar, bar_line, say
from pytorch_vision.runtime.text import counted
from pytorch_vision.training.checkpoint import NAME, Checkpoints
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Custom, Loss
from pytorch_vision.training.evaluate import evaluate_on
from pytorch_vision.training.hints import has_learned, hints
from pytorch_vision.training.linear_probe import fit_last_layer, partly_frozen
from pytorch_vision.training.optimizers import MakeOptimizer
from pytorch_vision.training.trainer import Trainer, training_settings

AfterEpoch = Callable[[Classifier], object]
Interrupted = Callable[[], bool]
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
    """Train a classifier in place; return its history, to which the new epochs are added.

    Prints a progress bar and a line ``Test set: ...`` for each epoch; in a log file, the bar is
    printed once, at the end of the epoch. Ctrl-C, or the notebook's stop button, ends the training
    after the current batch, with the history so far; a second Ctrl-C ends it at once, with the
    BatchNorm statistics of the last test. SIGTERM and SIGHUP stop it there too, then end the
    process. Afterwards the network is on the device that it was trained on, with its averaged
    weights if ``config.average_weights`` is set.

    With several ``machine.devices``, each has a process of its own, which runs the whole script and
    returns from this call.

    ``config.seed`` decides the order of the images, their augmentation and dropout; the global
    random state is restored afterwards. The initial weights are drawn when the network is created:
    call ``torch.manual_seed`` before that.

    Args:
        classifier: its network is trained; class names and size must be those of the data.
        data: images and labels; they are not copied.
        config: the recipe; ``TrainConfig()`` if None. With 0 epochs, the network is only tested.
        machine: ``Machine()`` if None.
        checkpoints: a folder in which the run saves its state after every epoch and at least once a
            minute; the same call continues from there. On the same CPU with the same number of
            threads it ends with the same weights, bit for bit; on a GPU the last bits can differ,
            because cuDNN chooses its kernels anew in every process.
        after_epoch: called after each epoch, in the first process, with the classifier as it was
            tested and its history so far, for example to save it or to log the last record. The
            next epoch changes its weights, but not those of its ``copy()``. If the function returns
            True, training ends, and the classifier is the one that was tested last. A run resumed
            at the end of an epoch calls it for that epoch again.
        loss: a custom loss in place of the recipe's cross-entropy, label smoothing and class
            weights: a function of logits, float32 (N, C), and labels, int64 (N,), such as
            ``torch.nn.MultiMarginLoss()``. It returns the mean over the images, or one number for
            each image, or, if its ``reduction`` is "sum", their sum.
        optimizer: a custom optimizer in place of the recipe's: a function that makes one from a
            list of parameters, such as ``lambda parameters: torch.optim.AdamW(parameters,
            lr=1e-3)``. Its rates rise over ``config.warm_up`` of the steps, then fall to zero. Its
            step is called without a closure. A checkpoint holds its state, but no numbers that
            optimizer or loss keep elsewhere, such as in a global variable or the loss's parameters.
            It identifies both by their own code, numbers and buffers, not by the functions they
            call: before continuing, recreate a loss that changes its own numbers.

    Raises:
        FloatingPointError: the loss became infinite or NaN; names epoch and batch, or the test.
        MemoryError: there is too little memory; says which batch size to try.
        ValueError: an argument has the wrong type, the data has other classes or another size, the
            network does not take such images, does not return one logit for each class or cannot be
            trained, or there are fewer devices than asked for.
        OSError: the checkpoint folder cannot be written.
        pytorch_vision.runtime.CheckpointError: the folder holds the checkpoint of another run, or
            is in use by one.
        pytorch_vision.runtime.ProcessLostError: another process of the run was lost; says which.
    """
    if not hasattr(classifier, "with_network"):  # %autoreload makes another Classifier, too
        raise ValueError(
            f"classifier is {type(classifier).__name__}, expected a Classifier, such as "
            "Classifier(network, data)"
        )
    classifier.check(data)
    config = config or TrainConfig()
    custom = Custom(loss, optimizer)
    machine = machine or Machine()
    fabric = start_processes(machine if config.epochs else inference_machine(machine))
    processes = Processes(fabric)
    batch_size = config.batch_size_for(len(data.train_labels))
    smaller = f"try batch_size={max(1, batch_size // 2)}"
    with (
        deferred_signals() as interrupted,
        memory_explained(f"batches of {batch_size} images", smaller),
        processes.explained(lambda: _how_to_go_on(checkpoints)),
        only_main_prints(processes.rank),
        training_settings(fabric.device),
        classifier.on(fabric) as adapter,
    ):
        if config.epochs == 0:
            say(f"Testing on {describe_hardware(fabric, adapter.call.autocast)}")
            say(evaluate_on(processes, classifier, data, adapter, train_batch_size=batch_size))
            return classifier.history
        _check_small_images(classifier, processes, config)
        kept = Checkpoints(checkpoints, config, data, classifier, custom)
        if config.transfer == "no" and optimizer is None and has_learned(classifier.network):
            say(
                "The network begins with learned weights. If this training is not meant to "
                "overwrite them, use the recipe finetune"
            )
        if config.transfer == "near" and classifier.normalized_by_data:
            say(
                "Images are normalised by their own mean and deviation; if the learned weights "
                'expect others, give the network pretrained_cfg = {"mean": ..., "std": ...}, or '
                "name torchvision's weights, as in torchvision:NAME@DEFAULT"
            )
        if not processes.on_main(lambda: kept.found):  # its weights replace these
            fit_last_layer(fabric, adapter, classifier, data, config)
        with partly_frozen(adapter, classifier.size, config):
            arguments = (processes, classifier, data, config, adapter, custom)
            _train(Trainer(*arguments), kept, after_epoch, interrupted)
    return classifier.history


def _how_to_go_on(checkpoints: str | os.PathLike | None) -> str:
    if checkpoints is None:
        return "No checkpoints were saved: start the run again, with a folder for them."
    if not (user_path(checkpoints) / NAME).exists():
        return f"There was no checkpoint yet in {checkpoints}: start the run again."
    return f"Start the run again: it goes on from the checkpoint in {checkpoints}."


def _check_small_images(classifier: Classifier, processes: Processes, config: TrainConfig) -> None:
    """Raise ValueError unless the network takes the smaller images of progressive resizing."""
    if not config.small_epochs:
        return
    try:
        classifier.adapted(processes.fabric, config.scale_in(0))
    except ValueError as error:
        raise ValueError(f"{error}: set progressive_resizing=0") from error


def _train(
    trainer: Trainer,
    kept: Checkpoints,
    after_epoch: AfterEpoch | None,
    interrupted: Interrupted,
) -> None:
    """Train from the beginning or a checkpoint, and leave the result in the classifier.

    No frame above this one may refer to the trainer: ``memory_explained`` could not clear it.
    """
    say(f"Training on {trainer.hardware}", *hints(trainer))
    seeds = np.random.default_rng([trainer.config.seed, trainer.processes.rank])
    set_seed(int(seeds.integers(2**63)))  # for dropout and the like, which differ by process
    with kept.locked(trainer.processes):
        kept.resume(trainer)
        try:
            _train_epochs(trainer, kept, after_epoch, interrupted)
        except (FloatingPointError, KeyboardInterrupt) as error:
            traceback.clear_frames(error.__traceback__)  # a notebook would keep their tensors
            raise
        finally:
            trainer.finish()
            del trainer


def _train_epochs(
    trainer: Trainer,
    kept: Checkpoints,
    after_epoch: AfterEpoch | None,
    interrupted: Interrupted,
) -> None:
    """Train to the last epoch, until an interrupt, or until ``after_epoch`` returns True."""
    resumed = trainer.progress
    # this epoch was saved before ``after_epoch`` was asked about it
    if resumed.epoch and not resumed.batch and _wants_to_stop(trainer, after_epoch):
        return
    while trainer.progress.epoch < trainer.config.epochs:
        complete = _train_epoch(trainer, kept, interrupted) and _test(trainer, interrupted)
        kept.save(trainer)
        if not complete:
            trainer.update_statistics()  # these weights were not tested
            say(
                f"Interrupted in epoch {trainer.progress.epoch + 1}; the history holds "
                f"{counted(len(trainer.progress.history.records), 'whole epoch')}."
            )
            return
        if _wants_to_stop(trainer, after_epoch):
            return


def _wants_to_stop(trainer: Trainer, after_epoch: AfterEpoch | None) -> bool:
    """Call ``after_epoch``; return whether it ends the training, and print that it does."""
    if after_epoch is None:
        return False
    tested = trainer.tested()
    stop = trainer.processes.on_main(lambda: is_yes(after_epoch(tested)))
    if stop:
        say(f"Stopped after epoch {trainer.progress.epoch}: after_epoch returned True")
    return stop


def is_yes(answer: object) -> bool:
    """Tell whether an answer is the True of Python, NumPy or torch, not just a truthy value.

    So an ``after_epoch`` that happens to return a number does not end the training.
    """
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _train_epoch(trainer: Trainer, kept: Checkpoints, interrupted: Interrupted) -> bool:
    """Train to the end of the epoch; return False if interrupted before."""
    trainer.begin_epoch()
    progress, batches = trainer.progress, len(trainer.loader)
    if progress.batch == batches:  # resumed when only the test was missing
        say(progress.bar_line)
        return True
    first, begun, shown = progress.batch, time.monotonic(), 0.0
    before, description, stop = progress.seconds, "", False
    with Bar(
        total=batches,
        initial=first,
        smoothing=0,  # the mean speed of the epoch, not the latest
        bar_format=BAR,
        leave=False,  # its last line is printed below, to a terminal or not
    ) as bar:
        for images, labels in trainer.loader.epoch(progress.epoch, first):
            trainer.step(images, labels)
            now = time.monotonic()
            progress.seconds = before + now - begun
            stop, show, save = trainer.processes.agree(
                interrupted(), now - shown > BAR_SECONDS, kept.is_due()
            )
            ends = stop or progress.batch == batches
            if ends or show:
                shown, description = now, _description(trainer)
                bar.set_description_str(description, refresh=False)
            bar.update()
            if ends:
                break
            if save:
                kept.save(trainer)
    line = bar_line(description, progress.batch, batches, first, now - begun)
    if progress.batch == batches:
        progress.bar_line = line
    say(line)
    return not stop


def _description(trainer: Trainer) -> str:
    loss, accuracy = trainer.means()
    return (
        f"Epoch {trainer.progress.epoch + 1}/{trainer.config.epochs} Loss={loss:.4f} "
        f"Batch_id={trainer.progress.batch - 1} Accuracy={accuracy:.2f}"
    )


def _test(trainer: Trainer, interrupted: Interrupted) -> bool:
    """Test, record the epoch and begin the next; return False if interrupted before the end."""
    started = time.monotonic()
    trainer.update_statistics()
    result = evaluate_on(
        trainer.processes,
        trainer.tested(),
        trainer.data,
        trainer.tested_adapter,
        interrupted,
        trainer.scale,
        trainer.loader.batch_size,
    )
    if result is None:
        return False
    say(f"{result}\n")
    progress = trainer.progress
    train_loss, train_accuracy = trainer.means()
    rate, muon_rate = [*progress.learning_rates, 0.0][:2]
    record = EpochRecord(
        epoch=len(progress.history.records) + 1,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=result.loss,
        test_accuracy=result.accuracy,
        learning_rate=rate,
        train_seconds=progress.seconds,
        test_seconds=time.monotonic() - started,
        muon_learning_rate=muon_rate,
    )
    trainer.end_epoch(record, f"{progress.bar_line}\n{result}\n")
    return True
