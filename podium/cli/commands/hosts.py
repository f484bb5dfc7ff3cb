"""`podium cluster`: hosts made a cluster, more of them, fewer, another release; for people who do not write Ansible.

What there is is in one file, the inventory, which `ansible-playbook` takes as well. Each command changes it where it
must and plays one of Podium's playbooks; each can be run again after a failure, and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from podium.cli.commands.nodes import apply_taint
from podium.cli.options import seconds
from podium.cli.output import table
from podium.cli.output.cluster_status import HEADERS, Seen, rows, troubles
from podium.cli.output.hosts import Screen, results
from podium.cli.session import Session, command, print_error
from podium.errors import AlreadyExists, BadRequest, NotFound, PodiumError
from podium.files import write_atomic
from podium.provisioning import HostState, Outcome, inventory, play, playbook
from podium.provisioning.inventory import Host
from podium.v1.core_pb2 import Node

INVENTORY = "podium-cluster.yml"
_STATUS_SECONDS = 120.0

_inventory = click.option(
    "--inventory", "file", default=INVENTORY, show_default=True, metavar="FILE", help="The hosts of the cluster."
)
_timeout = click.option(
    "--timeout", default="30m", show_default=True, metavar="DURATION", help="Give up after this long."
)


@click.group(
    epilog="""
\b
Examples:
  podium cluster init --master m1=192.0.2.10 --node n1=192.0.2.21 --user admin --key ~/.ssh/id_ed25519
  podium cluster status
  podium cluster add n2=192.0.2.22 --label disk=ssd
  podium cluster upgrade --wheelhouse ./wheelhouse
  podium cluster remove n2
"""
)
def cluster() -> None:
    """Make a cluster of hosts that have SSH, let it grow and shrink, upgrade it."""


@cluster.command(
    epilog="""
\b
Examples:
  podium cluster init --master m1=192.0.2.10 --node n1=192.0.2.21 --node n2=192.0.2.22 --key ~/.ssh/id_ed25519
  podium cluster init --master 192.0.2.10 --node 192.0.2.10 --wheelhouse ./wheelhouse      one host is both
  podium cluster init                                                go on with the inventory, after a failure
"""
)
@click.option("--master", metavar="HOST", help="The host of the master: NAME=ADDRESS, or an address.")
@click.option("--node", "nodes", multiple=True, metavar="HOST", help="A host for pods; may be given often.")
@click.option("--user", default="root", show_default=True, metavar="NAME", help="Who logs in; may become root by sudo.")
@click.option("--key", metavar="FILE", help="Private key to log in with; else what ssh finds by itself.")
@click.option("--wheelhouse", metavar="DIR", help="Folder of wheels to install from; else a package index.")
@click.option("--version", metavar="VERSION", help="Version to install from the index; else the newest.")
@_inventory
@_timeout
@command
async def init(
    session: Session, master: str | None, nodes: tuple[str, ...], user: str, key: str | None, wheelhouse: str | None,
    version: str | None, file: str, timeout: str,
) -> int:  # fmt: skip
    """Make hosts a cluster.

    They need Debian 12 or Ubuntu 24.04, SSH, and nothing of Podium or Docker.
    """
    path, limit = Path(file), seconds(timeout)
    if master is not None:
        if path.exists():
            raise AlreadyExists(
                f"{file} exists: `podium cluster init` alone goes on with it; --inventory names another"
            )
        known = {"ansible_user": user, "ansible_become": user != "root", **_access(key), **_source(wheelhouse, version)}
        hosts = _distinct([inventory.parse_host(text) for text in (master, *nodes)])
        _save(path, inventory.render(hosts[:1], hosts[1:], known, file=path.name))
    elif nodes or key or wheelhouse or version:
        raise BadRequest("--node, --key, --wheelhouse and --version go with --master; `podium cluster add` adds hosts")
    _ = _read(path, "`podium cluster init --master HOST --node HOST` makes it")
    code = _ended(await _play("site", path, limit), "podium cluster init", path)
    if code == 0:
        click.echo("The cluster is there. To talk to it:")
        click.echo(f"  export PODIUM_CONFIG={_admin(path).resolve()}")
        click.echo("  podium get nodes")
    return code


def _access(key: str | None) -> dict[str, Any]:
    if key is None:
        return {}
    path = Path(key).expanduser().resolve()
    if not path.is_file():
        raise NotFound(f"the key {key} does not exist")
    if path.suffix == ".pub":
        raise BadRequest(f"{key} is a public key; --key is the private one beside it")
    return {"ansible_ssh_private_key_file": str(path)}


def _source(wheelhouse: str | None, version: str | None) -> dict[str, Any]:
    """Where Podium comes from, as the roles' variables."""
    if wheelhouse is None:
        return {} if version is None else {"podium_version": version}
    if version is not None:
        raise BadRequest("--version is for a package index; a wheelhouse holds one version")
    path = Path(wheelhouse).expanduser().resolve()
    if not any(path.glob("podium-*.whl")):
        raise NotFound(f"{wheelhouse} holds no wheel of podium: pip wheel -w {wheelhouse} 'podium[master,nodelet]'")
    return {"podium_wheelhouse": str(path)}


def _distinct(hosts: Sequence[Host]) -> list[Host]:
    """The hosts, the master first, each with its address wherever that was said; the master may be a node, too.

    Raises:
        BadRequest: One is there twice, under one name or two.
    """
    known: dict[str, Host] = {}
    for host in hosts:
        other = known.setdefault(host.name, host)
        if other.variables and host.variables and other.address != host.address:
            raise BadRequest(f"{host.name} is given with two addresses: {other.address} and {host.address}")
        known[host.name] = other if other.variables else host
    names, addresses = [host.name for host in hosts[1:]], [host.address for host in known.values()]
    for twice in [name for name in names if names.count(name) > 1] + [a for a in addresses if addresses.count(a) > 1]:
        raise BadRequest(f"{twice} is given twice")
    return [known[host.name] for host in hosts]


@cluster.command(
    epilog="""
\b
Examples:
  podium cluster add n2=192.0.2.22
  podium cluster add n3=192.0.2.23 n4=192.0.2.24 --label disk=ssd --taint dedicated=db:NoSchedule
  podium cluster add                       the hosts of the inventory that are no nodes yet
"""
)
@click.argument("hosts", nargs=-1, metavar="[HOST...]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the new nodes.")
@click.option("--taint", "taints", multiple=True, metavar="KEY[=VALUE]:EFFECT", help="Taint of the new nodes.")
@_inventory
@_timeout
@command
async def add(
    session: Session, hosts: tuple[str, ...], labels: tuple[str, ...], taints: tuple[str, ...], file: str, timeout: str
) -> int:
    """Make further hosts nodes.

    Those that are nodes already are not touched, or even looked at.
    """
    path, limit = Path(file), seconds(timeout)
    text = _read(path)
    wishes = _wishes(labels, taints)
    if wishes and not hosts:
        raise BadRequest("--label and --taint are for hosts that are added; name some")
    there = {host.name: host for host in inventory.hosts(text) if host.is_node}
    for host in map(inventory.parse_host, hosts):
        if host.name not in there:
            text = inventory.add_node(text, Host(name=host.name, variables={**host.variables, **wishes}))
        elif host.variables and host.address != there[host.name].address:
            raise AlreadyExists(f"{host.name} is in {file} with the address {there[host.name].address}")
        elif any(there[host.name].variables.get(name) != value for name, value in wishes.items()):
            raise AlreadyExists(
                f"{host.name} is in {file} with other labels or taints; "
                "of a node that is there, `podium label node` and `podium taint` change them"
            )
    _save(path, text)
    names = [inventory.parse_host(host).name for host in hosts]
    return _ended(await _play("grow", path, limit, only=names), "podium cluster add", path)


def _wishes(labels: Sequence[str], taints: Sequence[str]) -> dict[str, Any]:
    """What the Node objects get when they are made, as the roles' variables."""
    wishes: dict[str, Any] = {}
    for label in labels:
        name, separator, value = label.partition("=")
        if not name or not separator:
            raise BadRequest(f'"{label}" is not KEY=VALUE')
        wishes.setdefault("nodelet_labels", {})[name] = value
    for taint in taints:
        if not apply_taint([], taint):
            raise BadRequest(f'"{taint}" takes a taint away; write KEY[=VALUE]:EFFECT')
        wishes.setdefault("nodelet_taints", []).append(taint)
    return wishes


@cluster.command(
    epilog="""
\b
Examples:
  podium cluster upgrade --wheelhouse ./wheelhouse-0.2
  podium cluster upgrade --version 0.2.0
  podium cluster upgrade --no-drain                pods stay where they are: a nodelet that starts anew adopts them
"""
)
@click.option("--wheelhouse", metavar="DIR", help="Folder of wheels to install from, from now on.")
@click.option("--version", metavar="VERSION", help="Version to install from the index, from now on.")
@click.option("--drain/--no-drain", default=True, show_default=True, help="Move pods before their node's turn.")
@_inventory
@_timeout
@command
async def upgrade(
    session: Session, wheelhouse: str | None, version: str | None, drain: bool, file: str, timeout: str
) -> int:
    """Bring another release to all hosts.

    To the master first, then node by node: each is drained, upgraded, seen healthy, and given back. The first failure
    ends it; the same command goes on where it stopped.
    """
    path, limit = Path(file), seconds(timeout)
    text = _read(path)
    for name, value in _source(wheelhouse, version).items():
        text = inventory.set_variable(text, name, value)
    _save(path, text)
    outcome = await _play("upgrade", path, limit, {"podium_upgrade_drain": drain})
    return _ended(outcome, "podium cluster upgrade", path)


@cluster.command(
    epilog="""
\b
Examples:
  podium cluster remove n2
  podium cluster remove n2 --lost                  the host is gone for good
"""
)
@click.argument("host", metavar="HOST")
@click.option("--lost", is_flag=True, help="The host will not come back: do not look at it.")
@click.option("--lose-volumes", is_flag=True, help="Volumes whose only copy is on it may be lost.")
@click.option("--force", is_flag=True, help="End pods that nothing makes again, too.")
@_inventory
@_timeout
@command
async def remove(
    session: Session, host: str, lost: bool, lose_volumes: bool, force: bool, file: str, timeout: str
) -> int:
    """Take a node away.

    Its pods move elsewhere as their budgets allow; the host is made bare again, and the Node object deleted.
    """
    path, limit = Path(file), seconds(timeout)
    text = _read(path)
    _ = inventory.remove_node(text, host)  # what cannot be taken out of the inventory is not begun
    wanted = {
        "podium_node": host,
        "podium_node_lost": lost,
        "podium_lose_volumes": lose_volumes,
        "podium_drain_force": force,
    }
    outcome = await _play("remove", path, limit, wanted)
    if outcome.ok:
        _save(path, inventory.remove_node(_read(path), host))
    return _ended(outcome, f"podium cluster remove {host}", path)


@cluster.command(epilog="\b\nExamples:\n  podium cluster status")
@_inventory
@command
async def status(session: Session, file: str) -> int:
    """Show the hosts of the inventory beside the nodes of the cluster.

    The exit code is 0 when every host is reached and every node is Ready.
    """
    path = Path(file)
    hosts = inventory.hosts(_read(path))
    reached, (seen, complaint) = await asyncio.gather(
        play(playbook("status"), path, timeout=_STATUS_SECONDS), _ask(session, path)
    )
    click.echo(table.render(HEADERS, rows(hosts, reached, seen)))
    wrong = [*troubles(hosts, reached, seen), *([complaint] if complaint else [])]
    for trouble in wrong:
        print_error(PodiumError(trouble))
    return 1 if wrong else 0


async def _ask(session: Session, path: Path) -> tuple[Seen, str]:
    """What the cluster says, and why it says nothing."""
    admin = _admin(path)
    asked = session if session.config_path is not None or not admin.exists() else session.configured_by(admin)
    try:
        info, nodes = await asyncio.gather(asked.client.cluster.info(), asked.client.list(Node))
        return Seen(nodes=list(nodes), master_version=info.version), ""
    except PodiumError as error:
        return Seen(), f"the master was not asked: {error}"
    finally:
        if asked is not session:
            await asked.close()


# ---------------------------------------------------------------- shared


def _read(path: Path, fix: str = "--inventory names it, or `podium cluster init` makes one") -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise NotFound(f"there is no inventory {path}: {fix}") from None


def _save(path: Path, text: str) -> None:
    _ = inventory.hosts(text)
    if not path.exists() or path.read_text() != text:
        write_atomic(path, text.encode(), mode=0o600)


def _admin(path: Path) -> Path:
    """The administrator's configuration, which the playbook puts beside the inventory."""
    return path.parent / "admin.yaml"


async def _play(
    name: str, path: Path, limit: float, extra: Mapping[str, Any] | None = None, only: Sequence[str] = ()
) -> Outcome:
    screen = Screen()
    try:
        return await play(playbook(name), path, tell=screen.tell, extra=extra, limit=only, timeout=limit)
    finally:
        screen.clear()


def _ended(outcome: Outcome, again: str, path: Path) -> int:
    """Say how it came out; the exit code."""
    for line in results(outcome):
        click.echo(line)
    if outcome.ok:
        return 0
    for failed in outcome.failed:
        print_error(PodiumError(failed.sentence))
    if outcome.message:
        print_error(PodiumError(outcome.message))
    if any(result.state is HostState.UNREACHABLE for result in outcome.failed):
        click.echo("Does `ssh` reach it, with the user and the key that the inventory names?", err=True)
    which = "" if path == Path(INVENTORY) else f" --inventory {path}"
    click.echo(f"Mend that, and go on with: {again}{which}", err=True)
    return 1
