"""Generated from protos/podium/v1 by `make protos`; never edited."""
