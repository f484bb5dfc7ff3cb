"""What Podium may have left on a host."""

from __future__ import annotations

# What a host is asked for what is left; one line each, and none when nothing is.
TRACES = """\
ls -d /opt/podium /etc/podium /var/lib/podium /run/podium /etc/systemd/system/podium-* \
  /etc/systemd/system/*.wants/podium-* /tmp/podium-* /etc/docker/*podium* \
  /etc/systemd/timesyncd.conf.d/podium.conf 2>/dev/null
ls /sys/class/net | grep -E '^(podium|podv)'
ip route show table all proto 173
grep -E ' (/var/lib|/run|/etc)/podium' /proc/mounts
nft list ruleset | grep -E 'podium|podv'
iptables-save | grep -E 'podv|10\\.64\\.0\\.0/10'
docker ps --all --quiet --filter label=io.podium.owner
docker image ls --quiet podium/sandbox
getent passwd podium-master
pgrep --list-full podium
true
"""
