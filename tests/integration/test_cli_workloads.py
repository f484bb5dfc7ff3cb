"""The `podium` command works with what runs: rollouts, logs, streams into containers, nodes."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import signal
import struct
import tarfile
import termios
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import Node
from podium.v1.policy_pb2 import ResourceQuota
from tests.support.cluster import ADMIN
from tests.support.command import PROGRAM, Podium
from tests.support.command_world import World, command_world, web
from tests.support.lively import EXIT
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with command_world(tmp_path_factory.mktemp("cli-workloads")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def podium(world: World) -> Podium:
    return await world.podium()


# ---------------------------------------------------------------- rollouts, scale, set


async def test_a_rollout_is_followed_undone_and_told(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    await podium("set", "image", "deploy/web", "main=lines:2")
    await podium("annotate", "deploy/web", "kubernetes.io/change-cause=newer lines")
    followed = await podium("rollout", "status", "deploy/web")
    assert "✓ deployment.apps/web revision 2" in followed.out
    history = (await podium("rollout", "history", "deploy", "web")).lines
    assert [line.split()[0] for line in history] == ["REVISION", "1", "2"]
    assert "admin" in history[2]
    assert "newer lines" in history[2]
    assert "image: lines:1 -> lines:2" in history[2]
    one = (await podium("rollout", "history", "deploy/web", "--revision=1")).out
    assert "image: lines:1" in one
    assert "image: lines:2" not in one
    dry = await podium("rollout", "undo", "deploy/web", "--dry-run")
    assert dry.out == "deployment.apps/web rolled back (dry run)\n"
    await podium("rollout", "undo", "deploy/web", "--to-revision=1")
    await podium("rollout", "status", "deploy/web")
    images = await podium("get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}")
    assert set(images.out.split()) == {"lines:1"}


async def test_a_canary_is_followed_aborted_tried_again_and_promoted(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    steps = '[{"setWeight": 50}, {"pause": {}}]'
    strategy = f'{{"spec": {{"strategy": {{"type": "Canary", "canary": {{"steps": {steps}}}}}}}}}'
    await podium("patch", "deploy/web", "--type=merge", "-p", strategy)
    await podium("set", "image", "deploy/web", "main=lines:2")

    async def waits() -> str:
        told = ""
        async with asyncio.timeout(20):
            while "▶ pause" not in told:
                told = (await podium("rollout", "status", "deploy/web", "--no-watch")).out
        return told

    told = await waits()
    assert "weight 50% (is 50%)" in told
    assert "✓ weight 50%" in told
    wide = (await podium("get", "deploy", "-o", "wide")).out
    assert "Canary:50%" in wide
    assert (await podium("rollout", "abort", "deploy/web")).out == "deployment.apps/web aborted\n"
    aborted = await podium("rollout", "status", "deploy/web", "--timeout=20s", code=1)
    assert "aborted by admin" in aborted.out
    assert "failed: RolloutAborted" in (await podium("rollout", "history", "deploy/web")).out
    assert "Held Back" in (await podium("describe", "deploy/web")).out
    refused = await podium("rollout", "promote", "deploy/web", code=1)
    assert "podium rollout retry deployment/web" in refused.err
    await podium("rollout", "retry", "deploy/web")
    await waits()
    await podium("rollout", "promote", "deploy/web")
    done = await podium("rollout", "status", "deploy/web", "--timeout=30s")
    assert "✓ deployment.apps/web revision 2" in done.out


async def test_a_rollout_is_paused_resumed_and_restarted(world: World, podium: Podium) -> None:
    before = await world.run_web(podium)
    await podium("rollout", "pause", "deploy/web")
    await podium("set", "env", "deploy", "web", "LEVEL=debug", "TRACE=1", "-c", "main")
    paused = await podium("rollout", "status", "deploy/web", "--no-watch")
    assert "paused" in paused.out
    assert {p.metadata.name for p in world.pods(podium)} == {p.metadata.name for p in before}
    await podium("rollout", "resume", "deploy/web")
    await podium("rollout", "status", "deploy/web", "--timeout=30s")
    await podium("set", "env", "deploy/web", "TRACE-")
    await podium("rollout", "restart", "deploy/web")
    await podium("rollout", "status", "deploy/web", "--timeout=30s")
    ready = await until(lambda: world.pods(podium, phase="Running"), seconds=10)
    assert {(e.name, e.value) for p in ready for e in p.spec.containers[0].env} == {("LEVEL", "debug")}


async def test_set_knows_the_containers(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    wrong = await podium("set", "image", "deploy/web", "mian=a:2", code=1)
    assert wrong.err == 'error: deployment/web has no container "mian"; it has main\n'
    await podium("set", "image", "deploy/web", "*=lines:3")
    assert "name the workload" in (await podium("set", "env", "deploy/web", code=1)).err


async def test_scale(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    assert (await podium("scale", "deploy/web", "--replicas=1")).out == "deployment.apps/web scaled to 1\n"
    refused = await podium("scale", "deploy/web", "--replicas=3", "--current-replicas=2", code=1)
    assert refused.err == "error: deployment.apps/web has 1 replicas, not 2\n"
    await podium("scale", "deploy", "web", "--replicas=3", "--current-replicas=1")
    assert "error: " in (await podium("scale", "ns/default", "--replicas=1", code=1)).err


# ---------------------------------------------------------------- logs


async def test_logs_of_a_pod_and_of_a_workload(world: World, podium: Podium) -> None:
    pods = sorted(p.metadata.name for p in await world.run_web(podium))
    assert (await podium("logs", pods[0], "--tail=2")).lines == ["line 9", "line 10"]
    assert (await podium("logs", f"pod/{pods[0]}", "-c", "main")).lines[0] == "line 1"
    both = (await podium("logs", "deploy/web", "--tail=1")).lines
    assert both == [f"[{name}] line 10" for name in pods]
    assert (await podium("logs", "-l", "app=web", "--tail=1", "--all-containers")).lines == both
    stamped = (await podium("logs", pods[0], "--tail=1", "--timestamps", "--prefix")).out
    assert stamped.startswith(f"[{pods[0]}] 20")
    assert (await podium("logs", pods[0], "--since-time=2199-01-01T00:00:00Z")).out == ""
    assert len((await podium("logs", pods[0], "--since=1h")).lines) == 10
    wrong = await podium("logs", pods[0], "-c", "mian", code=1)
    assert wrong.err == f'error: pod {pods[0]} has no container "mian"; it has main\n'
    assert "no previous run" in (await podium("logs", pods[0], "--previous", code=1)).err
    assert "is not a time" in (await podium("logs", pods[0], "--since-time=today", code=1)).err
    assert "name a pod or a workload" in (await podium("logs", code=1)).err


async def test_logs_follow_a_workload_and_its_new_pods(world: World, podium: Podium) -> None:
    await world.run_web(podium, replicas=1)
    async with podium.running("logs", "-f", "deploy/web", "--tail=1") as logs:
        await logs.says("line 10")
        assert "line 9" not in logs.seen
        await podium("scale", "deploy/web", "--replicas=2")
        ready = await until(lambda: p if len(p := world.pods(podium, phase="Running")) == 2 else None, seconds=20)
        for pod in ready:
            await logs.says(f"[{pod.metadata.name}] line 10")
        ended = await logs.end()
    assert (ended.code, ended.err) == (130, "")


async def test_logs_of_the_run_before(world: World, podium: Podium) -> None:
    await podium("apply", "-f", "-", stdin=web(image="crash:1", replicas=1))
    await until(lambda: [p for p in world.pods(podium) for s in p.status.container_statuses if s.restart_count])
    assert "fatal: no database" in (await podium("logs", "deploy/web", "--previous")).out


# ---------------------------------------------------------------- exec, attach, cp, port-forward


async def test_exec_runs_and_passes_input_and_exit_code_on(world: World, podium: Podium) -> None:
    (pod, _) = await world.run_web(podium)
    name = pod.metadata.name
    ran = await podium("exec", name, "--", "ls", "-l", "--help", code=EXIT)
    assert (ran.out, ran.err) == ("ran ls -l --help\n", "bye")
    fed = await podium("exec", "-i", "deploy/web", "--", "cat", stdin="one\ntwo\n", code=EXIT)
    assert fed.out == "one\ntwo\n"
    assert (
        await podium("exec", name, "-c", "main", "-i", "--", "cat", stdin="x" * 300_000, code=EXIT)
    ).out == "x" * 300_000
    unseparated = await podium("exec", name, "ls", "-l", code=2)
    assert "options of the remote command go after --" in unseparated.err
    assert "executable file not found" in (await podium("exec", name, "--", "missing", code=1)).err
    assert "it has main" in (await podium("exec", name, "-c", "mian", "--", "ls", code=1)).err
    assert "has no pods; name a pod" in (await podium("exec", "ns/default", "--", "ls", code=1)).err


async def test_any_amount_of_input_is_passed_on(world: World, podium: Podium) -> None:
    (pod,) = await world.run_web(podium, replicas=1)
    dump = podium.folder / "dump.sql"
    dump.write_text("x" * 5_000_000)
    for line in ("< dump.sql", "< <(cat dump.sql)"):
        command = f"{PROGRAM} -n {podium.namespace} exec -i {pod.metadata.name} -- cat {line}"
        script = f"{command} | wc -c; echo ${{PIPESTATUS[0]}}"
        shell = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=podium.folder, stdout=asyncio.subprocess.PIPE,
            env={"PODIUM_CONFIG": str(podium.config), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(shell.communicate(), 60)
        assert out.split() == [b"5000000", str(EXIT).encode()]


@pytest.mark.parametrize("how", ["the command ends", "we are told to end"])
async def test_a_terminal_is_raw_for_the_command_and_restored_after_it(world: World, podium: Podium, how: str) -> None:
    (pod,) = await world.run_web(podium, replicas=1)
    host = world.hosts[pod.spec.node_name]
    ours, theirs = os.openpty()
    before, shells = termios.tcgetattr(theirs), len(host.processes)
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "-n", podium.namespace, "exec", "-it", "deploy/web", "--", "sh", stdin=theirs, stdout=theirs,
        stderr=theirs, env={"PODIUM_CONFIG": str(podium.config), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    await until(lambda: len(host.processes) > shells, seconds=20)
    assert termios.tcgetattr(theirs)[3] & termios.ICANON == 0
    os.write(ours, b"typed\x03")  # an interrupt is for the remote side
    assert await asyncio.to_thread(os.read, ours, 100) == b"typed\x03"
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    process.send_signal(signal.SIGWINCH)
    await until(lambda: (111, 33) in host.processes[-1].sizes)
    if how == "the command ends":
        await host.processes[-1].close_stdin()
    else:
        process.send_signal(signal.SIGTERM)
    ended = EXIT if how == "the command ends" else 143
    assert await asyncio.wait_for(process.wait(), 20) == ended
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


async def test_attach(world: World, podium: Podium) -> None:
    (pod, _) = await world.run_web(podium)
    attached = await podium("attach", "-i", pod.metadata.name, stdin="typed\n", code=EXIT)
    assert attached.out == "typed\n"


async def test_attach_with_a_terminal_to_a_container_that_has_none(world: World, podium: Podium) -> None:
    (pod, _) = await world.run_web(podium)
    attached = await podium("attach", "-it", pod.metadata.name, stdin="typed\n", code=EXIT)
    assert attached.out == "typed\n"
    assert "was made without a terminal (`tty: true`)" in attached.err
    assert world.hosts[pod.spec.node_name].processes[-1].sizes == []


async def test_attach_to_a_container_that_has_a_terminal(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    manifest = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell"},
        "spec": {"containers": [{"name": "sh", "image": "web:1", "stdin": True, "tty": True}]},
    }  # fmt: skip
    (podium.folder / "shell.yaml").write_text(json.dumps(manifest))
    await podium("apply", "-f", "shell.yaml", "--wait")
    attached = await podium("attach", "-it", "shell", stdin="typed\n", code=EXIT)
    assert (attached.out, "without a terminal" in attached.err) == ("typed\n", False)
    host = world.hosts[(await podium("get", "pod", "shell", "-o", "jsonpath={.spec.nodeName}")).out.strip()]
    assert host.processes[-1].sizes == [(80, 24)]
    await podium("delete", "pod", "shell", "--grace-period=0")  # nobody would replace it: a drain would stop at it


def _archive(**members: bytes) -> bytes:
    """A tar of `site/…`, as an engine makes it of a directory."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        top = tarfile.TarInfo("site")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, content in members.items():
            member = tarfile.TarInfo(f"site/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


async def test_cp_out_of_a_container(world: World, podium: Podium) -> None:
    (pod,) = await world.run_web(podium, replicas=1)
    world.hosts[pod.spec.node_name].files["/srv/site"] = _archive(index=b"hello", more=b"x" * 200_000)
    await podium("cp", f"{pod.metadata.name}:/srv/site", ".")
    assert (podium.folder / "site" / "index").read_bytes() == b"hello"
    await podium("cp", "deploy/web:/srv/site", "deep/renamed")
    assert (podium.folder / "deep" / "renamed" / "more").stat().st_size == 200_000
    assert "no /none in the container" in (await podium("cp", "deploy/web:/none", ".", code=1)).err
    world.hosts[pod.spec.node_name].files["/evil"] = _archive(**{"../../../escaped": b"!"})
    assert "cannot be copied" in (await podium("cp", "deploy/web:/evil", ".", code=1)).err
    assert "must be POD:PATH" in (await podium("cp", "a", "b", code=1)).err


async def test_cp_into_a_container(world: World, podium: Podium) -> None:
    (pod,) = await world.run_web(podium, replicas=1)
    files = world.hosts[pod.spec.node_name].files
    files["/html"] = _archive()
    (podium.folder / "site").mkdir()
    (podium.folder / "site" / "index").write_text("hello")
    for target, directory, names in (
        ("deploy/web:/html", "/html", ["site", "site/index"]),
        ("deploy/web:/html2", "/", ["html2", "html2/index"]),
        ("deploy/web:/tmp/", "/tmp/", ["site", "site/index"]),
    ):
        await podium("cp", "./site", target)
        assert _names(files[directory]) == names
    await podium("cp", "site/.", f"{pod.metadata.name}:/www")
    assert _names(files["/www"]) == [".", "./index"]
    assert 'no such file or directory: "none"' in (await podium("cp", "none", "deploy/web:/x", code=1)).err


async def test_port_forward_survives_connections_that_fail(world: World, podium: Podium) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.read() + b">")
        await writer.drain()
        writer.close()

    await world.run_web(podium, replicas=1)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, podium.running("port-forward", "deploy/web", f":{port}", ":1") as forward:
        said = await forward.says(":1\n")
        good, bad = (int(line.split(" -> ")[0].rpartition(":")[2]) for line in said.splitlines())
        assert await _talk(bad, b"ping") == b""
        for _ in range(2):
            assert await _talk(good, b"ping") == b"<ping>"
        ended = await forward.end()
    assert ended.code == 130
    assert "can't connect to port 1" in ended.err
    assert "Traceback" not in ended.err
    taken = await podium("port-forward", "deploy/web", "70000", code=1)
    assert '"70000" is not a port or LOCAL:REMOTE' in taken.err


async def _talk(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


# ---------------------------------------------------------------- nodes


async def test_nodes_are_cordoned_drained_and_tainted(world: World, podium: Podium) -> None:
    await world.run_web(podium, replicas=3)
    await podium("cordon", "node1")
    assert "Ready,SchedulingDisabled" in (await podium("get", "node", "node1")).out
    drained = await podium("drain", "node/node1")
    assert "evicting pod/" in drained.out
    assert drained.lines[-1] == "node/node1 drained"
    assert not world.cluster.pods(namespace=podium.namespace, node="node1")
    await podium("uncordon", "node1")
    assert "SchedulingDisabled" not in (await podium("get", "nodes")).out

    await podium("taint", "nodes", "node1", "dedicated=db:NoSchedule", "old:PreferNoSchedule")
    node = world.cluster.reader.get(Node, "", "node1")
    assert node is not None
    assert [(t.key, t.value, t.effect) for t in node.spec.taints] == [
        ("dedicated", "db", "NoSchedule"), ("old", "", "PreferNoSchedule"),
    ]  # fmt: skip
    await podium("taint", "node1", "dedicated-", "old:PreferNoSchedule-")
    node = world.cluster.reader.get(Node, "", "node1")
    assert node is not None
    assert not node.spec.taints
    assert "is not a taint effect" in (await podium("taint", "node1", "a=b:NoRun", code=1)).err


async def test_a_dry_run_is_checked_by_the_master_and_changes_nothing(world: World, podium: Podium) -> None:
    pods = await world.run_web(podium)
    node = pods[0].spec.node_name
    there = sorted(f"pod/{podium.namespace}/{p.metadata.name}" for p in pods if p.spec.node_name == node)

    async def state() -> str:
        shown = await podium("get", "deploy/web", "-o", "jsonpath={.metadata.generation} {.metadata.labels} {.spec}")
        return shown.out + (await podium("get", "node", node, "-o", "jsonpath={.spec} {.metadata.labels}")).out

    before, dry = await state(), "--dry-run"
    said = {
        ("scale", "deploy/web", "--replicas=7"): "deployment.apps/web scaled to 7 (dry run)",
        ("label", "deploy/web", "a=b"): "deployment.apps/web labels changed (dry run)",
        ("annotate", "deploy/web", "a=b"): "deployment.apps/web annotations changed (dry run)",
        ("set", "image", "deploy/web", "main=lines:9"): "deployment.apps/web image updated (dry run)",
        ("set", "env", "deploy/web", "A=b"): "deployment.apps/web env updated (dry run)",
        ("cordon", node): f"node/{node} cordoned (dry run)",
        ("uncordon", node): f"node/{node} uncordoned (dry run)",
        ("taint", node, "a=b:NoExecute"): f"node/{node} taints changed (dry run)",
    }
    for words, answer in said.items():
        assert (await podium(*words, dry)).out == answer + "\n"
    drained = await podium("drain", node, "--pod-selector=app=web", dry)
    assert drained.lines[0] == f"node/{node} cordoned (dry run)"
    mine = sorted(line for line in drained.lines[1:] if podium.namespace in line)
    assert mine == [f"evicting {name} (dry run)" for name in there]
    assert await state() == before
    assert {p.metadata.name for p in world.cluster.pods(namespace=podium.namespace)} == {p.metadata.name for p in pods}
    for words in (("label", "deploy/web", "a b=c"), ("taint", node, "a/b/c=d:NoExecute")):
        assert "error: " in (await podium(*words, dry, code=1)).err


async def test_policies_are_made_shown_and_described(world: World, podium: Podium) -> None:
    made = await podium("create", "quota", "team", "--hard=pods=4,requests.cpu=2", "--scopes=NotTerminating")
    assert made.out == "resourcequota/team created\n"

    def counted() -> bool:
        found = world.cluster.reader.get(ResourceQuota, podium.namespace, "team")
        return found is not None and found.status.used.get("pods") == "0"

    await until(counted)
    assert "requests.cpu   0      2" in (await podium("describe", "quota", "team")).out
    refused = await podium("create", "quota", "odd", "--hard=pods", code=2)
    assert "--hard is a list of NAME=VALUE" in refused.err
    await podium("create", "priorityclass", f"high-{podium.namespace}", "--value=7", "--preemption-policy=Never")
    shown = (await podium("get", "pc", f"high-{podium.namespace}")).lines
    assert shown[1].split()[1:3] == ["7", "false"]
    await podium("create", "pdb", "web", "--selector=app=web", "--max-unavailable=25%")
    shown = (await podium("get", "pdb")).lines
    assert shown[0].split("  ")[0] == "NAME"
    assert shown[1].split()[:3] == ["web", "N/A", "25%"]
    assert "either --min-available" in (await podium("create", "pdb", "x", "--selector=a=b", code=2)).err


async def test_drain_keeps_to_a_budget_and_says_which_holds_it_up(world: World, podium: Podium) -> None:
    await world.run_web(podium, replicas=3)
    node = world.pods(podium)[0].spec.node_name
    budget = """{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web},
        spec: {minAvailable: LEAST, selector: {matchLabels: {app: web}}}}"""
    await podium("apply", "-f", "-", stdin=budget.replace("LEAST", "3"))
    refused = await podium("drain", node, "--timeout=2s", code=1)
    assert f"disruption budget {podium.namespace}/web needs 3 healthy pods, and has 3" in refused.err
    assert "timed out after 2s" in refused.err
    assert len(world.pods(podium, phase="Running")) == 3
    await podium("apply", "-f", "-", stdin=budget.replace("LEAST", "2"))
    drained = await podium("drain", node, "--timeout=60s")
    assert drained.lines[-1] == f"node/{node} drained"
    assert not world.cluster.pods(namespace=podium.namespace, node=node)
    await podium("uncordon", node)


async def test_drain_leaves_daemons_where_they_are(world: World, podium: Podium) -> None:
    agent = """{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent},
        spec: {selector: {matchLabels: {app: agent}},
        template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: main, image: a}]}}}}"""
    await podium("apply", "-f", "-", "--wait", stdin=agent)
    assert "is rolled out on" in (await podium("rollout", "status", "ds/agent")).out
    refused = await podium("drain", "node1", "--no-ignore-daemonsets", code=1)
    assert "would come back at once" in refused.err
    before = {p.metadata.uid for p in world.cluster.pods(namespace=podium.namespace)}
    await podium("drain", "node1")
    assert {p.metadata.uid for p in world.cluster.pods(namespace=podium.namespace)} == before
    assert "SchedulingDisabled" in (await podium("get", "node", "node1")).out
    await podium("uncordon", "node1")
    await podium("delete", "ds", "agent")


async def test_drain_refuses_pods_that_nothing_would_replace(world: World, podium: Podium) -> None:
    alone = """{apiVersion: v1, kind: Pod, metadata: {name: alone},
        spec: {nodeName: node2, containers: [{name: main, image: a}]}}"""
    await podium("apply", "-f", "-", "--wait", stdin=alone)
    refused = await podium("drain", "node2", code=1)
    assert f"nothing would replace {podium.namespace}/alone" in refused.err
    assert "SchedulingDisabled" not in (await podium("get", "nodes")).out
    await podium("drain", "node2", "--force")
    await podium("uncordon", "node2")
    assert 'Node "node9" not found' in (await podium("drain", "node9", code=1)).err


async def test_an_autoscaler_is_made_and_explained(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    assert "pods cannot be scaled: " in (await podium("autoscale", "pod/x", "--max=2", code=1)).err
    made = await podium("autoscale", "deploy/web", "--min=2", "--max=4", "--cpu-percent=60")
    assert made.out == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    shown = (await podium("get", "hpa")).lines
    assert shown[0].split() == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert shown[1].split()[:4] == ["web", "Deployment/web", "cpu:", "<unknown>/60%"]

    def looked_at() -> bool:
        hpa = world.cluster.reader.get(HorizontalPodAutoscaler, podium.namespace, "web")
        return hpa is not None and any(c.type == "ScalingActive" for c in hpa.status.conditions)

    await until(looked_at)
    explained = (await podium("explain", "hpa/web")).out
    assert explained.startswith("Deployment web is to have 2 replicas, of between 2 and 4. No figure: cpu resource")
    assert "container main of pod web-" in explained
    assert "requests no cpu" in explained
    described = (await podium("describe", "hpa", "web")).out
    assert "cpu      <unknown>   60%" in described
    assert "FailedGetResourceMetric" in described
    assert "why an autoscaler" in (await podium("explain", "--help")).out
    fields = (await podium("explain", "hpa.spec.behavior.scaleDown")).out
    assert "stabilizationWindowSeconds" in fields


async def test_top(world: World, podium: Podium) -> None:
    book = world.cluster.master.dispatcher.usage
    await until(lambda: len(book.nodes()) == 3, what="usage of the nodes")
    nodes = (await podium("top", "nodes", "--sort-by=cpu")).lines
    assert nodes[0].split() == ["NAME", "CPU", "CPU%", "MEMORY", "MEMORY%"]
    assert sorted(line.split()[0] for line in nodes[1:]) == ["node1", "node2", "node3"]
    silent = Node()
    silent.metadata.name = "silent"
    await world.cluster.writer.create(silent, by=ADMIN)
    assert "silent   <unknown>   <unknown>" in (await podium("top", "nodes", "silent")).out
    await podium("delete", "node", "silent")
    assert len((await podium("top", "node", "node2")).lines) == 2
    assert "-A and --containers are for pods" in (await podium("top", "nodes", "-A", code=1)).err
    assert (await podium("top", "pods")).err == "no usage reported yet\n"
    await world.run_web(podium)
    await until(lambda: len(list(book.pods(podium.namespace))) == 2, what="usage of both pods")
    pods = (await podium("top", "pods", "--no-headers", "--sum")).lines
    assert [line.split()[-2:] for line in pods] == [["250m", "32Mi"], ["250m", "32Mi"], ["500m", "64Mi"]]
    wide = (await podium("top", "containers", "-l", "app=web", "-o", "wide")).lines
    assert wide[0].split() == [
        "NAME", "CPU", "MEMORY", "NET-IN/s", "NET-OUT/s", "DISK-READ/s", "DISK-WRITE/s", "TASKS",
    ]  # fmt: skip
    assert {line.split()[0].rpartition("/")[2] for line in wide[1:]} == {"main"}
