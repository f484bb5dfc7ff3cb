"""The `podium` command writes objects: apply, create, diff, edit, patch, label, delete, wait."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from podium.v1.batch_pb2 import CronJob, Job
from podium.v1.core_pb2 import ConfigMap, Secret
from tests.support.command import Podium
from tests.support.command_world import World, command_world, web

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with command_world(tmp_path_factory.mktemp("cli-objects")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def podium(world: World) -> Podium:
    return await world.podium()


def pod(name: str, **metadata: object) -> str:
    return json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "main", "image": "a:1"}]},
    })  # fmt: skip


# ---------------------------------------------------------------- apply, diff


async def test_apply_creates_then_leaves_alone_then_configures(podium: Podium) -> None:
    assert (await podium("apply", "-f", "-", stdin=web())).out == "deployment.apps/web created\n"
    assert (await podium("apply", "-f", "-", stdin=web())).out == "deployment.apps/web unchanged\n"
    dry = await podium("apply", "-f", "-", "--dry-run", stdin=web(replicas=3))
    assert dry.out == "deployment.apps/web configured (dry run)\n"
    difference = await podium("diff", "-f", "-", stdin=web(replicas=3), code=1)
    assert "-  replicas: 2\n+  replicas: 3\n" in difference.out
    assert (await podium("apply", "-f", "-", stdin=web(replicas=3))).out == "deployment.apps/web configured\n"
    assert (await podium("diff", "-f", "-", stdin=web(replicas=3))).out == ""


async def test_apply_tells_whose_field_it_is(podium: Podium) -> None:
    await podium("apply", "-f", "-", "--field-manager=ci", stdin=web())
    refused = await podium("apply", "-f", "-", stdin=web(replicas=4), code=1)
    assert '.spec.replicas is owned by "ci"' in refused.err
    assert "--force-conflicts" in refused.err
    assert (await podium("diff", "-f", "-", stdin=web(replicas=4), code=2)).err.startswith("error: standard input:")
    taken = await podium("apply", "-f", "-", "--force-conflicts", stdin=web(replicas=4))
    assert taken.out == "deployment.apps/web configured\n"


async def test_apply_takes_files_directories_lists_and_many_documents(podium: Podium) -> None:
    (podium.folder / "below").mkdir()
    (podium.folder / "a.yaml").write_text(pod("a") + "\n---\n" + pod("b"))
    (podium.folder / "c.json").write_text(f'{{"apiVersion": "v1", "kind": "List", "items": [{pod("c")}]}}')
    (podium.folder / "below" / "d.yml").write_text(pod("d"))
    (podium.folder / "notes.txt").write_text("not a manifest")
    made = await podium("apply", "-f", ".", "-o", "name")
    assert made.lines == ["pod/a", "pod/b", "pod/c"]
    everything = await podium("apply", "-R", "-f", ".")
    assert everything.lines == ["pod/a unchanged", "pod/b unchanged", "pod/d created", "pod/c unchanged"]
    assert 'no such file or directory: "none.yaml"' in (await podium("apply", "-f", "none.yaml", code=1)).err


async def test_a_manifest_is_refused_whole_with_paths_and_nearest_names(podium: Podium) -> None:
    wrong = web().replace("replicas: 2", "replicsa: 2").replace("image: lines:1", "image: 5")
    refused = await podium("apply", "-f", "-", stdin=pod("first") + "\n---\n" + wrong, code=1)
    assert "nothing was changed" in refused.err
    assert "standard input#2: spec.replicsa" in refused.err
    assert '"replicas"' in refused.err
    assert "spec.template.spec.containers[0].image" in refused.err
    assert (await podium("get", "pods", "-o", "name")).out == ""
    misspelt = web().replace("replicas: 2", "replicsa: 2")
    warned = await podium("apply", "-f", "-", "--validate=warn", stdin=misspelt)
    assert "warning: " in warned.err
    assert "(dropped)" in warned.err
    assert "created" in warned.out
    text = await podium("apply", "-f", "-", stdin="a: [", code=1)
    assert "not YAML: line 2" in text.err


async def test_a_manifest_that_is_too_long_is_refused_with_its_size(podium: Podium) -> None:
    data = {f"key-{number:06}": "v" for number in range(120_000)}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": data}
    (podium.folder / "big.json").write_text(json.dumps(manifest))
    refused = await podium("apply", "-f", "big.json", code=1)
    assert re.search(r"error: big.json: the manifest is 2\d{6} bytes long: must be at most 2097152", refused.err)
    assert (await podium("get", "configmaps", "-o", "name")).out == ""


async def test_apply_waits_until_it_runs(podium: Podium) -> None:
    waited = await podium("apply", "-f", "-", "--wait", stdin=web() + "\n---\n" + pod("single"))
    assert "2 of 2 replicas available" in waited.out
    assert "✓" in waited.out
    assert (await podium("get", "pod", "single", "-o", "jsonpath={.status.phase}")).out.strip() == "Running"


async def test_a_failed_rollout_ends_the_investigation(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    failing = web(image="crash:1").replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 3")
    failed = await podium("apply", "-f", "-", "--wait", stdin=failing, code=1)
    for words in ("CrashLoopBackOff", "exit code 3", "fatal: no database", "image: lines:1 -> crash:1", "on node"):
        assert words in failed.out, failed.out
    unpulled = await podium("apply", "-f", "-", "--wait", "--timeout=6s", stdin=web(image="missing:1"), code=1)
    assert "manifest unknown" in unpulled.out
    assert "is not rolled out after" in unpulled.err


# ---------------------------------------------------------------- create


async def test_create_from_manifests(podium: Podium) -> None:
    assert (await podium("create", "-f", "-", stdin=pod("a"))).out == "pod/a created\n"
    twice = await podium("create", "-f", "-", stdin=pod("a"), code=1)
    assert 'Pod "a" already exists' in twice.err
    named = pod("x").replace('"name": "x"', '"generateName": "x-"')
    assert (await podium("create", "-f", "-", stdin=named)).out.startswith("pod/x-")
    assert "give -f FILE" in (await podium("create", code=2)).err


async def test_create_from_words(world: World, podium: Podium) -> None:
    name = f"{podium.namespace}-more"
    assert (await podium("create", "namespace", name)).out == f"namespace/{name} created\n"
    made = await podium(
        "create",
        "deployment",
        "web",
        "--image=a:1",
        "--replicas=2",
        "--port=80",
        "-o",
        "json",
        "--",
        "serve",
        "-n",
        "1",
    )
    (container,) = json.loads(made.out)["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["serve", "-n", "1"]
    assert container["ports"][0]["containerPort"] == 80
    dry = await podium("create", "deployment", "dry", "--image=a:1", "--dry-run")
    assert dry.out == "deployment.apps/dry created (dry run)\n"


async def test_create_secrets(world: World, podium: Podium) -> None:
    (podium.folder / "key.pem").write_bytes(b"\x00\xff")
    await podium("create", "secret", "generic", "db", "--from-literal=user=ada", "--from-file=key.pem",
                 "--from-file=password=-", stdin="hunter2")  # fmt: skip
    stored = world.cluster.reader.get(Secret, podium.namespace, "db")
    assert stored is not None
    assert dict(stored.data) == {"user": b"ada", "key.pem": b"\x00\xff", "password": b"hunter2"}
    await podium(
        "create", "secret", "docker-registry", "pull", "--server=r:5000", "--username=ci", "--password-file=-",
        stdin="pw\n",
    )  # fmt: skip
    pull = world.cluster.reader.get(Secret, podium.namespace, "pull")
    assert pull is not None
    assert json.loads(pull.data[".dockerconfigjson"])["auths"]["r:5000"]["password"] == "pw"
    unread = await podium("create", "secret", "generic", "x", "--from-file=none.pem", code=1)
    assert unread.err == "error: none.pem: No such file or directory\n"


async def test_the_keys_of_secrets_are_rotated_and_listed(podium: Podium) -> None:
    assert (await podium("secrets", "keys")).out.splitlines()[0].split() == ["ID", "STATE", "AGE"]
    rotated = (await podium("secrets", "rotate-key")).out
    assert "secrets sealed with it; back up the master's encryption.keys now" in rotated
    states = [line.split()[1] for line in (await podium("secrets", "keys")).out.splitlines()[1:]]
    assert states == ["Retiring", "Active"]
    kept = await podium("secrets", "drop-keys", "--yes", code=1)
    assert kept.err.startswith("error: no key is unused")


async def test_create_a_tls_secret_of_a_pair_that_belongs_together(world: World, podium: Podium) -> None:
    for name in ("one", "two"):
        certificate, key = self_signed(name)
        (podium.folder / f"{name}.crt").write_bytes(certificate)
        (podium.folder / f"{name}.key").write_bytes(key)
    await podium("create", "secret", "tls", "web", "--cert=one.crt", "--key=one.key")
    stored = world.cluster.reader.get(Secret, podium.namespace, "web")
    assert stored is not None
    assert (stored.type, sorted(stored.data)) == ("kubernetes.io/tls", ["tls.crt", "tls.key"])
    mixed = await podium("create", "secret", "tls", "bad", "--cert=one.crt", "--key=two.key", code=1)
    assert mixed.err == "error: the key in two.key is not that of the certificate in one.crt\n"
    broken = await podium("create", "secret", "tls", "bad", "--cert=one.key", "--key=one.key", code=1)
    assert "must be a PEM certificate" in broken.err


async def test_create_config_maps(world: World, podium: Podium) -> None:
    (podium.folder / "settings").mkdir()
    (podium.folder / "settings" / "a.ini").write_text("a=1")
    (podium.folder / "settings" / "logo").write_bytes(b"\xff\xfe")
    (podium.folder / "app.env").write_text("# a comment\n\nURL=http://x/?a=b\n EMPTY=\n")
    await podium("create", "configmap", "app", "--from-file=settings", "--from-env-file=app.env", "--from-literal=k=v")
    stored = world.cluster.reader.get(ConfigMap, podium.namespace, "app")
    assert stored is not None
    assert dict(stored.data) == {"a.ini": "a=1", "URL": "http://x/?a=b", "EMPTY": "", "k": "v"}
    assert dict(stored.binary_data) == {"logo": b"\xff\xfe"}
    twice = await podium("create", "configmap", "b", "--from-literal=k=1", "--from-literal=k=2", code=1)
    assert twice.err == 'error: the key "k" is given twice\n'


async def test_create_jobs_and_cron_jobs(world: World, podium: Podium) -> None:
    made = await podium("create", "job", "pi", "--image=perl:5.34", "--", "perl", "-e", "1")
    assert made.out == "job.batch/pi created\n"
    await podium("create", "cronjob", "tick", "--image=a:1", "--schedule=0 0 1 1 *", "--time-zone=Europe/Berlin")
    await podium("create", "job", "now", "--from=cronjob/tick")
    job = world.cluster.reader.get(Job, podium.namespace, "now")
    cron = world.cluster.reader.get(CronJob, podium.namespace, "tick")
    assert job is not None
    assert cron is not None
    assert job.metadata.owner_references[0].uid == cron.metadata.uid
    assert job.metadata.annotations["cronjob.kubernetes.io/instantiate"] == "manual"
    listed = (await podium("get", "jobs")).out
    assert listed.splitlines()[0].split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert "0/1" in listed
    assert (await podium("get", "cj")).out.splitlines()[1].split()[:6] == ["tick", "0", "0", "1", "1", "*"]
    told = (await podium("describe", "cronjob", "tick")).out
    assert "Next Schedule:" in told
    assert "-01-01T00:00:00+01:00" in told
    assert "Completions:       0/1" in (await podium("describe", "job", "pi")).out
    refused = await podium("create", "cronjob", "bad", "--image=a:1", "--schedule=61 * * * *", code=1)
    assert 'spec.schedule: minute "61" must be a number from 0 to 59' in refused.err


def self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem


# ---------------------------------------------------------------- edit, patch, label


def editor(podium: Podium, body: str) -> dict[str, str]:
    script = podium.folder / "editor"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o700)
    return {"EDITOR": str(script)}


async def test_edit(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    edited = await podium("edit", "deploy/web", environment=editor(podium, "sed -i 's/replicas: 2/replicas: 3/' $1"))
    assert edited.out == "deployment.apps/web edited\n"
    assert (await podium("get", "deploy/web", "-o", "jsonpath={.spec.replicas}")).out.strip() == "3"
    more = editor(podium, "sed -i 's/replicas: 3/replicas: 4/' $1")
    tried = await podium("edit", "deploy/web", "--dry-run", environment=more)
    assert tried.out == "deployment.apps/web edited (dry run)\n"
    assert (await podium("get", "deploy/web", "-o", "jsonpath={.spec.replicas}")).out.strip() == "3"
    same = await podium("edit", "deploy/web", environment=editor(podium, "touch -d @1 $1"))
    assert same.out == "not changed\n"
    empty = await podium("edit", "deploy/web", environment=editor(podium, ": > $1"))
    assert empty.out == "not changed\n"
    wrong = await podium("edit", "deploy/web", environment=editor(podium, "sed -i 's/replicas/replicsa/' $1"), code=1)
    assert "spec.replicsa" in wrong.err
    assert '"replicas"' in wrong.err


async def test_patches_of_every_type(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    container = '{"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "a:2"}]}}}}'
    assert (await podium("patch", "deploy/web", "-p", container)).out == "deployment.apps/web patched\n"
    await podium("patch", "deploy", "web", "--type=merge", "-p", "spec: {replicas: 1}")
    operations = podium.folder / "patch.json"
    operations.write_text('[{"op": "test", "path": "/spec/replicas", "value": 1},'
                          ' {"op": "replace", "path": "/spec/replicas", "value": 4}]')  # fmt: skip
    shown = await podium("patch", "deploy/web", "--type=json", "--patch-file", str(operations), "-o", "json")
    spec = json.loads(shown.out)["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (4, "a:2")
    assert spec["template"]["spec"]["containers"][0]["env"] == [{"name": "LEVEL", "value": "info"}]
    assert (
        "error: " in (await podium("patch", "deploy/web", "--type=json", "--patch-file", str(operations), code=1)).err
    )
    bad = await podium("patch", "deploy/web", "-p", '{"spec": {"replicsa": 1}}', code=1)
    assert "spec.replicsa" in bad.err


async def test_labels_and_annotations(world: World, podium: Podium) -> None:
    await podium("create", "-f", "-", stdin=pod("a", labels={"tier": "front"}) + "\n---\n" + pod("b"))
    await podium("label", "pod", "a", "b", "team=x")
    assert (await podium("get", "pods", "-l", "team=x", "-o", "name")).lines == ["pod/a", "pod/b"]
    refused = await podium("label", "pod/a", "team=y", code=1)
    assert refused.err == "error: pod/a has team=x already; --overwrite changes it\n"
    await podium("label", "pods", "--all", "--overwrite", "team=y")
    await podium("label", "pods", "-l", "tier=front", "team-")
    assert (await podium("get", "pods", "-l", "team=y", "-o", "name")).lines == ["pod/b"]
    await podium("annotate", "pod/a", "note=some words", "other=1")
    await podium("annotate", "pod/a", "other-")
    shown = await podium("get", "pod/a", "-o", "jsonpath={.metadata.annotations}")
    assert json.loads(shown.out) == {"note": "some words"}


# ---------------------------------------------------------------- delete, wait


async def test_delete_by_name_selector_and_manifest(world: World, podium: Podium) -> None:
    manifest = "\n---\n".join(pod(n, labels={"n": n}) for n in ("a", "b", "c", "d"))
    await podium("apply", "-f", "-", stdin=manifest)
    assert (await podium("delete", "pod", "a", "--dry-run")).out == "pod/a deleted (dry run)\n"
    assert (await podium("delete", "pod/a")).out == "pod/a deleted\n"
    assert (await podium("delete", "pods", "-l", "n=b")).out == "pod/b deleted\n"
    partly = await podium("delete", "-f", "-", stdin=manifest, code=1)
    assert partly.lines == ["pod/d deleted", "pod/c deleted"]
    assert partly.err.count("not found") == 2
    assert (await podium("delete", "-f", "-", "--ignore-not-found", stdin=manifest)).out == ""
    assert world.pods(podium) == []
    assert "--all" in (await podium("delete", "pods", code=1)).err


async def test_delete_waits_or_not_and_respects_grace(world: World, podium: Podium) -> None:
    stubborn = pod("s").replace("a:1", "stubborn:1")
    await podium("apply", "-f", "-", "--wait", stdin=stubborn)
    slow = await podium("delete", "pod/s", "--timeout=1s", code=1)
    assert "timed out after" in slow.err
    assert "deletion of pod/s" in slow.err
    assert (await podium("delete", "pod/s", "--no-wait")).out == "pod/s deleted\n"
    assert (await podium("get", "pod/s", "--no-headers")).out.split()[2] == "Terminating"
    await podium("delete", "pod/s", "--grace-period=0")
    assert world.pods(podium) == []


async def test_delete_cascades_as_told(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    await podium("delete", "deploy/web", "--cascade=orphan")
    assert "web-" in (await podium("get", "rs", "-o", "name")).out
    assert len(world.pods(podium)) == 2
    await podium("delete", "rs", "--all", "--cascade=foreground")
    assert (await podium("get", "rs,pods", "-o", "name")).out == ""


async def test_wait_for_every_goal(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    met = await podium("wait", "--for=condition=available", "deploy/web")
    assert met.out == "deployment.apps/web condition met\n"
    both = await podium("wait", "--for=create", "deploy/web", "ns/default")
    assert both.lines == ["deployment.apps/web condition met", "namespace/default condition met"]
    await podium("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", "app=web")
    await podium("wait", "--for=condition=Ready", "pods", "--all")
    late = await podium("wait", "--for=condition=Ready=false", "pods", "--all", "--timeout=300ms", code=1)
    assert "timed out after 0.3s waiting for condition=Ready=false of pod/web-" in late.err
    async with podium.running("wait", "--for=delete", "deploy/web") as waiting:
        await podium("delete", "deploy/web")
        assert "deployment.apps/web condition met" in await waiting.says("met")
    assert "unknown goal" in (await podium("wait", "--for=joy", "deploy/web", code=1)).err
