"""What a nodelet loads of pyroute2, seen by a process of its own."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import nodelet.linux
from nodelet.network.netlink import IPRoute
loaded = {name for name in sys.modules if name.split(".")[0] in ("pyroute2", "sqlite3")}
assert "pyroute2.iproute" in loaded
assert not loaded & {"sqlite3", "pyroute2.ndb", "pyroute2.plan9"}, loaded
import pyroute2
assert pyroute2.IPRoute is IPRoute
assert pyroute2.NetNS and "pyroute2.ndb" in sys.modules, "whoever asks for the rest gets it"
"""


def test_no_more_than_it_needs_and_all_of_it_for_whoever_asks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
