"""The taxonomy's data files, read with the line of each entry."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.model import Code, FaultClass

COLUMNS = ["code", "class", "severity", "rank", "flags", "name", "meaning", "action"]
FLAGS = ("echo", "application_suspect", "ignore")


class TaxonomyError(Exception):
    """A data file cannot be used; the message names file, line, what is wrong and what was expected."""


class Entry(msgspec.Struct, frozen=True):
    """A code with where it stands. `code_family`: of a line that carries codes of another family, that family."""

    code: Code
    path: Path
    line: int
    code_family: str | None = None


def complaint(path: Path, line: int, text: str) -> TaxonomyError:
    """The error of one place."""
    return TaxonomyError(f"{path.name}:{line}: {text}")


def read_table(path: Path, family: str) -> list[Entry]:
    """A CSV table of codes; rows that begin with `#` are comments. Raises `TaxonomyError`."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    entries = []
    header = False
    try:
        for row in reader:
            if not row or row[0].startswith("#"):
                continue
            if not header:
                if row != COLUMNS:
                    raise complaint(path, reader.line_num, f"columns {row}, expected {COLUMNS}")
                header = True
                continue
            if len(row) != len(COLUMNS):
                raise complaint(path, reader.line_num, f"{len(row)} cells, expected {len(COLUMNS)}")
            entries.append(Entry(_code(path, reader.line_num, family, row), path, reader.line_num))
    except csv.Error as error:
        raise complaint(path, reader.line_num, f"not CSV: {error}") from error
    if not entries:
        raise complaint(path, 1, "no codes, expected at least one row below the column names")
    return entries


def _code(path: Path, line: int, family: str, row: list[str]) -> Code:
    code, class_, severity, rank, flags, name, *texts = row
    # The agent keeps 1,500 codes, with 22 classes and a few hundred different texts.
    class_, meaning, action = map(sys.intern, (class_, *texts))
    if not code or not class_ or not name:
        raise complaint(path, line, "a code needs code, class and name")
    if rank and not rank.isdecimal():
        raise complaint(path, line, f"rank {rank!r}, expected a whole number or nothing")
    marks = flags.split()
    return Code(
        family=family,
        code=code,
        class_=class_,
        name=name,
        meaning=meaning,
        severity=_severity(path, line, severity) if severity else None,
        action=action or None,
        rank=int(rank) if rank else None,
        **_flags(path, line, marks),
    )


def _severity(path: Path, line: int, text: str) -> Severity:
    try:
        return _SEVERITIES[text]
    except KeyError:
        raise complaint(path, line, f"severity {text!r}, expected one of {', '.join(_SEVERITIES)}") from None


_SEVERITIES = {severity.value: severity for severity in Severity}


def _flags(path: Path, line: int, marks: list[str]) -> dict[str, bool]:
    for mark in marks:
        if mark not in FLAGS:
            raise complaint(path, line, f"flag {mark!r}, expected some of {', '.join(FLAGS)}")
    return dict.fromkeys(marks, True)


class ClassFile(msgspec.Struct, frozen=True):
    """The file of classes. `lines`: where each class stands."""

    classes: dict[str, FaultClass]
    lines: dict[str, int]
    informational_action: str


def read_classes(path: Path) -> ClassFile:
    """The classes, and the actions that hold for all of them. Raises `TaxonomyError`."""
    document = Document(path, ("informational_action", "classes"))
    classes = {}
    for name, raw in document.mapping("classes").items():
        try:
            classes[name] = msgspec.convert({**raw, "name": name}, FaultClass)
        except (msgspec.ValidationError, TypeError) as error:
            raise complaint(path, document.line("classes", name), f"class {name}: {error}") from error
    lines = {name: document.line("classes", name) for name in classes}
    key = "informational_action"
    informational = document.data[key]
    if not isinstance(informational, str):
        raise complaint(path, document.line(key), f"{key}: expected a text")
    return ClassFile(classes, lines | {key: document.line(key)}, informational)


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """One entry of the file of log lines."""

    class_: str
    name: str
    meaning: str = ""
    severity: Severity | None = None
    action: str | None = None
    rank: int | None = None
    echo: bool = False
    application_suspect: bool = False
    ignore: bool = False
    code_family: str | None = None


def read_lines(path: Path) -> list[Entry]:
    """HCCL's codes, and the kinds of lines without a code. Raises `TaxonomyError`."""
    document = Document(path, ("hccl", "lines"))
    entries = []
    for section in ("hccl", "lines"):
        for key, raw in document.mapping(section).items():
            line = document.line(section, key)
            try:
                read = msgspec.convert(raw, Line)
            except msgspec.ValidationError as error:
                raise complaint(path, line, f"{key}: {error}") from error
            fields = {field: getattr(read, field) for field in Line.__struct_fields__ if field != "code_family"}
            family, code = ("hccl", key) if section == "hccl" else (key, None)
            entries.append(Entry(Code(family=family, code=code, **fields), path, line, read.code_family))
    return entries


class Document:
    """A YAML file with the line of each key; a key that stands twice is refused, where YAML takes the last."""

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        """Raises `TaxonomyError`, also unless its keys are `keys`."""
        self.path = path
        self._lines: dict[tuple[str, ...], int] = {}
        text = _text(path)
        loader = yaml.CSafeLoader(text) if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            self._note(root, ())
            self.data: dict[str, Any] = loader.construct_document(root) if root is not None else {}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise complaint(path, mark.line + 1 if mark else 1, f"not YAML: {error}") from error
        if not isinstance(self.data, dict) or set(self.data) != set(keys):
            raise complaint(path, 1, f"expected the keys {', '.join(keys)}, and no other")

    def _note(self, node: yaml.Node | None, path: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        seen = set()
        for key, value in node.value:
            place, line = (*path, str(key.value)), key.start_mark.line + 1
            if place in seen:
                raise complaint(self.path, line, f"{key.value} stands twice, expected once")
            seen.add(place)
            self._lines[place] = line
            self._note(value, place)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """What stands below a key of the file, by name."""
        found = self.data[key]
        if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
            raise complaint(self.path, self.line(key), f"{key}: expected names with their properties")
        return found

    def line(self, *keys: str) -> int:
        """Where a key stands."""
        return self._lines.get(keys, 1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise TaxonomyError(f"{path}: {reason}, expected a file of the package; install accelwatch anew") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise complaint(path, line, f"byte {error.object[error.start]:#04x}, expected UTF-8") from error
