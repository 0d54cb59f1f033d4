"""Find the classes of a folder of pictures, its train and test splits, and the files of each.

Names alone decide. An ambiguous folder is refused, with an error that names it, and every skipped
file or folder is reported: no class and no split is left out silently.
"""

import errno
import os
import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pytorch_vision.data.image_files import pictures_of
from pytorch_vision.runtime.files import RUN_MANIFEST
from pytorch_vision.runtime.terminal import Bar, say
from pytorch_vision.runtime.text import counted, listed, printable

# folders and files of operating systems and network drives, in lower case
HELPERS = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
# a word that names a split, alone or with the usual additions, as in training_set or val2017
SPLIT_NAME = re.compile(
    r"(?<![^\W_])(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)"
    r"|(?P<val>val(?:id(?:ation)?)?|dev|eval(?:uation)?))"
    r"[\W_]*(?:data|set|images|pictures|split)*(?![^\W\d_])[\W\d_]*"
)

LeftOut = dict[str, list[str]]  # skipped files and folders, by reason
# takes the path of a folder and its pictures; returns the class of each picture that has one
Labeller = Callable[[str, list[str]], dict[str, str]]
# takes a folder and the classes that are known; returns the files of each class
ClassesOf = Callable[["Folder", tuple[str, ...]], dict[str, list[str]]]


@dataclass
class Folder:
    """A folder with all its relevant files, at any depth."""

    path: str
    all_files: list[str]

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def __str__(self) -> str:
        return printable(self.path)

    @cached_property
    def folders(self) -> list["Folder"]:
        """The folders directly in it that have files, sorted by name."""
        below: dict[str, list[str]] = defaultdict(list)
        for file in self.all_files:
            name, *deeper = file[len(self.path) :].lstrip(os.sep).split(os.sep, 1)
            if deeper:
                below[os.path.join(self.path, name)].append(file)
        return [Folder(path, files) for path, files in sorted(below.items())]

    @cached_property
    def used(self) -> list["Folder"]:
        """The folders directly in it that have pictures."""
        return [one for one in self.folders if pictures_of(one.all_files)]

    @property
    def pictures(self) -> list[str]:
        """The pictures directly in it."""
        return pictures_of([file for file in self.all_files if os.path.dirname(file) == self.path])


@dataclass
class Split:
    """A training or test folder, and the files of each class in it."""

    folder: str
    classes: dict[str, list[str]]


@dataclass
class Layout:
    """The classes and splits of a folder.

    Attributes:
        class_names: in alphabetical order, or those that were known before.
        train, test: the splits. Without a train split, ``test`` holds all pictures.
        has_splits: whether the folder itself has a test split.
    """

    class_names: tuple[str, ...]
    train: Split | None
    test: Split
    has_splits: bool


def find_layout(
    path: Path, known: tuple[str, ...], left_out: LeftOut, labeller: Labeller | None = None
) -> Layout:
    """Find the classes and splits of a folder.

    Args:
        path: the folder.
        known: the classes of a network that is to be tested on it; the folder may have only some
            of them, and no train split.
        left_out: a defaultdict of lists, to which every skipped file or folder is added, even if
            the folder is refused.
        labeller: returns the class of each picture; default: the folder in which a picture lies.

    Raises:
        ValueError: the layout is unknown or ambiguous; the message names the folder, and says what
            was expected.
    """
    top = _scan(path, left_out)
    whole = folder = _descended(top, known)
    if labeller is None:
        classes_of: ClassesOf = partial(_classes, left_out=left_out)
        splits = _splits(folder, known)
    else:
        whole, classes_of = top, _labelled(top, labeller, left_out)
        splits = _labelled_splits(folder, classes_of)
    if not splits:
        split = Split(str(whole), classes_of(whole, known))
        return Layout(_class_names(split, known), None, split, has_splits=False)
    train, names = None, known
    if "train" in splits:
        (one,) = splits["train"]
        train = Split(str(one), classes_of(one, known))
        names = _class_names(train, known)
    test = _test_split(folder, splits, names, classes_of, left_out)
    found = [one for folders in splits.values() for one in folders]
    left_out["not in one of the splits"] += [str(one) for one in folder.used if one not in found]
    return Layout(names, train, test, has_splits=True)


def find_files(path: Path) -> list[str]:
    """Return all files below a folder, except those of other programs and of our runs.

    Prints which were left out, and why.
    """
    left_out: LeftOut = defaultdict(list)
    files = _scan(path, left_out).all_files
    tell_left_out(left_out, path)
    return files


def tell_left_out(left_out: LeftOut, folder: Path) -> None:
    """Print which files and folders were left out, grouped by reason."""
    for reason, paths in sorted(left_out.items()):
        if paths:
            say(f"Left out, {reason}: {listed([inside(one, folder) for one in paths])}")


def inside(file: str, path: Path) -> str:
    """Return a file's path relative to a folder around it."""
    return file.removeprefix(f"{printable(str(path))}{os.sep}")


def _scan(path: Path, left_out: LeftOut) -> Folder:
    """List all files below a folder, reading each real folder once, as links can form cycles."""
    files, ahead, links, seen = list[str](), deque([str(path)]), deque[str](), set[str]()
    title = f"Looking through {printable(path.resolve().name)}"
    with Bar(desc=title, unit=" folders", leave=False) as bar:
        while ahead or links:
            # links come last, so that a class is read under its own name
            place = ahead.popleft() if ahead else links.popleft()
            if (real := os.path.realpath(place)) in seen:
                left_out["links to folders that were already read"].append(printable(place))
                continue
            seen.add(real)
            entries = _entries(place, left_out)
            if place != str(path) and any(entry.name == RUN_MANIFEST for entry in entries):
                left_out["written by a run of this library"].append(printable(place))
                continue
            if not entries:
                left_out["folders without any picture"].append(printable(place))
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.path)
                else:
                    (links if entry.is_symlink() else ahead).append(entry.path)
            bar.update()
    return Folder(str(path), sorted(files, key=os.path.split))


def _entries(place: str, left_out: LeftOut) -> list[os.DirEntry]:
    """Return the relevant files and folders directly in a folder, sorted by name."""
    try:
        found = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOENT):
            raise  # else a network drive that does not answer would lose a class
        left_out[f"cannot be opened ({error.strerror})"].append(printable(place))
        return []
    kept = []
    for entry in found:
        if entry.name.startswith(".") or entry.name.casefold() in HELPERS or entry.name[-1] == "~":
            left_out["hidden, or another program's"].append(printable(entry.path))
        elif os.path.isfile(entry.path) or os.path.isdir(entry.path):
            kept.append(entry)
        else:
            left_out["not files, or broken links"].append(printable(entry.path))
    return kept


def _descended(folder: Folder, known: tuple[str, ...], in_split: bool = False) -> Folder:
    """Descend through lone folders, and return the one that holds the classes or splits.

    Within a split there are no other splits: train/train holds the classes.
    """
    while len(folder.used) == 1 and folder.used[0].used and folder.used[0].name not in known:
        if not in_split and _split_name(folder.used[0]):
            return folder
        (folder,) = folder.used
    return folder


def _parsed(name: str) -> tuple[str, str]:
    """Return which split a name stands for, if any, and the rest of the name.

    "training_set" is ("train", ""), "seg_test" is ("test", "seg_"), and "cat" is ("", "cat").
    """
    name = name.casefold()
    found = SPLIT_NAME.search(name)
    if found is None:
        return "", name
    return str(found.lastgroup), name[: found.start()] + name[found.end() :]


def _split_name(folder: Folder) -> str:
    """Return the split that a folder's name stands for, or an empty string."""
    split, rest = _parsed(folder.name)
    return "" if rest else split


def _splits(folder: Folder, known: tuple[str, ...]) -> dict[str, list[Folder]]:
    """Return the folders of each split; none if the folder holds the classes themselves.

    Raises:
        ValueError: a name is ambiguous.
    """
    alike: dict[str, dict[str, list[Folder]]] = defaultdict(lambda: defaultdict(list))
    for one in folder.folders:
        split, rest = _parsed(one.name)
        if split and one.name not in known and (one in folder.used or not rest):
            alike[rest][split].append(one)
    splits = alike.pop("", {})
    if len(splits.get("train", ())) > 1:
        names = ", ".join(one.name for one in splits["train"])
        raise ValueError(f"{folder} has several folders to train on ({names}): keep one of them")
    for one in splits.get("train", ()):
        if one.pictures and not one.used and not all(map(_split_name, folder.used)):
            raise ValueError(_class_or_split(folder, one))
    if "train" in splits or (known and splits):
        return splits
    if "test" in splits:
        raise ValueError(_class_or_split(folder, splits["test"][0]))
    for by_split in alike.values():
        if "train" in by_split and len(by_split) > 1:
            names = ", ".join(sorted(one.name for folders in by_split.values() for one in folders))
            raise ValueError(
                f"{folder} has folders called {names}: if they are for training and testing, call "
                "them train and test; if they are classes, give them other names"
            )
    inside = [{_split_name(one) for one in its_class.used} for its_class in folder.used]
    if inside and all("train" in names and len(names) > 1 and all(names) for names in inside):
        raise ValueError(
            f"{folder.used[0]} has folders to train and to test on inside a class, expected "
            "train/<class>/... and test/<class>/...: move them, or set labels to level:2, which "
            "takes all of them together"
        )
    return {}  # "valid" alone is a class: "invalid" may be beside it


def _class_or_split(folder: Folder, split: Folder) -> str:
    others = [one.name for one in folder.used if one is not split][:3]
    beside = f" beside {', '.join(map(printable, others))}" if others else ""
    return (
        f"{folder} has a folder {split.name!r}{beside}: if that is a class, give it another name, "
        f"such as {split.name + ' class'!r}; if not, expected train/<class>/... and "
        "test/<class>/..., or only <class>/..."
    )


def _classes(split: Folder, known: tuple[str, ...], left_out: LeftOut) -> dict[str, list[str]]:
    """Return the files of each class in a folder; each of its folders with pictures is a class.

    Raises:
        ValueError: there is no class, or the folder contains a copy of itself.
    """
    folder = _descended(split, known, in_split=True)
    names = {one.name for one in folder.used}
    copies = [one for one in folder.used if len(names & {below.name for below in one.used}) > 1]
    if len(copies) == 1:  # if there are several, classes and subfolders may just share names
        raise ValueError(
            f"{copies[0]} looks like a copy of {folder} inside itself, with folders of the same "
            "names: remove it"
        )
    classes: dict[str, list[str]] = defaultdict(list)
    for one in folder.used:
        classes[class_name(one.name)] += one.all_files
    if not classes:
        raise ValueError(
            f"{folder} has no folders of pictures, expected one for each class"
            + _what_it_has(folder)
        )
    used = {one.path for one in folder.used}
    left_out["folders without any picture"] += [
        str(one) for one in folder.folders if one.path not in used
    ]
    left_out["pictures beside the folders of the classes"] += map(printable, folder.pictures)
    return dict(classes)


def class_name(text: str) -> str:
    """Return a class name in normal form: é is one character, whichever system wrote it."""
    return unicodedata.normalize("NFC", printable(text))


def _what_it_has(folder: Folder) -> str:
    """Return the end of a message: what a folder without classes has instead."""
    if folder.pictures:
        return (
            f": its {len(folder.pictures):,} pictures lie directly in it. If a table or the file "
            "names give their classes, set labels to that"
        )
    kinds = Counter(os.path.splitext(file)[1].lower() or "no ending" for file in folder.all_files)
    listed = ", ".join(f"{printable(kind)} {count:,}" for kind, count in kinds.most_common(3))
    return listed and f": its files are not pictures ({listed})"


def _class_names(split: Split, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes by label: the known ones, or else those found, in alphabetical order.

    Raises:
        ValueError: a class is not a known one, or there are fewer than two.
    """
    found = sorted(split.classes)
    unknown = [name for name in found if name not in known]
    if known and unknown:
        raise ValueError(
            f"{split.folder} has classes ({', '.join(unknown)}) that the network does not know "
            f"({', '.join(known)})"
        )
    if len(found) < 2 and not known:
        has = f"only one class, {found[0]!r}" if found else "no picture with a class"
        raise ValueError(
            f"{split.folder} has {has}: expected two classes or more, each a folder with its "
            "pictures, or given by labels: a table, or the file names"
        )
    return known or tuple(found)


def _test_split(
    folder: Folder,
    splits: dict[str, list[Folder]],
    names: tuple[str, ...],
    classes_of: ClassesOf,
    left_out: LeftOut,
) -> Split:
    """Return the split to test on: test, or val if there is no test or it has no labels.

    Raises:
        ValueError: there is none, or it has unknown classes.
    """
    train = splits["train"][0] if "train" in splits else "the weights"
    refused: dict[str, str] = {}  # why each folder was not taken
    candidates = [*splits.get("test", ()), *splits.get("val", ())]
    for number, one in enumerate(candidates, 1):
        try:
            split = Split(str(one), classes_of(one, names))
        except ValueError as error:
            refused[str(one)] = str(error)
            continue
        unknown = sorted(split.classes.keys() - set(names))
        if not unknown:
            left_out["without labels, so not tested on"] += refused
            left_out[f"not read, as {one.name} is tested on"] += map(str, candidates[number:])
            return split
        refused[str(one)] = f"{one} has classes that {train} does not have: {', '.join(unknown)}"
        if len(unknown) < len(split.classes):  # some are known, so it is labelled
            break
    if not refused:
        raise ValueError(
            f"{folder} has a training folder, but no test folder: add one called test or val, or "
            f"put the classes into {folder} itself, to hold out a share of them"
        )
    advice = f". To hold out a share of {train} instead, load only that folder"
    raise ValueError(list(refused.values())[-1] + (advice if "train" in splits else ""))


def _labelled(top: Folder, labeller: Labeller, left_out: LeftOut) -> ClassesOf:
    """Return a function that maps a folder to its files by class, as a labeller gives them.

    Raises:
        ValueError: no picture has a class.
    """
    pictures = pictures_of(top.all_files)
    label = labeller(top.path, pictures)
    left_out["pictures without a label"] += [printable(one) for one in pictures if one not in label]
    if pictures and not label:
        raise ValueError(
            f"labels gives none of the {counted(len(pictures), 'picture')} in {top} a class, such "
            f"as {printable(pictures[0])}"
        )

    def classes_of(folder: Folder, _: tuple[str, ...]) -> dict[str, list[str]]:
        classes: dict[str, list[str]] = defaultdict(list)
        for file in folder.all_files:
            if file in label:
                classes[class_name(label[file])].append(file)
        return dict(classes)

    return classes_of


def _labelled_splits(folder: Folder, classes_of: ClassesOf) -> dict[str, list[Folder]]:
    """Return the folders of each split; none unless train and test (or val) both have labels."""
    splits: dict[str, list[Folder]] = defaultdict(list)
    for one in folder.used:
        if (name := _split_name(one)) and classes_of(one, ()):
            splits[name].append(one)
    return splits if len(splits["train"]) == 1 and len(splits) > 1 else {}
