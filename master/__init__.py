"""The master. Nothing here but what must be set before gRPC is loaded."""

import os

# Plays and hooks of node pools are processes started beside gRPC's threads: its handlers would run, and can crash, in
# the child between fork and exec, which needs nothing of them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
