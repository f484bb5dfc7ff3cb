"""The pod's own name in its /etc/hosts.

The runtime writes the file when it makes the sandbox, before the pod has an address. All containers of a pod share it
(one inode), so a line is added in place, through the sandbox's own root.
"""

from __future__ import annotations

from pathlib import Path


def name_itself(netns_path: str, address: str, full_name: str = "") -> None:
    """Add `ADDRESS [FULL-NAME] NAME` for the sandbox's host name, once; a sandbox without such a file is left. Blocks.

    Raises:
        OSError: The file can't be written.
    """
    root = Path(netns_path).parents[1] / "root"  # /proc/PID/ns/net → /proc/PID/root
    hosts, hostname = root / "etc/hosts", root / "etc/hostname"
    if not hosts.exists() or not hostname.exists():
        return
    line = "\t".join(filter(None, (address, full_name, hostname.read_text().strip())))
    content = hosts.read_text()
    if line not in content.splitlines():
        with hosts.open("a") as file:
            file.write(("" if content.endswith("\n") or not content else "\n") + line + "\n")
