#!/usr/bin/env bash
# Make sure that `debian:bookworm-slim` is here: pulled where a registry answers, made with debootstrap where none does.
set -euo pipefail

docker image inspect debian:bookworm-slim >/dev/null 2>&1 && exit 0
if timeout 20 docker pull -q debian:bookworm-slim >/dev/null 2>&1; then exit 0; fi

echo "no registry answers; making debian:bookworm-slim with debootstrap"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase bookworm "$root" >/dev/null
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
