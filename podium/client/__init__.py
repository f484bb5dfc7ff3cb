"""The client library: `AsyncClient` and `Client`, the same verbs awaited or not."""

from podium.client._async.client import AsyncClient
from podium.client._sync.client import Client
from podium.client.config import Config, Context
from podium.client.types import ExecResult, Watched

__all__ = ["AsyncClient", "Client", "Config", "Context", "ExecResult", "Watched"]
