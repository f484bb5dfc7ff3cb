"""The ingress controller: what Ingresses say becomes the proxies' configuration, and where proxies run their addresses.

    Ingress, IngressClass, Service, Secret, EndpointSlice ──► plan ──► render ──► Secret podium-system/ingress-proxy
    pods with the proxies' label, when they are ready     ──► status.loadBalancer of every Ingress that is served

The proxies' pods mount that Secret, which a node swaps as a whole; what runs there takes it over and needs no access
to the master. Nothing is written before there is an IngressClass of Podium's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from master.access.protocol import Change, ChangeType, Create, EventRecorder, Mutate, Reader, Write, Writer, component
from master.auth.tokens import NAMESPACE
from master.controllers.ingress.certificates import Certificate, certificate_in
from master.controllers.ingress.haproxy import render, size_of
from master.controllers.ingress.plan import Around, Plan, Problem, plan_proxy
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import NotFound, PodiumError
from podium.objects.ingress import PROXY_LABEL, age_of, class_of, served_classes
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.pod import is_ready
from podium.objects.selectors import from_labels
from podium.objects.service import SERVICE_LABEL, is_headless
from podium.v1.core_pb2 import Pod, Secret
from podium.v1.ingress_pb2 import Ingress, IngressClass
from podium.v1.networking_pb2 import EndpointSlice, Service

PROXY_SECRET = "ingress-proxy"  # noqa: S105 - a name
MOST_BYTES = 1024 * 1024 - 4096
"""Of the configuration: a Secret holds a mebibyte."""
BETWEEN_WRITES = 1.0
"""Seconds from one to the next, in which changes are gathered: each is another process on every host."""

_BY = component("controller:ingress")
_ALL = Key("Ingress", "", "")
_SECRET = Key("Secret", NAMESPACE, PROXY_SECRET)
_NAMES = tuple[str, str]


class Certificates:
    """Certificates of Secrets, read once a version."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[_NAMES, tuple[str, Certificate | str]] = {}

    def get(self, namespace: str, name: str) -> Certificate | str:
        """The certificate, or why it cannot be shown."""
        secret = self._reader.get(Secret, namespace, name)
        if secret is None:
            return "is not there"
        version = f"{secret.metadata.uid}/{secret.metadata.resource_version}"
        known = self._known.get((namespace, name))
        if known is None or known[0] != version:
            known = self._known[namespace, name] = (version, certificate_in(secret))
        return known[1]

    def keep(self, wanted: Iterable[_NAMES]) -> None:
        """Forget all others: they are keys."""
        self._known = {names: self._known[names] for names in wanted if names in self._known}


class IngressController:
    """See the module. The only key is all Ingresses."""

    name = "ingress"
    workers = 1

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._certificates = Certificates(reader)
        self._services: frozenset[_NAMES] = frozenset()
        self._secrets: frozenset[_NAMES] = frozenset()
        self._told: Mapping[Key, tuple[Problem, ...]] = {}
        self._next_write = 0.0
        self.triggers = (
            Trigger(Ingress, lambda _: (_ALL,)),
            Trigger(IngressClass, lambda _: (_ALL,)),
            Trigger(Service, self._keys_of_service),
            Trigger(EndpointSlice, self._keys_of_slice),
            Trigger(Secret, self._keys_of_secret),
            Trigger(Pod, _keys_of_pod),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Plan for all, write what is new of it, tell what is wrong."""
        classes = served_classes(self._reader.list(IngressClass))
        secret = self._reader.get(Secret, NAMESPACE, PROXY_SECRET)
        if not classes and secret is None:
            return Done("no class of Ingress is served")
        wait = self._next_write - self._clock.monotonic()
        if wait > 0:
            return After(wait, "more changes are awaited")
        there = self._reader.list(Ingress)
        served = [i for i in there if class_of(i) in classes and not is_terminating(i)]
        self._note_what_matters(served)
        plan, files = self._fitting(served)
        self._tell(served, plan)
        writes = self._statuses(there, {key_of(i) for i in served})
        if secret is None or dict(secret.data) != files:
            self._next_write = self._clock.monotonic() + BETWEEN_WRITES
            writes.append(_configuration(files, exists=secret is not None))
        await self._write(writes)
        return Done(f"{len(served)} Ingresses, {len(plan.problems)} with problems, {size_of(files)} bytes")

    def _note_what_matters(self, served: Iterable[Ingress]) -> None:
        """Remember which services and Secrets are looked at, so that changes of others wake nobody."""
        services, secrets = set[_NAMES](), set[_NAMES]()
        for ingress in served:
            namespace, spec = ingress.metadata.namespace, ingress.spec
            secrets.update((namespace, tls.secret_name) for tls in spec.tls)
            services.update((namespace, p.backend.service.name) for rule in spec.rules for p in rule.http.paths)
            if spec.HasField("default_backend"):
                services.add((namespace, spec.default_backend.service.name))
        self._services, self._secrets = frozenset(services), frozenset(secrets)
        self._certificates.keep(secrets)

    def _fitting(self, served: Sequence[Ingress]) -> tuple[Plan, dict[str, bytes]]:
        """Plan for all; or, when that is more than a Secret holds, for as many of the oldest as fit."""
        plan, files = self._rendered(served)
        if size_of(files) <= MOST_BYTES:
            return plan, files
        ordered, fit, too_many = sorted(served, key=age_of), 0, len(served)
        while too_many - fit > 1:
            middle = (fit + too_many) // 2
            fits = size_of(self._rendered(ordered[:middle])[1]) <= MOST_BYTES
            fit, too_many = (middle, too_many) if fits else (fit, middle)
        plan, files = self._rendered(ordered[:fit])
        left_out = Problem(
            "ProxyFull", f"is not served: with it, the proxies' configuration has over {MOST_BYTES} bytes"
        )
        problems = {**plan.problems, **{key_of(ingress): (left_out,) for ingress in ordered[fit:]}}
        return plan.with_problems(problems), files

    def _rendered(self, served: Sequence[Ingress]) -> tuple[Plan, dict[str, bytes]]:
        around = Around(
            service=lambda namespace, name: self._reader.get(Service, namespace, name),
            slices=lambda namespace, name: self._reader.list(
                EndpointSlice, namespace, from_labels({SERVICE_LABEL: name})
            ),
            certificate=self._certificates.get,
        )
        plan = plan_proxy(served, around)
        return plan, render(plan)

    def _tell(self, served: Iterable[Ingress], plan: Plan) -> None:
        """Each problem once; again when it was gone in between."""
        before, self._told = self._told, plan.problems
        for ingress in served:
            key = key_of(ingress)
            for problem in plan.problems.get(key, ()):
                if problem not in before.get(key, ()):
                    self._events.warning(ingress, problem.reason, problem.message)

    def _statuses(self, ingresses: Iterable[Ingress], served: set[Key]) -> list[Write]:
        pods = self._reader.list(Pod, NAMESPACE, from_labels({PROXY_LABEL: "true"}))
        addresses = tuple(sorted({_reached_at(pod) for pod in pods} - {""}))
        writes: list[Write] = []
        for ingress in ingresses:
            wanted = addresses if key_of(ingress) in served else ()
            if tuple(i.ip for i in ingress.status.load_balancer.ingress) != wanted:
                writes.append(Mutate(key_of(ingress), _with_addresses(wanted), subresource="status"))
        return writes

    async def _write(self, writes: Sequence[Write]) -> None:
        for result in await self._writer.write_many(writes, by=_BY) if writes else ():
            if isinstance(result, PodiumError) and not isinstance(result, NotFound):
                raise result

    def _keys_of_service(self, change: Change[Service]) -> Iterable[Key]:
        return (_ALL,) if _names(change) in self._services else ()

    def _keys_of_slice(self, change: Change[EndpointSlice]) -> Iterable[Key]:
        """Of headless services only: others are led to by their own address."""
        metadata = change.new.metadata
        names = metadata.namespace, metadata.labels.get(SERVICE_LABEL, "")
        if names not in self._services:
            return ()
        service = self._reader.get(Service, *names)
        return (_ALL,) if service is not None and is_headless(service.spec) else ()

    def _keys_of_secret(self, change: Change[Secret]) -> Iterable[Key]:
        return (_ALL,) if _names(change) in self._secrets or key_of(change.new) == _SECRET else ()


def _names(change: Change[Service] | Change[Secret]) -> _NAMES:
    return change.new.metadata.namespace, change.new.metadata.name


def _keys_of_pod(change: Change[Pod]) -> Iterable[Key]:
    """Of a proxy that comes or goes."""
    metadata = change.new.metadata
    if metadata.namespace != NAMESPACE or PROXY_LABEL not in metadata.labels:
        return ()
    before = _reached_at(change.old) if change.old is not None else ""
    now = "" if change.type is ChangeType.DELETED else _reached_at(change.new)
    return (_ALL,) if before != now else ()


def _reached_at(pod: Pod) -> str:
    """The host's address, while the proxy there is ready."""
    return pod.status.host_ip if is_ready(pod) and not is_terminating(pod) else ""


def _configuration(files: Mapping[str, bytes], *, exists: bool) -> Write:
    if exists:
        return Mutate(_SECRET, lambda secret: _replace(secret, files))
    made = Secret(type="Opaque", data=files)
    made.metadata.namespace, made.metadata.name = NAMESPACE, PROXY_SECRET
    return Create(made)


def _replace(secret: Secret, files: Mapping[str, bytes]) -> None:
    secret.data.clear()
    secret.data.update(files)


def _with_addresses(addresses: tuple[str, ...]) -> Callable[[Ingress], None]:
    def change(ingress: Ingress) -> None:
        ingress.status.load_balancer.ClearField("ingress")
        for address in addresses:
            ingress.status.load_balancer.ingress.add(ip=address)

    return change
