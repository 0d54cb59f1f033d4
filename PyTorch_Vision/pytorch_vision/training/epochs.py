"""The epochs of a run, one after another: train on every batch, test, keep what there is."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from pytorch_vision.data import ImageData
from pytorch_vision.training.checkpoint import Checkpoints
from pytorch_vision.training.evaluate import evaluate_on
from pytorch_vision.training.history import History
from pytorch_vision.training.run import Run

AfterEpoch = Callable[[History], object]
BAR_SECONDS = 0.5  # between two readings of the loss, each of which waits for the device


def train_epochs(
    run: Run,
    kept: Checkpoints,
    data: ImageData,
    after_epoch: AfterEpoch | None,
    interrupted: Callable[[], bool],
) -> None:
    """Train a run to its end, until it is interrupted, or until ``after_epoch`` returns True."""
    while run.progress.epoch < run.config.epochs:
        whole = _train(run, kept, interrupted) and _test(run, data, interrupted)
        last = run.progress.epoch == run.config.epochs
        _, due = run.processes.agree(False, kept.is_due())
        if last or due or not whole:
            kept.save(run)
        if not whole:
            print(
                f"Interrupted in epoch {run.progress.epoch + 1}; the history holds "
                f"{len(run.progress.history.records)} whole epoch(s)."
            )
            return
        if after_epoch is not None and _wants_to_stop(run, after_epoch):
            print(f"Stopped after epoch {run.progress.epoch}, as after_epoch asked for")
            kept.save(run)
            return


def _wants_to_stop(run: Run, after_epoch: AfterEpoch) -> bool:
    history = run.progress.history
    return run.processes.first_does(lambda: after_epoch(history) is True)


def _train(run: Run, kept: Checkpoints, interrupted: Callable[[], bool]) -> bool:
    """Train to the end of the epoch and return True, or False if interrupted before it."""
    run.begin_epoch()
    progress, batches = run.progress, len(run.loader)
    if progress.batch == batches:  # resumed when only the test was missing
        print(progress.bar_line)
        return True
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
            stop, show, save = run.processes.agree(
                interrupted(), now - shown > BAR_SECONDS, kept.is_due()
            )
            last = progress.batch == batches
            if last or show:
                shown = now
                bar.set_description_str(_description(run), refresh=False)
            bar.update()
            if last:
                bar.refresh()
                progress.bar_line = str(bar)
            if stop:
                return False
            if save:
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
    run.share_statistics()
    scale = run.config.scale_in(run.progress.epoch)
    result = evaluate_on(run.processes, run.averaged, data, interrupted, scale)
    if result is None:
        return False
    print(f"{result}\n")
    run.record(result, time.monotonic() - started)
    return True
