"""The client's source of truth. `podium/client/_sync` is generated from it (`make sync-client`); never edit that."""
