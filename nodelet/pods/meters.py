"""Metrics of the pods of a node; the modules that do the work move them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

PODS = Gauge("podium_nodelet_pods", "Pods that are kept on this node, those being removed included.")
POD_START = Histogram(
    "podium_nodelet_pod_start_seconds",
    "From a pod's assignment to its first Running, image pulls included.",
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 120, 300),
)
CONTAINER_STARTS = Counter("podium_nodelet_container_starts_total", "Containers started, by whether it was a restart.",
                           ["restart"])  # fmt: skip
ACTION_FAULTS = Counter("podium_nodelet_pod_action_faults_total", "Actions on pods that failed, by reason.", ["reason"])
PROBE_FAILURES = Counter("podium_nodelet_probe_failures_total", "Unhealthy answers of probes, by kind.", ["kind"])
IMAGE_PULL = Histogram(
    "podium_nodelet_image_pull_seconds",
    "Time that successful image pulls took.",
    buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
IMAGE_PULL_FAILURES = Counter("podium_nodelet_image_pull_failures_total", "Image pulls that failed.")
EVICTIONS = Counter("podium_nodelet_evictions_total", "Pods evicted under pressure, by the resource that was short.",
                    ["resource"])  # fmt: skip
