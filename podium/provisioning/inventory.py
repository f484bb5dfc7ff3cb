"""The inventory of a cluster's hosts: read, and changed where it must be, the rest as somebody wrote it. Pure.

It has the form of `ansible/inventory/example.yml`: a group with `vars` and the `children` `podium_masters` and
`podium_nodes`, each with its `hosts`. Changes are made in the text, found by where YAML says things are, so that
comments, order and plays with `ansible-playbook` by hand survive `podium cluster`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from podium.errors import AlreadyExists, BadRequest, NotFound

MASTERS, NODES = "podium_masters", "podium_nodes"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_HEAD = """\
# The hosts of a cluster. `podium cluster` keeps it; `ansible-playbook -i {file} …/site.yml` takes it, too.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host of an inventory.

    Attributes:
        name: Its name in the inventory.
        variables: What the inventory says of it alone, in all of its groups.
    """

    name: str
    is_master: bool = False
    is_node: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where SSH finds it."""
        return str(self.variables.get("ansible_host") or self.name)

    @property
    def node_name(self) -> str:
        """The name of its Node object."""
        return str(self.variables.get("nodelet_name") or self.name.lower())


def parse_host(text: str) -> Host:
    """Read `NAME=ADDRESS`, or an address that is the name as well.

    Raises:
        BadRequest: It is neither, or the name cannot be a node's.
    """
    name, separator, address = text.partition("=")
    if not name or (separator and not address) or any(c.isspace() for c in text):
        raise BadRequest(f'"{text}" is no host; write NAME=ADDRESS, or an address that is its name, too')
    if "@" in text:
        raise BadRequest(f'"{text}" names a user; that is what --user is for')
    if not _NAME.fullmatch(name.lower()):
        raise BadRequest(
            f'"{name}" cannot be the name of a node: letters, digits, "-" and "." only; write NAME=ADDRESS'
        )
    return Host(name=name, variables={"ansible_host": address} if address else {})


def render(masters: Sequence[Host], nodes: Sequence[Host], variables: Mapping[str, Any], *, file: str) -> str:
    """A new inventory. A host that is master and node is described among the masters."""
    lines = [*_HEAD.format(file=file).splitlines(), "podium:", "  vars:"]
    lines += [f"    {name}: {_flow(value)}" for name, value in variables.items()]
    described: set[str] = set()
    lines.append("  children:")
    for group, hosts in ((MASTERS, masters), (NODES, nodes)):
        lines += [f"    {group}:", "      hosts:"]
        for host in hosts:
            lines += _entry(host.name, {} if host.name in described else host.variables, indent=8)
            described.add(host.name)
    return "\n".join(lines) + "\n"


def _entry(name: str, variables: Mapping[str, Any], *, indent: int) -> list[str]:
    pad = " " * indent
    if not variables:
        return [f"{pad}{_flow(name)}: {{}}"]
    return [f"{pad}{_flow(name)}:", *(f"{pad}  {key}: {_flow(value)}" for key, value in variables.items())]


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


# ---------------------------------------------------------------- reading


class _Loader(yaml.SafeLoader):
    """Takes Ansible's own tags (`!vault`) for what they stand before."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: node.value)


def hosts(text: str) -> list[Host]:
    """The hosts, masters first, each once.

    Raises:
        BadRequest: It is not YAML, or not of the form of `ansible/inventory/example.yml`.
    """
    root = _compose(text)
    found: dict[str, dict[str, Any]] = {}
    members: dict[str, set[str]] = {MASTERS: set(), NODES: set()}
    for group in (MASTERS, NODES):
        if (entries := _hosts_of(root, group)) is None:
            continue
        for name, variables in _loaded(entries).items():
            members[group].add(str(name))
            found.setdefault(str(name), {}).update(variables or {})
    if not found:
        raise BadRequest(f"the inventory has no hosts in {MASTERS} and {NODES}")
    return [
        Host(name=name, is_master=name in members[MASTERS], is_node=name in members[NODES], variables=variables)
        for name, variables in found.items()
    ]


def variables(text: str) -> dict[str, Any]:
    """The variables of all hosts: those of the group that the masters and nodes are in."""
    node = _value(_top(_compose(text)), "vars")
    return _loaded(node) if node is not None else {}


def _compose(text: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise BadRequest(f"the inventory is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise BadRequest("the inventory is not a mapping of groups; ansible/inventory/example.yml shows its form")
    return root


def _loaded(node: yaml.Node) -> dict[str, Any]:
    loaded = _Loader("").construct_document(node)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise BadRequest(f"line {node.start_mark.line + 1} of the inventory: a mapping is wanted here")
    return loaded


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """The entries of a mapping: the key as text, and both nodes."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key, value


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, _, value in _pairs(node) if key == name), None)


def _groups(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Every group below a mapping of groups: its name, itself, and the group that it is a child of."""
    for _, _, parent in _pairs(node):
        for name, _, child in _pairs(_value(parent, "children")):
            yield name, child, parent
        yield from _groups(_value(parent, "children"))


def _hosts_of(root: yaml.Node, group: str) -> yaml.Node | None:
    found = next((child for name, child, _ in _groups(root) if name == group), None)
    return _value(found if found is not None else _value(root, group), "hosts")


def _top(root: yaml.Node) -> yaml.Node:
    """The group that masters and nodes are children of.

    Raises:
        BadRequest: There is none.
    """
    for name, _, parent in _groups(root):
        if name in (MASTERS, NODES):
            return parent
    raise BadRequest(f"the inventory has no group with the children {MASTERS} and {NODES}")


# ---------------------------------------------------------------- changing


def add_node(text: str, host: Host) -> str:
    """The inventory with one more host among the nodes.

    Raises:
        AlreadyExists: It is a node already.
        BadRequest: The inventory is not of a form that can be added to.
    """
    there = {known.name: known for known in hosts(text)}
    if host.name in there and there[host.name].is_node:
        raise AlreadyExists(f"{host.name} is in {NODES} already")
    known = {} if host.name in there else host.variables
    taken = next((other.name for other in there.values() if other.address == host.address != other.name), None)
    if taken is not None and taken != host.name:
        raise AlreadyExists(f"{host.address} is the address of {taken}")
    lines = text.splitlines()
    at, indent = _end_of_hosts(_compose(text), lines, NODES)
    return _joined([*lines[:at], *_entry(host.name, known, indent=indent), *lines[at:]])


def _end_of_hosts(root: yaml.Node, lines: list[str], group: str) -> tuple[int, int]:
    """Before which line another host of a group goes, and how far it is indented. May clear an empty `{}`."""
    found = next((child for name, child, _ in _groups(root) if name == group), None)
    for name, key, value in _pairs(found):
        if name != "hosts":
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            return _last_line(value) + 1, value.value[0][0].start_mark.column
        if not value.value:
            line = key.start_mark.line
            lines[line] = re.sub(r":\s*(\{\s*\}|null|~)\s*$", ":", lines[line])
            return line + 1, key.start_mark.column + 2
    raise BadRequest(f'write "hosts:" below {group} in the inventory, and its hosts one a line')


def _last_line(node: Any) -> int:
    """The last line that a value has something on; what follows may be blank, or a comment on something else."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        key, value = last if isinstance(last, tuple) else (last, last)
        return max(int(key.end_mark.line), _last_line(value))
    end, start = node.end_mark, node.start_mark
    return int(end.line) - int(end.column == 0 and end.line > start.line)


def remove_node(text: str, name: str) -> str:
    """The inventory without a host among the nodes; a master stays one.

    Raises:
        NotFound: It is no node.
        BadRequest: What else is said of the host would be lost, or the inventory cannot be changed.
    """
    entries = _hosts_of(_compose(text), NODES)
    entry = next(((key, value) for known, key, value in _pairs(entries) if known == name), None)
    if entry is None or entries is None:
        raise NotFound(f"{name} is not in {NODES} of the inventory")
    if isinstance(entries, yaml.MappingNode) and entries.flow_style:
        raise BadRequest(f"write the hosts of {NODES} one a line; then they can be changed")
    lines = text.splitlines()
    first, last = entry[0].start_mark.line, max(entry[0].end_mark.line, _last_line(entry[1]))
    changed = _joined(lines[:first] + lines[last + 1 :])
    _check_kept(text, changed, name)
    return changed


def _check_kept(before: str, after: str, name: str) -> None:
    was = next(host for host in hosts(before) if host.name == name)
    if not was.is_master:
        return
    now = next(host for host in hosts(after) if host.name == name)
    if now.address != was.address:
        raise BadRequest(f"{name} is a master, too, and its ansible_host is written in {NODES}: move it to {MASTERS}")


def set_variable(text: str, name: str, value: Any) -> str:
    """The inventory with a variable of all hosts.

    Raises:
        BadRequest: The inventory has no `vars` for all hosts, or not one a line.
    """
    block = _value(_top(_compose(text)), "vars")
    if not isinstance(block, yaml.MappingNode) or block.flow_style or not block.value:
        raise BadRequest(f'write "vars:" beside "children:" in the inventory, one variable a line; {name} goes there')
    lines, pad = text.splitlines(), " " * block.value[0][0].start_mark.column
    line = f"{pad}{name}: {_flow(value)}"
    for known, key, old in _pairs(block):
        if known == name:
            first, last = key.start_mark.line, max(key.end_mark.line, _last_line(old))
            return _joined([*lines[:first], line, *lines[last + 1 :]])
    at = _last_line(block) + 1
    return _joined([*lines[:at], line, *lines[at:]])


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
