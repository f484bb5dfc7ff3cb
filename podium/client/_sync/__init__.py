"""Generated from `podium/client/_async` by `make sync-client`; never edited."""
