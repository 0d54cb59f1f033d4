"""The machine, and nothing about images: devices, processes, signals, files, texts.

``devices``: devices, their precision, random state and memory; ``launch`` starts the ``processes``
that train together; ``interrupts`` defers signals until a step is complete; ``cuda_graphs`` replays
steps; ``files``: atomic writes and locks; ``checks``: dataclasses that check their values;
``terminal`` and ``text``: what people read; ``lazy``: names that are loaded when used.

The names below are loaded when they are first used: printing a line needs no torch.
"""

from typing import TYPE_CHECKING

from pytorch_vision.runtime.lazy import loaded_when_used

if TYPE_CHECKING:
    from pytorch_vision.runtime.devices import Machine
    from pytorch_vision.runtime.files import CheckpointError, atomic_write
    from pytorch_vision.runtime.launch import start_processes
    from pytorch_vision.runtime.processes import Processes, ProcessLostError

HOMES = {
    "CheckpointError": ".files",
    "Machine": ".devices",
    "ProcessLostError": ".processes",
    "Processes": ".processes",
    "atomic_write": ".files",
    "start_processes": ".launch",
}
__all__ = list(HOMES)
__getattr__ = loaded_when_used(__name__, HOMES)
