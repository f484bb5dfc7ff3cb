"""The scheduler's figures, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    "podium_master_scheduler_attempts",
    "Pods by what came of trying to place them: scheduled, unschedulable, error (a binding that failed).",
    ("result",),
)
LATENCY = Histogram(
    "podium_master_scheduler_latency_seconds",
    "From first sight of a pod to its durable binding.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
TURN = Histogram(
    "podium_master_scheduler_turn_seconds",
    "Computing one turn: one batch of pods of one shape.",
    buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
)
BATCH = Histogram(
    "podium_master_scheduler_batch_pods",
    "Pods bound in one group.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 512),
)
QUEUE = Gauge(
    "podium_master_scheduler_queue_pods",
    "Pods without a node: active, parked (waiting for a change), backoff (after a failed binding), binding.",
    ("state",),
)
VICTIMS = Counter("podium_master_scheduler_preemption_victims", "Pods evicted for others of a higher priority.")
