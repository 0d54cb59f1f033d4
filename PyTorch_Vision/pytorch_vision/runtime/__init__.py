"""The machine, and nothing about images: devices, processes, signals, files, texts.

``devices``: devices, their precision, random state and memory; ``launch`` starts the ``processes``
that train together; ``interrupts`` defers signals until a step is complete; ``cuda_graphs`` replays
steps; ``files``: atomic writes and locks; ``checks``: dataclasses that check their values;
``terminal`` and ``text``: what people read.

The names below are loaded when they are first used: printing a line needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_vision.runtime.devices import Machine
    from pytorch_vision.runtime.files import CheckpointError, atomic_write
    from pytorch_vision.runtime.launch import start_processes
    from pytorch_vision.runtime.processes import Processes, ProcessLostError

HOMES = {
    "CheckpointError": "files",
    "Machine": "devices",
    "ProcessLostError": "processes",
    "Processes": "processes",
    "atomic_write": "files",
    "start_processes": "launch",
}
__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
