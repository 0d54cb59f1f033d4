"""How a folder of pictures lies on a disk: its parts, its classes, and the files of each.

Only names are looked at. What cannot be meant is refused by name, and whatever is not used is told:
no class and no part is left out in silence.
"""

import fnmatch
import os
import re
import unicodedata
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pytorch_vision.data.image_files import pictures_of
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.runtime.text import printable

# of operating systems, file managers and network drives; hidden ones begin with a dot
HELPERS = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "network trash folder",
    "node_modules",
    "system volume information",
    "temporary items",
    "thumbs.db",
}
OURS = (  # by these a folder that a run wrote is known
    "weights.safetensors",
    "checkpoint.pt",
    "run.json",
    "predictions*.csv",
    "errors.html",
    "history.csv",
    "confusion_matrix.png",
    "training_curves.png",
    "lr_finder_*.png",
    "*_gradcam.png",
    "cifar10.npz",
    "pictures-*.npz",
)
SURE = ("weights.safetensors", "checkpoint.pt", "run.json")  # a folder with one is a run's
OUR_FOLDERS = ("runs", "plots")  # a run that failed can have left them empty
ROLES = {  # words that name a part
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
}
FILLERS = ("dataset", "set", "data", "images", "pictures", "split")  # training_set, testimages
WANTED = "expected one for each class, with its pictures"

LeftOut = dict[str, list[str]]  # what is not used, by the reason


@dataclass
class Folder:
    """A folder with all that is of use in it."""

    path: str
    real: str  # its path without links
    folders: list["Folder"] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # their paths
    of_a_run: bool = False  # this library has written some of it, which is left out

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def __str__(self) -> str:
        return printable(self.path)

    @property
    def all_folders(self) -> list["Folder"]:
        """Itself and all folders below, however deep they lie."""
        found = [self]
        for folder in found:
            found += folder.folders
        return found

    @cached_property
    def all_files(self) -> list[str]:
        """The files in it and in the folders below."""
        files = [file for folder in self.all_folders for file in folder.files]
        return sorted(files, key=os.path.split)

    @cached_property
    def has_pictures(self) -> bool:
        return bool(pictures_of(self.all_files))

    @property
    def inner(self) -> set[str]:
        """The names of the folders right below it that have pictures."""
        return {one.name for one in self.folders if one.has_pictures}

    @property
    def pictures(self) -> list[str]:
        """Those that lie in the folder itself."""
        return pictures_of(self.files)


@dataclass
class Part:
    """What is trained on, or tested on: a folder, and the files of each class in it."""

    folder: str
    classes: dict[str, list[str]]


@dataclass
class Layout:
    """What was found in a folder.

    Attributes:
        class_names: in alphabetical order, or those that were known before.
        train, test: the parts; without a train part, all is in ``test`` and undivided.
        divided: whether the folder itself says what is tested on.
        remarks: what looks odd, and may be meant.
    """

    class_names: tuple[str, ...]
    train: Part | None
    test: Part
    divided: bool
    remarks: list[str] = field(default_factory=list)


def find_layout(path: Path, known: tuple[str, ...], left_out: LeftOut) -> Layout:
    """Find classes and parts in a folder, whatever other programs have put there.

    Args:
        path: the folder.
        known: the classes, if it is to be tested on by a network that has them; it may then have
            only some of these classes, and no part to train on.
        left_out: a defaultdict of lists; what is not used is added, also if all is refused.

    Raises:
        ValueError: the layout cannot be meant; names the folder, and says what is expected.
    """
    folder = _descended(_scan(path, left_out), known)
    parts = _parts(folder, known)
    if not parts:
        classes = _classes(folder, known, left_out, all_needed=not known)
        _check_classes(folder, classes, known)
        names = known or tuple(sorted(classes))
        remarks = _remarks(folder)
        return Layout(names, None, Part(str(folder), classes), divided=False, remarks=remarks)
    train = None
    if "train" in parts:
        top = parts["train"][0]
        train = Part(str(top), _train_classes(folder, top, known, left_out))
        _check_known(train, known)
    names = known or tuple(sorted(train.classes if train else ()))
    test = _tested_on(folder, parts, names, left_out)
    _check_names_of_parts(folder, train, test, known)
    used = [part for role in parts.values() for part in role]
    left_out["beside the parts that are read"] += [
        str(one) for one in folder.folders if one not in used and one.has_pictures
    ]
    if len(names) == 1 and not known and train:
        raise ValueError(_one_class(train.folder, names[0]))
    remarks = _remarks(parts["train"][0]) if train else []
    return Layout(names, train, test, divided=True, remarks=remarks)


def find_files(path: Path) -> list[str]:
    """Return all files in a folder and below, but for those of other programs and of our runs."""
    return _scan(path, defaultdict(list)).all_files


def _scan(path: Path, left_out: LeftOut) -> Folder:
    """List a folder and all below it, each real folder once: links may lead round in a circle."""
    top = Folder(str(path), os.path.realpath(path))
    ahead, links, seen = deque([top]), deque[tuple[Folder, str]](), set()
    with Bar(
        desc=f"Looking through {printable(path.resolve().name)}", unit=" folders", leave=False
    ) as bar:
        while ahead or links:
            if not ahead:  # links come last, so that a class is read under its own name
                parent, link = links.popleft()
                if (real := os.path.realpath(link)) in seen:
                    left_out["links to folders that are read already"].append(printable(link))
                    continue
                parent.folders.append(Folder(link, real))
                ahead.append(parent.folders[-1])
            folder = ahead.popleft()
            seen.add(folder.real)
            _list(folder, links, left_out)
            if folder is not top:
                _leave_out_ours(folder, left_out)
            ahead += folder.folders
            bar.update()
    return top


def _list(folder: Folder, links: deque[tuple[Folder, str]], left_out: LeftOut) -> None:
    """Fill in what one folder has, without those that links lead to."""
    try:
        entries = sorted(os.scandir(folder.path), key=lambda entry: entry.name)
    except OSError as error:
        left_out[f"cannot be opened ({error.strerror})"].append(str(folder))
        return
    for entry in entries:
        kind = _kind(entry)
        if entry.name.startswith(".") or entry.name.casefold() in HELPERS or entry.name[-1] == "~":
            left_out["hidden, or another program's"].append(printable(entry.path))
        elif kind == "folder":
            folder.folders.append(Folder(entry.path, os.path.join(folder.real, entry.name)))
        elif kind == "link":
            links.append((folder, entry.path))
        elif kind == "file":
            folder.files.append(entry.path)
        else:
            left_out[kind].append(printable(entry.path))


def _kind(entry: os.DirEntry) -> str:
    """Return "file", "folder", "link" (to a folder), or why it is none of these."""
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
        if entry.is_file():
            return "file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return "links that lead nowhere" if entry.is_symlink() else "neither files nor folders"


def _leave_out_ours(folder: Folder, left_out: LeftOut) -> None:
    """Take what a run of this library has written out of a folder."""
    ours = [
        file
        for file in folder.files
        if any(fnmatch.fnmatch(os.path.basename(file), pattern) for pattern in OURS)
    ]
    if not ours:
        return
    folder.of_a_run = True
    folder.files = [file for file in folder.files if file not in ours]
    sure = any(os.path.basename(file) in SURE for file in ours)
    if folder.name == "plots" or (sure and not folder.pictures):
        folder.files, folder.folders = [], []
    if not folder.files and not folder.folders:
        ours = [folder.path]
    left_out["written by a run of this library"] += map(printable, ours)


def _descended(folder: Folder, known: tuple[str, ...], below: bool = False) -> Folder:
    """Go down where a folder has all its classes, or parts, in one folder of its own.

    Below a part there are no others: train/train holds the classes.
    """
    while True:
        inner = [one for one in folder.folders if one.has_pictures]
        if len(inner) != 1 or inner[0].name in known:
            return folder
        if not below and _role(inner[0].name) in EXACT:
            return folder
        if not any(one.has_pictures for one in inner[0].folders):
            return folder
        (folder,) = inner


def _role(name: str) -> tuple[str, tuple[str, ...]]:
    """Return which part a name stands for, "train", "test" or "val", and what else it says.

    "training_set" is ("train", ()), "seg_test" is ("test", ("seg",)), and "cat" is ("", ("cat",)).
    """
    role, others = "", []
    for word in re.findall(r"[^\W\d_]+", name.casefold()):
        bare = next((word.removesuffix(f) for f in FILLERS if word.endswith(f)), word)
        if not role and bare in ROLES:
            role = ROLES[bare]
        elif bare:
            others.append(word)
    return role, tuple(others)


EXACT = [(role, ()) for role in ("train", "test", "val")]


def _parts(folder: Folder, known: tuple[str, ...]) -> dict[str, list[Folder]]:
    """Return the folders that are parts, by their role; none if the classes lie in the folder.

    Raises:
        ValueError: a name can be meant in two ways.
    """
    by_rest: dict[tuple[str, ...], dict[str, list[Folder]]] = defaultdict(lambda: defaultdict(list))
    for one in folder.folders:
        role, rest = _role(one.name)
        if role and one.name not in known and (one.has_pictures or not rest):
            by_rest[rest][role].append(one)
    exact = by_rest.pop((), {})
    pairs = [roles for roles in by_rest.values() if "train" in roles and len(roles) > 1]
    if not exact and len(pairs) > 1:
        found = ", ".join(one.name for roles in pairs for part in roles.values() for one in part)
        raise ValueError(
            f"{folder} has several parts to train on and to test on ({found}): put them together "
            "as train/<class>/... and test/<class>/..."
        )
    parts = exact or (pairs[0] if pairs else {})
    if len(parts.get("train", ())) > 1:
        names = ", ".join(one.name for one in parts["train"])
        raise ValueError(f"{folder} has several folders to train on ({names}): keep one of them")
    if "train" in parts or (known and parts):
        return parts
    if parts.get("test"):
        raise ValueError(_class_or_part(folder, parts["test"][0]))
    return {}  # of "valid" alone, "invalid" may be beside it


def _class_or_part(folder: Folder, part: Folder) -> str:
    others = [one.name for one in folder.folders if one is not part and one.has_pictures][:3]
    beside = f" beside {', '.join(map(printable, others))}" if others else ""
    return (
        f"{folder} has a folder {part.name!r}{beside}: if that is a class, give it another name, "
        f"such as {part.name + ' class'!r}; if not, expected train/<class>/... and "
        "test/<class>/..., or <class>/... alone"
    )


def _train_classes(
    folder: Folder, part: Folder, known: tuple[str, ...], left_out: LeftOut
) -> dict[str, list[str]]:
    beside = [one for one in folder.folders if one.has_pictures and _role(one.name) not in EXACT]
    if beside and part.pictures and not any(one.has_pictures for one in part.folders):
        raise ValueError(_class_or_part(folder, part))
    return _classes(part, known, left_out)


def _classes(
    part: Folder, known: tuple[str, ...], left_out: LeftOut, all_needed: bool = True
) -> dict[str, list[str]]:
    """Return the files of each class of a part: those of the folders that have pictures.

    Raises:
        ValueError: there is no class; or all are needed, and a folder is empty.
    """
    folder = _descended(part, known, below=True)
    copies = [one for one in folder.folders if len(folder.inner & one.inner) > 1]
    if len(copies) == 1:  # of several, the classes and what is in them can be called alike
        raise ValueError(
            f"{copies[0]} looks like a copy of {folder} in itself, with folders of the same names: "
            "take it away"
        )
    classes: dict[str, list[str]] = defaultdict(list)
    for one in folder.folders:
        if one.has_pictures:
            classes[_class_name(one)] += one.all_files
        elif one.all_files or not all_needed:
            left_out["folders without any picture"].append(str(one))
        elif one.name not in OUR_FOLDERS and not any(f.of_a_run for f in one.all_folders):
            raise ValueError(f"{one} has no files, expected pictures")
    if not classes:
        raise ValueError(f"{folder} has no folders, {WANTED}{_what_it_has(folder)}")
    left_out["pictures beside the folders of the classes"] += map(printable, folder.pictures)
    return dict(classes)


def _what_it_has(folder: Folder) -> str:
    """Say what a folder without classes has."""
    if folder.pictures:
        return f": its {len(folder.pictures):,} pictures lie in it"
    if not folder.all_files:
        return ""
    kinds = Counter(os.path.splitext(file)[1].lower() or "no ending" for file in folder.all_files)
    listed = ", ".join(f"{printable(kind)} {count:,}" for kind, count in kinds.most_common(3))
    unpack = ": unpack them" if kinds.keys() & {".zip", ".tar", ".gz", ".rar", ".7z"} else ""
    return f": its files are no pictures ({listed}){unpack}"


def _remarks(part: Folder) -> list[str]:
    """Say that the classes may lie one level lower than they were taken to."""
    used = [one for one in part.folders if one.has_pictures]
    inner = [one.inner for one in used]
    if len(used) < 2 or len(inner[0]) < 2 or any(names != inner[0] for names in inner):
        return []
    listed = ", ".join(sorted(map(printable, inner[0]))[:5])
    return [
        f"Each class of {part} has the same folders in it ({listed}), whose pictures are taken "
        f"together. If these are the classes, name the folder above them, such as {used[0]}."
    ]


def _class_name(folder: Folder) -> str:
    """Return a class's name: an e with an accent is one character, whoever wrote it."""
    return unicodedata.normalize("NFC", printable(folder.name))


def _check_classes(folder: Folder, classes: dict[str, list[str]], known: tuple[str, ...]) -> None:
    """Refuse an undivided folder that can only be a mistake."""
    _check_known(Part(str(folder), classes), known)
    if len(classes) == 1 and not known:
        raise ValueError(_one_class(str(folder), next(iter(classes))))
    used = [one for one in folder.folders if one.has_pictures]
    roles = [{_role(inner.name) for inner in one.folders if inner.has_pictures} for one in used]
    if all(EXACT[0] in found and len(found & set(EXACT)) > 1 for found in roles):
        raise ValueError(
            f"{folder} has parts in each class, such as {used[0]}/train: expected "
            "train/<class>/... and test/<class>/..."
        )


def _check_known(part: Part, known: tuple[str, ...]) -> None:
    unknown = sorted(part.classes.keys() - set(known))
    if known and unknown:
        raise ValueError(
            f"{part.folder} has other classes ({', '.join(unknown)}) than are known "
            f"({', '.join(known)})"
        )


def _one_class(folder: str, name: str) -> str:
    return (
        f"{folder} has one class alone, {name!r}: expected two or more, each a folder with its "
        "pictures (a table of labels is not read)"
    )


def _tested_on(
    folder: Folder, parts: dict[str, list[Folder]], names: tuple[str, ...], left_out: LeftOut
) -> Part:
    """Return the part to test on: test, or val if there is no test or it has no labels.

    Raises:
        ValueError: there is none, or its classes are others.
    """
    chosen, refused = None, ""
    for one in [*parts.get("test", ()), *parts.get("val", ())]:
        if chosen is not None:
            left_out[f"not read, as {Path(chosen.folder).name} is tested on"].append(str(one))
            continue
        try:
            classes = _classes(one, names, left_out, all_needed=False)
        except ValueError as error:
            refused = refused or str(error)
            left_out["without labels, so not tested on"].append(str(one))
            continue
        unknown = sorted(classes.keys() - set(names))
        if not unknown:
            chosen = Part(str(one), classes)
            continue
        refused = refused or (
            f"{one} has classes that {parts['train'][0] if 'train' in parts else 'the weights'} "
            f"has not: {', '.join(unknown)}"
        )
        if len(unknown) < len(classes):  # some are known: it is meant to be tested on
            raise ValueError(refused)
        left_out["without labels, so not tested on"].append(str(one))
    if chosen is None and refused and "train" in parts:
        raise ValueError(
            f"{refused}. To hold out a share of {parts['train'][0]} in its place, name that folder "
            "alone"
        )
    if chosen is None:
        raise ValueError(
            refused
            or f"{folder} has a folder {parts['train'][0].name}, but none to test on: name it test "
            f"or val, or put the classes into {folder} itself, and a share of them is held out"
        )
    return chosen


def _check_names_of_parts(
    folder: Folder, train: Part | None, test: Part, known: tuple[str, ...]
) -> None:
    """Refuse a class called train or test, unless both parts have it."""
    if train is None or known:
        return
    for name in sorted(train.classes.keys() ^ test.classes.keys()):
        if _role(name) in EXACT[:2]:
            raise ValueError(
                f"{train.folder if name in train.classes else test.folder} has a class called "
                f"{name!r}, as parts of {folder} are: move it, or give it another name"
            )
