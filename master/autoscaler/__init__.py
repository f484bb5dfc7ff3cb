"""Replicas that follow the load. See docs/autoscaling.md.

`replicas` and `proposals` (what one metric proposes), `behavior` (what the past allows) and `horizontal` (both of them
together) decide, purely; `observe` gathers what they decide by; `controller` acts.
"""
