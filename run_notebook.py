"""Execute the notebook into ``runs/``, print its progress, and make an HTML page of it.

    python run_notebook.py

Environment variables set the notebook's settings: ``S8_EPOCHS=2 python run_notebook.py``.
"""

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
# what a training prints: its progress, what an epoch's test gave, and where it runs
TRAINING = re.compile(
    r"Epoch (\d+)/(\d+) |^(Test set: .+)$|^((?:Training on|From the checkpoint|Continuing).+)$",
    re.MULTILINE,
)


class Client(NotebookClient):
    """Executes a notebook, and prints its headings and the test of each epoch."""

    def __init__(self, notebook: nbformat.NotebookNode, sockets: str) -> None:
        # sockets in a private folder, as other users could connect to a port
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        resources = {"metadata": {"path": str(ROOT)}}
        super().__init__(notebook, resources=resources, config=config, record_timing=False)
        self.begun = self.printed = time.monotonic()
        self.epoch = self.epochs = 0

    async def async_execute_cell(
        self, cell: nbformat.NotebookNode, cell_index: int, *arguments: object, **options: object
    ) -> nbformat.NotebookNode:
        """Execute a code cell, or print the headings of a text cell."""
        for heading in re.findall(r"^## (.+)$", cell.source, re.MULTILINE):
            self.print_line(heading)
        return await super().async_execute_cell(cell, cell_index, *arguments, **options)

    def process_message(
        self, msg: dict, cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Handle a message of the kernel; print what it says about device, tests and time."""
        if msg["msg_type"] == "stream":
            for epoch, epochs, test, where in TRAINING.findall(msg["content"]["text"]):
                if epoch:
                    self.epoch, self.epochs = int(epoch), int(epochs)
                elif test:
                    self.print_test(test)
                else:
                    self.print_line(f"   {where}")
        return super().process_message(msg, cell, cell_index)

    def print_test(self, result: str) -> None:
        """Print the result of an epoch, and the time that the others will take at its speed.

        An epoch of less than a second has none: it can be printed again from a checkpoint.
        """
        took, left = time.monotonic() - self.printed, self.epochs - self.epoch
        of = f"epoch {self.epoch}/{self.epochs}: " if self.epoch else ""
        to_go = f", about {clock(took * left)} to go" if left and took >= 1 else ""
        self.print_line(f"   {of}{result}{to_go}")

    def print_line(self, line: str) -> None:
        """Print a line with the time since the start."""
        self.printed = time.monotonic()
        print(f"{clock(self.printed - self.begun):>8}  {line}", flush=True)


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
    client.print_line("done")


if __name__ == "__main__":
    main()
