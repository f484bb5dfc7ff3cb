"""Whatever happens to pods, and wherever the master dies: each pod is counted once, no index runs twice, and the Job
comes to its end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from podium.objects.job import INDEXED, ONLY_FAILED, index_of, is_finished, is_tracked
from podium.objects.pod import is_terminal
from podium.v1.core_pb2 import Pod
from tests.support.jobs import World, job

SPECS = st.fixed_dictionaries(
    {
        "completions": st.integers(0, 6),
        "parallelism": st.integers(1, 6),
        "completion_mode": st.sampled_from(["NonIndexed", "Indexed"]),
        "pod_replacement_policy": st.sampled_from(["TerminatingOrFailed", "Failed"]),
        "backoff_limit": st.integers(0, 5),
    }
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["succeed", "fail", "delete", "confirm", "wait", "suspend", "resume", "resize"]),
              st.integers(0, 5), st.integers(0, 8)),
    max_size=30,
)  # fmt: skip


def happen(w: World, what: str, which: int) -> None:
    """Something happens to the pod number `which`, or to the Job."""
    pods = sorted(w.pods.values(), key=lambda p: p.metadata.uid)
    running = [
        p for p in pods if not is_terminal(p) and not (_dying(p) and not p.metadata.deletion_grace_period_seconds)
    ]
    dying = [p for p in pods if _dying(p) and p.metadata.deletion_grace_period_seconds]
    if what in ("succeed", "fail") and running:
        w.end(running[which % len(running)], "Succeeded" if what == "succeed" else "Failed")
    elif what == "delete" and pods:
        w.delete(pods[which % len(pods)])
    elif what == "confirm" and dying:
        w.confirm(dying[which % len(dying)])
    elif what == "wait":
        w.now += 700
    elif what in ("suspend", "resume"):
        w.job.spec.suspend = what == "suspend"
    elif what == "resize":
        w.job.spec.parallelism = which


def _dying(pod: Pod) -> bool:
    return pod.metadata.HasField("deletion_timestamp")


def check(w: World) -> None:
    """What must hold at every moment."""
    status, gone = (
        w.status,
        set(w.status.uncounted_terminated_pods.succeeded) | set(w.status.uncounted_terminated_pods.failed),
    )
    assert len(gone) == len(status.uncounted_terminated_pods.succeeded) + len(status.uncounted_terminated_pods.failed)
    spec = w.job.spec
    working = [p for p in w.active() if is_tracked(p)]
    if spec.pod_replacement_policy == ONLY_FAILED:
        working += [
            p for p in w.pods.values() if _dying(p) and not is_terminal(p) and p.metadata.deletion_grace_period_seconds
        ]
    if spec.completion_mode == INDEXED and spec.pod_replacement_policy == ONLY_FAILED:
        of_index = Counter(index_of(p) for p in working if w.began[p.metadata.uid] != "given up")
        assert all(n == 1 for n in of_index.values()), "an index is worked on twice"


@settings(max_examples=200, deadline=None)
@given(SPECS, EVENTS)
def test_every_pod_is_counted_once_wherever_the_master_dies(spec: dict[str, Any], events: list[Any]) -> None:
    w = World(job(**spec))
    for what, which, writes in events:
        _ = w.step(writes)
        check(w)
        happen(w, what, which)
    w.job.spec.suspend, w.job.spec.parallelism = False, 3
    _finish(w)
    counted = w.status.succeeded + w.status.failed
    fates = Counter(w.began.values())
    if spec["completion_mode"] == INDEXED:
        assert w.status.succeeded <= spec["completions"]
    else:
        assert counted == len(w.began) - fates["given up"], (w.status, w.began)
    assert not any(is_tracked(p) for p in w.pods.values()), "a pod is held that nobody counts"
    assert "Complete" in w.conditions() or w.conditions()["Failed"] == "BackoffLimitExceeded"


def _finish(w: World) -> None:
    """Let everything end well from now on."""
    for _ in range(100):
        _ = w.step()
        check(w)
        for p in list(w.pods.values()):
            if _dying(p) and p.metadata.deletion_grace_period_seconds:
                w.confirm(p)
            elif not is_terminal(p) and not _dying(p) and is_tracked(p):
                w.end(p, "Succeeded")
        w.now += 700
        if is_finished(w.job) and not any(is_tracked(p) for p in w.pods.values()):
            return
    raise AssertionError(f"the Job does not end: {w.status}")


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2), EVENTS)
def test_every_index_succeeds_or_fails_by_its_own_limit(completions: int, limit: int, events: list[Any]) -> None:
    w = World(
        job(completion_mode="Indexed", completions=completions, parallelism=completions, backoff_limit_per_index=limit)
    )
    failures: Counter[int | None] = Counter()
    for what, which, writes in events:
        if what == "delete":
            continue
        _ = w.step(writes)
        before = {p.metadata.uid for p in w.pods.values() if p.status.phase == "Failed"}
        happen(w, what, which)
        for p in w.pods.values():
            if p.status.phase == "Failed" and p.metadata.uid not in before and w.began[p.metadata.uid] != "given up":
                failures[index_of(p)] += 1
    assert all(n <= limit + 1 for n in failures.values()), "an index was tried too often"
    w.job.spec.suspend, w.job.spec.parallelism = False, completions
    _finish(w)
    assert not any(is_tracked(p) for p in w.pods.values()), "a pod is held that nobody counts"
    lost = {i for i, n in failures.items() if n > limit}
    assert ("Failed" in w.conditions()) == bool(lost)
    assert w.status.succeeded + len(lost) == completions
