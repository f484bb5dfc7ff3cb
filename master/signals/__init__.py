"""Figures from outside that decisions rest on: what Prometheus says. Below `master.reconcile`, for whoever decides."""
