"""Carries out what concerns a pod as a whole: its sandbox, its network, its volumes. See `nodelet.pods.effects`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import assert_never

from nodelet import resolv_conf
from nodelet.network.protocol import NameServers, NetworkFault
from nodelet.pods.actions import (
    AttachNetwork,
    CreateSandbox,
    DetachNetwork,
    PodAction,
    RemoveSandbox,
    SetUpVolumes,
    TearDownVolumes,
)
from nodelet.pods.context import NORMAL, EffectTools, PodContext
from nodelet.pods.spec import NodeFacts, adds_to_hosts_names, asks_cluster, identity, port_mappings, sandbox_spec
from nodelet.runtime.protocol import RuntimeDown, RuntimeFault
from nodelet.volumes.protocol import VolumeFault


class Surroundings:
    """See the module."""

    def __init__(self, tools: EffectTools) -> None:
        self._tools = tools

    async def perform(self, action: PodAction, pod: PodContext) -> None:
        """Do it. Raises: RuntimeDown."""
        match action:
            case CreateSandbox():
                await self._create_sandbox(action, pod)
            case RemoveSandbox():
                await self._remove_sandbox(action, pod)
            case AttachNetwork():
                await self._attach(action, pod)
            case DetachNetwork():
                await self._detach(action, pod)
            case SetUpVolumes():
                await self._set_up_volumes(action, pod)
            case TearDownVolumes():
                await self._tear_down_volumes(action, pod)
            case _:
                assert_never(action)

    # ------------------------------------------------------------ sandbox and network

    async def _create_sandbox(self, action: CreateSandbox, pod: PodContext) -> None:
        if pod.memory.sandboxes:
            self._tools.event(pod, NORMAL, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        try:
            spec = sandbox_spec(pod.blue.pod, action.attempt, await self._named(pod))
        except NetworkFault as fault:
            self._tools.fail(action, pod, "FailedCreatePodSandBox", f"Failed to name the pod's resolvers: {fault}")
            return
        async with self._tools.turns.starts:
            if pod.memory.unwanted:
                return
            try:
                sandbox = await self._tools.runtime.create_sandbox(spec)
            except RuntimeDown:
                raise
            except RuntimeFault as fault:
                self._tools.fail(
                    action, pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {fault.message}"
                )
                return
        pod.memory.sandbox_created(sandbox)
        pod.memory.succeed(action.slot)

    async def _named(self, pod: PodContext) -> NodeFacts:
        """The node's facts with who answers names, where the network tells; only a pod that asks it waits for that.

        Raises:
            NetworkFault: No slice yet, or the host's own settings cannot be read.
        """
        node, network = self._tools.node, self._tools.network
        if adds_to_hosts_names(pod.blue.pod):
            try:
                return replace(node, host_names=await asyncio.to_thread(resolv_conf.read))
            except OSError as error:
                raise NetworkFault(f"the host's own cannot be read: {error}") from None
        if not asks_cluster(pod.blue.pod) or not isinstance(network, NameServers):
            return node
        servers, domain = await network.names()
        return replace(node, dns_servers=servers, cluster_domain=domain)

    async def _remove_sandbox(self, action: RemoveSandbox, pod: PodContext) -> None:
        async with self._tools.turns.removals:
            try:
                await self._tools.runtime.remove_sandbox(action.id)
            except RuntimeDown:
                raise
            except RuntimeFault as fault:
                self._tools.fail(action, pod, "FailedKillPod", f"Failed to remove pod sandbox: {fault.message}")
                return
        pod.memory.sandbox_removed(action.id)
        pod.memory.succeed(action.slot)

    async def _attach(self, action: AttachNetwork, pod: PodContext) -> None:
        sandbox = next((s for s in pod.memory.sandboxes if s.id == action.sandbox_id), None)
        if sandbox is None:
            return
        try:
            address = await self._tools.network.attach(sandbox, port_mappings(pod.blue.pod.spec))
        except NetworkFault as fault:
            self._tools.fail(action, pod, "FailedCreatePodSandBox", f"Failed to set up the pod's network: {fault}")
            return
        if any(s.id == action.sandbox_id for s in pod.memory.sandboxes):
            pod.memory.network_attached(address)
        pod.memory.succeed(action.slot)

    async def _detach(self, action: DetachNetwork, pod: PodContext) -> None:
        try:
            await self._tools.network.detach(identity(pod.blue.pod))
        except NetworkFault as fault:
            self._tools.fail(action, pod, "FailedKillPod", f"Failed to take down the pod's network: {fault}")
            return
        pod.memory.network_detached()
        pod.memory.succeed(action.slot)

    # ------------------------------------------------------------ volumes

    async def _set_up_volumes(self, action: SetUpVolumes, pod: PodContext) -> None:
        wanted = pod.memory.volumes_wanted
        try:
            await self._tools.volumes.set_up(pod.blue.pod, pod.objects)
        except VolumeFault as fault:
            # What was missing may have come meanwhile: then it is tried again at once, not after a back-off.
            if wanted == pod.memory.volumes_wanted:
                self._tools.fail(action, pod, "FailedMount", str(fault))
            return
        pod.memory.volumes_set_up(wanted)
        pod.memory.succeed(action.slot)

    async def _tear_down_volumes(self, action: TearDownVolumes, pod: PodContext) -> None:
        try:
            await self._tools.volumes.tear_down(identity(pod.blue.pod))
        except VolumeFault as fault:
            self._tools.fail(action, pod, "FailedUnmount", str(fault))
            return
        pod.memory.volumes_torn_down()
        pod.memory.succeed(action.slot)
