"""Execute the notebook into ``runs/``, saying how far it has come, and make a page of it.

    python run_notebook.py

Settings of the notebook are environment variables: ``S8_EPOCHS=2 python run_notebook.py``.
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
# on a narrow screen, what was printed scrolls in place of wrapping
STYLE = "<style>.jp-OutputArea-output pre { white-space: pre; overflow-x: auto; }</style></head>"
SAID = "Training on|From the checkpoint|Going on|Test set:"
TRAINING = re.compile(rf"Epoch (\d+)/(\d+) |^((?:{SAID}).*)$", re.MULTILINE)


class Client(NotebookClient):
    """Executes a notebook, and prints each heading that it comes to and each epoch's test."""

    def __init__(self, notebook: nbformat.NotebookNode, sockets: str) -> None:
        # the kernel is talked to over sockets in a folder of this user's own
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        resources = {"metadata": {"path": str(ROOT)}}
        super().__init__(notebook, resources=resources, config=config, record_timing=False)
        self.begun = self.training = time.monotonic()
        self.epoch, self.before = (0, 0), 0.0  # epochs trained before, by an earlier run

    async def async_execute_cell(
        self, cell: nbformat.NotebookNode, cell_index: int, *arguments: object, **options: object
    ) -> nbformat.NotebookNode:
        """Execute a cell, or pass over a text, whose heading is printed."""
        for heading in re.findall(r"^## (.+)$", cell.source, re.MULTILINE):
            self.tell(heading)
        return await super().async_execute_cell(cell, cell_index, *arguments, **options)

    def process_message(
        self, msg: dict, cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Take a message of the kernel; print what it says of device, tests and time left."""
        if msg["msg_type"] == "stream":
            for epoch, epochs, line in TRAINING.findall(msg["content"]["text"]):
                if epoch:
                    self.epoch = int(epoch), int(epochs)
                else:
                    self.tell_training(line)
        return super().process_message(msg, cell, cell_index)

    def tell_training(self, line: str) -> None:
        """Print a line of the training, and how long the rest of it will take."""
        epoch, epochs = self.epoch
        if line.startswith("From the checkpoint"):
            self.before = math.inf  # what it printed then says nothing of the time left now
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
        """Print a line after the time that has passed."""
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
    # of each progress bar only its last line stays
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(notebook, {})
    RUNS.mkdir(exist_ok=True)
    nbformat.write(notebook, RUNS / NOTEBOOK.name)
    page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": NOTEBOOK.stem}})
    (RUNS / f"{NOTEBOOK.stem}.html").write_text(page.replace("</head>", STYLE, 1), encoding="utf-8")
    client.tell("done")


if __name__ == "__main__":
    main()
