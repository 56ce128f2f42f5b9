"""YAML files of settings: read with a line number for each complaint, bounded in size and depth."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

# A hundred times what a person writes; what is larger is another file.
SIZE_LIMIT_BYTES = 1 << 20
# PyYAML composes nested collections on the C stack: 50,000 opening brackets end the process.
DEPTH_LIMIT = 32
# Aliases of aliases grow without end ("billion laughs").
VALUE_LIMIT = 20_000

T = TypeVar("T")
_LOADER: Any = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
# What PyYAML's constructors raise beside YAMLError for a scalar that only looks like its type (`2024-13-45`).
_NOT_CONSTRUCTED = (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, OverflowError)


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, line, key and what was expected."""


class Lines:
    """The line of each key of one file, for complaints about it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._of: dict[str, int] = {}
        self._values = 0

    def error(self, path: str, message: str) -> ConfigError:
        """A complaint about the key `path` (`sources.nvml.interval`), or about the nearest key around it."""
        return ConfigError(f"{self.name}:{self._of.get(self._nearest('$.' + path), 1)}: {path}: {message}")

    def _nearest(self, path: str) -> str:
        while path not in self._of and "." in path:
            path = path.rpartition(".")[0]
        return path

    def plain(self, node: yaml.Node, path: str = "$", depth: int = 0) -> Any:
        """The node's value, with the line of each key noted under its path (`$.sources.nvml.interval`)."""
        line = node.start_mark.line + 1
        self._of.setdefault(path, line)
        self._values += 1
        if self._values > VALUE_LIMIT:
            raise ConfigError(f"{self.name}:{line}: more than {VALUE_LIMIT} values, with aliases written out")
        if depth > DEPTH_LIMIT:  # an alias of what it stands in
            raise ConfigError(f"{self.name}:{line}: nested deeper than {DEPTH_LIMIT} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(node.value)]
        try:
            return yaml.SafeLoader("").construct_object(node)
        except _NOT_CONSTRUCTED as error:
            raise ConfigError(f"{self.name}:{line}: {_dotted(path)}: not a value: {error}") from error

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.name}:{line}: {_dotted(path)}: Expected a word as the key")
            key = key_node.value
            inner = f"{path}.{key}"
            if key in result:
                raise ConfigError(
                    f"{self.name}:{line}: {_dotted(inner)}: given twice (first in line {self._of[inner]})"
                )
            self._of[inner] = line
            result[key] = self.plain(value_node, inner, depth)
        return result

    def explain(self, message: str, kind: type) -> ConfigError:
        """msgspec's complaint with file, line and key in front."""
        text, _, path = message.partition(" - at `")
        path = path.rstrip("`") or "$"
        unknown = re.search(r"unknown field `([^`]+)`", text)
        if unknown:
            known = ", ".join(_fields(kind, path.split(".")[1:]))
            path = f"{path}.{unknown[1]}"
            text = f"unknown key; expected one of: {known}"
        if "Invalid enum value" in text and path.endswith(".enabled"):
            text = f"{text}; expected auto, true or false"
        text = text.replace("`object`", "a mapping").replace("`array`", "a list")
        path = self._nearest(path)
        return ConfigError(f"{self.name}:{self._of.get(path, 1)}: {_dotted(path)}: {text}")


def read(path: Path) -> str:
    """The text of a file. Raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT_BYTES + 1)
        if len(data) > SIZE_LIMIT_BYTES:
            raise ConfigError(f"{path}: longer than {SIZE_LIMIT_BYTES} bytes; expected a YAML file of settings")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; expected a YAML file in UTF-8") from error


def convert(text: str, name: str, kind: type[T], decode: Callable[[type, Any], Any] | None = None) -> tuple[T, Lines]:
    """The text of a file called `name` as a struct of `kind`, and its lines. Raises `ConfigError`."""
    lines = Lines(name)
    try:
        _check_depth(text, name)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    data = {} if root is None else lines.plain(root)
    if data is None:
        data = {}
    try:
        return msgspec.convert(data, kind, dec_hook=decode), lines
    except msgspec.ValidationError as error:
        raise lines.explain(str(error), kind) from error


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            raise ConfigError(f"{name}:{line}: nested deeper than {DEPTH_LIMIT} levels")


def _fields(kind: Any, path: list[str]) -> tuple[str, ...]:
    """The keys of the struct that stands at `path` of `kind`."""
    for key in path:
        kind = _struct(typing.get_type_hints(kind)[key])
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _struct(kind: Any) -> Any:
    """The struct of `Struct | None`."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _dotted(path: str) -> str:
    return path.removeprefix("$").lstrip(".") or "the file"
