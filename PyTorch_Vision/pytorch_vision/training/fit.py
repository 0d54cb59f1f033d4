"""Training: a whole run, from the first epoch or from a checkpoint, epoch after epoch."""

import os
import time
import warnings
from collections.abc import Callable

import lightning_fabric
import numpy as np
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier, History
from pytorch_vision.runtime import (
    Machine,
    Processes,
    start_processes,
)
from pytorch_vision.runtime.devices import (
    describe_hardware,
    device_settings,
    gradients_on,
    memory_explained,
)
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.interrupts import deferred_signals
from pytorch_vision.runtime.processes import only_main_prints
from pytorch_vision.runtime.terminal import BAR, Bar, bar_line, say
from pytorch_vision.training.checkpoint import NAME, Checkpoints
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.custom import Loss, MakeOptimizer, Own
from pytorch_vision.training.evaluate import evaluate_on
from pytorch_vision.training.hints import hints
from pytorch_vision.training.run import Run

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
    """Train a classifier in place, fill in its history, and return that.

    Prints one progress bar and one line ``Test set: ...`` an epoch; where nobody can watch the
    bar move, as in a file, only as it stands at the epoch's end. Interrupting it (Ctrl-C, or
    the notebook's stop button) ends it after the current batch, with the history so far; a
    second interrupt ends it at once. SIGTERM and SIGHUP do what they usually do once the current
    batch is saved. Afterwards the network holds the averaged weights, where they are averaged, and
    stands on the device that it was trained on.

    With several ``machine.devices``, each is trained on by a process of its own: all of them run
    the whole script, and each returns. A notebook cannot start them.

    Args:
        classifier: its network is trained; class names and size must be those of the data.
        data: images and labels; they are not copied.
        config: ``TrainConfig()`` if None. Without any epoch, the network is only tested.
        machine: ``Machine()`` if None.
        checkpoints: a folder in which the run keeps its state, at least once a minute; the same
            call, made again, continues from there. On the same CPU it ends with the same weights,
            bit for bit; on a GPU the last bits can differ, because cuDNN chooses its kernels anew
            in every process.
        after_epoch: is called after each epoch, in the first process, with the classifier as it
            was tested and its history so far: to save it (the next epoch changes its weights; its
            ``copy()`` stays as it is), to draw it, to send its last record to a logger. Training
            ends early if it returns True; the classifier is then the one that was tested last.
        loss: of your own, in place of the recipe's cross-entropy, smoothing and class weights: a
            function of logits, float32 (N, C), and labels, int64 (N,), such as
            ``torch.nn.MultiMarginLoss()``. It gives a mean over the images, or a number for each.
        optimizer: of your own, in place of the recipe's: a function that makes one of a list of
            parameters, such as ``lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)``. Its
            rates rise over ``config.warm_up`` of the steps, then fall to zero. It steps without a
            closure. A checkpoint keeps its state, and knows it and the loss by their code, but
            not by that of the functions that they call; numbers that they keep elsewhere, as in
            a global variable or a parameter of the loss, are in no checkpoint.

    Raises:
        FloatingPointError: the loss stopped being finite; names epoch and batch.
        MemoryError: there is too little memory; says which batch size to try.
        ValueError: these are no classifier and no data, the data has other classes or another size,
            the network does not take images of that or has not one logit for each class, or there
            are fewer devices.
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
    own = Own(loss, optimizer)
    if config.epochs:
        classifier.learns_from(data.train_digests)
    fabric = start_processes(machine or Machine())
    return _fit(fabric, classifier, data, config, checkpoints, after_epoch, own)


def _how_to_go_on(checkpoints: str | os.PathLike | None) -> str:
    if checkpoints is None:
        return "No checkpoints were kept: run the same again, with a folder for them."
    if not (user_path(checkpoints) / NAME).exists():
        return f"There was no checkpoint yet in {checkpoints}: run the same again."
    return f"Run the same again: it goes on from the checkpoint in {checkpoints}."


def _fit(
    fabric: lightning_fabric.Fabric,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    checkpoints: str | os.PathLike | None,
    after_epoch: AfterEpoch | None,
    own: Own,
) -> History:
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
        with classifier.on(fabric) as adapter:
            if config.epochs == 0:
                say(f"Testing on {describe_hardware(fabric)}")
                say(evaluate_on(processes, classifier, data, adapter, train_batch_size=batch_size))
                return classifier.history
            _check_small_images(classifier, fabric, config)
            kept = Checkpoints(checkpoints, config, data, classifier, own)
            arguments = (processes, classifier, data, config, adapter, own)
            _train(Run(*arguments), kept, data, after_epoch, interrupted)
    return classifier.history


def _check_small_images(
    classifier: Classifier, fabric: lightning_fabric.Fabric, config: TrainConfig
) -> None:
    """Refuse a network that does not take the smaller images of the first epochs.

    Raises:
        ValueError: says which setting shows them.
    """
    if not config.small_epochs:
        return
    try:
        classifier.check_outputs(fabric, config.scale_in(0))
    except ValueError as error:
        raise ValueError(f"{error}: set progressive_resizing=0") from error


def _train(
    run: Run,
    kept: Checkpoints,
    data: ImageData,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> None:
    """Train a run, or what its checkpoint has left to train.

    The run is in no frame above this one: ``memory_explained`` could not clear it there.
    """
    say(f"Training on {run.hardware}")
    for line in hints(run):
        say(line)
    with kept.locked(run.processes):
        kept.resume(run)
        try:
            _train_epochs(run, kept, data, after_epoch, interrupted)
            run.mature()
        finally:
            run.finish()


def _train_epochs(
    run: Run,
    kept: Checkpoints,
    data: ImageData,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> None:
    """Train a run to its end, until it is interrupted, or until ``after_epoch`` returns True."""
    while run.progress.epoch < run.config.epochs:
        whole = _train_epoch(run, kept, interrupted) and _test_epoch(run, data, interrupted)
        last = run.progress.epoch == run.config.epochs
        _, due = run.processes.agree(False, kept.is_due())
        if last or due or not whole:
            kept.save(run)
        if not whole:
            say(
                f"Interrupted in epoch {run.progress.epoch + 1}; the history holds "
                f"{len(run.progress.history.records)} whole epoch(s)."
            )
            return
        if after_epoch is not None and _wants_to_stop(run, after_epoch):
            say(f"Stopped after epoch {run.progress.epoch}, as after_epoch asked for")
            kept.save(run)
            return


def _wants_to_stop(run: Run, after_epoch: AfterEpoch) -> bool:
    with run.tested() as tested:
        return run.processes.on_main(lambda: is_yes(after_epoch(tested)))


def is_yes(answer: object) -> bool:
    """Tell whether an answer is True: Python's, NumPy's or torch's, but nothing that is like it."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _train_epoch(run: Run, kept: Checkpoints, interrupted: Callable[[], bool]) -> bool:
    """Train to the end of the epoch and return True, or False if interrupted before it."""
    run.begin_epoch()
    progress, batches = run.progress, len(run.loader)
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
        for images, labels in run.loader.epoch(progress.epoch, first):
            run.step(images, labels)
            now = time.monotonic()
            progress.seconds = now - started
            stop, show, save = run.processes.agree(
                interrupted(), now - shown > BAR_SECONDS, kept.is_due()
            )
            last = progress.batch == batches
            if last or show:
                shown, description = now, _description(run)
                bar.set_description_str(description, refresh=False)
            bar.update()
            if last or stop:
                line = bar_line(description, progress.batch, batches, first, now - begun)
            if last:
                progress.bar_line = line
            if stop:
                break
            if save:
                kept.save(run)
    say(line)
    return not stop


def _description(run: Run) -> str:
    loss, accuracy = run.means()
    return (
        f"Epoch {run.progress.epoch + 1}/{run.config.epochs} Loss={loss:.4f} "
        f"Batch_id={run.progress.batch - 1} Accuracy={accuracy:.2f}"
    )


def _test_epoch(run: Run, data: ImageData, interrupted: Callable[[], bool]) -> bool:
    """Test, record the epoch and go on to the next; False if interrupted before the end."""
    started = time.monotonic()
    run.share_statistics()
    scale = run.config.scale_in(run.progress.epoch)
    batch_size = run.loader.batch_size
    with run.tested() as tested:
        result = evaluate_on(
            run.processes, tested, data, run.tester, interrupted, scale, batch_size
        )
    if result is None:
        return False
    say(f"{result}\n")
    run.record(result, time.monotonic() - started)
    return True
