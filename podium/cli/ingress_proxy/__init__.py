"""The manifests of Podium's ingress proxy, as `podium ingress install` applies them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

IMAGE = "haproxy:2.6"


def manifests(*, image: str = IMAGE, node_selector: Mapping[str, str] | None = None, default: bool = True) -> list[Any]:
    """The proxy's manifests, to be applied in this order.

    Args:
        image: With HAProxy 2.6 or later, and a shell.
        node_selector: Labels of the nodes that run a proxy; all nodes by default.
        default: Whether Ingresses that name no class are served by it.
    """
    from podium.codec.yaml import parse

    folder = files(__name__)
    cls, program, proxies = parse((folder / "manifest.yaml").read_text())
    program["data"]["run.sh"] = (folder / "run.sh").read_text()
    if not default:
        del cls["metadata"]["annotations"]
    pod = proxies["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = image
    if node_selector:
        pod["nodeSelector"] = dict(node_selector)
    return [cls, program, proxies]
