"""What `podium describe` prints, one module a kind. Secrets' values never appear."""
