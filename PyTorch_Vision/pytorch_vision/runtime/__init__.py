"""The machine, and nothing about images: devices, processes, signals, files, texts.

``devices``: devices, their precision, random state and memory; ``launch`` starts the ``processes``
that train together; ``interrupts`` defers signals until a step is complete; ``cuda_graphs`` replays
steps; ``files``: atomic writes and locks; ``checks``: dataclasses that check their values;
``terminal`` and ``text``: what people read.
"""

from pytorch_vision.runtime.devices import Machine
from pytorch_vision.runtime.files import CheckpointError, atomic_write
from pytorch_vision.runtime.launch import start_processes
from pytorch_vision.runtime.processes import Processes, ProcessLostError
