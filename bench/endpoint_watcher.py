"""Runs on a host of the rig (see bench_endpoints): tries names and addresses, and prints when what comes of it changes.

Arguments are `ADDRESS:PORT`, to which a connection is tried, and names, which the node's own DNS server is asked. Ends
with its standard input.
"""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import time

PAUSE = 0.01
PATIENCE = 0.5


def connects(address: str, port: int) -> bool | None:
    """Whether a connection stands; None when that took too long to say."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((address, port))
        except TimeoutError:
            return None
        except OSError:
            return False
    return True


def is_named(server: str, name: str) -> bool | None:
    """Whether the name has an address; None when there was no answer."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:  # its own: no late answer to another question
        asking.settimeout(PATIENCE)
        asking.connect((server, 53))
        try:
            asking.send(b"\1\2\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
            answer = asking.recv(2048)
        except OSError:
            return None
    return int.from_bytes(answer[6:8], "big") > 0


def main() -> None:
    """Entry point."""
    shown = subprocess.run(["ip", "-4", "addr", "show", "podium0"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"inet ([\d.]+)", shown)
    assert found is not None, shown
    state = dict.fromkeys(sys.argv[1:], False)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for what, before in state.items():
            address, _, port = what.partition(":")
            there = connects(address, int(port)) if port else is_named(found[1], address)
            if there is not None and there != before:
                state[what] = there
                print(json.dumps([time.time(), what, there]), flush=True)


if __name__ == "__main__":
    main()
