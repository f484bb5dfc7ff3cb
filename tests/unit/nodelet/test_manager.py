"""The pod manager from assignment to gone, on a scripted runtime in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from nodelet.network.protocol import NetworkFault
from nodelet.pods.memory import ARRIVAL_SECONDS, DRAIN_SECONDS
from nodelet.pods.worker import PodWorker
from nodelet.runtime.protocol import RuntimeFault
from nodelet.volumes.protocol import VolumeFault
from podium.errors import NotFound
from podium.objects.references import Objects, Withheld, secret_key
from podium.v1.core_pb2 import (
    ContainerPort,
    EmptyDirVolumeSource,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    LocalObjectReference,
    Pod,
    Probe,
    Secret,
    SleepAction,
    Volume,
    VolumeMount,
)
from tests.support.configuration import by_key, config_map, pod_with
from tests.support.kept_pods import Node, container, deleted, kept, make_pod, sidecar


def exec_probe(command: str, **fields: int) -> Probe:
    probe = Probe(exec=ExecAction(command=[command]), period_seconds=1)
    probe.MergeFrom(Probe(**fields))  # type: ignore[arg-type]
    return probe


def exec_hook(command: str) -> LifecycleHandler:
    return LifecycleHandler(exec=ExecAction(command=[command]))


def condition(node: Node, type_: str) -> str:
    return next(c.status for c in node.status().conditions if c.type == type_)


def count(node: Node, method: str) -> int:
    return sum(call.split()[0] == method for call in node.runtime.calls)


def reasons(node: Node) -> list[str]:
    return [reason for reason, _ in node.events]


# ---------------------------------------------------------------- start and end


async def test_a_simple_pod_starts_with_as_few_calls_as_there_can_be_and_runs() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        assert node.status().phase == "Running"
        assert node.status().pod_ip == "10.0.0.2"
        assert node.of("app").ready
        assert [call.split()[0] for call in node.runtime.calls] == [
            "listing", "find_image", "create_sandbox", "create_container", "start_container",
        ]  # fmt: skip
        assert len(node.history) == 1, "a pod that starts at once is reported once"


async def test_an_idle_pod_is_not_looked_at_but_by_the_slow_listing() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        await node.clock.advance(3600)
        assert {call.split()[0] for call in node.runtime.calls[5:]} == {"listing"}
        assert len(node.history) == 1


async def test_news_about_one_pod_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    look = PodWorker._look

    def counted(worker: PodWorker) -> None:
        looked.append(worker.pod.metadata.uid)
        look(worker)

    async with kept() as node:
        first, second = make_pod(uid="u1"), make_pod(uid="u2")
        await node.assign(first)
        monkeypatch.setattr(PodWorker, "_look", counted)
        await node.assign(first, second)
        assert set(looked) == {"u2"}


async def test_a_deleted_pod_ends_gracefully_and_leaves_nothing() -> None:
    async with kept() as node:
        pod = make_pod()
        await node.assign(pod)
        await node.assign(deleted(pod))
        assert node.gone == ["u1"]
        assert (node.runtime.containers, node.runtime.sandboxes, node.network.addresses) == ({}, {}, {})
        assert node.status().phase == "Failed"
        assert node.of("app").state.terminated.exit_code == 143


async def test_a_pod_that_ignores_sigterm_dies_after_its_grace() -> None:
    async with kept() as node:
        node.runtime.ignores_signals = True
        pod = make_pod(grace=7)
        await node.assign(pod)
        await node.assign(deleted(pod), wait=6.9)
        assert node.gone == []
        await node.clock.advance(0.2)
        assert node.gone == ["u1"]
        assert node.of("app").state.terminated.exit_code == 137


async def test_a_second_delete_with_less_grace_hastens_the_first() -> None:
    async with kept() as node:
        node.runtime.ignores_signals = True
        pod = make_pod(grace=600)
        await node.assign(pod)
        await node.assign(deleted(pod))
        await node.assign(deleted(pod, grace=1), wait=1.1)
        assert node.gone == ["u1"]


async def test_a_deletion_with_no_grace_kills_at_once() -> None:
    async with kept() as node:
        node.runtime.ignores_signals = True
        pod = make_pod(container(lifecycle=Lifecycle(pre_stop=exec_hook("bye"))))
        await node.assign(pod)
        await node.assign(deleted(pod, grace=0))
        assert node.gone == ["u1"]
        assert count(node, "exec") == 0


async def test_a_pod_past_its_active_deadline_fails_after_its_grace_and_stays() -> None:
    async with kept() as node:
        node.runtime.ignores_signals = True
        pod = make_pod(grace=3)
        pod.spec.active_deadline_seconds = 20
        await node.assign(pod, wait=19.9)
        assert node.status().phase == "Running"
        await node.clock.advance(2)
        assert node.status().phase == "Running", "it has its grace"
        await node.clock.advance(2)
        assert (node.status().phase, node.status().reason) == ("Failed", "DeadlineExceeded")
        assert node.of("app").state.terminated.exit_code == 137
        assert node.gone == []


async def test_an_active_deadline_counts_from_the_pods_start_and_can_be_lowered_while_it_runs() -> None:
    async with kept() as node:
        pod = make_pod()
        await node.assign(pod, wait=30)
        pod.spec.active_deadline_seconds = 20
        hurried = Pod()
        hurried.CopyFrom(pod)
        await node.assign(hurried, wait=1)
        assert (node.status().phase, node.status().reason) == ("Failed", "DeadlineExceeded")


async def test_a_pod_that_services_lead_to_gets_its_stop_signal_when_no_node_leads_to_it_any_more() -> None:
    async with kept() as node:
        pod = make_pod()
        node.led.add("u1")
        await node.assign(pod)
        await node.assign(deleted(pod), wait=5)
        assert count(node, "signal_container") == 0
        assert node.of("app").ready
        node.manager.drained({"u1": True})
        await node.clock.advance(ARRIVAL_SECONDS - 0.1)
        assert count(node, "signal_container") == 0, "what was led to it in the last moment arrives"
        await node.clock.advance(0.3)
        assert count(node, "signal_container") == 1
        assert node.gone == ["u1"]


async def test_draining_is_no_part_of_the_grace() -> None:
    async with kept() as node:
        node.runtime.ignores_signals = True
        pod = make_pod(grace=10)
        node.led.add("u1")
        await node.assign(pod)
        await node.assign(deleted(pod), wait=5)
        node.manager.drained({"u1": True})
        await node.clock.advance(ARRIVAL_SECONDS + 9.9)
        assert count(node, "kill_container") == 0
        await node.clock.advance(0.5)
        assert node.gone == ["u1"]


async def test_a_pod_waits_for_the_word_that_it_is_drained_so_long_and_no_longer() -> None:
    async with kept() as node:
        pods = make_pod(grace=1), make_pod(uid="u2"), make_pod(uid="u3")
        node.led.update(("u1", "u2", "u3"))
        await node.assign(*pods)
        await node.assign(*map(deleted, pods), wait=1)
        await node.assign(*map(deleted, pods[:2]), deleted(pods[2], grace=0), wait=DRAIN_SECONDS - 1.2)
        assert node.gone == ["u3"], "no grace, no draining"
        await node.clock.advance(0.5)
        assert sorted(node.gone) == ["u1", "u2", "u3"]


async def test_the_word_that_a_pod_is_drained_may_come_before_the_pod_has_to_go() -> None:
    async with kept() as node:
        pods = make_pod(), make_pod(uid="u2")
        node.led.update(("u1", "u2"))
        await node.assign(*pods)
        node.manager.drained({"u1": True})
        await node.clock.advance(1)
        assert count(node, "signal_container") == 0, "it need not go"
        await node.assign(deleted(pods[0]), pods[1], wait=0.1)
        assert node.gone == ["u1"]


async def test_a_nodelet_that_starts_hears_of_drained_pods_before_it_has_listed_any() -> None:
    async with kept() as node:
        pod = make_pod()
        node.led.add("u1")
        await node.assign(pod)
        node.manager = node.make_manager()
        node.manager.drained({"u1": False})
        node.manager.assign({"u1": deleted(pod)}, {})
        _ = node.start(node.manager.run())
        await node.clock.advance(0.5)
        assert node.gone == ["u1"]


async def test_a_pod_that_drains_is_stopped_all_the_same_when_the_node_has_reasons_of_its_own() -> None:
    async with kept() as node:
        pod = make_pod()
        node.led.add("u1")
        await node.assign(pod)
        await node.assign(deleted(pod), wait=1)
        node.manager.find("ns", "p-u1").fail("Fenced", "cut off", 2)
        await node.clock.advance(0.1)
        assert count(node, "signal_container") == 1


async def test_a_pod_that_is_no_longer_assigned_goes_without_being_deleted() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        await node.assign()
        assert node.runtime.containers == {}
        assert node.manager.pod_uids() == []


async def test_a_pod_that_is_gone_is_said_so_again_when_asked() -> None:
    async with kept() as node:
        pod = make_pod()
        await node.assign(pod)
        await node.assign(deleted(pod))
        await node.assign(deleted(pod))
        assert node.gone == ["u1"]
        node.manager.report_again()
        assert node.gone == ["u1", "u1"]


async def test_deleting_a_pod_whose_image_never_comes_takes_no_grace() -> None:
    async with kept() as node:
        pod = make_pod(container(image="nowhere:1"))
        await node.assign(pod)
        await node.assign(deleted(pod))
        assert node.gone == ["u1"]


async def test_host_network_pods_have_the_nodes_address_and_no_wiring() -> None:
    async with kept() as node:
        pod = make_pod(container(ports=[ContainerPort(container_port=80, host_port=80)]))
        pod.spec.host_network = True
        await node.assign(pod)
        assert (node.status().pod_ip, node.network.addresses) == ("192.0.2.1", {})
        await node.assign(deleted(pod))
        assert node.gone == ["u1"]


async def test_host_ports_reach_the_network() -> None:
    async with kept() as node:
        await node.assign(make_pod(container(ports=[ContainerPort(container_port=80, host_port=8080)])))
        (mapping,) = node.network.ports["u1"]
        assert (mapping.host_port, mapping.container_port, mapping.protocol) == (8080, 80, "TCP")


# ---------------------------------------------------------------- crashes


async def test_a_crash_loop_backs_off_and_says_so() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        for attempt, delay in enumerate((1, 2, 4, 8)):
            node.runtime.end(node.runtime.named("app").id, 1)
            await node.clock.advance(delay - 0.1)
            waiting = node.of("app").state.waiting
            assert waiting.reason == "CrashLoopBackOff"
            assert waiting.message == f"back-off {delay}s restarting failed container=app pod=p-u1_ns(u1)"
            assert node.of("app").last_state.terminated.exit_code == 1
            assert node.status().phase == "Running"
            await node.clock.advance(0.2)
            assert node.runtime.named("app").attempt == attempt + 1
        assert node.of("app").restart_count == 4
        assert len(node.runtime.containers) == 2, "only the run before is kept"


async def test_the_back_off_survives_the_nodelets_restart() -> None:
    node = Node()
    async with kept(node):
        await node.assign(make_pod())
        for _ in range(3):
            node.runtime.end(node.runtime.named("app").id, 1)
            await node.clock.advance(10)
        node.runtime.end(node.runtime.named("app").id, 1)
        await node.clock.advance(0.1)
    node.manager = node.make_manager()
    async with kept(node):
        await node.assign(make_pod(), wait=7.5)
        assert node.runtime.named("app").attempt == 3
        await node.clock.advance(1)
        assert node.runtime.named("app").attempt == 4


async def test_oom_kills_are_named() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        node.runtime.end(node.runtime.named("app").id, 137, oom=True)
        await node.clock.advance(0.1)
        ended = node.of("app").last_state.terminated
        assert (ended.reason, ended.exit_code, ended.signal) == ("OOMKilled", 137, 9)


async def test_a_job_like_pod_succeeds_frees_its_network_and_keeps_its_logs() -> None:
    async with kept() as node:
        await node.assign(make_pod(policy="Never"))
        node.runtime.end(node.runtime.named("app").id, 0)
        await node.clock.advance(1)
        assert node.status().phase == "Succeeded"
        assert (node.runtime.sandboxes, node.network.addresses) == ({}, {})
        assert node.manager.container("ns", "p-u1").exit_code == 0
        assert node.status().pod_ip == "10.0.0.2", "the address it had is still told"


async def test_a_container_removed_behind_our_back_is_restarted() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        node.runtime.vanish(node.runtime.named("app").id)
        await node.clock.advance(0.5)
        assert node.of("app").last_state.terminated.reason == "ContainerStatusUnknown"
        await node.clock.advance(1)
        assert node.runtime.running() == ["app"]
        assert node.of("app").restart_count == 1


async def test_a_sandbox_killed_behind_our_back_is_made_anew_with_its_containers() -> None:
    async with kept() as node:
        await node.assign(make_pod(container("app"), container("b"), init=(container("init"),)))
        node.runtime.end(node.runtime.named("init").id, 0)
        await node.clock.advance(0.5)
        node.runtime.kill_sandbox()
        await node.clock.advance(0.5)
        assert [s.attempt for s in node.runtime.sandboxes.values()] == [1]
        assert node.runtime.running() == ["init"], "init containers run again"
        node.runtime.end(node.runtime.named("init").id, 0)
        await node.clock.advance(1.5)
        assert node.runtime.running() == ["app", "b"]
        assert node.of("app").restart_count == 1
        assert "SandboxChanged" in reasons(node)


async def test_an_exit_that_nobody_told_us_of_is_found_by_the_slow_listing() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        node.runtime.silent = True
        node.runtime.end(node.runtime.named("app").id, 1)
        await node.clock.advance(65)
        assert node.runtime.named("app").attempt == 1


async def test_a_new_image_restarts_only_its_container() -> None:
    async with kept() as node:
        await node.assign(make_pod(container("app"), container("b")))
        node.runtime.pullable.add("app:2")
        await node.assign(make_pod(container("app", image="app:2"), container("b")))
        assert node.runtime.named("app").image == "app:2"
        assert (node.of("app").restart_count, node.of("b").restart_count) == (1, 0)


# ---------------------------------------------------------------- failures of the runtime


async def test_a_start_that_fails_is_told_and_tried_again_as_a_crash_is() -> None:
    async with kept() as node:
        node.runtime.faults["start_container"] = [RuntimeFault("StartError", "exec: no such file")]
        await node.assign(make_pod())
        assert node.of("app").last_state.terminated.reason == "StartError"
        assert node.of("app").last_state.terminated.message == "exec: no such file"
        assert node.of("app").last_state.terminated.exit_code == 128
        await node.clock.advance(1)
        assert (node.status().phase, node.of("app").restart_count) == ("Running", 1)


async def test_a_start_that_fails_ends_a_pod_that_never_restarts() -> None:
    async with kept() as node:
        node.runtime.faults["start_container"] = [RuntimeFault("StartError", "exec: no such file")]
        await node.assign(make_pod(policy="Never"), wait=1)
        assert (node.status().phase, node.of("app").state.terminated.reason) == ("Failed", "StartError")


async def test_a_creation_that_fails_is_told_and_tried_again() -> None:
    async with kept() as node:
        node.runtime.faults["create_container"] = [RuntimeFault("Conflict", "no such image")]
        await node.assign(make_pod())
        waiting = node.of("app").state.waiting
        assert (waiting.reason, waiting.message) == ("CreateContainerError", "no such image")
        await node.clock.advance(1)
        assert (node.status().phase, node.of("app").restart_count) == ("Running", 0)


async def test_a_network_that_fails_is_told_and_tried_again() -> None:
    async with kept() as node:
        node.network.faults = [NetworkFault("host port 80 is taken")]
        await node.assign(make_pod())
        assert "host port 80 is taken" in node.of("app").state.waiting.message
        await node.clock.advance(1)
        assert node.status().phase == "Running"


async def test_root_is_refused_where_it_must_not_be() -> None:
    async with kept() as node:
        node.runtime.faults["create_container"] = [RuntimeFault("CreateContainerConfigError", "will run as root")]
        await node.assign(make_pod())
        waiting = node.of("app").state.waiting
        assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", "will run as root")


async def test_while_the_runtime_is_down_nothing_is_concluded_and_nothing_restarted() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        node.runtime.go_down()
        await node.clock.advance(60)
        reported = len(node.history)
        await node.assign(make_pod(), make_pod(uid="u2"), wait=60)
        node.runtime.down = False
        await node.clock.advance(6)
        assert len(node.history) == reported + 1
        assert node.status("u2").phase == "Running"
        assert node.of("app").restart_count == 0


@pytest.mark.parametrize("late", [0.5, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
async def test_a_listing_that_overlaps_a_start_concludes_nothing(late: float) -> None:
    async with kept() as node:
        node.runtime.latency = 0.4
        await node.clock.advance(late)
        await node.assign(make_pod(container("app"), container("b")), wait=10)
        assert node.runtime.running() == ["app", "b"]
        assert count(node, "create_container") == count(node, "start_container") == 2
        assert (node.of("app").restart_count, node.of("b").restart_count) == (0, 0)


@pytest.mark.parametrize("late", [0.1, 0.5, 0.9])
async def test_an_end_noticed_while_another_container_starts_is_not_lost(late: float) -> None:
    async with kept() as node:
        await node.assign(make_pod(container("app"), container("b")))
        node.runtime.latency = 0.8
        node.runtime.end(node.runtime.named("app").id, 1)
        await node.clock.advance(1.8 + late)
        node.runtime.end(node.runtime.named("b").id, 1)
        await node.clock.advance(30)
        assert node.runtime.running() == ["app", "b"]
        assert (node.of("app").restart_count, node.of("b").restart_count) == (1, 1)


# ---------------------------------------------------------------- the nodelet's own restart


async def test_a_new_nodelet_adopts_what_runs_and_ends_what_is_not_assigned() -> None:
    node = Node()
    ready = container(readiness_probe=exec_probe("ready"))
    async with kept(node):
        await node.assign(make_pod(ready), make_pod(uid="u2"))
        await node.clock.advance(2)
        assert node.of("app").ready
    pod = make_pod(ready)
    pod.status.CopyFrom(node.status())
    started = node.runtime.named("app").started_at
    node.manager, node.history = node.make_manager(), []
    async with kept(node):
        await node.clock.advance(60)
        assert len(node.runtime.running()) == 2, "nothing is touched before a desired set arrives"
        assert set(node.manager.pod_uids()) == {"u1", "u2"}
        await node.assign(pod, wait=5)
        assert node.runtime.running() == ["app"]
        assert node.network.retained == {"u1", "u2"}
        assert all(s.container_statuses[0].ready for s in node.history if s.pod_ip == "10.0.0.2")
        assert node.runtime.named("app").started_at == started
        assert node.of("app").restart_count == 0


async def test_what_was_written_down_before_a_pod_came_does_not_end_it() -> None:
    """The assignments on disk are a second old: a nodelet that is killed may begin without its newest pod."""
    node = Node()
    async with kept(node):
        await node.assign(make_pod(), make_pod(uid="u2"))
        await node.clock.advance(2)
    node.manager, node.network.retained = node.make_manager(), None
    node.manager.resume({"u2": make_pod(uid="u2")}, {})
    async with kept(node):
        await node.clock.advance(100)
        assert len(node.runtime.running()) == 2
        assert node.network.retained is None, "nothing is freed either"
        await node.assign(make_pod(), make_pod(uid="u2"), wait=5)
        assert len(node.runtime.running()) == 2
        assert node.of("app").restart_count == 0
        assert node.network.retained == {"u1", "u2"}


async def test_a_pod_that_the_master_does_not_know_is_ended_after_its_first_word() -> None:
    node = Node()
    async with kept(node):
        await node.assign(make_pod(), make_pod(uid="u2"))
        await node.clock.advance(2)
    node.manager = node.make_manager()
    node.manager.resume({"u1": make_pod()}, {})
    async with kept(node):
        await node.clock.advance(2)
        await node.assign(make_pod(), wait=5)
        assert node.runtime.running() == ["app"]


async def test_an_orphan_gets_the_grace_that_its_labels_remember() -> None:
    node = Node()
    async with kept(node):
        await node.assign(make_pod(grace=3))
    node.runtime.ignores_signals = True
    node.manager = node.make_manager()
    async with kept(node):
        await node.assign(wait=2.9)
        assert node.runtime.running() == ["app"]
        await node.clock.advance(0.5)
        assert node.runtime.containers == {}


# ---------------------------------------------------------------- images


async def test_the_last_real_error_of_a_pull_stays_in_sight() -> None:
    async with kept() as node:
        await node.assign(make_pod(container(image="nowhere:1")))
        waiting = node.of("app").state.waiting
        assert (waiting.reason, waiting.message) == ("ErrImagePull", "manifest for nowhere:1 not found")
        await node.clock.advance(3)
        waiting = node.of("app").state.waiting
        assert waiting.reason == "ImagePullBackOff"
        assert waiting.message == 'Back-off pulling image "nowhere:1": ErrImagePull: manifest for nowhere:1 not found'
        node.runtime.pullable.add("nowhere:1")
        await node.clock.advance(5)
        assert node.status().phase == "Running"


def docker_config(password: str) -> Secret:
    auth = base64.b64encode(f"bob:{password}".encode()).decode()
    config = json.dumps({"auths": {"https://registry.example:5000": {"auth": auth}}})
    return Secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": config.encode()})


async def test_a_changed_pull_secret_is_tried_at_once() -> None:
    async with kept() as node:
        pod = make_pod(container(image="registry.example:5000/app:1"))
        pod.spec.image_pull_secrets.append(LocalObjectReference(name="regcred"))
        node.objects[secret_key("ns", "regcred")] = docker_config("wrong")
        await node.assign(pod, wait=100)
        pulls = count(node, "pull_image")
        node.objects[secret_key("ns", "regcred")] = docker_config("right")
        node.runtime.pullable.add("registry.example:5000/app:1")
        await node.assign(pod, wait=0.1)
        assert count(node, "pull_image") == pulls + 1
        assert [auth.password for auth in node.runtime.auths] == ["right"]
        assert node.status().phase == "Running"


async def test_a_pull_that_fails_for_lack_of_a_withheld_secret_says_so_and_is_tried_as_it_comes() -> None:
    async with kept() as node:
        pod, key = make_pod(container(image="registry.example:5000/app:1")), secret_key("ns", "regcred")
        pod.spec.image_pull_secrets.append(LocalObjectReference(name="regcred"))
        node.objects[key] = Withheld(key)
        await node.assign(pod, wait=100)
        assert node.of("app").state.waiting.message.endswith(f"; {Withheld(key)}")
        node.objects[key] = docker_config("right")
        node.runtime.pullable.add("registry.example:5000/app:1")
        await node.assign(pod, wait=0.1)
        assert node.status().phase == "Running"


async def test_a_pod_waits_for_a_withheld_secret_and_others_do_not() -> None:
    """After a boot with no master: the last assignments, and Secrets that were in memory."""
    async with kept() as node:
        key = secret_key("ns", "db")
        source = {"name": "V", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k", "optional": True}}}
        waits, starts = pod_with(container={"env": [source]}, uid="u1"), pod_with(uid="u2")
        node.manager.resume({"u1": waits, "u2": starts}, {key: Withheld(key)})
        await node.clock.advance(30)
        assert [node.status(uid).phase for uid in ("u1", "u2")] == ["Pending", "Running"]
        waiting = node.status("u1").container_statuses[0].state.waiting
        assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", str(Withheld(key)))
        assert any(reason == "Failed" and str(Withheld(key)) in message for reason, message in node.events)
        node.objects[key] = Secret(data={"k": b"v"})
        await node.assign(waits, starts, wait=0.1)
        assert node.status("u1").phase == "Running"


# ---------------------------------------------------------------- init containers, sidecars, hooks


async def test_a_pods_life_with_init_container_and_sidecar() -> None:
    async with kept() as node:
        log = sidecar("log", startup_probe=exec_probe("up", failure_threshold=30))
        node.runtime.exec_results["up"] = (1, "not yet")
        pod = make_pod(container(), init=(log, container("init")), policy="Never")
        await node.assign(pod, wait=2.1)
        assert node.runtime.running() == ["log"]
        assert node.of("app").state.waiting.reason == "PodInitializing"
        node.runtime.exec_results["up"] = (0, "")
        await node.clock.advance(1.5)
        assert node.runtime.running() == ["init", "log"]
        assert (node.status().phase, condition(node, "Initialized")) == ("Pending", "False")
        node.runtime.end(node.runtime.named("init").id, 0)
        await node.clock.advance(0.5)
        assert node.runtime.running() == ["app", "log"]
        assert (node.status().phase, condition(node, "Initialized")) == ("Running", "True")
        node.runtime.end(node.runtime.named("app").id, 0)
        await node.clock.advance(0.5)
        assert node.runtime.running() == []
        assert node.status().phase == "Succeeded"


async def test_a_failed_post_start_hook_ends_the_container() -> None:
    async with kept() as node:
        node.runtime.exec_results["hello"] = (1, "no greeting")
        await node.assign(make_pod(container(lifecycle=Lifecycle(post_start=exec_hook("hello")))))
        assert ("FailedPostStartHook", "PostStartHook failed: no greeting") in node.events
        assert node.of("app").last_state.terminated.exit_code == 143
        node.runtime.exec_results["hello"] = (0, "")
        await node.clock.advance(1)
        assert (node.of("app").ready, node.of("app").restart_count) == (True, 1)


async def test_a_pre_stop_hook_runs_before_the_signal_within_the_grace() -> None:
    async with kept() as node:
        sleep = LifecycleHandler(sleep=SleepAction(seconds=5))
        pod = make_pod(container(lifecycle=Lifecycle(pre_stop=sleep)))
        await node.assign(pod)
        await node.assign(deleted(pod), wait=4.9)
        assert node.runtime.running() == ["app"]
        assert count(node, "signal_container") == 0
        await node.clock.advance(0.2)
        assert node.gone == ["u1"]


async def test_a_pre_stop_hook_that_hangs_leaves_time_for_the_signal() -> None:
    async with kept() as node:
        sleep = LifecycleHandler(sleep=SleepAction(seconds=99))
        pod = make_pod(container(lifecycle=Lifecycle(pre_stop=sleep)), grace=5)
        await node.assign(pod)
        await node.assign(deleted(pod), wait=2.9)
        assert count(node, "signal_container") == 0
        await node.clock.advance(0.2)
        assert node.gone == ["u1"]
        assert node.of("app").state.terminated.exit_code == 143


async def test_a_deletion_with_less_grace_cuts_a_pre_stop_hook_short() -> None:
    async with kept() as node:
        sleep = LifecycleHandler(sleep=SleepAction(seconds=99))
        pod = make_pod(container(lifecycle=Lifecycle(pre_stop=sleep)), grace=300)
        await node.assign(pod)
        await node.assign(deleted(pod), wait=10)
        await node.assign(deleted(pod, grace=1), wait=1.1)
        assert node.gone == ["u1"]
        assert node.of("app").state.terminated.exit_code == 137


# ---------------------------------------------------------------- probes


async def test_readiness_gates_ready_and_comes_back() -> None:
    async with kept() as node:
        node.runtime.exec_results["ready"] = (1, "warming up")
        await node.assign(make_pod(container(readiness_probe=exec_probe("ready", failure_threshold=2))), wait=0.5)
        assert (node.of("app").started, node.of("app").ready, condition(node, "Ready")) == (True, False, "False")
        node.runtime.exec_results["ready"] = (0, "")
        await node.clock.advance(1)
        assert (node.of("app").ready, condition(node, "Ready")) == (True, "True")
        node.runtime.exec_results["ready"] = (1, "lost it")
        await node.clock.advance(1)
        assert node.of("app").ready, "one failure is below the threshold"
        await node.clock.advance(1)
        assert not node.of("app").ready
        assert ("Unhealthy", "Readiness probe failed: lost it") in node.events


async def test_a_failed_liveness_probe_restarts_the_container_with_the_probes_grace() -> None:
    async with kept() as node:
        node.runtime.exec_results["alive"] = (1, "deadlock")
        node.runtime.ignores_signals = True
        probe = exec_probe("alive", failure_threshold=3, termination_grace_period_seconds=2)
        await node.assign(make_pod(container(liveness_probe=probe)), wait=2.5)
        assert ("Unhealthy", "Liveness probe failed: deadlock") in node.events
        assert ("Killing", "Container app failed liveness probe, will be restarted") in node.events
        await node.clock.advance(2)
        assert node.of("app").last_state.terminated.exit_code == 137
        node.runtime.exec_results["alive"] = (0, "")
        await node.clock.advance(1)
        assert (node.of("app").ready, node.of("app").restart_count) == (True, 1)


async def test_until_the_startup_probe_succeeds_no_other_probe_asks() -> None:
    async with kept() as node:
        node.runtime.exec_results |= {"up": (1, ""), "alive": (1, ""), "ready": (1, "")}
        await node.assign(
            make_pod(
                container(
                    startup_probe=exec_probe("up", failure_threshold=30),
                    liveness_probe=exec_probe("alive"),
                    readiness_probe=exec_probe("ready"),
                )
            ),
            wait=10,
        )
        assert {call.split()[2] for call in node.runtime.calls if call.startswith("exec")} == {"up"}
        assert node.of("app").started is False
        node.runtime.exec_results |= {"up": (0, ""), "alive": (0, ""), "ready": (0, "")}
        await node.clock.advance(2)
        assert (node.of("app").started, node.of("app").ready) == (True, True)


async def test_a_startup_probe_that_gives_up_restarts_the_container() -> None:
    async with kept() as node:
        node.runtime.exec_results["up"] = (1, "")
        await node.assign(make_pod(container(startup_probe=exec_probe("up", failure_threshold=2))), wait=1.5)
        assert ("Killing", "Container app failed startup probe, will be restarted") in node.events


# ---------------------------------------------------------------- lookups and shutdown


async def test_containers_are_found_by_name_the_first_one_by_default() -> None:
    async with kept() as node:
        await node.assign(make_pod(container("app"), container("b")))
        node.runtime.end(node.runtime.named("app").id, 1)
        await node.clock.advance(2)
        assert node.manager.container("ns", "p-u1").attempt == 1
        assert node.manager.container("ns", "p-u1", "app", previous=True).attempt == 0
        with pytest.raises(NotFound, match="previous terminated container b of pod ns/p-u1 has not run"):
            node.manager.container("ns", "p-u1", "b", previous=True)
        with pytest.raises(NotFound, match="has no container c"):
            node.manager.container("ns", "p-u1", "c")
        with pytest.raises(NotFound, match="pod ns/x is not on node n1"):
            node.manager.container("ns", "x")


async def test_node_shutdown_ends_critical_pods_last() -> None:
    async with kept() as node:
        critical: Pod = make_pod(uid="u2")
        critical.spec.priority = 2_000_000_000
        node.runtime.ignores_signals = True
        await node.assign(make_pod(), critical)
        shutting = node.start(node.manager.shut_down(5, 3))
        await node.clock.advance(4.9)
        assert node.status("u1").phase == "Running"
        await node.clock.advance(0.2)
        assert (node.status("u1").phase, node.status("u2").phase) == ("Failed", "Running")
        await node.clock.advance(3.2)
        assert node.status("u2").phase == "Failed"
        assert node.status("u2").reason == "Terminated"
        assert shutting.done()


# ---------------------------------------------------------------- volumes


def with_volume(uid: str = "u1") -> Pod:
    pod = make_pod(container(volume_mounts=[VolumeMount(name="data", mount_path="/data")]), uid=uid)
    pod.spec.volumes.append(Volume(name="data", empty_dir=EmptyDirVolumeSource()))
    return pod


async def test_volumes_live_as_long_as_the_pod() -> None:
    async with kept() as node:
        pod = with_volume()
        await node.assign(pod)
        assert node.runtime.running() == ["app"]
        assert node.volumes.calls == ["set_up u1"]
        await node.assign(deleted(pod, grace=0), wait=1)
        assert node.gone == ["u1"]
        assert node.volumes.calls == ["set_up u1", "tear_down u1"]
        assert node.runtime.calls[-1].startswith("remove_")


async def test_a_volume_that_fails_is_told_and_tried_again() -> None:
    async with kept() as node:
        node.volumes.faults.append(VolumeFault("no space left"))
        await node.assign(with_volume())
        assert node.runtime.running() == []
        assert ("FailedMount", "no space left") in node.events
        assert node.of("app").state.waiting.reason == "ContainerCreating"
        assert "no space left" in node.of("app").state.waiting.message
        await node.clock.advance(2.5)
        assert node.runtime.running() == ["app"]


async def test_a_restarted_nodelet_sets_volumes_up_again_beside_running_containers() -> None:
    node = Node()
    pod = with_volume()
    async with kept(node):
        await node.assign(pod)
        app = node.runtime.named("app").id
    node.manager = node.make_manager()
    async with kept(node):
        await node.assign(pod)
        assert node.volumes.calls == ["set_up u1", "set_up u1"]
        assert node.runtime.named("app").id == app
        assert node.volumes.retained == {"u1"}


async def test_volumes_of_an_orphan_go_with_it() -> None:
    node = Node()
    async with kept(node):
        await node.assign(with_volume())
    node.manager = node.make_manager()
    async with kept(node):
        await node.assign(wait=60)
        assert node.volumes.calls[-1] == "tear_down u1"
        assert node.gone == ["u1"]


# ---------------------------------------------------------------- configuration


def needs_config() -> Pod:
    return pod_with(
        [{"name": "files", "configMap": {"name": "c"}}],
        {"env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "mode"}}}]},
    )


async def test_a_container_waits_for_its_configuration_and_starts_as_it_comes() -> None:
    async with kept() as node:
        await node.assign(needs_config(), wait=20)
        assert node.of("app").state.waiting.reason == "CreateContainerConfigError"
        assert node.of("app").state.waiting.message == 'configmap "c" not found'
        assert ("Failed", 'Error: configmap "c" not found') in node.events
        node.objects.update(by_key(config_map("c", {"other": "x"})))
        await node.assign(needs_config())
        assert node.of("app").state.waiting.message == "couldn't find key mode in ConfigMap ns/c"
        node.objects.update(by_key(config_map("c", {"mode": "fast"})))
        await node.assign(needs_config())
        assert node.runtime.running() == ["app"]
        assert node.runtime.specs[-1].env == {"MODE": "fast"}


async def test_only_what_changed_in_what_it_uses_sets_a_pods_volumes_up_again() -> None:
    async with kept() as node:
        pod = needs_config()
        node.objects.update(by_key(config_map("c", {"mode": "1"}), config_map("unused", {})))
        await node.assign(pod)
        assert node.volumes.calls == ["set_up u1"]
        node.objects.update(by_key(config_map("unused", {"k": "2"})))
        await node.assign(pod)
        assert node.volumes.calls == ["set_up u1"]
        node.objects.update(by_key(config_map("c", {"mode": "2"})))
        await node.assign(pod)
        assert node.volumes.calls == ["set_up u1", "set_up u1"]
        assert len(node.volumes.objects) == 1
        assert node.of("app").restart_count == 0


async def test_a_volume_whose_update_fails_does_not_disturb_what_runs() -> None:
    async with kept() as node:
        pod = needs_config()
        node.objects.update(by_key(config_map("c", {"mode": "1"})))
        await node.assign(pod)
        node.volumes.faults.append(VolumeFault("gone"))
        node.objects.clear()
        await node.assign(pod)
        assert ("FailedMount", "gone") in node.events
        assert node.of("app").state.HasField("running")


async def test_keys_that_cannot_be_variables_are_told() -> None:
    async with kept() as node:
        node.objects.update(by_key(config_map("c", {"1st": "x", "ok": "y"})))
        await node.assign(pod_with(container={"envFrom": [{"configMapRef": {"name": "c"}}]}))
        assert node.runtime.specs[-1].env == {"ok": "y"}
        (message,) = [message for reason, message in node.events if reason == "InvalidEnvironmentVariableNames"]
        assert "Keys [1st] from the EnvFrom configMap ns/c were skipped" in message


async def test_what_came_while_it_was_missed_is_not_waited_for() -> None:
    async with kept() as node:
        pod = needs_config()
        began, go_on = asyncio.Event(), asyncio.Event()

        async def slow(pod: Pod, objects: Objects) -> None:
            began.set()
            await go_on.wait()
            node.volumes.set_up = real  # type: ignore[method-assign]
            raise VolumeFault("gone")

        real = node.volumes.set_up
        node.volumes.set_up = slow  # type: ignore[method-assign]
        await node.assign(pod)
        assert began.is_set()
        node.objects.update(by_key(config_map("c", {"mode": "1"})))
        await node.assign(pod)
        go_on.set()
        await node.clock.advance(0.1)
        assert node.runtime.running() == ["app"]
        assert not any(reason == "FailedMount" for reason, _ in node.events)
