"""Settings of ``make test``: the notebook runs for a short time, each worker has one thread."""

import os

settings = {"S8_DATA": "sample", "S8_EPOCHS": "1", "S8_OUTPUT": "runs/nbval"}
settings["S8_CONV_PADDING"] = "original"  # that of the stored notebook, whose summary is compared
if "PYTEST_XDIST_WORKER" in os.environ:  # of pytest -n: they share the cores, and what they start
    settings["OMP_NUM_THREADS"] = "1"
for setting, value in settings.items():
    os.environ.setdefault(setting, value)
