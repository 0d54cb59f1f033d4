"""New pictures, without labels: their classes, in a table."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from pytorch_vision.data.folder_layout import find_files
from pytorch_vision.data.image_files import read_picture
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.files import free_path, user_path
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.runtime.text import first_line, printable

AT_ONCE = 2**26  # bytes of pictures that are held in memory


@dataclass(frozen=True)
class FilePrediction:
    """What a classifier says of a file; of one that cannot be read, only why.

    Attributes:
        file: its path.
        class_name, probability: the most probable class.
        runner_up, runner_up_probability: the next one.
        problem: why it could not be read, or empty.
    """

    file: str
    class_name: str = ""
    probability: float | None = None
    runner_up: str = ""
    runner_up_probability: float | None = None
    problem: str = ""


# as the table calls the attributes
COLUMNS = ("file", "class", "probability", "runner_up", "runner_up_probability", "problem")


def classify_files(
    classifier: Classifier,
    paths: Iterable[str | os.PathLike],
    machine: Machine | None = None,
) -> Iterator[FilePrediction]:
    """Classify picture files, in order, a batch at a time, and show a bar.

    Args:
        classifier: to ask.
        paths: files, and folders, of which all files are taken, in the folders below too; hidden
            files and those of other programs are not.
        machine: ``Machine()`` if None.

    Raises:
        ValueError: there is no such file or folder, or no file in any.
        MemoryError: there is too little memory.
    """
    files = _files(paths)
    batch_size = max(1, AT_ONCE // (3 * classifier.size[0] * classifier.size[1]))
    with Bar(total=len(files), desc="Classifying", unit=" files", mininterval=0.5) as bar:
        for start in range(0, len(files), batch_size):
            yield from _classified(classifier, files[start : start + batch_size], machine, bar)


def _files(paths: Iterable[str | os.PathLike]) -> list[str]:
    found: list[str] = []
    for path in map(user_path, paths):
        if path.is_dir():
            found += find_files(path)
        elif path.exists():
            found.append(str(path))
        else:
            raise ValueError(f"there is no file and no folder {printable(str(path))}")
    if not found:
        raise ValueError("there are no files in what is to be classified")
    return list(dict.fromkeys(found))


def _classified(
    classifier: Classifier, files: Sequence[str], machine: Machine | None, bar: Bar
) -> Iterator[FilePrediction]:
    images, problems = [], {}
    for file in files:
        try:
            images.append(read_picture(file, classifier.size, classifier.resize).image)
        except (ValueError, OSError) as error:
            problems[file] = first_line(error)
        bar.update()
    answers: Iterator[np.ndarray] = iter(())
    if images:
        answers = iter(classifier.predict(np.stack(images), machine))
    for file in files:
        if file in problems:
            yield FilePrediction(file, problem=problems[file])
        else:
            yield _prediction(file, classifier.class_names, next(answers))


def _prediction(file: str, names: Sequence[str], shares: np.ndarray) -> FilePrediction:
    first, second = [*shares.argsort(kind="stable")[::-1][:2].tolist(), None][:2]
    if second is None:  # a single class
        return FilePrediction(file, names[first], float(shares[first]))
    return FilePrediction(
        file, names[first], float(shares[first]), names[second], float(shares[second])
    )


def write_file_predictions(predictions: Iterable[FilePrediction], path: str | os.PathLike) -> Path:
    """Write a table of predictions as CSV, once all are there, and return where.

    A table of other files is not replaced: of ``predictions.csv``, the next is
    ``predictions-2.csv``.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    files = []
    for one in predictions:
        files.append(printable(one.file))
        values = (f"{v:.6f}" if isinstance(v, float) else v for v in astuple(one)[1:])
        writer.writerow([files[-1], *("" if v is None else v for v in values)])
    path = free_path(user_path(path), lambda there: _files_of(there) == files)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))
    return path


def _files_of(path: Path) -> list[str] | None:
    """Return the files of a table that is there; None if it is none of ours."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if next(rows, None) != list(COLUMNS):
                return None
            return [row[0] for row in rows]
    except (OSError, ValueError, IndexError, csv.Error):
        return None
