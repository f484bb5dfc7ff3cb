"""Deployment strategies, one file each: the sizes that a ReplicaSet gets next, and what state a rollout is in. Pure.

A strategy decides twice. Its `plan` turns the state in the Deployment's status into sizes; its `advance` turns what is
observed into the next state. State is written before it is acted on, so a master that restarts goes on in the middle
of a step: it neither skips nor repeats one.
"""
