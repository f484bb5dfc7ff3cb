"""From a pod's specification to what the runtime is asked to make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodelet.network.hosts_file import name_itself
from nodelet.pods.backoff import CrashLoop, crash_loop, next_level
from nodelet.pods.blueprint import Restart, Role, blueprint, config_hash
from nodelet.pods.environment import environment, expand
from nodelet.pods.spec import (
    GENERATION_LABEL,
    GRACE_LABEL,
    LEVEL_LABEL,
    NodeFacts,
    adds_to_hosts_names,
    container_spec,
    oom_score_adj,
    port_mappings,
    sandbox_spec,
)
from nodelet.resolv_conf import HostNames, parse, read
from nodelet.runtime.protocol import FULL_NAME, ContainerSpec
from podium.objects.downward import Whereabouts
from podium.v1.core_pb2 import (
    Capabilities,
    Container,
    ContainerPort,
    EnvVar,
    HostAlias,
    Pod,
    PodDNSConfig,
    PodDNSConfigOption,
    PodSecurityContext,
    PodSpec,
    Probe,
    ResourceRequirements,
    SecurityContext,
    Sysctl,
    VolumeMount,
)
from tests.support.kept_pods import NODE, container, make_pod, sidecar

DNS = NodeFacts(name="n1", ip="192.0.2.1", memory=8 << 30, dns_servers=("10.96.0.10",))


def spec_of(pod: Pod, name: str = "app") -> ContainerSpec:
    blue = blueprint(pod)
    env = environment(pod, blue.by_name[name].container, {}, Whereabouts()).values
    return container_spec(blue, blue.by_name[name], attempt=2, level=1, generation=3, node=NODE, env=env)


# ---------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$A ${A} $( A)", "$A ${A} $( A)"),
        ("$", "$"),
        ("$(A", "$(A"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_variables_see_those_before_them_only() -> None:
    env = [EnvVar(name="B", value="$(A)"), EnvVar(name="A", value="1"), EnvVar(name="C", value="$(A)$(B)")]
    assert environment(Pod(), Container(env=env), {}, Whereabouts()).values == {"B": "$(A)", "A": "1", "C": "1$(A)"}


def test_commands_and_arguments_are_expanded() -> None:
    made = spec_of(make_pod(container(command=["run", "$(A)"], args=["--x=$(A)"], env=[EnvVar(name="A", value="7")])))
    assert (made.command, made.args) == (("run", "7"), ("--x=7",))


# ---------------------------------------------------------------- resources, identity, labels


def test_resources() -> None:
    resources = ResourceRequirements(limits={"cpu": "1500m", "memory": "64Mi"}, requests={"cpu": "250m"})
    made = spec_of(make_pod(container(resources=resources)))
    assert (made.cpu_request, made.cpu_limit) == (0.25, 1.5)
    assert (made.memory_request, made.memory_limit) == (64 << 20, 64 << 20)


def test_what_must_be_found_again_is_in_labels() -> None:
    made = spec_of(make_pod(grace=45))
    assert made.labels == {LEVEL_LABEL: "1", GENERATION_LABEL: "3", GRACE_LABEL: "45"}
    assert (made.attempt, made.name, made.pod.uid) == (2, "app", "u1")


def test_the_containers_security_context_wins_field_by_field() -> None:
    own = SecurityContext(run_as_user=0, capabilities=Capabilities(add=["NET_ADMIN"], drop=["ALL"]), privileged=True)
    pod = make_pod(container("app", security_context=own), container("b"))
    pod.spec.security_context.CopyFrom(
        PodSecurityContext(run_as_user=1000, run_as_group=2000, run_as_non_root=True, supplemental_groups=[3000])
    )
    app, b = spec_of(pod), spec_of(pod, "b")
    assert (app.run_as_user, app.run_as_group, app.run_as_non_root, app.supplemental_groups) == (0, 2000, True, (3000,))
    assert (app.capabilities_add, app.capabilities_drop, app.privileged) == (("NET_ADMIN",), ("ALL",), True)
    assert (b.run_as_user, b.privileged) == (1000, False)


def test_no_new_privileges_only_when_escalation_is_refused() -> None:
    assert not spec_of(make_pod()).no_new_privileges
    refused = SecurityContext(allow_privilege_escalation=False)
    assert spec_of(make_pod(container(security_context=refused))).no_new_privileges


@pytest.mark.parametrize(
    ("requests", "limits", "priority", "score"),
    [
        ({}, {}, 0, 1000),
        ({"memory": "4Gi"}, {}, 0, 500),
        ({"memory": "1Mi"}, {}, 0, 999),
        ({"memory": "8Gi"}, {}, 0, 3),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}, 0, -997),
        ({}, {}, 2_000_001_000, -997),
    ],
)
def test_oom_score_by_quality_of_service(
    requests: dict[str, str], limits: dict[str, str], priority: int, score: int
) -> None:
    one = container(resources=ResourceRequirements(requests=requests, limits=limits))
    assert oom_score_adj(PodSpec(containers=[one], priority=priority), one, 8 << 30) == score


# ---------------------------------------------------------------- sandbox


def test_the_sandbox_has_the_pods_name_cut_to_a_host_name() -> None:
    pod = make_pod()
    pod.metadata.name = "a" * 62 + "-b"
    assert sandbox_spec(pod, 1, NODE).hostname == "a" * 62
    pod.spec.hostname = "web-0"
    assert sandbox_spec(pod, 1, NODE).hostname == "web-0"


def test_cluster_dns_first_with_the_pods_own_settings_added() -> None:
    pod = make_pod()
    options = [PodDNSConfigOption(name="ndots", value="2"), PodDNSConfigOption(name="edns0")]
    pod.spec.dns_config.CopyFrom(PodDNSConfig(nameservers=["1.1.1.1"], searches=["corp"], options=options))
    made = sandbox_spec(pod, 0, DNS)
    assert made.dns_servers == ("10.96.0.10", "1.1.1.1")
    assert made.dns_searches == ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp")
    assert made.dns_options == ("ndots:2", "edns0")


@pytest.mark.parametrize(
    ("policy", "host_network", "cluster"),
    [
        ("ClusterFirst", False, True),
        ("ClusterFirst", True, False),
        ("ClusterFirstWithHostNet", True, True),
        ("Default", False, False),
        ("None", False, False),
    ],
)
def test_dns_policies(policy: str, host_network: bool, cluster: bool) -> None:
    pod = make_pod()
    pod.spec.dns_policy, pod.spec.host_network = policy, host_network
    assert bool(sandbox_spec(pod, 0, DNS).dns_servers) is cluster


HOST = HostNames(("192.0.2.53", "127.0.0.53"), ("example.com",), ("ndots:3", "rotate"))


@pytest.mark.parametrize(
    ("policy", "host_network", "expected"),
    [
        ("Default", False, ("192.0.2.53 1.1.1.1", "example.com corp", "ndots:2 rotate")),
        ("ClusterFirst", True, ("192.0.2.53 127.0.0.53 1.1.1.1", "example.com corp", "ndots:2 rotate")),
        ("None", False, ("1.1.1.1", "corp", "ndots:2")),
    ],
)  # fmt: skip
def test_own_settings_add_to_the_hosts_and_with_none_are_all(
    policy: str, host_network: bool, expected: tuple[str, ...]
) -> None:
    pod = make_pod()
    pod.spec.dns_policy, pod.spec.host_network = policy, host_network
    assert not adds_to_hosts_names(pod)
    pod.spec.dns_config.CopyFrom(
        PodDNSConfig(nameservers=["1.1.1.1"], searches=["corp"], options=[PodDNSConfigOption(name="ndots", value="2")])
    )
    assert adds_to_hosts_names(pod) is (policy != "None")
    node = replace(DNS, host_names=HOST) if adds_to_hosts_names(pod) else DNS
    made = sandbox_spec(pod, 0, node)
    assert tuple(map(" ".join, (made.dns_servers, made.dns_searches, made.dns_options))) == expected


def test_what_a_host_says_of_names(tmp_path: Path) -> None:
    text = "# a comment\ndomain x\nnameserver 127.0.0.53\nsearch a b\noptions ndots:3\noptions rotate edns0\n"
    stub = HostNames(("127.0.0.53",), ("a", "b"), ("ndots:3", "rotate", "edns0"))
    assert parse(text) == stub
    first, second = tmp_path / "resolv.conf", tmp_path / "resolve"
    assert read((first, second)) == HostNames()
    first.write_text(text)
    assert read((first, second)) == stub, "there is nobody else"
    second.write_text("nameserver 192.0.2.53\n")
    assert read((first, second)) == HostNames(("192.0.2.53",)), "a stub on loopback is no pod's to ask"
    first.write_text("nameserver 192.0.2.1\n")
    assert read((first, second)) == HostNames(("192.0.2.1",))


def test_host_ports_of_containers_and_sidecars() -> None:
    web = container(ports=[ContainerPort(container_port=80, host_port=8080), ContainerPort(container_port=81)])
    dns = sidecar("dns", ports=[ContainerPort(container_port=53, host_port=53, protocol="UDP", host_ip="10.0.0.1")])
    pod = make_pod(web, init=(dns,))
    assert [(p.host_port, p.container_port, p.protocol, p.host_ip) for p in port_mappings(pod.spec)] == [
        (8080, 80, "TCP", ""),
        (53, 53, "UDP", "10.0.0.1"),
    ]
    pod.spec.host_network = True
    assert port_mappings(pod.spec) == []


# ---------------------------------------------------------------- blueprint and back-off


def test_roles_and_restarts() -> None:
    blue = blueprint(make_pod(init=(container("init"), sidecar("log")), policy="Never"))
    assert [(u.name, u.role, u.restart) for u in blue.units] == [
        ("init", Role.INIT, Restart.NEVER),
        ("log", Role.SIDECAR, Restart.ALWAYS),
        ("app", Role.MAIN, Restart.NEVER),
    ]
    assert blueprint(make_pod(init=(container("init"),))).init[0].restart is Restart.ON_FAILURE


def test_a_deletions_grace_wins_over_the_specifications() -> None:
    pod = make_pod(grace=60)
    assert blueprint(pod).grace == 60
    pod.metadata.deletion_grace_period_seconds = 0
    assert blueprint(pod).grace == 0
    pod = make_pod()
    pod.spec.ClearField("termination_grace_period_seconds")
    assert blueprint(pod).grace == 30


def test_only_what_a_container_is_made_from_changes_its_hash() -> None:
    base = container()
    same = container(liveness_probe=Probe(period_seconds=3), image_pull_policy="Always")
    assert config_hash(base) == config_hash(same)
    for other in (container(image="app:2"), container(args=["x"]), container(env=[EnvVar(name="A", value="1")])):
        assert config_hash(other) != config_hash(base)


def test_levels() -> None:
    assert [next_level(0, 1), next_level(5, 599), next_level(5, 600)] == [1, 6, 1]


@pytest.mark.parametrize(
    ("initial", "maximum", "expected"),
    [
        ("", "", CrashLoop(initial=1, maximum=300)),
        ("500ms", "10s", CrashLoop(initial=0.5, maximum=10)),
        ("10m", "", CrashLoop(initial=600, maximum=600)),
        ("soon", "later", CrashLoop(initial=1, maximum=300)),
    ],
)
def test_crash_loop_bounds(initial: str, maximum: str, expected: CrashLoop) -> None:
    spec = PodSpec()
    spec.crash_loop_back_off.initial_delay, spec.crash_loop_back_off.max_delay = initial, maximum
    assert crash_loop(spec) == expected


def test_a_pod_with_a_subdomain_has_a_full_name() -> None:
    pod = Pod()
    pod.metadata.name, pod.metadata.namespace = "db-0", "shop"
    facts = NodeFacts(name="n1", ip="10.0.0.1", cluster_domain="example.org")
    assert FULL_NAME not in sandbox_spec(pod, 1, facts).labels
    pod.spec.hostname, pod.spec.subdomain = "zero", "dbs"
    assert sandbox_spec(pod, 1, facts).labels[FULL_NAME] == "zero.dbs.shop.svc.example.org"


def test_a_pod_finds_its_own_names(tmp_path: Path) -> None:
    etc = tmp_path / "proc/7/root/etc"
    etc.mkdir(parents=True)
    (etc / "hosts").write_text("127.0.0.1\tlocalhost")
    (etc / "hostname").write_text("db-0\n")
    for _ in range(2):
        name_itself(str(tmp_path / "proc/7/ns/net"), "10.64.0.9", "db-0.dbs.shop.svc.cluster.local")
    assert (etc / "hosts").read_text().splitlines() == [
        "127.0.0.1\tlocalhost",
        "10.64.0.9\tdb-0.dbs.shop.svc.cluster.local\tdb-0",
    ]


# ---------------------------------------------------------------- smaller fields


def test_aliases_and_kernel_parameters_are_the_sandboxs() -> None:
    pod = make_pod()
    pod.spec.host_aliases.extend([HostAlias(ip="10.0.0.1", hostnames=["db", "db.local"]), HostAlias(ip="::1")])
    pod.spec.security_context.sysctls.append(Sysctl(name="net.ipv4.tcp_syncookies", value="0"))
    made = sandbox_spec(pod, 0, NODE)
    assert list(made.hosts) == [("db", "10.0.0.1"), ("db.local", "10.0.0.1")]
    assert made.sysctls == {"net.ipv4.tcp_syncookies": "0"}


@pytest.mark.parametrize(
    ("subdomain", "as_fqdn", "hostname"),
    [("", True, "p-u1"), ("web", False, "p-u1"), ("web", True, "p-u1.web.ns.svc.cluster.local")],
)
def test_the_host_name_may_be_the_full_name(subdomain: str, as_fqdn: bool, hostname: str) -> None:
    pod = make_pod()
    pod.spec.subdomain, pod.spec.set_hostname_as_fqdn = subdomain, as_fqdn
    assert sandbox_spec(pod, 0, NODE).hostname == hostname


def test_processes_are_shared_where_the_pod_says_so() -> None:
    pod = make_pod()
    assert not spec_of(pod).share_processes
    pod.spec.share_process_namespace = True
    assert spec_of(pod).share_processes


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, "/dev/termination-log"),
        ({"termination_message_path": "/tmp/last"}, "/tmp/last"),
        ({"termination_message_path": "/v", "volume_mounts": [VolumeMount(name="v", mount_path="/v")]}, ""),
    ],
)
def test_where_a_container_leaves_its_message(given: dict[str, Any], path: str) -> None:
    assert spec_of(make_pod(container(**given))).message_path == path


@pytest.mark.parametrize(("policy", "from_log"), [("", False), ("File", False), ("FallbackToLogsOnError", True)])
def test_whether_the_log_may_speak_instead(policy: str, from_log: bool) -> None:
    assert spec_of(make_pod(container(termination_message_policy=policy))).message_from_log is from_log
