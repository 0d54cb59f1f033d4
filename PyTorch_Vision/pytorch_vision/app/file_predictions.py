"""Predicted classes of pictures without labels, written as a table or a competition submission."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pytorch_vision.app.run_folder import RunFolder
from pytorch_vision.data.folder_layout import find_files
from pytorch_vision.data.image_cache import Request, read_all
from pytorch_vision.data.image_files import pictures_of
from pytorch_vision.data.tables import FileNames, read_table
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.files import free_path, user_path, write_csv
from pytorch_vision.runtime.terminal import Bar, say
from pytorch_vision.runtime.text import LISTED, counted, first_line, listed, printable

AT_ONCE = 2**26  # bytes of pictures in memory at the same time
COLUMNS = ["file", "class", "probability", "runner_up", "runner_up_probability", "problem"]


@dataclass(frozen=True)
class FilePrediction:
    """What a classifier predicts for a file, or why the file cannot be read.

    Attributes:
        file: its path.
        class_name, probability: the most probable class.
        runner_up, runner_up_probability: the second most probable class.
        problem: why the file cannot be read, or empty.
        probabilities: float32 (C,), by label; None if the file cannot be read.
    """

    file: str
    class_name: str = ""
    probability: float | None = None
    runner_up: str = ""
    runner_up_probability: float | None = None
    problem: str = ""
    probabilities: np.ndarray | None = field(default=None, compare=False)


def classify_files(
    classifier: Classifier | Sequence[Classifier],
    paths: Iterable[str | os.PathLike],
    machine: Machine | None = None,
) -> Iterator[FilePrediction]:
    """Yield the predicted classes of picture files, in order, a batch at a time; show a bar.

    Args:
        classifier: one, or several whose probabilities are averaged.
        paths: files and folders; of a folder, the files at any depth are classified, except hidden
            ones and those of other programs.
        machine: ``Machine()`` if None.

    Raises:
        ValueError: a path does not exist, the folders have no files, or the classifiers have
            different classes.
        MemoryError: there is too little memory.
    """
    several = list(classifier) if isinstance(classifier, Sequence) else [classifier]
    files, names = _files(paths), several[0].class_names
    for other in several:
        if other.class_names != names:
            raise ValueError(
                f"{several[0]} has the classes {', '.join(names)}, and {other} has "
                f"{', '.join(other.class_names)}: only the same classes can be averaged"
            )
    batch_size = max(1, AT_ONCE // max(3 * one.size[0] * one.size[1] for one in several))
    total = len(several) * len(files)
    with Bar(total=total, desc="Classifying", unit=" files", mininterval=0.5) as bar:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            answers = [_answers(one, batch, machine, bar) for one in several]
            for file, *of_file in zip(batch, *answers, strict=True):
                problem = next((one for one in of_file if isinstance(one, str)), None)
                if problem is not None:
                    yield FilePrediction(file, problem=problem)
                else:
                    yield _predicted(file, names, np.mean(of_file, axis=0))


def _answers(
    classifier: Classifier, files: list[str], machine: Machine | None, bar: Bar
) -> list[np.ndarray | str]:
    """Return the probabilities of each file, or why it cannot be read."""
    request = Request(files, classifier.size, classifier.resize, "", classifier.scales)
    read = []
    for found in read_all(files, request):
        read.append(found)
        bar.update()
    images = [one.image for one in read if not isinstance(one, Exception)]
    shares = iter(classifier.predict(np.stack(images), machine) if images else ())
    return [first_line(one) if isinstance(one, Exception) else next(shares) for one in read]


def _files(paths: Iterable[str | os.PathLike]) -> list[str]:
    found: list[str] = []
    for path in map(user_path, paths):
        if not path.exists():
            raise ValueError(f"there is no file or folder {printable(str(path))}")
        found += files_of(path)
    if not found:
        raise ValueError("there are no files to classify in these folders")
    return list(dict.fromkeys(found))


def files_of(path: Path) -> list[str]:
    """Return the pictures in a folder, at any depth; or the path alone if it is no folder."""
    return pictures_of(find_files(path)) if path.is_dir() else [str(path)]


def _predicted(file: str, names: Sequence[str], probabilities: np.ndarray) -> FilePrediction:
    likely = np.argsort(-probabilities, kind="stable")[:2]
    best = [(names[label], float(probabilities[label])) for label in likely]
    (first, share), (second, other) = [*best, ("", None)][:2]  # a single class has no runner-up
    return FilePrediction(file, first, share, second, other, probabilities=probabilities)


def write_file_predictions(
    predictions: Iterable[FilePrediction],
    path: str | os.PathLike,
    class_names: Sequence[str] = (),
    *,
    ids: bool = False,
    mark: bool = False,
) -> Path:
    """Write predictions as CSV, and return the path.

    A table of other files is not replaced: instead of ``predictions.csv``, the new one is then
    ``predictions-2.csv``.

    Args:
        predictions: what ``classify_files`` returned.
        path: the file.
        class_names: the classifier's, to add a column with the probability of each class.
        ids: name the files without folder and suffix, in a column "id" instead of "file".
        mark: begin with a byte order mark, as ``write_csv`` does.

    Raises:
        ValueError: ``ids`` is set, and two files have the same id.
        OSError: the table cannot be written.
    """
    rows = list(predictions)
    try:
        names = _ids(rows) if ids else [one.file for one in rows]
    except ValueError as error:
        kept = write_file_predictions(rows, path, class_names, mark=mark)
        raise ValueError(f"{error}; with whole names, the predictions are in {kept}") from None
    header = ["id" if ids else COLUMNS[0], *COLUMNS[1:], *class_names]
    unread = [None] * len(class_names)
    table = []
    for name, one in zip(names, rows, strict=True):
        best = (one.class_name, one.probability, one.runner_up, one.runner_up_probability)
        shares = unread if one.probabilities is None else one.probabilities[: len(class_names)]
        table.append([printable(name), *map(_field, [*best, one.problem, *shares])])
    return _write(path, header, table, mark)


def write_submission(
    predictions: Iterable[FilePrediction],
    class_names: Sequence[str],
    like: str | os.PathLike,
    path: str | os.PathLike,
    *,
    mark: bool = False,
) -> Path:
    """Write predictions in the columns and rows of a competition's sample submission.

    Its first column holds the ids: file names with or without folder and suffix, as
    ``tables.FileNames`` explains. The other columns are named after classes and get their
    probabilities; or a single column with another name gets the predicted class.

    Args:
        predictions: what ``classify_files`` returned; it starts only once the sample is known to
            be one.
        class_names: the classifier's.
        like: the sample submission, a table with a header, as ``tables.read_table`` reads it.
        path: the file; a table of other rows is not replaced.
        mark: begin with a byte order mark, as ``write_csv`` does.

    Raises:
        ValueError: the sample is no such table, or ids have no readable picture; the message names
            them, and a table beside ``path`` with the predictions.
        OSError: the table cannot be written.
    """
    header, labels, rows = _read_sample(like, class_names)
    every = {one.file: one for one in predictions}
    ids = [row[0] for row in rows]
    named = [[every[file] for file in files] for files in _files_of(ids, [*every])]
    readable = [[one for one in some if not one.problem] for some in named]
    if missing := [number for number, some in enumerate(readable) if len(some) != 1]:
        texts = [
            printable(ids[number])
            + "".join(f" ({printable(one.problem)})" for one in named[number] if one.problem)
            for number in missing[:LISTED]
        ]
        beside = RunFolder(user_path(path).parent).predictions
        kept = write_file_predictions(every.values(), beside, class_names, mark=mark)
        raise ValueError(
            f"{len(missing):,} of {len(ids):,} ids in {like} have no picture that could be read, "
            f"or several, such as {', '.join(texts)}; the predictions are in {kept}"
        )
    if not labels:
        say(f"{header[1]} gets the predicted class; named after a class, it gets its probability")
    found = {one.file for some in readable for one in some}
    if unused := sum(not one.problem for one in every.values()) - len(found):
        say(f"Left out, without a row in {like}: {counted(unused, 'picture')}")
    table = []
    for name, (one,) in zip(ids, readable, strict=True):
        shares = () if one.probabilities is None else one.probabilities[labels]
        table.append([name, *(map(_field, shares) if labels else [one.class_name])])
    return _write(path, header, table, mark)


def _files_of(ids: list[str], files: list[str]) -> list[list[str]]:
    """Return the files that each id names, by path from the folder that holds all, or by name."""
    # of characters; cut at its last slash
    above = os.path.commonprefix([os.path.abspath(file) for file in files])  # noqa: RUF071
    _, *found = FileNames(files, [Path(os.path.dirname(above))]).named_by(["", *ids])
    return found


def _read_sample(
    like: str | os.PathLike, class_names: Sequence[str]
) -> tuple[list[str], list[int], list[list[str]]]:
    """Return a sample submission's header, the labels of its columns, and its rows.

    There are no labels if its only column after the ids is for the predicted class.

    Raises:
        ValueError: it is no such table, or its columns are no classes.
    """
    like = user_path(like)
    if not like.exists():
        raise ValueError(f"there is no sample submission {printable(str(like))}")
    header, *rows = read_table(like)
    if not rows:
        raise ValueError(
            f"{printable(str(like))} is not a sample submission: expected a CSV file with a "
            "header, a column of ids and a column for each class or for the predicted one"
        )
    unknown = [column for column in header[1:] if column not in class_names]
    if unknown and len(header) > 2:
        raise ValueError(
            f"{like} has columns that are no classes ({listed(unknown)}), expected an id and a "
            f"column for each class ({listed(class_names)}), or an id and one column for the "
            "predicted class"
        )
    labels = [] if unknown else [class_names.index(column) for column in header[1:]]
    return header, labels, rows


def _ids(predictions: Iterable[FilePrediction]) -> list[str]:
    """Return the files' names without folder and suffix.

    Raises:
        ValueError: two files have the same.
    """
    found: dict[str, FilePrediction] = {}
    for one in predictions:
        if (other := found.setdefault(Path(one.file).stem, one)) is not one:
            raise ValueError(
                f"{printable(other.file)} and {printable(one.file)} have the same id: without "
                "folder and suffix, names must be unique"
            )
    return list(found)


def _field(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, (float, np.floating)) else value


def _write(path: str | os.PathLike, header: list[str], rows: list[list], mark: bool) -> Path:
    """Write a table at a free path, or in place of one with the same header and first column."""
    keys = [header, *([row[0]] for row in rows)]

    def is_the_same(existing: Path) -> bool:
        try:
            with open(existing, encoding="utf-8-sig", newline="") as file:
                first, *others = csv.reader(file)
        except (OSError, ValueError, csv.Error):  # no table
            return False
        return [first, *(row[:1] for row in others)] == keys

    path = free_path(user_path(path), is_the_same)
    write_csv(path, header, rows, mark)
    return path
