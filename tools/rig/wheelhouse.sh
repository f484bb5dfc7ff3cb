#!/usr/bin/env bash
# Build what the rig's images install: third-party wheels into .rig/wheelhouse (only when constraints.txt or
# pyproject.toml changed), and Podium's own wheel into .rig/dist.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}

stamp=$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)
if [ "$(cat .rig/wheelhouse/stamp 2>/dev/null)" != "$stamp" ]; then
  rm -rf .rig/wheelhouse
  mkdir -p .rig/wheelhouse
  "$python" tools/rig/requirements.py master > .rig/wheelhouse/master.txt
  "$python" tools/rig/requirements.py nodelet > .rig/wheelhouse/nodelet.txt
  "$python" -m pip wheel -q --disable-pip-version-check -c constraints.txt -w .rig/wheelhouse \
    -r .rig/wheelhouse/master.txt -r .rig/wheelhouse/nodelet.txt
  echo "$stamp" > .rig/wheelhouse/stamp
fi

# The same sources give the same wheel (SOURCE_DATE_EPOCH), so that image layers stay cached.
rm -rf .rig/dist
SOURCE_DATE_EPOCH=1700000000 "$python" -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
  -w .rig/dist .
