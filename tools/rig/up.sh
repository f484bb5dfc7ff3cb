#!/usr/bin/env bash
# Bring the rig up: engine, images, registry, master and nodes; wait until every node is Ready.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .rig
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-podium-rig}
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
quietly() { "$@" >.rig/last.log 2>&1 || { cat .rig/last.log >&2; return 1; }; }

tools/rig/engine.sh
say "images"
tools/rig/base-image.sh
tools/rig/wheelhouse.sh
export DOCKER_BUILDKIT=0
for target in registry master node; do
  quietly docker build -t "podium/$target:rig" --target "$target" -f docker/Dockerfile .
done

say "registry"
quietly compose up -d --no-build registry
tools/rig/seed.sh

say "master and nodes"
quietly compose up -d --no-build
master=$(compose ps -q master)
for _ in $(seq 150); do
  docker exec "$master" test -s /var/lib/podium/master/admin.yaml 2>/dev/null && break
  [ "$(docker inspect -f '{{.State.Running}}' "$master")" = true ] || { docker logs --tail 30 "$master" >&2; exit 1; }
  sleep 0.2
done
( umask 077; docker exec "$master" cat /var/lib/podium/master/admin.yaml | sed 's/master:7443/127.0.0.1:7443/' > .rig/admin.yaml )
export PODIUM_CONFIG=$PWD/.rig/admin.yaml
.venv/bin/podium wait --for=create node/node1 node/node2 node/node3 --timeout=90s
.venv/bin/podium wait --for=condition=Ready node --all --timeout=90s
