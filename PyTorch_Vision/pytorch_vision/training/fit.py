"""Training: a whole run, from the first epoch or from a checkpoint."""

import os
import sys
import time
import warnings
from collections.abc import Callable

import lightning_fabric
from torch import nn
from tqdm import tqdm

from pytorch_vision.data import ImageData
from pytorch_vision.training.checkpoint import Checkpoints
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.devices import (
    describe_hardware,
    device_settings,
    make_fabric,
    memory_explained,
)
from pytorch_vision.training.evaluate import evaluate, evaluate_on
from pytorch_vision.training.history import History
from pytorch_vision.training.interrupts import deferred_interrupt
from pytorch_vision.training.run import Run

BAR_SECONDS = 0.5  # between two readings of the loss, each of which waits for the device


def fit(
    model: nn.Module,
    data: ImageData,
    config: TrainConfig | None = None,
    checkpoints: str | os.PathLike | None = None,
) -> History:
    """Train a model in place and return its history.

    Prints one progress bar and one line ``Test set: ...`` an epoch. Interrupting it (Ctrl-C, or
    the notebook's stop button) ends it after the current batch, with the history so far; a
    second interrupt ends it at once. Afterwards the model holds the averaged weights, where they
    are averaged, and stands on the device that it was trained on.

    Args:
        model: gives logits (N, C) for float32 images (N, 3, H, W).
        data: images and labels; they are not copied.
        config: ``TrainConfig()`` if None.
        checkpoints: a folder in which the run keeps its state, at least once a minute; the same
            call, made again, continues from there. On the same CPU it ends with the same weights,
            bit for bit; on a GPU the last bits can differ, because cuDNN chooses its kernels anew
            in every process.

    Raises:
        FloatingPointError: the loss stopped being finite; names epoch and batch.
        MemoryError: the GPU has too little memory; says which batch size to try.
        pytorch_vision.training.CheckpointError: the folder holds the checkpoint of another run.
    """
    config = config or TrainConfig()
    fabric = make_fabric(config)
    if config.epochs == 0:
        print(f"Testing on {describe_hardware(fabric)}")
        print(evaluate(model, data, config))
        return History()
    smaller = f"try batch_size={max(1, config.batch_size // 2)}"
    with memory_explained(f"batches of {config.batch_size} images", smaller):
        return _fit(fabric, model, data, config, checkpoints)


def _fit(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    data: ImageData,
    config: TrainConfig,
    checkpoints: str | os.PathLike | None,
) -> History:
    with (
        device_settings(fabric.device),
        deferred_interrupt() as interrupted,
        warnings.catch_warnings(),
    ):
        # float16's gradient scaler skips its first steps, until its scale fits; the schedule
        # goes on all the same
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        run = Run(fabric, model, data, config)
        print(f"Training on {run.hardware}")
        kept = Checkpoints(checkpoints, config, data, model)
        kept.resume(run)
        try:
            while run.progress.epoch < config.epochs:
                whole = _train(run, kept, interrupted) and _test(run, data, interrupted)
                kept.save(run, due=not whole or run.progress.epoch == config.epochs)
                if not whole:
                    print(
                        f"Interrupted in epoch {run.progress.epoch + 1}; the history holds "
                        f"{len(run.progress.history.records)} whole epoch(s)."
                    )
                    break
        finally:
            run.finish()
    return run.progress.history


def _train(run: Run, kept: Checkpoints, interrupted: Callable[[], bool]) -> bool:
    """Train to the end of the epoch and return True, or False if interrupted before it."""
    progress, batches = run.progress, len(run.loader)
    if progress.batch == batches:  # resumed when only the test was missing
        print(progress.bar_line)
        return True
    run.model.train()
    started = time.monotonic() - progress.seconds
    shown = 0.0
    with tqdm(
        total=batches,
        initial=progress.batch,
        file=sys.stdout,
        smoothing=0,  # the epoch's mean speed, not the last moment's
        bar_format="{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}, {rate_fmt}]",
    ) as bar:
        for images, labels in run.loader.epoch(progress.epoch, progress.batch):
            run.step(images, labels)
            now = time.monotonic()
            progress.seconds = now - started
            last = progress.batch == batches
            if last or now - shown > BAR_SECONDS:
                shown = now
                bar.set_description_str(_description(run), refresh=False)
            bar.update()
            if last:
                bar.refresh()
                progress.bar_line = str(bar)
            if interrupted():
                return False
            kept.save(run)
    return True


def _description(run: Run) -> str:
    loss, accuracy = run.means()
    return (
        f"Epoch {run.progress.epoch + 1}/{run.config.epochs} Loss={loss:.4f} "
        f"Batch_id={run.progress.batch - 1} Accuracy={accuracy:.2f}"
    )


def _test(run: Run, data: ImageData, interrupted: Callable[[], bool]) -> bool:
    """Test, record the epoch and go on to the next; False if interrupted before the end."""
    started = time.monotonic()
    result = evaluate_on(run.fabric, run.averaged, data, interrupted)
    if result is None:
        return False
    print(f"{result}\n")
    run.record(result, time.monotonic() - started)
    return True
