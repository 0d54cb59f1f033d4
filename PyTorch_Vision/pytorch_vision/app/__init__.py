"""What users call: settings, the command line, and the folder of a run.

``settings`` holds those of the notebook and the command line; ``command_line`` parses the latter
without loading torch, and ``commands`` does the work. ``run_folder`` writes a run, ``compare``
reads several, ``file_predictions`` writes the classes of new pictures, and ``demo`` is a page to
try a classifier on.

The names below are loaded when they are first used: printing ``--help`` needs none of them.
"""

from pytorch_vision.runtime.lazy import loaded_when_used

HOMES = {
    "FinishedRun": ".compare",
    "Output": ".run_folder",
    "RunFolder": ".run_folder",
    "Settings": ".settings",
    "classify_files": ".file_predictions",
    "compare_runs": ".compare",
    "launch_demo": ".demo",
    "read_runs": ".compare",
    "train_into": ".run_folder",
    "write_file_predictions": ".file_predictions",
    "write_submission": ".file_predictions",
}
__all__ = list(HOMES)
__getattr__ = loaded_when_used(__name__, HOMES)
