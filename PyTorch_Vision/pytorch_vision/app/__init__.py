"""Whoever calls from outside: settings, the command line, and the folder of a run.

``settings`` are what the notebook and the command line can be told, ``commands`` is the latter;
``run_folder`` (with ``manifest``) is where a run is written, and ``compare`` reads several again.
"""

from pytorch_vision.app.compare import FinishedRun, compare_runs
from pytorch_vision.app.file_predictions import classify_files, write_file_predictions
from pytorch_vision.app.run_folder import Output, train_into
from pytorch_vision.app.settings import Settings

__all__ = [
    "FinishedRun",
    "Output",
    "Settings",
    "classify_files",
    "compare_runs",
    "train_into",
    "write_file_predictions",
]
