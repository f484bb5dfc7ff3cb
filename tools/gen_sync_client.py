"""Generate `podium/client/_sync` from `podium/client/_async`; with `--check`, fail when it is stale.

The asynchronous client is the source of truth; the synchronous one is the same text with the words that make it
asynchronous taken out (grpc's two APIs share their names).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "podium" / "client"
BANNER = "# Generated from podium/client/_async by `make sync-client`; do not edit.\n"

RULES: tuple[tuple[str, str], ...] = (
    (r"\basync def\b", "def"),
    (r"\basync for\b", "for"),
    (r"\basync with\b", "with"),
    (r"\bawait ", ""),
    (r"AsyncIter(ator|able)", r"Iter\1"),
    (r", Awaitable, ", ", "),
    (r"Awaitable\[(\w+)\]", r"\1"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"AsyncClient", "Client"),
    (r"\baio\.Channel\b", "grpc.Channel"),
    (r"\baio\.secure_channel\b", "grpc.secure_channel"),
    (r"^    from podium\.v1\.\w+ import \w+AsyncStub\n", ""),
    (r"^if TYPE_CHECKING:\n", ""),
    (r"TYPE_CHECKING, ", ""),
    (r"(\w+)AsyncStub\b", r"\1Stub"),
    (r"^from grpc import aio\n", ""),
    (r"close\(grace=None\)", "close()"),
    (r"^import asyncio\n", "import time\n"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"podium\.client\._async", "podium.client._sync"),
    (r"an async context manager", "a context manager"),
)


def translate(text: str) -> str:
    """The synchronous form of an asynchronous module."""
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    head, _, rest = text.partition('"""\n')
    return f'{head}"""\n\n{BANNER}{rest}'


def generated() -> dict[Path, str]:
    """Every generated file with its text, formatted as the rest of the code is."""
    files = {}
    for source in sorted((CLIENT / "_async").glob("*.py")):
        target = CLIENT / "_sync" / source.name
        text = translate(source.read_text()) if source.name != "__init__.py" else (
            '"""Generated from `podium/client/_async` by `make sync-client`; never edited."""\n'
        )  # fmt: skip
        files[target] = _ruff(_ruff(text, target, "check", "--fix-only", "--select", "I"), target, "format")
    return files


def _ruff(text: str, target: Path, *command: str) -> str:
    ruff = Path(sys.executable).parent / "ruff"
    args = [str(ruff), *command, "--quiet", "--stdin-filename", str(target), "-"]
    return subprocess.run(args, input=text, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Entry point of `make sync-client`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when stale")
    args = parser.parse_args()
    stale = [p for p, text in generated().items() if not p.exists() or p.read_text() != text]
    if args.check:
        if stale:
            print(f"stale: {', '.join(p.name for p in stale)}; run `make sync-client`", file=sys.stderr)
        return 1 if stale else 0
    (CLIENT / "_sync").mkdir(exist_ok=True)
    for path, text in generated().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
