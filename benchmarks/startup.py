"""From the start of the process to the end of the first training step.

    python benchmarks/startup.py

Beside it, in turn in the same run, a process that only imports torch, which is what none can
do without.
"""

import subprocess
import sys
import time

ROUNDS = 3
PROGRAMS = {
    "import torch": "import torch",
    "first step": """
import torch
from pytorch_vision.data import load_data
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.training import TrainConfig
from pytorch_vision.training.trainer import Trainer
data = load_data("sample")
config = TrainConfig(epochs=1, batch_size=32)
run = Trainer(Processes(make_fabric()), Classifier("ResNet18", data), data, config)
run.step(*next(run.loader.epoch(0)))
float(run.metrics.sums[0])
""",
}


def main() -> None:
    best = dict.fromkeys(PROGRAMS, float("inf"))
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        print(f"{name:12} {seconds:6.2f} s")
    print(f"startup_seconds={best['first step']:.2f} import_seconds={best['import torch']:.2f}")


if __name__ == "__main__":
    main()
