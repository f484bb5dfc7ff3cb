"""What a look of the node-pool autoscaler costs the master: pods that wait, tried on hosts that are not there.

    python -m bench.bench_nodepools [--nodes 5000] [--pods 5000] [--shapes 200] [--hosts 100] [--looks 20]

The scheduler's engine alone, without API and store: every node is full, every pod waits, and each host would take some.
The look is made in one step of the event loop, so its length is what everything else waits for; processor time is what
is reported, since other work on the machine stretches the rest. Hosts that are really set up: tests/ansible prints how
long that takes from the pod that waits to the pod that runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from master.scheduler import whatif
from tests.support.scheduling import engine, node, pod, turns


def main() -> None:
    """Measure, and print a line of JSON a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("nodes", 5000), ("pods", 5000), ("shapes", 200), ("hosts", 100), ("looks", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    waiting = (pod(f"p{i}", cpu=f"{2000 + i % asked.shapes}m", group="g") for i in range(asked.pods))
    there = [pod(f"b{i}", cpu="1m", on="n0") for i in range(100)]
    full = engine(*(node(f"n{i}", cpu="1") for i in range(asked.nodes)), *there, *waiting)
    _ = turns(full)
    hosts = [("pool", node(f"h{i}", cpu="16")) for i in range(asked.hosts)]

    def grow() -> None:
        packing = whatif.pack(full, hosts, {"pool": asked.hosts}, [pod("agent", cpu="100m")])
        assert sum(packing.taken) > 0

    def shrink() -> None:
        assert whatif.confined(full, "n0", there) == []

    for case, look in (("growth", grow), ("100 pods elsewhere", shrink)):
        spent = []
        for _ in range(asked.looks):
            began = time.process_time()
            look()
            spent.append((time.process_time() - began) * 1000)
        figures = {"nodes": asked.nodes, "pods": asked.pods, "shapes": asked.shapes, "hosts": asked.hosts}
        print(
            json.dumps({"case": case, **figures, "median_ms": round(statistics.median(spent), 1),
                        "worst_ms": round(max(spent), 1)}),
            flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
