"""A container's environment: from whole ConfigMaps and Secrets, then variable by variable. Pure.

Kubernetes' rules: `envFrom` first, a later source wins; then `env` in its order, where a plain value may refer to what
was set before it. What is missing and not optional keeps the container from being created (`ConfigFault`). Keys that
can't name a variable are left out, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podium.objects.downward import Whereabouts, container_named, resource_value, variable_field
from podium.objects.references import Objects, Withheld, config_map_key, secret_key
from podium.v1.core_pb2 import Container, EnvFromSource, EnvVarSource, Pod

_REFERENCE = re.compile(r"\$\$|\$\(([^()\s]*)\)")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigFault(Exception):
    """What a container is to be made from is not there; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The variables; and, by the object that has them, the keys that can't be variables."""

    values: Mapping[str, str] = field(repr=False)
    skipped: Mapping[str, list[str]]


def environment(pod: Pod, container: Container, objects: Objects, around: Whereabouts) -> Environment:
    """Work out a container's variables.

    Raises:
        ConfigFault: An object or a key that is not optional is missing, or a Secret is withheld.
    """
    maker = _Maker(pod, container, objects, around)
    skipped: dict[str, list[str]] = {}
    for source in container.env_from:
        what, entries = maker.entries(source)
        for key, value in entries:
            if _NAME.fullmatch(key) and value is not None:
                maker.values[key] = value
            else:
                skipped.setdefault(what, []).append(key)
    for variable in container.env:
        if variable.HasField("value_from"):
            value_of = maker.value_from(variable.value_from)
            if value_of is not None:
                maker.values[variable.name] = value_of
        else:
            maker.values[variable.name] = expand(variable.value, maker.values)
    return Environment(values=maker.values, skipped={what: sorted(keys) for what, keys in skipped.items()})


class _Maker:
    """One container's environment in the making."""

    def __init__(self, pod: Pod, container: Container, objects: Objects, around: Whereabouts) -> None:
        self._pod, self._container, self._objects, self._around = pod, container, objects, around
        self.values: dict[str, str] = {}

    def entries(self, source: EnvFromSource) -> tuple[str, Iterator[tuple[str, str | None]]]:
        """What a source is called, and its variables; None for a value that is no text."""
        data: Mapping[str, str | None]
        if source.HasField("config_map_ref"):
            config = source.config_map_ref
            found = self._config_map(config.name, optional=config.optional)
            what, data = f"configMap {self._pod.metadata.namespace}/{config.name}", dict(found.data) if found else {}
        else:
            secret = source.secret_ref
            kept = self._secret(secret.name, optional=secret.optional)
            what = f"secret {self._pod.metadata.namespace}/{secret.name}"
            data = {key: _text(value) for key, value in kept.data.items()} if kept else {}
        return what, ((source.prefix + key, value) for key, value in sorted(data.items()))

    def value_from(self, source: EnvVarSource) -> str | None:
        """One variable's value; None when it is optional and missing."""
        match next(field.name for field, _ in source.ListFields()):
            case "field_ref":
                return variable_field(self._pod, source.field_ref.field_path, self._around)
            case "resource_field_ref":
                return self._resource(source)
            case "config_map_key_ref":
                ref = source.config_map_key_ref
                config = self._config_map(ref.name, optional=ref.optional)
                text: str | None = self._key(
                    config and config.data, ref.key, f"ConfigMap {self._of(ref.name)}", ref.optional
                )
                return text
            case _:
                wanted = source.secret_key_ref
                secret = self._secret(wanted.name, optional=wanted.optional)
                what = f"Secret {self._of(wanted.name)}"
                found = self._key(secret and secret.data, wanted.key, what, wanted.optional)
                return None if found is None else self._text_of(found, wanted.key, what)

    def _text_of(self, value: bytes, key: str, what: str) -> str:
        text = _text(value)
        if text is None:
            raise ConfigFault(f"key {key} in {what} is no text, which a variable must be; mount it as a file")
        return text

    def _resource(self, source: EnvVarSource) -> str:
        selector = source.resource_field_ref
        named = container_named(self._pod, selector.container_name) if selector.container_name else self._container
        if named is None:
            raise ConfigFault(f"the pod has no container {selector.container_name}")
        return resource_value(named, selector, self._around.allocatable)

    def _key(self, data: Any, key: str, what: str, optional: bool) -> Any:
        if data is not None and key in data:
            return data[key]
        if optional:
            return None
        raise ConfigFault(f"couldn't find key {key} in {what}")

    def _config_map(self, name: str, *, optional: bool) -> Any:
        return self._object(config_map_key(self._pod.metadata.namespace, name), "configmap", optional)

    def _secret(self, name: str, *, optional: bool) -> Any:
        return self._object(secret_key(self._pod.metadata.namespace, name), "secret", optional)

    def _object(self, key: Any, word: str, optional: bool) -> Any:
        found = self._objects.get(key)
        if isinstance(found, Withheld):
            raise ConfigFault(str(found))
        if found is None and not optional:
            raise ConfigFault(f'{word} "{key.name}" not found')
        return found

    def _of(self, name: str) -> str:
        return f"{self._pod.metadata.namespace}/{name}"


def _text(value: bytes) -> str | None:
    """What a variable can carry of a Secret's bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` by its value, or left as it is when there is none; `$$` is a literal `$`."""

    def value(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return env.get(match.group(1), match.group(0))

    return _REFERENCE.sub(value, text)


def expand_path(text: str, env: Mapping[str, str]) -> str:
    """A path with all of its references replaced.

    Raises:
        ConfigFault: One names no variable.
    """
    missing = [name for name in _REFERENCE.findall(text) if name and name not in env]
    if missing:
        raise ConfigFault(f"subPathExpr {text}: the variable {missing[0]} is not set")
    return expand(text, env)
