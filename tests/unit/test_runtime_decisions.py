"""The pure parts around a container: when it is restarted, when it is healthy, what a message looks like."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ContainerError, StateError
from compose.linux import sockets
from compose.linux.process import exit_code
from compose.runtime import protocol, records
from compose.runtime.supervision.monitor import health, restart, stop
from compose.runtime.supervision.monitor.health import HealthMachine

# restart policies
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "restarts", "most", "expected"),
    [
        ("no", 1, 0, 0, False),
        ("always", 0, 99, 0, True),
        ("unless-stopped", 0, 0, 0, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 1, 99, 0, True),
        ("on-failure", 1, 2, 3, True),
        ("on-failure", 1, 3, 3, False),
        ("on-failure", None, 0, 0, True),
    ],
)
def test_restart_policies(name: str, code: int | None, restarts: int, most: int, expected: bool) -> None:
    policy = {"name": name, "max_attempts": most}
    assert restart.wanted(policy, code, restarts, stopped_by_user=False) is expected  # type: ignore[arg-type]
    assert not restart.wanted(policy, code, restarts, stopped_by_user=True)  # type: ignore[arg-type]


def test_the_pause_before_a_restart_doubles_up_to_a_minute() -> None:
    delays = [0.0]
    for _attempt in range(12):
        delays.append(restart.next_delay(delays[-1], 0.5))
    assert delays[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert restart.next_delay(60.0, 10.0) == 0.1


def test_attempts_count_for_every_policy_and_a_good_run_is_none() -> None:
    policy = {"name": "always", "max_attempts": 2, "window": 5.0}
    assert restart.wanted(policy, 0, 1, stopped_by_user=False)  # type: ignore[arg-type]
    assert not restart.wanted(policy, 0, 2, stopped_by_user=False)  # type: ignore[arg-type]
    assert restart.counts(policy, 4.9)  # type: ignore[arg-type]
    assert not restart.counts(policy, 5.0)  # type: ignore[arg-type]
    assert restart.counts({"name": "always", "max_attempts": 2}, 1e9)


def test_a_delay_of_ones_own_stays_and_is_never_busy() -> None:
    policy = {"name": "always", "max_attempts": 0, "delay": 7.0}
    assert [restart.next_delay(before, 0.1, policy) for before in (0.0, 7.0, 60.0)] == [7.0] * 3  # type: ignore[arg-type]
    busy: Any = {**policy, "delay": 0.0}
    assert restart.next_delay(0.0, 0.1, busy) == 0.1


# health
# ------------------------------------------------------------------------------------------------------


def machine(**settings: float) -> HealthMachine:
    check = {"test": ["CMD", "x"], "interval": 30.0, "timeout": 30.0, "retries": 3, "start_period": 0.0}
    check["start_interval"] = 5.0
    return HealthMachine({**check, **settings})  # type: ignore[typeddict-item]


def probe(made: HealthMachine, now: float, code: int, duration: float = 0.01) -> float:
    """Run the next probe; when it ended."""
    began = now + made.next_probe(now)
    made.begin(began)
    made.end(began, began + duration, code, "", 0)
    return began + duration


def docker_unhealthy_at(
    results: list[int], interval: float, retries: int, period: float, start: float
) -> float:
    """When Docker would call a container unhealthy whose probe in any second gives results[second]."""
    now, streak, status = 0.0, 0, "starting"
    while now < len(results) - 1:
        now += start if now < period and status == "starting" else interval
        code = results[min(int(now), len(results) - 1)]
        if code == 0:
            streak, status = 0, "healthy"
        elif not (status == "starting" and now < period):
            streak += 1
            if streak >= retries:
                return now
    return float("inf")


def test_the_first_probe_runs_at_once_and_success_ends_the_haste() -> None:
    made = machine()
    assert made.next_probe(0.0) == 0.0
    now = probe(made, 0.0, 1)
    assert (made.status, made.failing_streak) == ("starting", 0)
    assert made.next_probe(now) <= 0.1
    now = probe(made, now, 0)
    assert made.status == "healthy"
    assert made.next_probe(now) == pytest.approx(30.0 - now)


def test_quick_probes_slow_down_and_leave_a_slow_probe_time() -> None:
    made = machine()
    now, pauses = 0.0, []
    for _attempt in range(8):
        now = probe(made, now, 1)
        pauses.append(made.next_probe(now))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    slow = machine()
    now = probe(slow, 0.0, 1, duration=0.7)
    assert slow.next_probe(now) == pytest.approx(0.7)


@given(
    st.lists(st.sampled_from([0, 1, 1]), min_size=90, max_size=90),
    st.sampled_from([1.0, 3.0, 10.0]),
    st.integers(1, 4),
    st.sampled_from([0.0, 5.0, 31.0]),
    st.sampled_from([1.0, 5.0]),
)
def test_never_unhealthy_before_docker(
    results: list[int], interval: float, retries: int, period: float, start: float
) -> None:
    made = machine(interval=interval, retries=retries, start_period=period, start_interval=start)
    now = 0.0
    while now < len(results) - 1 and made.status != "unhealthy":
        began = now + made.next_probe(now)
        made.begin(began)
        code = results[min(int(began), len(results) - 1)]
        made.end(began, began, code, "", 0)
        now = max(began, now + 1e-6)
    if made.status == "unhealthy":
        assert now >= docker_unhealthy_at(results, interval, retries, period, start) - 1e-6


def test_failures_within_the_start_period_do_not_count() -> None:
    made = machine(interval=1.0, start_period=10.0, start_interval=1.0)
    now = 0.0
    while now < 10.0:
        now = probe(made, now, 1)
        assert made.status == "starting"
    while made.status == "starting":
        now = probe(made, now, 1)
    assert made.status == "unhealthy"
    assert 12.0 <= now < 14.0


def test_a_healthy_container_turns_unhealthy_after_its_retries_and_back() -> None:
    made = machine(interval=2.0)
    now = probe(made, 0.0, 0)
    for expected in ("healthy", "healthy", "unhealthy", "unhealthy", "healthy"):
        now = probe(made, now, 0 if expected == "healthy" and made.status == "unhealthy" else 1)
        assert made.status == expected
    assert made.failing_streak == 0


def test_five_results_are_kept_and_survive_the_monitor() -> None:
    made = machine(interval=2.0)
    now = 0.0
    for _attempt in range(9):
        now = probe(made, now, 0)
    assert len(made.log) == health.LOG_LENGTH
    successor = machine(interval=2.0)
    successor.resume(made.record(), now)
    assert successor.record() == made.record()
    assert successor.next_probe(now) == 2.0


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (["NONE"], None),
        ([], None),
        (["CMD"], None),
        (["CMD", "a", "b"], ["a", "b"]),
        (["CMD-SHELL", "a || b"], ["/bin/sh", "-c", "a || b"]),
    ],
)
def test_what_a_health_check_executes(test: list[str], expected: list[str] | None) -> None:
    assert health.command(test) == expected


# signals, exit codes
# -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        (None, 15),
        ("", 15),
        ("9", 9),
        (3, 3),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
    ],
)
def test_names_of_signals(name: str | int | None, number: int) -> None:
    assert stop.signal_number(name) == number


@pytest.mark.parametrize("name", ["SIGNOTHING", "0", "65", "RTMIN+x", "_DFL", "SIG_IGN", "1.5"])
def test_no_signal_is_invented(name: str) -> None:
    with pytest.raises(ContainerError, match="no such signal"):
        stop.signal_number(name)


def test_who_hears_a_signal() -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert stop.hears(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert not stop.hears(os.getpid(), signal.SIGUSR2)
    assert not stop.is_init(os.getpid())


class FakeLoop:
    """Remembers after how many seconds it was to do something."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def after(self, seconds: float, _action: Any) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize(("grace", "expected"), [(7.0, [stop._SECOND_LOOK, 7.0]), (-1.0, [])])
def test_who_never_hears_the_signal_is_only_killed_where_the_grace_period_ends(
    monkeypatch: pytest.MonkeyPatch, grace: float, expected: list[float]
) -> None:
    """-1 stands for no end, as in docker compose."""
    monkeypatch.setattr(stop, "is_init", lambda _pid: True)
    monkeypatch.setattr(stop, "hears", lambda _pid, _signal: False)
    loop = FakeLoop()
    pid = os.fork()
    if pid == 0:
        signal.pause()
    pidfd = os.pidfd_open(pid)
    try:
        stop.Stopper(loop, pid, pidfd, signal.SIGCONT, grace, pytest.fail)  # type: ignore[arg-type]
        assert loop.seconds == expected
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)


def test_exit_codes_of_wait_statuses() -> None:
    assert exit_code(7 << 8) == 7
    assert exit_code(9) == 137


# messages
# ----------------------------------------------------------------------------------------------------


def test_messages_with_descriptors_of_any_length() -> None:
    ours, theirs = sockets.pair()
    read, write = os.pipe()
    for length in (10, 500_000):
        protocol.request(ours, "exec", (write,), process={"args": ["x" * length]})
        message, received = protocol.receive(theirs)
        assert message is not None
        protocol.check_version(message)
        assert message["process"]["args"] == ["x" * length]
        os.write(received[0], b"!")
        assert os.read(read, 10) == b"!"
        os.close(received[0])
    ours.close()
    assert protocol.receive(theirs) == (None, [])
    theirs.close()
    for descriptor in (read, write):
        os.close(descriptor)


def test_refusals_carry_the_hint() -> None:
    ours, theirs = sockets.pair()
    protocol.refuse(ours, ContainerError("exec x: not found", hint="apt-get install x"))
    with pytest.raises(ContainerError, match="exec x") as caught:
        protocol.check(protocol.receive(theirs)[0])
    assert caught.value.hint == "apt-get install x"
    with pytest.raises(StateError, match="protocol 99"):
        protocol.check_version({"v": 99})
    ours.close()
    with pytest.raises(ConnectionError):
        protocol.check(protocol.receive(theirs)[0])
    theirs.close()


# records
# -----------------------------------------------------------------------------------------------------


def test_a_process_is_its_number_and_its_start() -> None:
    pid = os.getpid()
    started = records.start_time(pid)
    assert records.lives(pid, started)
    assert not records.lives(pid, started + 1)
    assert not records.lives(0, started)
    child = os.fork()
    if child == 0:
        os._exit(0)
    born = records.start_time(child)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not records.lives(child, born)  # a zombie does not live
    os.waitpid(child, 0)
    assert sys.platform == "linux"
