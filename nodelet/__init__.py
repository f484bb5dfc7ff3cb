"""The daemon on each host: makes the pods assigned to it so, and keeps them so, with or without a master.

gRPC is told that this process's children (`nft`, `iptables`) only ever exec: its own fork handling would log at each.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
