"""Inventories: made, read, and changed without touching what else is in them."""

from __future__ import annotations

import pytest
import yaml

from podium.errors import AlreadyExists, BadRequest, NotFound
from podium.provisioning.inventory import (
    Host,
    add_node,
    hosts,
    parse_host,
    remove_node,
    render,
    set_variable,
    variables,
)
from podium.provisioning.playbooks import tree

TEXT = """\
# my cluster
all:
  children:
    podium:
      vars:
        ansible_user: admin   # a user
        podium_wheelhouse: ""

      children:
        podium_masters:
          hosts:
            m1:
              ansible_host: 192.0.2.10
        # those that work
        podium_nodes:
          hosts:
            m1:
            n1:
              ansible_host: 192.0.2.21
              nodelet_labels: {disk: ssd}
              nodelet_name: first

            n2: {ansible_host: 192.0.2.22}   # the second
          # no more of them
"""


def names(text: str) -> list[str]:
    return [host.name for host in hosts(text) if host.is_node]


def test_hosts_are_read_with_all_that_is_said_of_them() -> None:
    m1, n1, n2 = hosts(TEXT)
    assert (m1.is_master, m1.is_node, m1.address, m1.node_name) == (True, True, "192.0.2.10", "m1")
    assert (n1.is_master, n1.is_node, n1.address, n1.node_name) == (False, True, "192.0.2.21", "first")
    assert n1.variables["nodelet_labels"] == {"disk": "ssd"}
    assert n2.address == "192.0.2.22"
    assert variables(TEXT) == {"ansible_user": "admin", "podium_wheelhouse": ""}


def test_the_example_is_read() -> None:
    found = hosts((tree() / "inventory/example.yml").read_text())
    assert [host.name for host in found] == ["master1", "node1", "node2", "node3"]


@pytest.mark.parametrize("text", [TEXT, (tree() / "inventory/example.yml").read_text()])
def test_a_node_more_is_the_only_change(text: str) -> None:
    new = Host(name="n9", variables={"ansible_host": "192.0.2.99", "nodelet_taints": ["a=b:NoSchedule"]})
    changed = add_node(text, new)
    (found,) = [host for host in hosts(changed) if host.name == "n9"]
    assert found.variables == new.variables
    assert found.is_node
    assert not found.is_master
    assert [line for line in changed.splitlines() if line in text.splitlines()] == text.splitlines()
    assert remove_node(changed, "n9") == text


def test_a_node_is_removed_with_its_lines_only() -> None:
    changed = remove_node(TEXT, "n1")
    assert names(changed) == ["m1", "n2"]
    assert "# those that work" in changed
    assert "# the second" in changed
    assert "192.0.2.21" not in changed


def test_the_last_node_goes_and_another_comes() -> None:
    text = render([Host(name="m")], [Host(name="n")], {"ansible_user": "root"}, file="f.yml")
    empty = remove_node(text, "n")
    assert names(empty) == []
    assert names(add_node(empty, Host(name="o"))) == ["o"]
    assert names(
        add_node(empty.replace("podium_nodes:\n      hosts:", "podium_nodes:\n      hosts: {}"), Host(name="o"))
    )


def test_a_master_that_is_removed_as_a_node_stays_a_master() -> None:
    (m1, *_) = hosts(remove_node(TEXT, "m1"))
    assert (m1.is_master, m1.is_node, m1.address) == (True, False, "192.0.2.10")


def test_a_masters_address_is_not_lost_with_the_node() -> None:
    text = render([Host(name="m")], [], {"a": 1}, file="f").replace(
        "    podium_nodes:\n      hosts:\n", "    podium_nodes:\n      hosts:\n        m: {ansible_host: 192.0.2.1}\n"
    )
    with pytest.raises(BadRequest, match="move it to podium_masters"):
        remove_node(text, "m")


@pytest.mark.parametrize(
    ("host", "error"),
    [
        (Host(name="n1"), "n1 is in podium_nodes already"),
        (Host(name="x", variables={"ansible_host": "192.0.2.22"}), "192.0.2.22 is the address of n2"),
    ],
)
def test_a_host_is_there_once(host: Host, error: str) -> None:
    with pytest.raises(AlreadyExists, match=error):
        add_node(TEXT, host)


def test_a_master_becomes_a_node_without_being_described_again() -> None:
    text = render([parse_host("m=192.0.2.1")], [parse_host("n")], {"ansible_user": "root"}, file="f")
    changed = add_node(text, Host(name="m"))
    assert changed.endswith("        n: {}\n        m: {}\n")
    assert next(h for h in hosts(changed) if h.name == "m").address == "192.0.2.1"


def test_a_variable_is_set_or_added() -> None:
    changed = set_variable(TEXT, "podium_wheelhouse", "/w x")
    assert variables(changed)["podium_wheelhouse"] == "/w x"
    assert variables(set_variable(changed, "podium_version", "1.10")) == {
        "ansible_user": "admin", "podium_wheelhouse": "/w x", "podium_version": "1.10",
    }  # fmt: skip
    assert set_variable(changed, "podium_wheelhouse", "") == TEXT.replace(
        'podium_wheelhouse: ""', "podium_wheelhouse: ''"
    )


def test_a_new_inventory_is_what_was_asked_for() -> None:
    text = render(
        [parse_host("m=192.0.2.1")],
        [parse_host("m=192.0.2.1"), Host(name="n", variables={"nodelet_labels": {"a": "b: c"}})],
        {"ansible_user": "root", "podium_version": "1.0"},
        file="f.yml",
    )
    m, n = hosts(text)
    assert (m.is_master, m.is_node, m.address) == (True, True, "192.0.2.1")
    assert n.variables == {"nodelet_labels": {"a": "b: c"}}
    assert yaml.safe_load(text)["podium"]["vars"]["podium_version"] == "1.0"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "not YAML"),
        ("- a", "not a mapping of groups"),
        ("podium:\n  children:\n    podium_nodes:\n      hosts:\n", "has no hosts"),
        ("", "not a mapping"),
    ],
)
def test_what_is_no_inventory_is_refused(text: str, error: str) -> None:
    with pytest.raises(BadRequest, match=error):
        hosts(text)


def test_hosts_in_one_line_are_not_changed() -> None:
    text = "podium:\n  children:\n    podium_nodes:\n      hosts: {a: {}, b: {}}\n"
    with pytest.raises(BadRequest, match="one a line"):
        add_node(text, Host(name="c"))
    with pytest.raises(BadRequest, match="one a line"):
        remove_node(text, "a")
    with pytest.raises(NotFound, match="z is not in podium_nodes"):
        remove_node(text, "z")


@pytest.mark.parametrize("text", ["", "=x", "a=", "a b", "root@a", "a_b", "-a"])
def test_words_that_are_no_hosts(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_host(text)


def test_words_that_are_hosts() -> None:
    assert parse_host("n1=192.0.2.1") == Host(name="n1", variables={"ansible_host": "192.0.2.1"})
    assert parse_host("192.0.2.1").address == "192.0.2.1"
    assert parse_host("Web1.example.com").node_name == "web1.example.com"
