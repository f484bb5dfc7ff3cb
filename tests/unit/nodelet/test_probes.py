"""Probes without a network: thresholds, schedules, messages on the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.probes.answer import Answer
from nodelet.probes.check import Target, check, resolve_port
from nodelet.probes.grpc import decode_status, encode_request
from nodelet.probes.prober import Prober, ProbeTools
from nodelet.probes.tally import ProbeKind, Tally, Timing, first_attempt, timing
from nodelet.runtime.protocol import RuntimeDown
from podium.aio.alarms import Alarms
from podium.aio.tasks import TaskScope
from podium.v1.core_pb2 import Container, ContainerPort, ExecAction, Probe
from podium.v1.meta_pb2 import IntOrString
from tests.support.clock import VirtualClock
from tests.support.scripted_runtime import ScriptedRuntime

RULES = Timing(initial_delay=0, period=10, successes=1, failures=3)


def fail_on_error(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


# ---------------------------------------------------------------- thresholds


def verdicts(answers: str, successes: int = 1, failures: int = 3) -> str:
    rules = Timing(initial_delay=0, period=1, successes=successes, failures=failures)
    tally, out = Tally(), ""
    for answer in answers:
        tally = tally.fold(answer == "+", rules)
        out += {None: ".", True: "+", False: "-"}[tally.verdict]
    return out


@pytest.mark.parametrize(
    ("answers", "successes", "failures", "expected"),
    [
        ("+", 1, 3, "+"),
        ("---", 1, 3, "..-"),
        ("--+--", 1, 3, "..+++"),
        ("+---+", 1, 3, "+++-+"),
        ("++-++", 2, 1, ".+--+"),
        ("-", 1, 1, "-"),
    ],
)
def test_thresholds(answers: str, successes: int, failures: int, expected: str) -> None:
    assert verdicts(answers, successes, failures) == expected


@given(answers=st.text("+-", max_size=40), successes=st.integers(1, 4), failures=st.integers(1, 4))
def test_a_verdict_changes_only_after_enough_alike_answers_in_a_row(
    answers: str, successes: int, failures: int
) -> None:
    out = verdicts(answers, successes, failures)
    for i in range(1, len(out)):
        if out[i] != out[i - 1]:
            needed = successes if out[i] == "+" else failures
            assert answers[: i + 1].endswith(out[i] * needed)


def test_defaults_are_kubernetes() -> None:
    assert timing(Probe()) == Timing(initial_delay=0, period=10, successes=1, failures=3)


def test_the_first_attempt_is_after_the_initial_delay_or_spread_over_a_period_for_adopted_containers() -> None:
    late = Timing(initial_delay=5, period=10, successes=1, failures=3)
    assert first_attempt(100, 100, late, 0.3) == 105
    assert first_attempt(500, 100, late, 0.3) == 503


# ---------------------------------------------------------------- the prober


class Asked:
    """Answers as scripted, and what the prober made of them."""

    def __init__(self, kind: ProbeKind, answers: list[bool | None], rules: Timing = RULES) -> None:
        self.clock = VirtualClock()
        scope = TaskScope(fail_on_error)
        tools = ProbeTools(clock=self.clock, alarms=Alarms(self.clock, scope, fail_on_error), scope=scope)
        self.answers, self.at = answers, list[float]()
        self.verdicts: list[tuple[float, bool]] = []
        self.failures: list[str] = []
        self.takes = 0.0
        self.prober = Prober(
            kind, "c1", rules, self._ask(), tools,
            on_verdict=lambda _, verdict: self.verdicts.append((self.clock.monotonic(), verdict)),
            on_failure=lambda _, message: self.failures.append(message),
        )  # fmt: skip

    def _ask(self) -> Callable[[], Awaitable[Answer]]:
        async def ask() -> Answer:
            self.at.append(self.clock.monotonic())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await self.clock.sleep(self.takes)
            if answer is None:
                raise RuntimeDown("away")
            return Answer(healthy=answer, message="" if answer else "sick")

        return ask


async def test_a_prober_asks_every_period_and_tells_changes_only() -> None:
    asked = Asked(ProbeKind.READINESS, [False, False, False, True, True])
    asked.prober.start(0)
    await asked.clock.advance(45)
    assert asked.at == [0, 10, 20, 30, 40]
    assert asked.verdicts == [(20, False), (30, True)]
    assert asked.failures == ["sick"] * 3


async def test_attempts_never_overlap() -> None:
    asked = Asked(ProbeKind.READINESS, [True], Timing(initial_delay=1, period=2, successes=1, failures=1))
    asked.takes = 5
    asked.prober.start(0)
    await asked.clock.advance(12)
    assert asked.at == [1, 6, 11]


async def test_startup_and_failed_liveness_ask_no_more() -> None:
    startup = Asked(ProbeKind.STARTUP, [True])
    startup.prober.start(0)
    await startup.clock.advance(100)
    assert (len(startup.at), startup.verdicts) == (1, [(0, True)])
    liveness = Asked(ProbeKind.LIVENESS, [True, False])
    liveness.prober.start(0)
    await liveness.clock.advance(100)
    assert liveness.verdicts == [(0, True), (30, False)]
    assert len(liveness.at) == 4


async def test_a_runtime_that_is_down_says_nothing_about_health() -> None:
    asked = Asked(ProbeKind.LIVENESS, [None])
    asked.prober.start(0)
    await asked.clock.advance(100)
    assert (asked.verdicts, asked.failures) == ([], [])
    assert len(asked.at) == 11


async def test_a_stopped_prober_is_silent_even_in_the_middle_of_an_attempt() -> None:
    asked = Asked(ProbeKind.READINESS, [False], Timing(initial_delay=0, period=1, successes=1, failures=1))
    asked.takes = 3
    asked.prober.start(0)
    await asked.clock.advance(1)
    asked.prober.stop()
    await asked.clock.advance(10)
    assert (asked.verdicts, len(asked.at)) == ([], 1)


# ---------------------------------------------------------------- single checks


def target(runtime: ScriptedRuntime | None = None) -> Target:
    web = Container(name="web", ports=[ContainerPort(name="http", container_port=8080)])
    return Target(container=web, container_id="c1", address="127.0.0.1", runtime=runtime)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (IntOrString(int_value=80), 80),
        (IntOrString(str_value="http"), 8080),
        (IntOrString(str_value="81"), 81),
        (IntOrString(str_value="nope"), None),
    ],
)
def test_ports_by_number_or_name(port: IntOrString, expected: int | None) -> None:
    assert resolve_port(port, target().container) == expected


async def test_an_exec_probe_tells_what_the_command_said() -> None:
    runtime = ScriptedRuntime(VirtualClock())
    probe = Probe(exec=ExecAction(command=["cat", "/ready"]))
    runtime.exec_results["cat"] = (1, "cat: /ready: No such file or directory\n")
    assert await check(probe, target(runtime)) == Answer(
        healthy=False, message="cat: /ready: No such file or directory"
    )
    runtime.exec_results["cat"] = (3, "")
    assert (await check(probe, target(runtime))).message == "command exited with 3"
    runtime.exec_results["cat"] = (0, "ok")
    assert (await check(probe, target(runtime))).healthy
    assert not (await check(probe, target())).healthy, "a runtime without exec"


@pytest.mark.parametrize(
    ("service", "wire"), [("", b""), ("db", b"\x0a\x02db"), ("x" * 200, b"\x0a\xc8\x01" + b"x" * 200)]
)
def test_health_requests_by_hand(service: str, wire: bytes) -> None:
    assert encode_request(service) == wire


@pytest.mark.parametrize(
    ("wire", "status"),
    [(b"", 0), (b"\x08\x01", 1), (b"\x08\x02", 2), (b"\x08\x03", 3), (b"junk", -1), (b"\x0a\x01", -1)],
)
def test_health_answers_by_hand(wire: bytes, status: int) -> None:
    assert decode_status(wire) == status
