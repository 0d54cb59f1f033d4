"""Training: a whole run, from the first epoch or from a checkpoint."""

import copy
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning_fabric
import torch
from torch import nn
from torch.multiprocessing import ProcessExitedException
from tqdm import tqdm

from pytorch_vision.data import ImageData
from pytorch_vision.training.checkpoint import NAME, Checkpoints
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.devices import (
    describe_hardware,
    device_settings,
    memory_explained,
    place,
)
from pytorch_vision.training.epochs import AfterEpoch, train_epochs
from pytorch_vision.training.evaluate import check_outputs, evaluate_on
from pytorch_vision.training.history import EpochRecord, History
from pytorch_vision.training.interrupts import deferred_signals, interrupts_forwarded
from pytorch_vision.training.launch import in_notebook, start_processes
from pytorch_vision.training.processes import Processes, ProcessLostError, only_first_prints
from pytorch_vision.training.recipe import CheckpointError
from pytorch_vision.training.run import Run

# what a notebook's forks hand back: most of these happen to all of them, or are told to all
TOLD = (ValueError, FloatingPointError, MemoryError, CheckpointError, ProcessLostError)


def fit(
    model: nn.Module,
    data: ImageData,
    config: TrainConfig | None = None,
    checkpoints: str | os.PathLike | None = None,
    after_epoch: AfterEpoch | None = None,
) -> History:
    """Train a model in place and return its history.

    Prints one progress bar and one line ``Test set: ...`` an epoch. Interrupting it (Ctrl-C, or
    the notebook's stop button) ends it after the current batch, with the history so far; a
    second interrupt ends it at once. SIGTERM and SIGHUP do what they usually do once the current
    batch is saved. Afterwards the model holds the averaged weights, where they are averaged, and
    stands on the device that it was trained on.

    With several ``config.devices``, each is trained on by a process of its own. In a script, all
    of them run the whole script, and each returns; in a notebook they are forks, and the model
    comes back on the CPU.

    Args:
        model: gives logits (N, C) for float32 images (N, 3, H, W).
        data: images and labels; they are not copied.
        config: ``TrainConfig()`` if None.
        checkpoints: a folder in which the run keeps its state, at least once a minute; the same
            call, made again, continues from there. On the same CPU it ends with the same weights,
            bit for bit; on a GPU the last bits can differ, because cuDNN chooses its kernels anew
            in every process.
        after_epoch: is called with the history so far after each epoch, in the first process:
            to keep it, to draw it, to send its last record to a logger. Training ends early if
            it returns True.

    Raises:
        FloatingPointError: the loss stopped being finite; names epoch and batch.
        MemoryError: the GPU has too little memory; says which batch size to try.
        ValueError: the model has not one logit for each class, or there are fewer devices.
        OSError: the folder cannot be written.
        pytorch_vision.training.CheckpointError: the folder holds the checkpoint of another run, or
            is in use by one.
        pytorch_vision.training.ProcessLostError: another process of the run is gone; says which.
    """
    config = config or TrainConfig()
    fabric = start_processes(config)
    if fabric.world_size > 1 and in_notebook():
        return _fit_in_forks(fabric, model, data, config, checkpoints, after_epoch)
    return _fit(fabric, model, data, config, checkpoints, after_epoch)


def _fit_in_forks(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    data: ImageData,
    config: TrainConfig,
    checkpoints: str | os.PathLike | None,
    after_epoch: AfterEpoch | None,
) -> History:
    """Train in forks of this process; the weights come back in memory that all share."""
    model.cpu().share_memory()
    try:
        with interrupts_forwarded():
            work: Any = _fit_in_fork
            outcome = fabric.launch(work, model, data, config, checkpoints, after_epoch)
    except ProcessExitedException as error:
        raise ProcessLostError(f"{error}. {_how_to_go_on(checkpoints)}") from None
    if isinstance(outcome, Exception):
        raise outcome
    return History(tuple(EpochRecord(**record) for record in outcome))


def _fit_in_fork(
    fabric: lightning_fabric.Fabric, model: nn.Module, *others: Any
) -> list[dict[str, Any]] | Exception:
    # a lock of its own for the bars: a fork that is killed would take the notebook's along
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(1)  # OpenMP hangs in a fork if it has run in the process forked from
    trained = copy.deepcopy(model)  # the forks share the model's own memory
    try:
        history = _fit(fabric, trained, *others)
    except TOLD as error:
        return error
    if fabric.is_global_zero:
        model.load_state_dict(trained.state_dict())
    return [asdict(record) for record in history.records]  # Fabric refuses frozen dataclasses


def _how_to_go_on(checkpoints: str | os.PathLike | None) -> str:
    if checkpoints is None:
        return "No checkpoints were kept: run the same again, with a folder for them."
    if not Path(checkpoints, NAME).exists():
        return f"There was no checkpoint yet in {checkpoints}: run the same again."
    return f"Run the same again: it goes on from the checkpoint in {checkpoints}."


def _fit(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    data: ImageData,
    config: TrainConfig,
    checkpoints: str | os.PathLike | None,
    after_epoch: AfterEpoch | None,
) -> History:
    processes = Processes(fabric)
    smaller = f"try batch_size={max(1, config.batch_size // 2)}"
    with (
        deferred_signals() as interrupted,
        memory_explained(f"batches of {config.batch_size} images", smaller),
        processes.explained(lambda: _how_to_go_on(checkpoints)),
        only_first_prints(processes.rank),
    ):
        return _fit_together(processes, model, data, config, checkpoints, after_epoch, interrupted)


def _fit_together(
    processes: Processes,
    model: nn.Module,
    data: ImageData,
    config: TrainConfig,
    checkpoints: str | os.PathLike | None,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> History:
    with device_settings(processes.fabric.device), warnings.catch_warnings():
        # float16's gradient scaler skips its first steps, until its scale fits; the schedule
        # goes on all the same
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        check_outputs(processes.fabric, place(processes.fabric, model), data)
        if config.epochs == 0:
            print(f"Testing on {describe_hardware(processes.fabric)}")
            print(evaluate_on(processes, model, data))
            return History()
        run = Run(processes, model, data, config)
        print(f"Training on {run.hardware}")
        kept = Checkpoints(checkpoints, config, data, model)
        with kept.locked(processes):
            kept.resume(run)
            try:
                train_epochs(run, kept, data, after_epoch, interrupted)
            finally:
                run.finish()
    return run.progress.history
