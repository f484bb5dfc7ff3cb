#!/usr/bin/env bash
# Fill the rig's registry with a few small real images under their Docker Hub names: pulled where a registry answers,
# built from Debian's packages where none does.
set -euo pipefail
cd "$(dirname "$0")/../.."
registry=127.0.0.1:5000

for _ in $(seq 100); do
  curl -fsS "http://$registry/v2/" >/dev/null 2>&1 && break
  sleep 0.2
done

reachable=
timeout 20 docker pull -q busybox:1.36 >/dev/null 2>&1 && reachable=1

seed() { # name tag target build-args...
  local name=$1 tag=$2 target=$3
  shift 3
  if curl -fsS -o /dev/null "http://$registry/v2/library/$name/manifests/$tag" 2>/dev/null; then return; fi
  local local_name="podium-seed/$name:$tag"
  if [ -n "$reachable" ] && docker pull -q "$name:$tag" >/dev/null 2>&1; then
    docker tag "$name:$tag" "$registry/library/$name:$tag"
  else
    docker build -q -t "$local_name" --target "$target" "$@" -f docker/images/Dockerfile . >/dev/null 2>.rig/seed.log \
      || { cat .rig/seed.log >&2; exit 1; }
    docker tag "$local_name" "$registry/library/$name:$tag"
  fi
  docker push -q "$registry/library/$name:$tag" >/dev/null
  echo "seeded $name:$tag"
}

seed busybox latest busybox
seed busybox 1.36 busybox
seed nginx 1.14.2 nginx --build-arg VERSION=1.14.2
seed nginx 1.16.1 nginx --build-arg VERSION=1.16.1
seed nginx latest nginx --build-arg VERSION=latest
seed redis latest redis
seed redis "7" redis
seed haproxy 2.6 haproxy
