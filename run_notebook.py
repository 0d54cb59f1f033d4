"""Execute the notebook into ``runs/``, print its progress, and make an HTML page of it.

    python run_notebook.py

Environment variables set the notebook's settings: ``S8_EPOCHS=2 python run_notebook.py``.
"""

import math
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

ROOT = Path(__file__).parent
NOTEBOOK = ROOT / "S8_ResNet18.ipynb"
RUNS = ROOT / "runs"
# on a narrow screen, printed lines scroll instead of wrapping
STYLE = "<style>.jp-OutputArea-output pre { white-space: pre; overflow-x: auto; }</style></head>"
SAID = "Training on|From the checkpoint|Going on|Test set:"
TRAINING = re.compile(rf"Epoch (\d+)/(\d+) |^((?:{SAID}).*)$", re.MULTILINE)


class Client(NotebookClient):
    """Executes a notebook, and prints its headings and the test of each epoch."""

    def __init__(self, notebook: nbformat.NotebookNode, sockets: str) -> None:
        # sockets in a private folder, as other users could connect to a port
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        resources = {"metadata": {"path": str(ROOT)}}
        super().__init__(notebook, resources=resources, config=config, record_timing=False)
        self.begun = self.training = time.monotonic()
        # the epoch in training and their number; the epochs that an earlier run has trained
        self.epoch, self.before = (0, 0), 0.0

    async def async_execute_cell(
        self, cell: nbformat.NotebookNode, cell_index: int, *arguments: object, **options: object
    ) -> nbformat.NotebookNode:
        """Execute a code cell, or print the headings of a text cell."""
        for heading in re.findall(r"^## (.+)$", cell.source, re.MULTILINE):
            self.tell(heading)
        return await super().async_execute_cell(cell, cell_index, *arguments, **options)

    def process_message(
        self, msg: dict, cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Handle a message of the kernel; print what it says about device, tests and time."""
        if msg["msg_type"] == "stream":
            for epoch, epochs, line in TRAINING.findall(msg["content"]["text"]):
                if epoch:
                    self.epoch = int(epoch), int(epochs)
                else:
                    self.tell_training(line)
        return super().process_message(msg, cell, cell_index)

    def tell_training(self, line: str) -> None:
        """Print a line of the training, and the time that the rest will take."""
        epoch, epochs = self.epoch
        if line.startswith("From the checkpoint"):
            self.before = math.inf  # its epochs are printed again: they say nothing about time
        elif line.startswith("Going on"):
            self.training, self.before = time.monotonic(), epoch
        elif line.startswith("Training on"):
            self.training, self.before, self.epoch = time.monotonic(), 0, (0, 0)
        elif epoch:
            line = f"epoch {epoch}/{epochs}: {line}"
            if self.before < epoch < epochs:
                passed = time.monotonic() - self.training
                left = passed / (epoch - self.before) * (epochs - epoch)
                line += f", about {clock(left)} to go"
        self.tell(f"   {line}")

    def tell(self, line: str) -> None:
        """Print a line with the time since the start."""
        print(f"{clock(time.monotonic() - self.begun):>8}  {line}", flush=True)


def clock(seconds: float) -> str:
    """Return a time in minutes and seconds, such as 2:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def main() -> None:
    """Execute the notebook, then write it and its page."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:
        client = Client(notebook, sockets)
        try:
            client.execute()
        except CellExecutionError as error:
            sys.exit(str(error))
    # keep only the last line of each progress bar
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(notebook, {})
    RUNS.mkdir(exist_ok=True)
    nbformat.write(notebook, RUNS / NOTEBOOK.name)
    page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": NOTEBOOK.stem}})
    (RUNS / f"{NOTEBOOK.stem}.html").write_text(page.replace("</head>", STYLE, 1), encoding="utf-8")
    client.tell("done")


if __name__ == "__main__":
    main()
