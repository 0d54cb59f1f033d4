"""Communication between the processes that train one network together, one on each device.

Fabric or torchrun starts them, and DistributedDataParallel averages their gradients. This module
exchanges the rest: a few numbers after every batch, so that all processes stop, save and print
after the same one.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import lightning_fabric
import torch
import torch.distributed as dist
from lightning_fabric.strategies.launchers import subprocess_script

Made = TypeVar("Made")
HEARTBEAT = 1.0  # seconds within which a process must answer after another was lost


def part_of(count: int, rank: int, world_size: int) -> slice:
    """Return a rank's slice of ``count`` items; the slices' sizes differ by 1 at most."""
    return slice(count * rank // world_size, count * (rank + 1) // world_size)


class ProcessLostError(RuntimeError):
    """Another process of the run was lost; the message says which, and how to continue."""


class Processes:
    """This process's rank, and its communication with the run's other processes.

    All processes must call the methods that communicate, in the same order; a single process can
    call them, too. ``fabric`` comes from ``start_processes`` or ``make_fabric``.
    """

    def __init__(self, fabric: lightning_fabric.Fabric) -> None:
        self.fabric, self.rank = fabric, fabric.global_rank
        self.world_size: int = fabric.world_size
        if self.world_size > 1:
            # gloo communicates on the CPU, so it does not wait for a GPU
            self.group: Any = dist.new_group(backend="gloo")
            self.store = next(dist.rendezvous("env://", self.rank, self.world_size))[0]

    @property
    def is_main(self) -> bool:
        """Whether this process prints, draws and writes files."""
        return self.rank == 0

    def gather(self, *numbers: float) -> list[list[float]]:
        """Return each number's values in all processes, in the order of their ranks."""
        if self.world_size == 1:
            return [[number] for number in numbers]
        mine = torch.tensor(numbers, dtype=torch.float64)
        every = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(every, mine, self.group)
        return torch.stack(every, 1).tolist()

    def total(self, *numbers: float) -> list[float]:
        """Return the sum of each number over all processes."""
        return [sum(given) for given in self.gather(*numbers)]

    def agree(self, stop: bool, *decisions: bool) -> tuple[bool, ...]:
        """Return whether any process wants to stop, then the first process's other decisions."""
        stops, *others = self.gather(stop, *decisions)
        return any(stops), *(bool(given[0]) for given in others)

    def on_main(self, work: Callable[[], Made]) -> Made:
        """Call a function in the first process only, and return its result in all processes.

        Raises:
            Exception: the function's own, in all processes.
        """
        if self.world_size == 1:
            return work()
        outcome: list[Any] = [_tried(work) if self.is_main else None]
        dist.broadcast_object_list(outcome, group=self.group)
        made, error = outcome[0]
        if error is not None:
            raise error
        return made

    def local_main_first(self, work: Callable[[], Made]) -> Made:
        """Call a function in one process of each machine, then in the others.

        Raises:
            Exception: the function's own, in all processes, if it raised one in any.
        """
        if self.world_size == 1:
            return work()
        made: Any = None
        for turn in (True, False):
            error: Exception | None = None
            if (self.fabric.local_rank == 0) is turn:
                made, error = _tried(work)
            errors: list[Any] = [None] * self.world_size
            dist.all_gather_object(errors, error, self.group)
            if caught := [error for error in errors if error is not None]:
                raise caught[0]
        return made

    @contextlib.contextmanager
    def explained(self, advice: Callable[[], str]) -> Iterator[None]:
        """Raise a ``ProcessLostError`` in place of a communication error.

        If Fabric started the processes, it may notice the loss first, and end the others with a
        message that names the rank; then ``advice``, on how to continue, is added to that message.
        """

        def advise(record: logging.LogRecord) -> bool:
            record.msg = f"{record.msg} {advice()}"
            return True

        logger = logging.getLogger(subprocess_script.__name__)
        logger.addFilter(advise)
        try:
            yield
        except RuntimeError as error:
            if self.world_size == 1 or not (
                isinstance(error, dist.DistError) or "gloo" in str(error)
            ):
                raise
            lost = ", ".join(map(str, self._lost()))
            raise ProcessLostError(
                f"no heartbeat from rank {lost} of {self.world_size}: it was killed, its machine "
                f"is gone, or it stopped with an error of its own (see above). {advice()}"
            ) from error
        finally:
            logger.removeFilter(advise)

    def _lost(self) -> list[int]:
        """Return the ranks that do not report to the first process's store."""
        ranks = range(self.world_size)
        try:
            self.store.set(f"alive/{self.rank}", "")
            time.sleep(HEARTBEAT)
            lost = [rank for rank in ranks if not self.store.check([f"alive/{rank}"])]
            if self.is_main:
                time.sleep(HEARTBEAT)  # the others read the store meanwhile
        except RuntimeError:  # the store is lost, with the first process
            return [0]
        return lost


def _tried(work: Callable[[], Made]) -> tuple[Made | None, Exception | None]:
    """Return a function's result and None, or None and the error that it raised."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def is_main_process() -> bool:
    """Return whether this process prints and writes files, even before ``Processes`` exists.

    A rank counts only together with WORLD_SIZE, which Fabric and torchrun set: a cluster's
    scheduler also gives ranks to independent runs.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return rank == "0" or int(os.environ.get("WORLD_SIZE") or 1) == 1


@contextlib.contextmanager
def only_main_prints(rank: int) -> Iterator[None]:
    """Discard the standard output of all processes but the first."""
    if rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
