"""A plan in HAProxy's words (2.6 and later): one configuration, maps for what is looked up, and certificates. Pure.

    hosts.map     shop.example.com    which virtual host a request is for; `*.example.com` as the request's host with
                                      its first label replaced, `*` for all others
    exact.map     HOST/PATH           the backend of a whole path
    prefix.map    HOST/PATH/          the backend of the longest prefix: with a slash at its end, as the request's path
                                      is given one, a prefix ends where an element does
    default.map   HOST                the backend of what no path takes
    secure.map    HOST                where requests in the clear are sent to https
    shown.list                        certificates, each with the names for which it is shown

Look-ups are in trees: a route costs the same among ten and among thousands. A backend is not kept connected: each
request is a connection of its own to the service's address, so that the kernel's rules choose who answers, and a pod
that is being drained is not asked again over a connection that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from master.controllers.ingress.certificates import Certificate
from master.controllers.ingress.plan import Backend, Plan, milliseconds

CONFIG = "haproxy.cfg"


class Ports(NamedTuple):
    """Where a proxy listens, on every address of its host. `status`: `/healthz` and `/metrics`."""

    http: int = 80
    https: int = 443
    status: int = 7446


_SHOWN = "shown.list"
_BASE = """\
# Written by the master from Ingresses; changes are lost.
global
    default-path config
    log stdout format raw local0 err
    fd-hard-limit 100000
    stats socket "${{WORK}}/admin.sock" mode 600 level admin expose-fd listeners
    hard-stop-after 10m
    uid 99
    gid 99
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    option log-separate-errors
    option dontlognull
    option http-server-close
    option idle-close-on-response
    option redispatch 1
    retries 1
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 15s
    timeout http-keep-alive 60s
    timeout tunnel 1h
    http-error status 503 content-type text/plain string "no pod of the service that this leads to answers\\n"

frontend status
    bind :{status}
    monitor-uri /healthz
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request return status 404

frontend web
    bind :{http}
"""
_SECURE_BIND = "    bind :{https} ssl strict-sni alpn h2,http/1.1 crt-list shown.list\n"
_RULES = """\
    http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)
    http-request set-var(txn.wild) var(txn.host),regsub(^[^.]+,*)
    http-request redirect scheme https code 308 if !{ ssl_fc } { var(txn.host),map_str(secure.map) -m found }
    http-request redirect scheme https code 308 if !{ ssl_fc } { var(txn.wild),map_str(secure.map) -m found }
    http-request set-var(txn.at) var(txn.host),map_str(hosts.map)
    http-request set-var(txn.at) var(txn.wild),map_str(hosts.map) unless { var(txn.at) -m found }
    http-request set-var(txn.at) str(*) unless { var(txn.at) -m found }
    http-request set-var(txn.path) path
    http-request set-var(txn.to) var(txn.at),concat(,txn.path),map_str(exact.map)
    http-request set-var(txn.to) var(txn.at),concat(,txn.path,/),map_beg(prefix.map) unless { var(txn.to) -m found }
    http-request set-var(txn.to) var(txn.at),map_str(default.map) unless { var(txn.to) -m found }
    http-request set-var(txn.to) str(*),map_str(default.map) unless { var(txn.to) -m found }
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    use_backend %[var(txn.to)] if { var(txn.to) -m found }
    default_backend none

backend none
    http-request return status 404 content-type text/plain string "nothing is served here\\n"
"""
_RETURN = "    http-request return status"
_MISSING = f'{_RETURN} 503 content-type text/plain string "the service that this leads to is not there\\n"\n'

_REWRITE = """\
    http-request set-var(txn.rest) path,bytes({length})
    http-request set-path {begin}%[var(txn.rest)] if {{ var(txn.rest) -m len 1: }}
    http-request set-path {whole} unless {{ var(txn.rest) -m len 1: }}
"""

PORTS = Ports()


def render(plan: Plan, ports: Ports = PORTS) -> dict[str, bytes]:
    """The files that a proxy is run with, by name. Equal plans give equal files."""
    hosts = {host: host for host in plan.table.hosts}
    exact, prefixes, defaults = dict[str, str](), dict[str, str](), dict[str, str]()
    for place, backend in plan.routes.items():
        host = place.host or "*"
        if not place.path:
            defaults[host] = backend
        elif place.exact:
            exact[host + place.path] = backend
        else:
            prefixes[f"{host}{place.path.rstrip('/')}/"] = backend
    maps = {"hosts": hosts, "exact": exact, "prefix": prefixes, "default": defaults,
            "secure": dict.fromkeys(plan.secure, "1")}  # fmt: skip
    files = {f"{name}.map": _map(entries) for name, entries in maps.items()}
    files[CONFIG] = _config(plan, ports).encode()
    if plan.certificates:
        files[_SHOWN] = _shown(plan.certificates)
        files.update((certificate.file, certificate.pem) for certificate in plan.certificates)
    return files


def size_of(files: Mapping[str, bytes]) -> int:
    """Bytes, as a Secret's size is counted."""
    return sum(len(name) + len(content) for name, content in files.items())


def _config(plan: Plan, ports: Ports) -> str:
    base = _BASE.format(**ports._asdict())
    bind = _SECURE_BIND.format(https=ports.https) if plan.certificates else ""
    backends = (_backend(name, plan.backends[name]) for name in sorted(plan.backends))
    return "".join([base, bind, _RULES, *backends])


def _backend(name: str, backend: Backend) -> str:
    lines = [f"\nbackend {name}\n"]
    if backend.missing:
        lines.append(_MISSING)
    if backend.timeout is not None:
        lines.append(f"    timeout server {milliseconds(backend.timeout)}ms\n")
    if backend.rewrite is not None:
        length, to = backend.rewrite
        lines.append(_REWRITE.format(length=length, whole=to, begin=to.rstrip("/")))
    lines += _servers(backend)
    return "".join(lines)


def _servers(backend: Backend) -> Iterable[str]:
    protocol = " proto h2" if backend.h2c else ""
    for number, server in enumerate(backend.servers):
        yield f"    server s{number} {server.address}:{server.port}{protocol}\n"


def _map(entries: Mapping[str, str]) -> bytes:
    return "".join(f"{key} {entries[key]}\n" for key in sorted(entries)).encode()


def _shown(certificates: Mapping[Certificate, tuple[str, ...]]) -> bytes:
    lines = sorted(f"{certificate.file} {' '.join(names)}\n" for certificate, names in certificates.items())
    return "".join(lines).encode()
