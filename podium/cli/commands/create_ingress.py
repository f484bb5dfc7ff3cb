"""`podium create ingress`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from podium.cli.output.created import show
from podium.cli.session import Session, command
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.v1.ingress_pb2 import Ingress

_FORM = "HOST/PATH=SERVICE:PORT[,tls=SECRET]"


def ingress_of(
    name: str, rules: Sequence[str], *, default: str = "", class_name: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Ingress:  # fmt: skip
    """An Ingress as it is sent; rules of one host are put together.

    Args:
        name: Its name.
        rules: Of the form HOST/PATH=SERVICE:PORT[,tls=SECRET] each. A path that ends with `*` is a prefix, another one
            exact; without a host it is for all.
        default: SERVICE:PORT of what no rule matches; may be empty.
        class_name: May be empty.
        annotations: Its annotations.

    Raises:
        BadRequest: A rule or the default is not of that form.
    """
    spec: dict[str, Any] = {}
    hosts: dict[str, list[Any]] = {}
    secrets: dict[str, list[str]] = {}
    for text in rules:
        host, path, secret = _rule(text)
        hosts.setdefault(host, []).append(path)
        if secret:
            named = secrets.setdefault(secret, [])
            named.extend([host] if host and host not in named else [])
    if class_name:
        spec["ingressClassName"] = class_name
    if default:
        spec["defaultBackend"] = _backend(default, "--default-backend", "SERVICE:PORT")
    if secrets:
        spec["tls"] = [{"secretName": secret, "hosts": named} for secret, named in secrets.items()]
    if hosts:
        spec["rules"] = [{**({"host": host} if host else {}), "http": {"paths": p}} for host, p in hosts.items()]
    metadata = {"name": name, "annotations": dict(annotations or {})}
    made = object_from_dict(
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}
    )
    assert isinstance(made, Ingress)
    return made


def _rule(text: str) -> tuple[str, dict[str, Any], str]:
    where, equals, rest = text.partition("=")
    target, *options = rest.split(",")
    host, slash, path = where.partition("/")
    if not equals or not slash:
        raise BadRequest(f'--rule: "{text}" is not {_FORM}')
    secret = ""
    for option in options:
        key, _, secret = option.partition("=")
        if key != "tls" or not secret:
            raise BadRequest(f'--rule: "{option}" is not tls=SECRET')
    prefix = path.endswith("*")
    made = {
        "path": "/" + path.removesuffix("*"), "pathType": "Prefix" if prefix else "Exact",
        "backend": _backend(target, "--rule", _FORM),
    }  # fmt: skip
    return host, made, secret


def _backend(text: str, option: str, form: str) -> dict[str, Any]:
    service, colon, port = text.partition(":")
    if not service or not colon or not port:
        raise BadRequest(f'{option}: "{text}" has no SERVICE:PORT; the form is {form}')
    said = {"number": int(port)} if port.isdecimal() else {"name": port}
    return {"service": {"name": service, "port": said}}


@click.command(
    epilog="""
\b
Examples:
  podium create ingress web --rule='shop.example.com/*=web:80'
  podium create ingress web --rule='shop.example.com/*=web:http,tls=shop-tls' --rule='shop.example.com/pay*=pay:80'
  podium create ingress all --default-backend=web:80 --class=podium
"""
)
@click.argument("name")
@click.option(
    "--rule", "rules", multiple=True, metavar=_FORM, help="A path that ends with * is a prefix; several times."
)
@click.option("--default-backend", default="", metavar="SERVICE:PORT", help="For what no rule matches.")
@click.option("--class", "class_name", default="", metavar="NAME", help="IngressClass; the default one if not given.")
@click.option("--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Several times.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@command
async def ingress(
    session: Session, name: str, rules: tuple[str, ...], default_backend: str, class_name: str,
    annotations: tuple[str, ...], dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Create an Ingress: which services requests from outside are led to."""
    if not rules and not default_backend:
        raise click.UsageError("give --rule or --default-backend")
    pairs = dict(text.partition("=")[::2] for text in annotations)
    made = ingress_of(name, rules, default=default_backend, class_name=class_name, annotations=pairs)
    show([await session.client.create(made, dry_run=dry_run)], dry_run, output)
