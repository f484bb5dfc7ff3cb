"""A registry that asks who pulls: one image, as small as an image can be, at an address of this machine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

USERNAME, PASSWORD = "puller", "not-for-everybody"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry(NamedTuple):
    """Where it is, and the name of its image."""

    host: str
    image: str


def basic(password: str) -> str:
    """A login as `docker login` keeps it, and as it is sent."""
    return base64.b64encode(f"{USERNAME}:{password}".encode()).decode()


def logins(host: str, password: str) -> bytes:
    """What `docker login` leaves in its file, and a pull secret holds."""
    return json.dumps({"auths": {host: {"auth": basic(password)}}}).encode()


@contextmanager
def private_registry(content: bytes) -> Iterator[Registry]:
    """Serve an image with one file; Docker takes a registry at a loopback address in the clear."""
    answers = _image(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Basic {basic(PASSWORD)}"
            kind, body = answers.get(self.path, ("", b"")) if known else ("application/json", b"{}")
            self.send_response(401 if not known else 200 if kind else 404)
            if not known:
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
            elif kind == MANIFEST:
                self.send_header("Docker-Content-Digest", _digest(body))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="registry", daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.server_port}"
    try:
        yield Registry(host, f"{host}/private/program:1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _image(content: bytes) -> dict[str, tuple[str, bytes]]:
    """What the registry answers, by path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    layer = gzip.compress(packed.getvalue())
    settings = {"architecture": "amd64", "os": "linux", "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(packed.getvalue())]}}  # fmt: skip
    config = json.dumps(settings).encode()
    parts = {"application/vnd.docker.container.image.v1+json": config,
             "application/vnd.docker.image.rootfs.diff.tar.gzip": layer}  # fmt: skip
    described = [{"mediaType": kind, "size": len(data), "digest": _digest(data)} for kind, data in parts.items()]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    ).encode()
    named = {f"/v2/private/program/manifests/{name}": (MANIFEST, manifest) for name in ("1", _digest(manifest))}
    blobs = {f"/v2/private/program/blobs/{_digest(data)}": ("application/octet-stream", data)
             for data in parts.values()}  # fmt: skip
    return {"/v2/": ("application/json", b"{}"), **named, **blobs}
