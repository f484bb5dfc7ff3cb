"""Containers by Docker: see `runtime` for what it offers, `engine` for how calls are made, `wire` for streams."""

from nodelet.runtime.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
