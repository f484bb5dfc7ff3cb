"""`bench/results.json`: the newest whole run of each program, with the conditions that it ran under.

Each program's part is written when that program has ended, over the one of its last run; what other programs measured
earlier stays. A program that failed changes nothing: half a benchmark is none.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

Line = Mapping[str, object]


def conditions() -> dict[str, object]:
    """What a figure depends on, and when it was measured."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "cpus": os.cpu_count(),
        "python": platform.python_version(), "kernel": platform.release(), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def read(file: Path) -> dict[str, dict[str, object]]:
    """What is there, by program; nothing if there is no file, or none of this form."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    kept = found.get("programs") if isinstance(found, dict) else None
    return kept if isinstance(kept, dict) else {}


def merge(file: Path, program: str, lines: Sequence[Line], measured_under: Mapping[str, object]) -> None:
    """Put a program's figures in the place of its earlier ones. Readers see the old file or the new."""
    programs = {**read(file), program: {"conditions": dict(measured_under), "figures": list(lines)}}
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps({"programs": programs}, indent=2, ensure_ascii=False) + "\n")
    new.replace(file)
