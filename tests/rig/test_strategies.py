"""Strategies on real hosts: a canary that waits, one that goes back by itself, blue and green that change places."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby

from podium.client import Client
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service
from tests.rig.manifests import deployment
from tests.rig.rig import NODES, PODIUM, Host, podium, run, until

ROLE = "podium.dev/rollout-role"
_ASK = "v=$(curl -sS -m 3 -H 'Connection: close' http://ADDRESS/ | grep -o '1[.]1[46]' | head -n 1); echo ${v:-none}"


def _pods(client: Client, namespace: str) -> list[Pod]:
    found = client.list(Pod, namespace=namespace, selector="app=web")
    return [p for p in found if not p.metadata.HasField("deletion_timestamp")]


def _images(client: Client, namespace: str) -> list[str]:
    return sorted(p.spec.containers[0].image for p in _pods(client, namespace))


def _state(namespace: str) -> dict[str, object]:
    found = json.loads(podium("-n", namespace, "get", "deploy/web", "-o", "json"))
    return dict(found["status"])


def _manifest(strategy: Mapping[str, object]) -> str:
    return deployment("web", deployment={"strategy": strategy})


def _apply(namespace: str, manifest: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run(PODIUM, "-n", namespace, "apply", "-f", "-", *words, stdin=manifest, timeout=150)


def test_a_canary_waits_and_is_promoted(client: Client, namespace: str) -> None:
    steps = [{"setWeight": 34}, {"pause": {}}]
    strategy = {"type": "Canary", "canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": steps}}
    _apply(namespace, _manifest(strategy), "--wait", "--timeout=120s")
    podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
    until(
        lambda: "pause at step 2 of 2" in podium("-n", namespace, "rollout", "status", "deploy/web", "--no-watch"),
        seconds=60,
        what="the canary never waited",
    )
    assert _images(client, namespace) == ["nginx:1.14.2", "nginx:1.14.2", "nginx:1.16.1"]
    assert "Canary:34%" in podium("-n", namespace, "get", "deploy", "-o", "wide")
    podium("-n", namespace, "rollout", "promote", "deploy/web")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=120)
    assert set(_images(client, namespace)) == {"nginx:1.16.1"}


def test_a_canary_gets_its_share_of_requests_whatever_its_replicas(client: Client, namespace: str) -> None:
    steps = [{"setWeight": 10}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]
    strategy = {"type": "Canary", "canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": steps}}
    manifest = deployment("web", replicas=4, deployment={"strategy": strategy})
    service = json.dumps(_service("web", {"app": "web"}))
    _apply(namespace, f"{manifest}\n---\n{service}", "--wait", "--timeout=120s")
    address = client.get(Service, "web", namespace=namespace).spec.cluster_ip
    podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
    for step, weight, replicas in ((2, 10, 1), (4, 60, 2)):
        said = until(lambda: _told(namespace, f"pause at step {step} of 4"), seconds=90, what=f"step {step}")  # noqa: B023
        assert f"weight {weight}% (is {weight}%)" in said
        assert _images(client, namespace).count("nginx:1.16.1") == replicas
        for host in NODES:
            until(lambda: "tcp_w" in _rules(host), seconds=10, what="weights in force")  # noqa: B023
            _is_shared_by_chance(host, address, requests=400, percent=weight)
        podium("-n", namespace, "rollout", "promote", "deploy/web")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=120)
    assert set(_images(client, namespace)) == {"nginx:1.16.1"}
    until(lambda: "tcp_w" not in _rules(NODES[0]), seconds=10, what="an end of weights")


def _told(namespace: str, what: str) -> str:
    """What is told of the rollout, once it tells this."""
    said = podium("-n", namespace, "rollout", "status", "deploy/web", "--no-watch")
    return said if what in said else ""


def _rules(host: Host) -> str:
    return host.sh("nft list map ip podium services")


def _is_shared_by_chance(host: Host, address: str, *, requests: int, percent: int) -> None:
    """So many requests get the new revision in so many percent, within four standard deviations of chance."""
    asked = f"curl -sS -m 9 -H 'Connection: close' 'http://{address}/?[1-{requests}]' | grep -o 'image 1.1[46]'"
    answers = Counter(host.sh(asked, timeout=150).splitlines())
    assert answers.total() == requests
    expected, deviation = requests * percent / 100, (requests * percent * (100 - percent)) ** 0.5 / 100
    assert abs(answers["image 1.16"] - expected) <= 4 * deviation, answers


def test_a_canary_that_crashes_goes_back_by_itself(client: Client, namespace: str) -> None:
    metric = {"name": "restarts", "interval": "1s", "pods": {"fact": "Restarts"}}
    canary = {"steps": [{"setWeight": 34}, {"pause": {}}], "analysis": {"metrics": [metric]}}
    strategy = {"type": "Canary", "rollback": {"onFailure": "Automatic"}, "canary": canary}
    _apply(namespace, _manifest(strategy), "--wait", "--timeout=120s")
    podium("-n", namespace, "set", "image", "deploy/web", "web=busybox")  # ends at once, again and again
    done = run(PODIUM, "-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", check=False, timeout=120)
    assert done.returncode == 1
    assert "back at revision 1" in done.stdout + done.stderr
    until(
        lambda: _images(client, namespace) == ["nginx:1.14.2"] * 3,
        seconds=60,
        what="the stable revision did not come back",
    )
    assert "failed: AnalysisFailed" in podium("-n", namespace, "rollout", "history", "deploy/web")
    until(lambda: "RolledBack" in podium("-n", namespace, "get", "events"), seconds=60, what="no event told of it")


def test_blue_and_green_change_places_and_back_at_once(client: Client, namespace: str) -> None:
    strategy = {"type": "BlueGreen", "blueGreen": {"autoPromotion": False, "scaleDownDelaySeconds": 300}}
    services = [_service("web", {"app": "web"}), _service("preview", {"app": "web", ROLE: "preview"})]
    manifests = "\n---\n".join([_manifest(strategy), *map(json.dumps, services)])
    _apply(namespace, manifests, "--wait", "--timeout=120s")
    address, preview = (client.get(Service, name, namespace=namespace).spec.cluster_ip for name in ("web", "preview"))
    with _asked_on_every_host(address) as answers:
        podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
        until(
            lambda: "is ready" in podium("-n", namespace, "rollout", "status", "deploy/web", "--no-watch"),
            seconds=60,
            what="the preview never became ready",
        )
        blue = _active(namespace)
        assert {p.metadata.labels[ROLE] for p in _pods(client, namespace)} == {"active", "preview"}
        for host in NODES:
            until(lambda: _answer(host, preview) == "1.16", seconds=10, what="the preview at its own service")  # noqa: B023
            assert _answer(host, address) == "1.14"
        podium("-n", namespace, "rollout", "promote", "deploy/web")
        until(lambda: _active(namespace) != blue, seconds=60, what="it was not promoted")
        _all_answer(address, "1.16")
        before = {p.metadata.uid for p in _pods(client, namespace)}
        assert len(before) == 6
        podium("-n", namespace, "rollout", "undo", "deploy/web")
        until(lambda: _active(namespace) == blue, seconds=60, what="it did not return")
        _all_answer(address, "1.14")
        assert {p.metadata.uid for p in _pods(client, namespace)} == before
    for host in NODES:
        turns = [version for version, _ in groupby(answers[host.name])]
        assert turns == ["1.14", "1.16", "1.14"], f"{host.name}: every request an answer, and never back and forth"


def _service(name: str, selector: Mapping[str, str]) -> dict[str, object]:
    spec = {"selector": selector, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _answer(host: Host, address: str) -> str:
    """The version that answers there, asked from a host."""
    return host.sh(_ASK.replace("ADDRESS", address), check=False).strip()


def _all_answer(address: str, version: str) -> None:
    for host in NODES:
        until(lambda: _answer(host, address) == version, seconds=10, what=f"{version} on {host.name}")  # noqa: B023


@contextmanager
def _asked_on_every_host(address: str) -> Iterator[dict[str, list[str]]]:
    """A service is asked again and again on each host; afterwards what answered, in order, by host."""
    answers: dict[str, list[str]] = {}
    loop = f"rm -f /tmp/enough; while [ ! -e /tmp/enough ]; do {_ASK.replace('ADDRESS', address)}; done"
    asking = {
        host.name: subprocess.Popen(["docker", "exec", host.container, "sh", "-c", loop], stdout=subprocess.PIPE)
        for host in NODES
    }
    try:
        yield answers
    finally:
        for host in NODES:
            host.sh("touch /tmp/enough")
            answers[host.name] = asking[host.name].communicate(timeout=30)[0].decode().split()


def test_a_changed_config_map_is_rolled_out_and_undo_brings_it_back(client: Client, namespace: str) -> None:
    container = {"command": ["sh", "-c", 'echo "$TEXT"; sleep 3600'], "envFrom": [{"configMapRef": {"name": "words"}}]}
    workload = deployment("web", image="busybox", container=container, deployment={"configRollout": "Automatic"})
    _apply(namespace, _words("hello") + "---\n" + workload, "--wait", "--timeout=120s")
    _apply(namespace, _words("goodbye"))
    until(lambda: _said(client, namespace) == {"goodbye"}, seconds=60, what="the change was not rolled out")
    assert "ConfigMap/words[TEXT]: hello -> goodbye" in podium("-n", namespace, "rollout", "history", "deploy/web")
    podium("-n", namespace, "rollout", "undo", "deploy/web")
    until(lambda: _said(client, namespace) == {"hello"}, seconds=60, what="undo did not bring the content back")


def _words(text: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\ndata: {{TEXT: {text}}}\n"


def _said(client: Client, namespace: str) -> set[str]:
    names = [p.metadata.name for p in _pods(client, namespace)]
    return {run(PODIUM, "-n", namespace, "logs", name, check=False).stdout.strip() for name in names}


def _active(namespace: str) -> str:
    found = _state(namespace)["blueGreen"]
    assert isinstance(found, dict)
    return str(found["activeHash"])
