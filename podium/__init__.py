"""Podium: a cluster manager. This package is what every side shares, the client library and the `podium` command.

Importing it is cheap: the client (and with it gRPC) loads when one of its names is first used.
"""

__version__ = "0.1.0"
