#!/usr/bin/env bash
# Make a virtual environment with Podium (editable) and everything for development, at the versions in constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2

command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "Podium needs Python 3.11 or newer; $python is $("$python" -V)" >&2; exit 1; }
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  tools/rig/engine.sh
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt hatchling editables
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
