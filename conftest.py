"""Settings of the notebook under `pytest --nbval-lax S8_ResNet18.ipynb`: a short run on a CPU."""

import os

for setting, value in {
    "S8_DATA": "sample",
    "S8_EPOCHS": "1",
    "S8_OUTPUT": "runs/nbval",
}.items():
    os.environ.setdefault(setting, value)
