"""The `podium` command against a real master: what it shows, how it fails, how it ends, whom it lets do what."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
import pytest
import pytest_asyncio

from podium.cli.main import cli
from podium.codec.yaml import load_all
from tests.support.command import PROGRAM, Podium
from tests.support.command_world import World, command_world, web
from tests.support.lively import EXIT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with command_world(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def podium(world: World) -> Podium:
    return await world.podium()


# ---------------------------------------------------------------- get


async def test_get_in_every_format(world: World, podium: Podium) -> None:
    pods = sorted(p.metadata.name for p in await world.run_web(podium))

    table = (await podium("get", "pods")).lines
    assert table[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[:4] for line in table[1:]] == [[name, "1/1", "Running", "0"] for name in pods]

    wide = (await podium("get", "pods", "-o", "wide")).lines
    assert wide[0].split()[5:7] == ["IP", "NODE"]
    assert all(line.split()[6].startswith("node") for line in wide[1:])

    assert (await podium("get", "po", "-o", "name")).lines == [f"pod/{name}" for name in pods]
    listed = json.loads((await podium("get", "pods", "-o", "json")).out)
    assert (listed["kind"], [i["metadata"]["name"] for i in listed["items"]]) == ("List", pods)
    single = json.loads((await podium("get", "pod", pods[0], "-o", "json")).out)
    assert (single["kind"], single["metadata"]["name"]) == ("Pod", pods[0])
    (decoded,) = load_all((await podium("get", "deploy/web", "-o", "yaml")).out)
    assert decoded.metadata.name == "web"
    names = await podium("get", "pods", "-o", "jsonpath={.items[*].metadata.name}")
    assert names.out.split() == pods
    wrong = await podium("get", "pods", "-o", "xml", code=1)
    assert 'unknown output format "xml"; expected one of wide, name, json' in wrong.err


async def test_get_selects_and_sorts(world: World, podium: Podium) -> None:
    pods = await world.run_web(podium, replicas=3)
    assert len((await podium("get", "pods", "-l", "app=web", "--no-headers")).lines) == 3
    assert "no pods in namespace" in (await podium("get", "pods", "-l", "app!=web")).err
    here = [p.metadata.name for p in pods if p.spec.node_name == "node1"]
    on_node = await podium("get", "pods", "--field-selector", "spec.nodeName=node1", "-o", "name")
    assert on_node.lines == [f"pod/{name}" for name in here]
    refused = await podium("get", "pods", "--field-selector", "spec.nodeNam=node1", code=1)
    assert 'did you mean "spec.nodeName"?' in refused.err
    by_node = await podium("get", "pods", "--sort-by=.spec.nodeName", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert by_node.out.split() == ["node1", "node2", "node3"]
    labelled = await podium("get", "pods", "--show-labels")
    assert "app=web,pod-template-hash=" in labelled.out


async def test_get_several_kinds_and_names(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    several = (await podium("get", "deploy/web", "ns/default")).out
    assert "deployment.apps/web" in several
    assert "namespace/default" in several
    everything = (await podium("get", "all")).out
    assert everything.count("NAME ") == 3
    assert f"{podium.namespace} " in (await podium("get", "deploy", "-A")).out
    partly = await podium("get", "deploy", "nope", "web", code=1)
    assert "web" in partly.out
    assert partly.err == f'error: Deployment "nope" not found in namespace "{podium.namespace}"\n'
    assert (await podium("get", "deploy", "nope", "--ignore-not-found")).err == ""


async def test_watching_prints_changes_and_ends_at_an_interrupt(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    async with podium.running("get", "deploy", "-w") as watch:
        before = await watch.says("web")
        await podium("scale", "deploy/web", "--replicas=3")
        await watch.says("3/3")
        ended = await watch.end(signal.SIGINT)
    assert ended.code == 130
    assert ended.err == ""
    assert ended.out.count("NAME") == 1
    assert before.splitlines()[0].index("READY") == ended.out.splitlines()[-1].index("3/3")


@pytest.mark.parametrize("command", ["get deploy -w", "logs -f deploy/web"])
async def test_a_reader_that_goes_away_is_no_error(world: World, podium: Podium, command: str) -> None:
    await world.run_web(podium)
    line = f"{PROGRAM} -n {podium.namespace} {command} | head -1; echo ${{PIPESTATUS[0]}}"
    pipe = asyncio.subprocess.PIPE
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", line, env={"PODIUM_CONFIG": str(podium.config), "PATH": "/usr/bin:/bin"}, stdout=pipe, stderr=pipe
    )
    assert shell.stdout is not None
    assert await shell.stdout.readline()
    await podium("scale", "deploy/web", "--replicas=3")
    out, err = await asyncio.wait_for(shell.communicate(), 30)
    assert (out, err) == (b"141\n", b"")


# ---------------------------------------------------------------- describe, events, explain


async def test_describe_knows_every_kind(world: World, podium: Podium) -> None:
    (pod, _) = await world.run_web(podium)
    await podium("create", "secret", "generic", "db", "--from-literal=password=hunter2")
    shown = (await podium("describe", "pod", pod.metadata.name)).out
    for words in (
        "Controlled By:",
        "Image:",
        "lines:1",
        "State:",
        "Running since",
        "Conditions:",
        "Events:",
        "Started",
    ):
        assert words in shown
    shown = (await podium("describe", "deploy/web")).out
    for words in ("Replicas:", "2 desired", "RollingUpdate:", "25% max unavailable", "ScalingReplicaSet", "LEVEL=info"):
        assert words in shown
    assert "Controlled By:     Deployment/web" in (await podium("describe", "rs", "-l", "app=web")).out
    node = (await podium("describe", "node", pod.spec.node_name)).out
    for words in ("PodCIDR:", "Ready", "memory", pod.metadata.name):
        assert words in node
    assert "Active" in (await podium("describe", "ns", podium.namespace)).out
    secret = (await podium("describe", "secret", "db")).out
    assert "password:          7 bytes" in secret
    assert "hunter2" not in secret
    assert "aHVudGVyMg" not in secret
    assert (await podium("describe", "events")).out.startswith("Name:")


async def test_events_of_a_namespace_and_about_one_object(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    assert "Scheduled" in (await podium("events")).out
    about = (await podium("events", "--for", "deploy/web")).lines[1:]
    assert about
    assert all("deployment/web" in line for line in about)
    assert "no events" in (await podium("events", "--types=Warning")).err
    async with podium.running("events", "-w") as watch:
        await watch.says("ScalingReplicaSet")
        await podium("scale", "deploy/web", "--replicas=3")
        await watch.says("from 2 to 3")


async def test_explain_says_why_a_pod_waits(world: World, podium: Podium) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": {"containers": [
        {"name": "main", "image": "a:1", "resources": {"requests": {"cpu": "64"}}}]}}  # fmt: skip
    await podium("create", "-f", "-", stdin=json.dumps(pod))
    await podium("wait", "--for=condition=PodScheduled=False", "pod/big")
    explained = (await podium("explain", "pod", "big")).out
    assert "Insufficient cpu" in explained
    assert "0/3" in explained
    by_node = (await podium("explain", "pod/big", "--nodes")).out
    assert all(f"{node}   no" in by_node for node in world.hosts)


async def test_explain_shows_what_each_plugin_gives_the_nodes(world: World, podium: Podium) -> None:
    (pod, _) = await world.run_web(podium)
    lines = (await podium("explain", "pod", pod.metadata.name, "--nodes")).lines
    assert lines[0] == f"pod/{pod.metadata.name}: Bound on {pod.spec.node_name}"
    header = next(line.split() for line in lines if line.startswith("NODE "))
    assert header[:3] == ["NODE", "FITS", "SCORE"]
    assert "NodeResourcesFit*1" in header
    rows = [line.split() for line in lines[-3:]]
    assert [row[0] for row in rows] == sorted(world.hosts)
    assert all(0 < float(row[header.index("NodeResourcesFit*1")]) <= 100 for row in rows)


async def test_explain_says_why_a_pool_does_not_grow(podium: Podium) -> None:
    pool = {"apiVersion": "podium.dev/v1", "kind": "NodePool", "metadata": {"name": "batch"}, "spec": {
        "hosts": [{"name": "b1", "address": "192.0.2.1"}], "min": 1, "credentials": {"secretRef": {"name": "ssh"}},
        "capacity": {"cpu": "8", "memory": "8Gi", "pods": "110"}}}  # fmt: skip
    assert (await podium("apply", "-f", "-", stdin=json.dumps(pool))).out == "nodepool.podium.dev/batch created\n"
    await podium("wait", "--for=condition=CredentialsValid=False", "nodepool/batch")
    explained = (await podium("explain", "nodepool", "batch")).out
    assert explained == (
        "Pool batch has 0 of 1 hosts ready, between 1 and 1. "
        "Last decision: does not grow: secret podium-system/ssh does not exist.\n"
    )
    listed = (await podium("get", "nodepools")).lines
    assert listed[0].split() == ["NAME", "HOSTS", "READY", "COMING", "FAILED", "MIN", "MAX", "AGE"]
    assert listed[1].split()[:7] == ["batch", "1", "0", "0", "0", "1", "1"]
    assert "root@192.0.2.1:22" in (await podium("describe", "nodepool", "batch")).out
    await podium("delete", "nodepool", "batch")


async def test_explain_says_what_a_field_is(podium: Podium) -> None:
    assert "rollingUpdate" in (await podium("explain", "deploy.spec.strategy")).out
    wrong = await podium("explain", "deploy.spec.strat", code=1)
    assert wrong.err == 'error: Deployment.spec has no field "strat": did you mean "strategy"?\n'


# ---------------------------------------------------------------- errors, exit codes, plain text


async def test_mistakes_are_answered_with_what_to_do(podium: Podium, tmp_path: Path) -> None:
    command = await podium("gte", "pods", code=2)
    assert 'no such command "gte". Did you mean "get"?' in command.err
    kind = await podium("get", "pdos", code=1)
    assert kind.err == 'error: unknown kind "pdos": did you mean "pods"?\n'
    option = await podium("get", "pods", "--slector=a", code=2)
    assert "--selector" in option.err
    missing = await podium("get", "pods", code=1, environment={"PODIUM_CONFIG": str(tmp_path / "none")})
    assert "copy admin.yaml from the master's data directory" in missing.err
    context = await podium("get", "pods", "--context=prod", code=1)
    assert 'no context "prod" in the configuration (there is: podium)' in context.err


async def test_a_master_that_is_not_there_is_named(podium: Podium) -> None:
    config = podium.folder / "away.yaml"
    text = podium.config.read_text()
    config.write_text(text.replace(text.split("- 127.0.0.1:")[1].split()[0], "1"))
    away = await podium("get", "pods", code=1, environment={"PODIUM_CONFIG": str(config)})
    assert away.err == "error: 127.0.0.1:1 cannot be reached: Connection refused\n"


async def test_there_is_no_colour_in_a_pipe(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    for words in (("get", "pods"), ("logs", "deploy/web"), ("rollout", "status", "deploy/web")):
        ran = await podium(*words)
        assert "\x1b" not in ran.out + ran.err
    assert "\x1b" not in (await podium("get", "nothing", code=1)).err


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_colour_on_a_terminal_unless_it_is_unwanted(
    podium: Podium, environment: dict[str, str], coloured: bool
) -> None:
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", spawn, str(PROGRAM), "get", "pdos", stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, env={"PODIUM_CONFIG": str(podium.config), "TERM": "xterm", **environment},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"unknown kind" in out
    assert (b"\x1b[" in out) is coloured


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.name != name:
            continue  # another name of a command
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


async def test_every_command_has_help_with_examples() -> None:
    for path, command in _commands(cli, ()):
        text = command.get_help(click.Context(command, info_name=" ".join(path)))
        assert "Examples:" in text, path
        assert f"podium {' '.join(path)}" in text, path


async def test_the_namespace_may_stand_after_the_command(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    other = await world.podium()
    assert "web" in (await other("get", "deploy", "-n", podium.namespace)).out
    assert "rolled out" in (await other("rollout", "-n", podium.namespace, "status", "deploy/web")).out
    ran = await other("exec", "deploy/web", "-n", podium.namespace, "--", "ls", "-n", code=EXIT)
    assert ran.out == "ran ls -n\n"


# ---------------------------------------------------------------- tokens, configuration, people


async def test_tokens_are_made_listed_and_revoked(podium: Podium) -> None:
    token = (await podium("token", "create", "--ttl=1h", "--description=rack 7")).out.strip()
    name = token.split(".")[0]
    listed = (await podium("token", "list")).out
    assert "rack 7" in listed
    assert token.split(".")[1] not in listed
    await podium("token", "delete", name)
    assert name not in (await podium("token", "list")).out
    assert "does not exist" in (await podium("token", "delete", name, code=1)).err


async def test_contexts_are_seen_and_changed(podium: Podium) -> None:
    config = podium.folder / "config"
    config.write_text(podium.config.read_text())
    mine = {"PODIUM_CONFIG": str(config)}
    seen = (await podium("config", "view", environment=mine)).out
    assert "podium" in seen
    assert "PRIVATE" not in seen
    await podium("config", "set-namespace", "team", environment=mine)
    assert "team" in (await podium("config", "view", environment=mine)).out
    await podium("config", "use-context", "podium", environment=mine)
    wrong = await podium("config", "use-context", "nope", code=1, environment=mine)
    assert 'no context "nope"' in wrong.err
    assert config.stat().st_mode & 0o777 == 0o600


async def test_a_viewer_sees_all_but_secrets(podium: Podium) -> None:
    await podium("create", "secret", "generic", "db", "--from-literal=password=hunter2")
    config = podium.folder / "ada.yaml"
    config.write_text((await podium("config", "create-user", "ada", "--group=podium:viewers")).out)
    ada = {"PODIUM_CONFIG": str(config)}
    me = (await podium("auth", "whoami", environment=ada)).out
    assert me == "user    ada\ngroups  podium:viewers\n"
    await podium("get", "pods,nodes,deployments", environment=ada)
    for words in (("get", "secrets"), ("get", "secret/db"), ("delete", "secret/db"), ("apply", "-f", "-")):
        refused = await podium(*words, stdin=web(), code=1, environment=ada)
        assert "ada" in refused.err
        assert "hunter2" not in refused.out + refused.err


async def test_which_cluster_and_which_version(podium: Podium) -> None:
    info = (await podium("cluster-info")).out
    assert "127.0.0.1:" in info
    version = (await podium("version")).lines
    assert version[0].startswith("client  ")
    assert version[1].split()[-1] in info
    assert len((await podium("version", "--client")).lines) == 1
    assert "system:masters" in (await podium("auth", "whoami")).out


async def test_a_backup_is_whole_private_and_overwrites_nothing(podium: Podium) -> None:
    await podium("backup", "copy.db")
    copy = podium.folder / "copy.db"
    assert copy.read_bytes().startswith(b"SQLite format 3")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "exists" in (await podium("backup", "copy.db", code=1)).err
    assert [f.name for f in podium.folder.iterdir()] == ["copy.db"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_scripts(podium: Podium, shell: str) -> None:
    script = (await podium("completion", shell)).out
    assert "_PODIUM_COMPLETE" in script
    if shell == "bash":
        checking = await asyncio.create_subprocess_exec("bash", "-n", stdin=asyncio.subprocess.PIPE)
        await checking.communicate(script.encode())
        assert checking.returncode == 0
    words = {
        "COMP_WORDS": "podium rollo",
        "COMP_CWORD": "rollo" if shell == "fish" else "1",
        "_PODIUM_COMPLETE": f"{shell}_complete",
    }
    assert "rollout" in (await podium(environment=words)).out


async def test_kinds_and_names_are_completed(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    there = podium.namespace
    for line, offered in (
        ("podium get dep", ["deployments"]),
        (f"podium get -n {there} deploy w", ["web"]),
        (f"podium -n {there} logs deploy/", ["deploy/web"]),
        ("podium cordon n", ["node1", "node2", "node3"]),
        ("podium get nothing x", []),
    ):
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_PODIUM_COMPLETE": "bash_complete"}
        assert [word.removeprefix("plain,") for word in (await podium(environment=asked)).lines if word] == offered
