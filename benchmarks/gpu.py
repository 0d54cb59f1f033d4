"""The proof on a CUDA GPU: all tests, five benchmarks, whole runs, and a table for docs/results.md.

    make gpu            # one run of 20 epochs
    make gpu SEEDS=5    # five, with mean and standard deviation

Reads CIFAR-10 from ``data``, so that the network is not asked where it is there. Goes on after
whatever fails, and says so in the table. Everything is kept under ``runs/gpu``.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import trials

from pytorch_vision.data import load_data
from pytorch_vision.models import History
from pytorch_vision.runtime.devices import describe_hardware, make_fabric

BENCHMARKS = ("train_step", "muon", "loaders", "evaluate", "startup")
FOLDER = Path("runs/gpu")
# seconds of a run of 20 epochs, which is what we want to stay below
GOALS = {"T4": 390, "H100": 45}

Row = tuple[str, str, str]  # what, figure, command


def work(name: str, *arguments: str) -> tuple[str, float]:
    """Run a program of this Python, show and keep what it prints; return that, and its seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    text = "".join(lines) + (f"failed with status {status}\n" if status else "")
    (FOLDER / f"{name}.txt").write_text(text)
    return text, time.perf_counter() - start


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip("= ")


def tests() -> Row:
    workers = str((os.cpu_count() or 1) // 4 * 2)  # 0: in one process
    arguments = ("-m", "pytest", "-q", "-n", workers, "tests")
    text, seconds = work("tests", *arguments)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", text.strip().rsplit("\n", 2)[-1])
    figure = f"{', '.join(counts) or last_line(text)} in {seconds:.0f} s"
    return "all tests", figure, f"python {' '.join(arguments)}"


def benchmark(name: str) -> Row:
    text, _ = work(name, f"benchmarks/{name}.py")
    return name, last_line(text), f"python benchmarks/{name}.py"


def run(*settings: str) -> tuple[Row, list[float]]:
    """Train with seed 0; return a row, and the test accuracy after the last epoch."""
    output = FOLDER / "seed0"
    arguments = ("-m", "pytorch_vision", "train", *settings)
    text, whole = work("seed0", *arguments, "--output", str(output), "--overwrite", "true")
    command = f"python {' '.join(arguments)}"
    if "failed with status" in text:
        return ("a whole run", last_line(text), command), []
    history = History.from_csv(output / "plots" / "history.csv")
    training, testing = (history.column(f"{part}_seconds") for part in ("train", "test"))
    accuracy = history.records[-1].test_accuracy
    figure = (
        f"{accuracy:.2f} % after {len(history.records)} epochs, {sum(training) + sum(testing):.1f} "
        f"s of training and testing; median epoch {statistics.median(training):.2f} + "
        f"{statistics.median(testing):.2f} s; {whole:.0f} s with start, pictures and maps"
    )
    return ("a whole run", figure, command), [accuracy]


def more_seeds(first: list[float], seeds: int) -> Row:
    """Train with the seeds from 1 on; return a row of all, with that of the whole run."""
    others = [f"seed={seed}" for seed in range(1, seeds)]
    accuracies = first + trials.main(load_data("full"), others)
    each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
    mean = trials.describe(accuracies) if len(accuracies) > 1 else "too few for a mean"
    figure = f"{each}: {mean}"
    return "the same, and other seeds", figure, f"python benchmarks/trials.py {' '.join(others)}"


def table(rows: list[Row]) -> str:
    lines = ["| what | figure | command |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {what} | {figure} | `{how}` |" for what, figure, how in rows])


def main(seeds: int, *settings: str) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = [tests(), *(benchmark(name) for name in BENCHMARKS)]
    row, accuracy = run(*settings)
    rows.append(row)
    if seeds > 1:
        rows.append(more_seeds(accuracy, seeds))
    hardware = describe_hardware(make_fabric())
    goals = ", ".join(f"{seconds} s on a {name}" for name, seconds in GOALS.items())
    return (
        f"On {hardware}, torch {torch.__version__}. Goals: 20 epochs within {goals}; a step at "
        f"half of the matrix rate (matmul_fraction 0.50) or better.\n\n{table(rows)}\n"
    )


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("make gpu needs a CUDA GPU, and torch sees none here. Without one: make test")
    page = main(int(sys.argv[1]), "--data", "full")
    (FOLDER / "table.md").write_text(page)
    print(f"\n{page}\nAlso in {FOLDER / 'table.md'}")
