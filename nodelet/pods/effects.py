"""Carries out a pod's actions, one at a time as it is told, and writes what came of each into the pod's memory.

Thin: no decision is made here but how to name a failure. A runtime fault becomes a fault of the action's slot (with its
back-off) and an event; RuntimeDown goes through to the worker, since it says nothing about the pod. Everything that
makes the runtime do heavy work waits its turn in `Turns`, so a hundred pods that arrive at once don't smother it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nodelet.pods.actions import (
    Action,
    HastenStop,
    KillContainer,
    PullImage,
    RemoveContainer,
    ResizeContainer,
    RunPostStart,
    StartContainer,
    StopContainer,
)
from nodelet.pods.blueprint import Unit
from nodelet.pods.context import NORMAL, WARNING, EffectTools, PodContext
from nodelet.pods.credentials import auths_for, pull_secrets, withheld_secrets
from nodelet.pods.environment import ConfigFault, environment
from nodelet.pods.hooks import POST_START_SECONDS, run_hook
from nodelet.pods.images import ImageFault, default_policy
from nodelet.pods.meters import CONTAINER_STARTS
from nodelet.pods.observed import Ending
from nodelet.pods.seccomp import seccomp_of
from nodelet.pods.spec import container_spec, with_sub_paths
from nodelet.pods.surroundings import Surroundings
from nodelet.probes.check import Target
from nodelet.runtime.protocol import (
    ContainerRecord,
    ContainerSpec,
    Exec,
    ImageRecord,
    RuntimeDown,
    RuntimeFault,
    State,
)
from nodelet.volumes.protocol import VolumeFault
from podium.objects.downward import Whereabouts
from podium.v1.core_pb2 import LifecycleHandler

_AFTER_HOOK_SECONDS = 2.0
_SIGKILL = "SIGKILL"


class Effects:
    """See the module. One for all pods of a nodelet; keeps nothing of a pod."""

    def __init__(self, tools: EffectTools) -> None:
        self._tools, self._surroundings = tools, Surroundings(tools)
        self._runtime, self._images, self._clock = tools.runtime, tools.images, tools.clock

    async def perform(self, action: Action, pod: PodContext) -> None:
        """Do it. Raises: RuntimeDown."""
        match action:
            case PullImage():
                await self._pull(action, pod)
            case StartContainer():
                await self._start(action, pod)
            case RunPostStart():
                await self._post_start(action, pod)
            case ResizeContainer():
                await self._resize(action, pod)
            case StopContainer():
                await self._stop(action, pod)
            case HastenStop():
                self._hasten(action, pod)
            case KillContainer():
                await self._kill(action, pod)
            case RemoveContainer():
                await self._remove_container(action, pod)
            case _:
                await self._surroundings.perform(action, pod)

    # ------------------------------------------------------------ images

    async def _pull(self, action: PullImage, pod: PodContext) -> None:
        container = pod.blue.by_name[action.name].container
        auths = auths_for(container.image, pull_secrets(pod.blue.pod, pod.objects))
        policy = container.image_pull_policy or default_policy(container.image)
        try:
            fetched = await self._images.ensure(container.image, policy, auths)
        except ImageFault as fault:
            message = "; ".join([fault.message, *map(str, withheld_secrets(pod.blue.pod, pod.objects))])
            pod.memory.fail(action.slot, fault.reason, message, retry_at=fault.retry_at)
            if fault.reason == "ImagePullBackOff":
                self._tools.event(pod, WARNING, "BackOff", message)
            else:
                self._tools.event(pod, WARNING, "Failed", f'Failed to pull image "{container.image}": {message}')
            return
        except RuntimeDown:
            raise
        except RuntimeFault as fault:
            self._tools.fail(action, pod, "ImageInspectError", fault.message)
            return
        if fetched.pulled_seconds is not None:
            seconds = f"{fetched.pulled_seconds:.3f}s"
            self._tools.event(pod, NORMAL, "Pulled", f'Successfully pulled image "{container.image}" in {seconds}')
        pod.memory.images[action.name] = fetched.image
        pod.memory.succeed(action.slot)

    # ------------------------------------------------------------ containers

    async def _start(self, action: StartContainer, pod: PodContext) -> None:
        unit = pod.blue.by_name[action.name]
        try:
            env = self._environment(unit, pod)
            mounts = await self._tools.volumes.mounts(pod.blue.pod, with_sub_paths(unit.container, env))
            of_pod, own = pod.blue.pod.spec.security_context, unit.container.security_context
            seccomp = await seccomp_of(of_pod, own, self._tools.node.seccomp)
        except (ConfigFault, VolumeFault) as fault:
            self._tools.fail(action, pod, "CreateContainerConfigError", str(fault), event="Failed")
            return
        target = pod.memory.running(unit.target) if unit.target else None
        if unit.target and target is None:
            message = f"target container {unit.target} does not run"
            self._tools.fail(action, pod, "CreateContainerError", message, event="Failed")
            return
        image = pod.memory.images.pop(action.name)
        spec = container_spec(
            pod.blue,
            unit,
            attempt=action.attempt,
            level=action.level,
            generation=action.generation,
            node=self._tools.node,
            env=env,
            mounts=mounts,
            target_id=target.id if target is not None else "",
            seccomp=seccomp,
        )
        async with self._tools.turns.starts:
            if pod.memory.unwanted:
                return
            await self._create_and_start(action, pod, unit, spec, image)

    def _environment(self, unit: Unit, pod: PodContext) -> Mapping[str, str]:
        node = self._tools.node
        around = Whereabouts(node_ip=node.ip, pod_ip=pod.memory.address, allocatable=node.allocatable)
        made = environment(pod.blue.pod, unit.container, pod.objects, around)
        for what, keys in made.skipped.items():
            message = f"Keys [{', '.join(keys)}] from the EnvFrom {what} were skipped since they can't be variables."
            self._tools.event(pod, WARNING, "InvalidEnvironmentVariableNames", message)
        return made.values

    async def _create_and_start(self, action: StartContainer, pod: PodContext, unit: Unit, spec: ContainerSpec,
                                image: ImageRecord) -> None:  # fmt: skip
        sandbox = next((s for s in pod.memory.sandboxes if s.attempt == action.generation), None)
        if sandbox is None:
            return
        try:
            container_id = await self._runtime.create_container(spec, sandbox)
        except RuntimeDown:
            raise
        except RuntimeFault as fault:
            self._images.forget(spec.image)
            config = fault.reason == "CreateContainerConfigError"
            reason = fault.reason if config else "CreateContainerError"
            self._tools.fail(action, pod, reason, fault.message, event="Failed")
            return
        record = self._record(container_id, spec, image)
        try:
            await self._runtime.start_container(container_id)
        except RuntimeDown:
            raise
        except RuntimeFault as fault:
            pod.memory.container_created(dataclasses.replace(record, state=State.CREATED, started_at=None), unit)
            pod.memory.container_failed(container_id, fault.message)
            self._tools.event(pod, WARNING, "Failed", f"Error: failed to start container {unit.name}: {fault.message}")
            return
        pod.memory.container_created(record, unit)
        pod.memory.succeed(action.slot)
        CONTAINER_STARTS.labels(restart="true" if action.attempt else "false").inc()
        self._tools.event(pod, NORMAL, "Started", f"Started container {unit.name}")

    def _record(self, container_id: str, spec: ContainerSpec, image: ImageRecord) -> ContainerRecord:
        """The container as the runtime would list it: saves asking for what was just made."""
        now = self._clock.now()
        return ContainerRecord(
            id=container_id,
            pod=spec.pod,
            name=spec.name,
            attempt=spec.attempt,
            state=State.RUNNING,
            image=spec.image,
            image_id=image.id,
            config_hash=spec.config_hash,
            allowance=spec.allowance,
            created_at=now,
            started_at=now,
            labels=spec.labels,
        )

    async def _post_start(self, action: RunPostStart, pod: PodContext) -> None:
        unit = pod.blue.by_name.get(action.name)
        if unit is None or unit.post_start is None:
            pod.memory.hook_over(action.id)
            return
        answer = await self._hook(unit.post_start, unit, action.id, pod, POST_START_SECONDS)
        pod.memory.hook_over(action.id)
        if answer:
            self._tools.event(pod, WARNING, "FailedPostStartHook", f"PostStartHook failed: {answer}")
            await self._begin_stop(action.id, unit, pod, pod.blue.grace, "FailedPostStartHook")

    async def _hook(
        self, handler: LifecycleHandler, unit: Unit, container_id: str, pod: PodContext, timeout: float
    ) -> str:
        """Run a hook; what went wrong, or nothing."""
        runtime = self._runtime if isinstance(self._runtime, Exec) else None
        target = Target(
            container=unit.container, container_id=container_id, address=pod.memory.address, runtime=runtime
        )
        answer = await run_hook(handler, target, self._clock, timeout)
        return "" if answer.healthy else answer.message or "the hook failed"

    async def _resize(self, action: ResizeContainer, pod: PodContext) -> None:
        try:
            await self._runtime.resize_container(action.id, action.allowance)
        except RuntimeDown:
            raise
        except RuntimeFault as fault:
            message = f"container {action.name} can't be resized: {fault.message}"
            self._tools.fail(action, pod, "Error", message, event="ResizeError")
            return
        pod.memory.container_resized(action.id, action.allowance)
        pod.memory.succeed(action.slot)
        self._tools.event(pod, NORMAL, "ResizeCompleted", f"Resized container {action.name}")

    async def _stop(self, action: StopContainer, pod: PodContext) -> None:
        unit = pod.blue.by_name.get(action.name)
        grace = action.deadline - self._clock.monotonic()
        self._tools.event(pod, NORMAL, "Killing", _killing(action))
        await self._begin_stop(action.id, unit, pod, grace, action.cause)

    async def _begin_stop(
        self, container_id: str, unit: Unit | None, pod: PodContext, grace: float, cause: str
    ) -> None:
        now = self._clock.monotonic()
        ending = Ending(deadline=now + grace, cause=cause, killed_at=now if grace <= 0 else None)
        pod.memory.set_ending(container_id, ending)
        if grace > 0 and unit is not None and unit.pre_stop is not None:
            answer = await self._hook(unit.pre_stop, unit, container_id, pod, pre_stop_seconds(grace))
            if answer:
                self._tools.event(pod, WARNING, "FailedPreStopHook", f"PreStopHook failed: {answer}")
        await self._signal(container_id, "" if grace > 0 else _SIGKILL, pod)

    def _hasten(self, action: HastenStop, pod: PodContext) -> None:
        if (ending := pod.memory.ending(action.id)) is not None and action.deadline < ending.deadline:
            pod.memory.set_ending(action.id, dataclasses.replace(ending, deadline=action.deadline))

    async def _kill(self, action: KillContainer, pod: PodContext) -> None:
        now = self._clock.monotonic()
        ending = pod.memory.ending(action.id) or Ending(deadline=now, cause="killed")
        pod.memory.set_ending(action.id, dataclasses.replace(ending, killed_at=now))
        await self._signal(action.id, _SIGKILL, pod)

    async def _signal(self, container_id: str, signal: str, pod: PodContext) -> None:
        try:
            await self._runtime.signal_container(container_id, signal)
        except RuntimeDown:
            raise
        except RuntimeFault as fault:
            self._tools.event(pod, WARNING, "FailedKillPod", f"error killing container: {fault.message}")

    async def _remove_container(self, action: RemoveContainer, pod: PodContext) -> None:
        async with self._tools.turns.removals:
            try:
                await self._runtime.remove_container(action.id)
            except RuntimeDown:
                raise
            except RuntimeFault as fault:
                self._tools.fail(
                    action, pod, "FailedKillPod", f"error removing container {action.name}: {fault.message}"
                )
                return
        pod.memory.container_removed(action.id)
        pod.memory.succeed(action.slot)


def _killing(action: StopContainer) -> str:
    if action.cause.endswith("restarted"):
        return f"Container {action.name} {action.cause}"
    return f"Stopping container {action.name}"


def pre_stop_seconds(grace: float) -> float:
    """How much of a grace its preStop hook may use: what is left is for the container to answer the stop signal."""
    return max(grace - _AFTER_HOOK_SECONDS, grace / 2)
