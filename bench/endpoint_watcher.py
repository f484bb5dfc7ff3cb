"""Runs on a host of the rig (see bench_endpoints): tries names and addresses, and prints when what comes of it changes.

Arguments are `ADDRESS:PORT`, to which a connection is tried, and names, which the node's own DNS server is asked. Ends
with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import subprocess
import sys
import time

PAUSE = 0.01
PATIENCE = 0.5


def connects(address: str, port: int) -> bool:
    """Whether a connection stands."""
    with socket.socket() as client, contextlib.suppress(OSError):
        client.settimeout(PATIENCE)
        client.connect((address, port))
        return True
    return False


def is_named(asking: socket.socket, name: str) -> bool:
    """Whether the name has an address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    asking.send(b"\1\2\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
    with contextlib.suppress(OSError):
        answer = asking.recv(2048)
        return int.from_bytes(answer[6:8], "big") > 0
    return False


def main() -> None:
    """Entry point."""
    shown = subprocess.run(["ip", "-4", "addr", "show", "podium0"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"inet ([\d.]+)", shown)
    assert found is not None, shown
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.settimeout(PATIENCE)
    asking.connect((found[1], 53))
    state = dict.fromkeys(sys.argv[1:], False)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for what, before in state.items():
            address, _, port = what.partition(":")
            there = connects(address, int(port)) if port else is_named(asking, address)
            if there != before:
                state[what] = there
                print(json.dumps([time.time(), what, there]), flush=True)


if __name__ == "__main__":
    main()
