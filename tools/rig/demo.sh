#!/usr/bin/env bash
# Run the example on the rig and say what to try next.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PODIUM_CONFIG=$PWD/.rig/admin.yaml
podium=.venv/bin/podium
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

say "podium apply -f examples/web.yaml --wait"
$podium apply -f examples/web.yaml --wait --timeout=120s
say "podium get nodes"
$podium get nodes
say "podium get pods -o wide"
$podium get pods -o wide
cat <<'TEXT'

The cluster is up. In a shell of this folder:

    export PODIUM_CONFIG=$PWD/.rig/admin.yaml PATH=$PWD/.venv/bin:$PATH

    docker kill podium-node2; podium get pods -o wide -w      # kill a host, watch its pods move
    podium set image deploy/web web=nginx:1.16.1 && podium rollout status deploy/web
    podium logs -f deploy/web                                       # every pod, every host

`make down` removes everything again.
TEXT
