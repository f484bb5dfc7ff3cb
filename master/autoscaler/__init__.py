"""Replicas, and hosts, that follow the load. See docs/autoscaling.md and docs/nodepools.md.

Replicas: `replicas` and `proposals` (what one metric proposes), `behavior` (what the past allows) and `horizontal`
(both of them together) decide, purely; `observe` gathers what they decide by; `controller` acts.

Hosts: `nodepool_hosts` (one host, from phase to phase), `nodepool_idle` (what keeps a host) and `nodepool_plan` (all
pools together) decide, purely; `nodepool_views` gathers, `nodepools` acts, `nodepool_plays` keeps what is being done.
`provision` says what a provisioner is; `ansible` is one, `ansible_job` what it tells, `play` the process that plays it.
"""
