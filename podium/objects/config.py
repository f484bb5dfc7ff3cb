"""Configuration that a pod template uses, and revisions pin: which objects, what is in them, what copies are called.

    template ──uses──► ConfigMap app ──content──► digest ─┐
                       Secret creds  ──content──► digest ─┴─► fingerprint: annotation podium.dev/config of the template
    revision NAME-HASH, annotation podium.dev/pinned-config: ConfigMap/app,Secret/creds
        its pods use  ConfigMap app-HASH, Secret creds-HASH: immutable copies that it owns

A revision is a ReplicaSet of a Deployment, or a ControllerRevision of a StatefulSet or DaemonSet.

Image pull secrets are no configuration: they go on to be the ones that are current. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from podium.objects import history, revisions
from podium.objects.owners import owner_reference
from podium.objects.pod import all_containers
from podium.v1.apps_pb2 import ControllerRevision, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, PodSpec, Secret, Volume

FINGERPRINT = "podium.dev/config"
"""On a pod template: stands for the content of all the configuration that it uses."""
PINNED = "podium.dev/pinned-config"
"""On a revision: whose copies its pods use."""
COPY_OF = "podium.dev/copy-of"
"""On a copy: the name of what it is a copy of."""

AUTOMATIC = "Automatic"

Revision = ReplicaSet | ControllerRevision
"""What stands for a template that a workload had, and owns the copies that go with it."""

MESSAGES: Mapping[str, type[ConfigMap] | type[Secret]] = {"ConfigMap": ConfigMap, "Secret": Secret}

_LONGEST_NAME = 253


class Ref(NamedTuple):
    """An object that holds configuration, in the namespace of the pod."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class _Use(NamedTuple):
    """One place of a template that names one: `field` of `source`."""

    source: Any
    field: str
    kind: str

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, getattr(self.source, self.field))


def used_config(spec: PodSpec) -> dict[Ref, bool]:
    """What a pod uses, and whether it cannot start without it."""
    found: dict[Ref, bool] = {}
    for use in _uses(spec):
        found[use.ref] = found.get(use.ref, False) or not use.source.optional
    return found


def point_to_copies(spec: PodSpec, revision: Revision) -> None:
    """Have a pod use its revision's copies, in place."""
    pinned = pins_of(revision)
    for use in _uses(spec) if pinned else ():
        if use.ref in pinned:
            setattr(use.source, use.field, copy_name(use.ref, revision))


def _uses(spec: PodSpec) -> Iterator[_Use]:
    for container in all_containers(spec):
        for source in container.env_from:
            if source.HasField("config_map_ref"):
                yield _Use(source.config_map_ref, "name", "ConfigMap")
            elif source.HasField("secret_ref"):
                yield _Use(source.secret_ref, "name", "Secret")
        for variable in container.env:
            if variable.value_from.HasField("config_map_key_ref"):
                yield _Use(variable.value_from.config_map_key_ref, "name", "ConfigMap")
            elif variable.value_from.HasField("secret_key_ref"):
                yield _Use(variable.value_from.secret_key_ref, "name", "Secret")
    for volume in spec.volumes:
        yield from _uses_of_volume(volume)


def _uses_of_volume(volume: Volume) -> Iterator[_Use]:
    if volume.HasField("config_map"):
        yield _Use(volume.config_map, "name", "ConfigMap")
    elif volume.HasField("secret"):
        yield _Use(volume.secret, "secret_name", "Secret")
    for projection in volume.projected.sources:
        if projection.HasField("config_map"):
            yield _Use(projection.config_map, "name", "ConfigMap")
        elif projection.HasField("secret"):
            yield _Use(projection.secret, "name", "Secret")


# ---------------------------------------------------------------- content


def digest(obj: ConfigMap | Secret | None) -> str:
    """Equal for equal content; empty when there is no object.

    It stands in places that more people may read than a Secret. So that of a Secret is keyed with the Secret's uid,
    which those cannot know: a short password is not found by trying.
    """
    if obj is None:
        return ""
    key = obj.metadata.uid.encode() if isinstance(obj, Secret) else b""
    bare = _same_content(obj)
    bare.ClearField("immutable")
    return hashlib.blake2b(bare.SerializeToString(deterministic=True), digest_size=8, key=key[:64]).hexdigest()


def _same_content(obj: ConfigMap | Secret) -> ConfigMap | Secret:
    """A copy without metadata."""
    copy = type(obj).FromString(obj.SerializeToString())
    copy.ClearField("metadata")
    return copy


def fingerprint(digests: Mapping[Ref, str]) -> str:
    """Of all the configuration that a template uses."""
    text = "\n".join(f"{ref}={content}" for ref, content in sorted(digests.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


# ---------------------------------------------------------------- copies


def pins_of(revision: Revision) -> frozenset[Ref]:
    """Whose copies its pods use."""
    text = revision.metadata.annotations.get(PINNED, "")
    return frozenset(Ref(*item.split("/", 1)) for item in text.split(",") if "/" in item)


def pinned_text(refs: Iterable[Ref]) -> str:
    """The value of annotation PINNED."""
    return ",".join(map(str, sorted(refs)))


def copy_name(ref: Ref, revision: Revision) -> str:
    """What the copy of a revision is called."""
    suffix = f"-{_hash_of(revision)}"
    return ref.name[: _LONGEST_NAME - len(suffix)] + suffix


def _hash_of(revision: Revision) -> str:
    return revisions.hash_of(revision) if isinstance(revision, ReplicaSet) else history.hash_of(revision)


def copy_for(revision: Revision, ref: Ref, obj: ConfigMap | Secret) -> ConfigMap | Secret:
    """An immutable copy that a revision owns, and that goes with it."""
    made = _same_content(obj)
    made.metadata.namespace = revision.metadata.namespace
    made.metadata.name = copy_name(ref, revision)
    made.metadata.annotations[COPY_OF] = ref.name
    made.metadata.owner_references.append(owner_reference(revision))
    made.immutable = True
    return made


def contents_of(revision: Revision, read: Callable[[type[Any], str, str], Any]) -> dict[Ref, Any]:
    """The copies of a revision, by what they are copies of; those that are there.

    Args:
        revision: Whose.
        read: The object of a message class, namespace and name, or None.
    """
    namespace = revision.metadata.namespace
    found = {ref: read(MESSAGES[ref.kind], namespace, copy_name(ref, revision)) for ref in pins_of(revision)}
    return {ref: obj for ref, obj in found.items() if obj is not None}


# ---------------------------------------------------------------- differences

Content = Mapping[Ref, ConfigMap | Secret]


def config_changes(old: Content, new: Content) -> list[str]:
    """What differs between what two revisions ran with, a line each; of Secrets the keys, and never a value."""
    return [line for ref in sorted({*old, *new}) for line in _differences(ref, old.get(ref), new.get(ref))]


def _differences(ref: Ref, old: ConfigMap | Secret | None, new: ConfigMap | Secret | None) -> Iterator[str]:
    before, after = _values(old), _values(new)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"{ref}[{key}]: {_told(ref, before.get(key), after.get(key))}"


def _values(obj: ConfigMap | Secret | None) -> dict[str, str | bytes]:
    if obj is None:
        return {}
    return {**obj.data, **obj.binary_data} if isinstance(obj, ConfigMap) else dict(obj.data)


def _told(ref: Ref, before: str | bytes | None, after: str | bytes | None) -> str:
    if before is None or after is None:
        return "added" if before is None else "removed"
    if ref.kind == "Secret" or isinstance(before, bytes) or isinstance(after, bytes):
        return "changed"
    return f"{_short(before)} -> {_short(after)}"


def _short(value: str) -> str:
    line = value.strip().replace("\n", "\\n")
    return line if len(line) <= 60 else line[:59] + "…"
