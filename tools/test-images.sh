#!/usr/bin/env bash
# Make sure that the Docker Engine of this machine has the one image that tests of the runtime use: busybox.
set -euo pipefail
cd "$(dirname "$0")/.."
docker image inspect busybox:latest >/dev/null 2>&1 && exit 0
if timeout 20 docker pull -q busybox:latest >/dev/null 2>&1; then exit 0; fi
DOCKER_BUILDKIT=0 docker build -q -t busybox:latest --target busybox -f docker/images/Dockerfile . >/dev/null
