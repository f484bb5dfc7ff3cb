"""docs/metrics.md lists every metric of the code, with its type and labels, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from nodelet.metrics.cgroup import Reading
from nodelet.metrics.exporter import HostCollector
from nodelet.metrics.traffic import Traffic
from nodelet.metrics.usage import ContainerSample, NodeSample, PodTraffic, Sample, Target
from nodelet.runtime.protocol import PodIdentity

ROOT = Path(__file__).parents[2]
TYPES = ("Counter", "Gauge", "Histogram")
Row = tuple[str, str, tuple[str, ...]]


class OneContainer:
    """A host with one of everything."""

    conditions: frozenset[str] = frozenset()

    @property
    def newest(self) -> Sample:
        target = Target(
            pod=PodIdentity(namespace="n", name="p", uid="u"), name="c", id="i", sandbox_id="s", sandbox_pid="1"
        )
        container = ContainerSample(target=target, reading=Reading(cpu_ns=1, memory=1, oom_kills=0, pids=1))
        node = NodeSample(cpu_ns=1, memory=1, memory_available=1, tasks=1)
        return Sample(
            at=0,
            node=node,
            containers={"i": container},
            networks={"u": PodTraffic(pod=target.pod, sandbox_id="s", traffic=Traffic())},
            phases={"Running": 1},
        )


def _declared() -> Iterator[Row]:
    for package in ("master", "nodelet", "podium"):
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text()
            if "prometheus_client" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TYPES:
                    yield _row(node.func.id.lower(), node)


def _row(kind: str, call: ast.Call) -> Row:
    name = ast.literal_eval(call.args[0])
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    labels = call.args[2] if len(call.args) > 2 else given.get("labelnames")
    suffix = "_total" if kind == "counter" and not name.endswith("_total") else ""
    return name + suffix, kind, tuple(ast.literal_eval(labels)) if labels is not None else ()


def _collected() -> Iterator[Row]:
    for metric in HostCollector(OneContainer()).collect():
        labels = tuple(metric.samples[0].labels)
        yield metric.name + ("_total" if metric.type == "counter" else ""), metric.type, labels


def _documented() -> Iterator[Row]:
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if found := re.match(r"\| `(\w+)` \| (\w+) \| ([^|]*)\|", line):
            yield found[1], found[2], tuple(re.findall(r"`(\w+)`", found[3]))


def test_the_page_and_the_code_agree() -> None:
    assert sorted(_documented()) == sorted({*_declared(), *_collected()})
