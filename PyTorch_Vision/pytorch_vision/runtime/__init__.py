"""The machine, and nothing about images: devices, processes, signals, files.

``devices`` says on what work is done, ``launch`` starts ``processes`` that do it together;
``interrupts`` wait until a step is whole, ``cuda_graphs`` repeat it without the host; ``files`` are
whole or not there, and ``checks`` make dataclasses that refuse wrong values.
"""

from pytorch_vision.runtime.devices import Machine
from pytorch_vision.runtime.files import CheckpointError, atomic_write
from pytorch_vision.runtime.launch import start_processes
from pytorch_vision.runtime.processes import Processes, ProcessLostError

__all__ = [
    "CheckpointError",
    "Machine",
    "ProcessLostError",
    "Processes",
    "atomic_write",
    "start_processes",
]
