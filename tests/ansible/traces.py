"""What Podium may have left on a host."""

from __future__ import annotations

# What a host is asked for what is left; one line each, and none when nothing is.
TRACES = """\
ls -d /opt/podium /etc/podium /var/lib/podium /etc/systemd/system/podium-* /etc/systemd/system/*.wants/podium-* \
  /tmp/podium-* 2>/dev/null
ls /sys/class/net | grep -E '^(podium0|podiumvx|pod[0-9a-f]{10})$'
nft list tables | grep podium
docker ps --all --quiet --filter label=io.podium.owner
docker image ls --quiet podium/sandbox
getent passwd podium-master
pgrep --list-full podium
true
"""
