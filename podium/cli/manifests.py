"""Manifests named on a command line: files, directories (with -R below them), `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.codec.yaml import parse, unfold
from podium.errors import BadRequest

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document: where it came from (`web.yaml#2`) and its data, not yet checked against a kind."""

    source: str
    data: dict[str, Any]


def read(names: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """Every document of every named file, in order; Lists are taken apart.

    Raises:
        BadRequest: No such file, nothing in it, or it is not YAML; names file and line.
    """
    if not names:
        raise BadRequest("say which manifests: -f FILE, -f DIRECTORY or -f -")
    manifests = [m for name in names for file in _files(name, recursive) for m in _documents(file)]
    if not manifests:
        raise BadRequest(f"no objects in {', '.join(names)}")
    return manifests


def _files(name: str, recursive: bool) -> Iterator[str]:
    path = Path(name)
    if name == "-" or path.is_file():
        yield name
    elif path.is_dir():
        found = path.rglob("*") if recursive else path.iterdir()
        files = sorted(str(f) for f in found if f.suffix in _SUFFIXES and f.is_file())
        if not files:
            raise BadRequest(f"no manifests ({', '.join(_SUFFIXES)}) in directory {name}")
        yield from files
    else:
        raise BadRequest(f'no such file or directory: "{name}"')


def _documents(name: str) -> Iterator[Manifest]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        documents = list(unfold(parse(text)))
    except UnicodeDecodeError:
        raise BadRequest(f"{name}: not text in UTF-8") from None
    except BadRequest as error:
        raise type(error)(f"{name}: {error.message}") from None
    label = "standard input" if name == "-" else name
    for index, document in enumerate(documents, 1):
        yield Manifest(label if len(documents) == 1 else f"{label}#{index}", document)
