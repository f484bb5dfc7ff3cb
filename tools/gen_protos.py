"""Generate `podium/v1/` from `protos/`; with `--check`, fail when the committed code is stale."""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def generate(out: Path) -> None:
    """Run protoc for every proto into `out`; module paths equal proto paths."""
    files = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    bin_dir = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}",
            f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}", f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}",
            *files,
        ],
        check=True,
    )  # fmt: skip
    for stub in (out / "podium/v1").glob("*_pb2_grpc.py*"):
        if not (PROTOS / "podium/v1" / (stub.name.split("_pb2_grpc")[0] + ".proto")).read_text().count("\nservice "):
            stub.unlink()
    (out / "podium/v1/__init__.py").write_text(
        '"""Generated from protos/podium/v1 by `make protos`; never edited."""\n'
    )


def stale(fresh: Path, committed: Path) -> list[str]:
    """Names of generated files that differ from, or are missing in, the committed folder."""
    names = {p.name for p in fresh.iterdir()} | {p.name for p in committed.iterdir() if p.suffix in {".py", ".pyi"}}
    _, differ, missing = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    return sorted(differ + missing)


def main() -> int:
    """Entry point of `make protos` and `make check-protos`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when stale")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        generate(Path(tmp))
        fresh, committed = Path(tmp) / "podium/v1", ROOT / "podium/v1"
        changed = stale(fresh, committed)
        if args.check:
            if changed:
                print(f"podium/v1 is stale: {', '.join(changed)}; run `make protos`", file=sys.stderr)
            return 1 if changed else 0
        for name in changed:
            target = committed / name
            if (fresh / name).exists():
                target.write_bytes((fresh / name).read_bytes())
            else:
                target.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
