"""Settings of ``make test``: short runs of the notebook, and workers of one thread each."""

import os

settings = {"S8_DATA": "sample", "S8_EPOCHS": "1", "S8_OUTPUT": "runs/nbval"}
if "PYTEST_XDIST_WORKER" in os.environ:  # of pytest -n: they share the cores, and what they start
    settings["OMP_NUM_THREADS"] = "1"
for setting, value in settings.items():
    os.environ.setdefault(setting, value)
