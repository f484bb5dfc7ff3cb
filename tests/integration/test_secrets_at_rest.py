"""A master's Secrets on its disk: sealed as they are written, through a rotation while they change, and a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podium.client import AsyncClient
from podium.client.config import load
from podium.v1.core_pb2 import Secret
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster

PASSWORD = b"correct horse battery staple"


def secret(name: str, password: bytes = PASSWORD) -> Secret:
    made = Secret(data={"password": password})
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


def on_disk(folder: Path, text: bytes) -> list[str]:
    """Files of the master that hold a text."""
    return [str(file) for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()]


def passwords(cluster: HollowCluster) -> set[bytes]:
    return {s.data["password"] for s in cluster.reader.list(Secret, "default")}


async def test_nothing_readable_is_on_the_masters_disk(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as cluster:
        folder = cluster.settings.data_dir
        async with AsyncClient(load(cluster.master.admin_config).context()) as client:
            for number in range(30):
                _ = await client.create(secret(f"s{number}"))
            token = await client.cluster.create_token()
            hashed = next(
                s.data["token-secret-sha256"]
                for s in cluster.reader.list(Secret, "podium-system")
                if s.data["token-id"].decode() == token.id
            )
            assert on_disk(folder, PASSWORD) == []
            assert on_disk(folder, hashed) == []
            revision = cluster.reader.revision

            async def change() -> None:
                for number in range(30):
                    _ = await client.update(secret(f"s{number}", PASSWORD + b"!"))

            async def rotate() -> list[int]:
                return [progress.total async for progress in client.cluster.rotate_secret_key()]

            totals, _ = await asyncio.gather(rotate(), change())
            assert totals[-1] >= 1
            old, new = await client.cluster.list_secret_keys()
            assert (old.state, new.state) == ("Retiring", "Active")
            assert passwords(cluster) == {PASSWORD + b"!"}
            assert cluster.reader.revision > revision
            assert on_disk(folder, PASSWORD) == []
        await cluster.stop_master()
        assert on_disk(folder, PASSWORD) == []
        await cluster.start_master()
        assert passwords(cluster) == {PASSWORD + b"!"}
        await cluster.writer.create(secret("late"), by=ADMIN)
        assert on_disk(folder, PASSWORD) == []
