"""The `podium` command. Commands load when they are called: `podium --help` imports no gRPC, no YAML, no protobuf."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import click

from podium import __version__

# name → (module under podium.cli.commands, one-line help, section)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "get": ("get", "List objects, or show some.", "Objects"),
    "apply": ("apply", "Make the cluster match manifests (server-side apply).", "Objects"),
    "delete": ("delete", "Delete objects by name, selector or manifest.", "Objects"),
    "wait": ("wait", "Wait for a condition of objects.", "Objects"),
    "describe": ("describe", "Show objects in words, with their events.", "Objects"),
    "events": ("events", "Show what happened, oldest first.", "Objects"),
    "explain": ("explain", "Say why a pod is pending, an autoscaler's figure, or what a field means.", "Objects"),
    "patch": ("patch", "Change part of an object.", "Objects"),
    "top": ("top", "Show CPU and memory in use.", "Nodes"),
    "config": ("config", "Look at and change the client configuration.", "Cluster"),
    "completion": ("completion", "Print a shell completion script.", "Cluster"),
    "diff": ("apply", "Show what applying manifests would change.", "Objects"),
    "create": ("create", "Create objects.", "Objects"),
    "edit": ("edit", "Change an object in your editor.", "Objects"),
    "label": ("labels", "Set or remove labels.", "Objects"),
    "annotate": ("labels", "Set or remove annotations.", "Objects"),
    "scale": ("scale", "Set the number of replicas.", "Workloads"),
    "expose": ("expose", "Make a service that leads to a workload's pods.", "Workloads"),
    "autoscale": ("autoscale", "Let the number of replicas follow the load.", "Workloads"),
    "set": ("set", "Change image or environment of containers.", "Workloads"),
    "cordon": ("nodes", "Place no more pods on nodes.", "Nodes"),
    "uncordon": ("nodes", "Place pods on nodes again.", "Nodes"),
    "drain": ("nodes", "Cordon nodes and evict their pods.", "Nodes"),
    "taint": ("nodes", "Set or remove taints of a node.", "Nodes"),
    "ingress": ("ingress", "Install what serves Ingresses.", "Cluster"),
    "secrets": ("secrets", "See and rotate the keys that secrets are sealed with in the store.", "Cluster"),
    "token": ("token", "Make, list and revoke join tokens.", "Cluster"),
    "rollout": ("rollout", "Follow, undo, pause and restart rollouts.", "Workloads"),
    "logs": ("logs", "Show what containers wrote.", "Pods"),
    "exec": ("exec", "Run a command in a container.", "Pods"),
    "forward": ("forward", "Reach services from here, whichever of their pods come and go.", "Pods"),
    "proxy": ("proxy", "Reach all services from here by name, through a SOCKS5 proxy.", "Pods"),
    "port-forward": ("port_forward", "Reach ports of a pod from here.", "Pods"),
    "cp": ("cp", "Copy files into or out of a container.", "Pods"),
    "debug": ("debug", "Look into a running pod from a container of another image.", "Pods"),
    "attach": ("exec", "Attach to a container's own process.", "Pods"),
    "auth": ("auth", "See who the master takes you for.", "Cluster"),
    "cluster": ("hosts", "Make a cluster of hosts; grow, upgrade and shrink it.", "Cluster"),
    "cluster-info": ("cluster", "Say which cluster this is, and where its masters are.", "Cluster"),
    "backup": ("cluster", "Write a copy of the master's store.", "Cluster"),
    "version": ("version", "Versions of this command and of the master.", "Cluster"),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps, and imports a command when it is called."""

    sections: ClassVar[tuple[str, ...]] = ("Objects", "Workloads", "Pods", "Nodes", "Cluster")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"podium.cli.commands.{entry[0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else " `podium --help` lists what there is."
            raise click.UsageError(f'no such command "{args[0]}".{hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in self.sections:
            rows = [(name, text) for name, (_, text, where) in sorted(COMMANDS.items()) if where == section]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)


EXAMPLES = """
\b
Examples:
  podium get pods -A -o wide
  podium apply -f web.yaml --wait
  podium logs -f deploy/web
  podium explain pod web-7c9f8-x2k4q --nodes
"""


@click.group(
    cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--config", "config_path", metavar="FILE", help="Client configuration [$PODIUM_CONFIG, ~/.podium/config]."
)
@click.option("--context", metavar="NAME", help="Context of the configuration to use.")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the request.")
@click.option(
    "--request-timeout", default=30.0, show_default=True, metavar="SECONDS", help="Time limit of one request."
)
@click.version_option(__version__, prog_name="podium")
@click.pass_context
def cli(
    ctx: click.Context, config_path: str | None, context: str | None, namespace: str | None, request_timeout: float
) -> None:
    """Podium runs containers on a fleet of hosts. Say what should run; it keeps it so."""
    ctx.obj = {"config": config_path, "context": context, "namespace": namespace, "timeout": request_timeout}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, 141 nobody reads."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what its core says on standard error, we say in words
    try:
        code: Any = cli.main(
            args=None if argv is None else list(argv), prog_name="podium", standalone_mode=False,
            color=False if os.environ.get("NO_COLOR") else None,
        )  # fmt: skip
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
