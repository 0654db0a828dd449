"""What a process finds when it starts: identity, capabilities, signals, descriptors, environment."""

from __future__ import annotations

import errno
import os
import resource
import struct
from typing import TYPE_CHECKING, Any

import pytest

from compose.linux.namespaces import reset_pid_namespace
from compose.runtime import oom
from compose.runtime.container import enter as entering
from compose.runtime.container.hardening import Program
from compose.runtime.container.oci import bind
from tests.support.launching import Box, Done, Running, forking_always, in_monitor

if TYPE_CHECKING:
    from pathlib import Path

    from compose.runtime.spec import ContainerSpec

STATUS = (
    *("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"),
)
DEFAULT = "00000000a80425fb"
NOTHING = "0" * 16


def status(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {key: " ".join(value.split()) for key, _, value in lines if key in STATUS}


def expected(identity: int, groups: str, permitted: str, bounding: str, **others: str) -> dict[str, str]:
    """The table as Docker 20.10 gives it; what is not named is the same for all."""
    four = " ".join([str(identity)] * 4)
    table = {
        **{"Umask": "0022", "Uid": four, "Gid": four, "Groups": groups},
        **{"SigBlk": NOTHING, "SigIgn": NOTHING, "SigCgt": NOTHING},
        **{
            "CapInh": NOTHING,
            "CapPrm": permitted,
            "CapEff": permitted,
            "CapBnd": bounding,
            "CapAmb": NOTHING,
        },
        **{"NoNewPrivs": "0", "Seccomp": "2"},
    }
    return {**table, **others}


def all_capabilities() -> str:
    """What this test run has itself: a container cannot have more."""
    with open("/proc/self/status", encoding="ascii") as file:
        return status(file.read())["CapBnd"]


CASES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, expected(0, "0", DEFAULT, DEFAULT)),
    ({"user": {"username": "app"}}, expected(1000, "1000 2000", NOTHING, DEFAULT)),
    ({"user": {"uid": 1000, "gid": 1000, "additionalGids": [7]}}, expected(1000, "7 1000", NOTHING, DEFAULT)),
    ({"cap_add": ["net_admin"]}, expected(0, "0", "00000000a80435fb", "00000000a80435fb")),
    ({"cap_drop": ["ALL"]}, expected(0, "0", NOTHING, NOTHING)),
    ({"cap_drop": ["ALL"], "cap_add": ["CHOWN"]}, expected(0, "0", "0000000000000001", "0000000000000001")),
    ({"no_new_privileges": True}, expected(0, "0", DEFAULT, DEFAULT, NoNewPrivs="1")),
    (
        {"user": {"username": "1000:2000"}, "no_new_privileges": True},
        expected(1000, "2000", NOTHING, DEFAULT, NoNewPrivs="1", Gid="2000 2000 2000 2000"),
    ),
    ({"privileged": True}, expected(0, "0", all_capabilities(), all_capabilities(), Seccomp="0")),
]


@pytest.mark.parametrize(
    ("options", "table"), CASES, ids=[",".join(options) or "default" for options, _ in CASES]
)
def test_status_of_process_1_and_of_exec(box: Box, options: dict[str, Any], table: dict[str, str]) -> None:
    spec = box.spec("cat", "/proc/self/status", **options)
    assert status(box.run(spec).output) == table

    def both() -> list[str]:
        with Running(box.spec("sleep", "1000", **options)) as running:
            return [running.exec("cat", "/proc/self/status").output]

    assert status(in_monitor(both)[0]) == table


def test_only_three_descriptors_and_no_host_directory(box: Box) -> None:
    """CVE-2024-21626: what the monitor holds, inheritable or not, does not reach the container."""

    def work() -> dict[str, list[str]]:
        for number in range(20):
            os.set_inheritable(os.open("/", os.O_RDONLY | os.O_DIRECTORY), number % 2 == 0)
        with Running(box.spec("sleep", "1000")) as running:
            pid = running.launched.pid
            inside = running.exec("sh", "-c", "ls /proc/$$/fd; :").output.split()
            return {"first": sorted(os.listdir(f"/proc/{pid}/fd")), "second": inside}

    found = in_monitor(work)
    assert found["first"] == ["0", "1", "2"]
    assert found["second"] == ["0", "1", "2"]


@pytest.mark.parametrize("number", [*range(3, 24), 100, 101, 102, 103])
def test_working_directory_through_a_descriptor_is_refused(box: Box, number: int) -> None:
    def with_leaks(spec: ContainerSpec) -> None:
        for _ in range(20):
            os.set_inheritable(os.open("/", os.O_RDONLY | os.O_DIRECTORY), True)
        with Running(spec) as running:
            raise AssertionError(running.output())

    spec = box.spec("pwd", cwd=f"/proc/self/fd/{number}")
    try:
        in_monitor(lambda: with_leaks(spec))
    except Exception as error:
        assert f"working directory /proc/self/fd/{number}" in str(error)
    else:
        raise AssertionError("it was started")


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/self/cwd/../..", "/proc/1/cwd", "relative", "../.."])
def test_working_directory_behind_a_magic_link_is_refused(box: Box, path: str) -> None:
    assert f"working directory {path}" in str(box.refused(box.spec("pwd", cwd=path)))


def test_working_directory_of_an_exec(box: Box) -> None:
    def work() -> list[str]:
        os.set_inheritable(os.open("/", os.O_RDONLY | os.O_DIRECTORY), True)
        with Running(box.spec("sleep", "1000")) as running:
            found = [running.exec("pwd", cwd="/usr/bin").output]
            for path in ("/proc/self/fd/3", "/proc/1/root", "/missing"):
                try:
                    running.exec("pwd", cwd=path)
                except Exception as error:
                    found.append(str(error))
            return found

    assert in_monitor(work) == [
        "/usr/bin\n",
        "working directory /proc/self/fd/3: No such file or directory",  # nobody is in there yet
        "working directory /proc/1/root: Too many levels of symbolic links",
        "working directory /missing: No such file or directory",
    ]


def test_a_missing_working_directory_is_made(box: Box) -> None:
    done = box.shell("pwd; stat -c %u:%a .", cwd="/srv/new/place", user={"uid": 5})
    assert done.output.split() == ["/srv/new/place", "0:755"]


def test_environment_is_exactly_what_was_asked_for(box: Box) -> None:
    spec = box.spec("env", env=["A=b=c", "EMPTY=", "PATH=/bin"], hostname="box", terminal=False)
    assert sorted(box.run(spec).output.split("\n")) == [
        "",
        "A=b=c",
        "EMPTY=",
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/bin",
    ]


@pytest.mark.parametrize(
    ("user", "home"),
    [({"username": "app"}, "/home"), ({"uid": 1000}, "/home"), ({"uid": 4321}, "/"), ({}, "/root")],
)
def test_home_comes_from_passwd(box: Box, user: dict[str, Any], home: str) -> None:
    assert box.shell("echo $HOME", user=user).output.strip() == home


def test_bytes_in_arguments_and_environment_pass_unchanged(box: Box) -> None:
    raw = b"caf\xe9 \xf0\x9f\x90\xb3".decode("utf-8", "surrogateescape")
    spec = box.spec("sh", "-c", 'printf %s "$1$X" | od -An -tx1', "sh", raw, env=[f"X={raw}"])
    assert (
        bytes.fromhex(box.run(spec).output.replace(" ", "").replace("\n", ""))
        == b"caf\xe9 \xf0\x9f\x90\xb3" * 2
    )


@pytest.mark.parametrize(
    ("args", "reason", "message"),
    [
        (["nonesuch"], "not found", "exec nonesuch: executable file not found in $PATH"),
        (["/bin/nonesuch"], "not found", "exec /bin/nonesuch: No such file or directory"),
        (["/etc/passwd/x"], "not found", "exec /etc/passwd/x: Not a directory"),
        (["/etc/passwd"], "permission", "exec /etc/passwd: Permission denied"),
        (["/etc"], "permission", "exec /etc: Permission denied"),
        ([""], "not found", "exec : executable file not found in $PATH"),
        ([], "not found", "exec : executable file not found in $PATH"),
    ],
)
def test_why_a_program_cannot_be_executed(box: Box, args: list[str], reason: str, message: str) -> None:
    refused = box.refused(box.spec(*args))
    assert (str(refused), refused.reason) == (message, reason)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody2", "no such user in the image's /etc/passwd"),
        ("app:nogroup2", "no such group in the image's /etc/group"),
        ("-1", "not a name, nor a number from 0 to 4294967294"),
        ("4294967295", "not a name, nor a number from 0 to 4294967294"),
        ("1000:4294967296", "not a name, nor a number from 0 to 4294967294"),
        (":", "not a name, nor a number from 0 to 4294967294"),
    ],
)
def test_unknown_users_are_never_root(box: Box, name: str, message: str) -> None:
    refused = box.refused(box.spec("id", user={"username": name}))
    assert (str(refused), refused.reason) == (f"user {name}: {message}", "other")


def test_limits_and_oom_score(box: Box) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    spec = box.spec("sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")
    spec["oci"]["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": min(hard, 128)}]
    spec["oci"]["process"]["oomScoreAdj"] = 500
    assert box.run(spec).output.split() == ["64", "128", "500"]


def test_the_most_that_the_host_gives_is_set_with_a_warning(box: Box) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    spec = box.spec("sh", "-c", "ulimit -n; ulimit -Hn")
    spec["oci"]["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 1 << 40}]
    done = box.run(spec)
    assert done.output.split() == ["64", str(most)]
    (warning,) = done.warnings
    assert warning.startswith("set limit nofile: this host gives less")


def test_an_unknown_group_is_named(box: Box) -> None:
    spec = box.spec("id", user={"username": "app", "additionalGroups": ["7", "nosuch"]})
    assert str(box.refused(spec)) == "group_add nosuch: no such group in the image's /etc/group"


def test_a_pipe_ends_quietly(box: Box) -> None:
    """Python ignores SIGPIPE; `yes | head` would run for ever if that were passed on."""
    assert box.shell("yes | head -n 1").output == "y\n"


_SHOW_SESSION_KEYRING = bytes.fromhex(
    "4881ec00020000 b8fa000000 bf06000000 befdffffff 4889e2 41ba00020000 0f05"  # keyctl(DESCRIBE, -3, ...)
    "89c2 b801000000 bf01000000 4889e6 0f05"  # write(1, stack, what that was)
    "b8e7000000 31ff 0f05"  # exit_group(0)
)
"""A program for x86_64: /proc/keys shows what one may see, not which session keyring one has."""


def program(code: bytes) -> bytes:
    """An ELF file of nothing but code."""
    size, base = 120 + len(code), 0x400000
    head = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code


def test_process_1_has_its_own_session_and_keyring(box: Box, tmp_path: Path) -> None:
    assert os.uname().machine == "x86_64", "write this for the other machine too"
    shown = tmp_path / "shown"
    shown.write_bytes(program(_SHOW_SESSION_KEYRING))
    shown.chmod(0o755)
    script = "cut -d' ' -f5,6 /proc/self/stat; /shown; echo; exec sleep 1000"

    def work() -> list[str]:
        spec = box.spec("sh", "-c", script)
        spec["oci"]["mounts"].append(bind(str(shown), "/shown", readonly=True))
        spec["seccomp"] = ""  # which refuses to look
        with Running(spec) as running:
            lines = [running.line(), running.line(), running.exec("/shown").output]
            with forking_always():
                lines.append(running.exec("/shown").output)
            return [*lines, spec["id"]]

    session, of_process_1, *of_exec, identity = in_monitor(work)
    assert session == "1 1"
    keyrings = [text.rstrip("\0").split(";") for text in (of_process_1, *of_exec)]
    names = [f"_ses.{identity}", "_ses.exec", "_ses.exec"]
    assert [(kind, name) for kind, *_, name in keyrings] == [("keyring", name) for name in names]


def test_who_was_born_is_ended_when_our_way_back_fails(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would wait for him, and the container could never end."""
    calls = []

    def failing() -> None:
        calls.append("reset")
        if len(calls) == 2:  # before, and afterwards
            raise OSError(errno.ENOMEM, "no memory")
        reset_pid_namespace()

    monkeypatch.setattr(entering, "reset_pid_namespace", failing)
    monkeypatch.setattr(Program, "may_go_on", lambda _self: False)

    def work() -> list[Any]:
        with Running(box.spec("sleep", "1000")) as running:
            with forking_always(), pytest.raises(OSError, match="no memory"):
                running.exec("sleep", "1000")
            reset_pid_namespace()
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                return [len(calls), file.read().split() == [str(running.launched.pid)]]

    assert in_monitor(work) == [2, True]


def test_the_same_monitor_starts_a_container_again(box: Box) -> None:
    def work() -> list[int]:
        codes = []
        for number in (1, 2, 3):
            with Running(box.spec("sh", "-c", f"test $$ = 1 && exit {number}")) as running:
                codes.append(running.wait())
        return codes

    assert in_monitor(work) == [1, 2, 3]


def test_entering_a_container_that_has_ended(box: Box) -> None:
    def work() -> str:
        with Running(box.spec("true")) as running:
            running.wait()
            try:
                running.exec("true")
            except Exception as error:
                return str(error)
            return "entered"

    assert in_monitor(work) == "enter the container: it does not run any more"


def test_exec_is_in_the_same_namespaces_and_control_group(box: Box) -> None:
    def work() -> list[str]:
        kinds = ("mnt", "uts", "ipc", "net", "pid", "cgroup")
        with Running(box.spec("sleep", "1000", hostname="inside", domainname="example")) as running:
            look = "for n in $NS; do readlink /proc/self/ns/$n; done; hostname; cat /proc/self/cgroup"
            theirs = [os.readlink(f"/proc/{running.launched.pid}/ns/{kind}") for kind in kinds]
            mine = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
            done: Done = running.exec("sh", "-c", look, env=["NS=" + " ".join(kinds), "PATH=/bin"])
            lines = done.output.splitlines()
            assert lines[:6] == theirs
            assert not set(mine) & set(theirs)
            assert lines[6] == "inside"
            return [line.rpartition(":")[2] for line in lines[7:]]

    assert set(in_monitor(work)) == {"/"}


def test_a_container_does_not_inherit_the_oom_score_of_its_monitor(box: Box) -> None:
    with open(oom.FILE) as file:
        original = file.read().strip()

    def work() -> list[str]:
        oom.protect(300)  # anybody may raise it
        with open(oom.FILE) as file:
            assert file.read().strip() == "300"
        found = []
        for score in ({}, {"oomScoreAdj": 400}):
            spec = box.spec("sh", "-c", "cat /proc/self/oom_score_adj; exec sleep 1000")
            spec["oci"]["process"].update(score)  # type: ignore[typeddict-item]
            with Running(spec) as running:
                found += [running.line(), running.exec("cat", "/proc/self/oom_score_adj").output.strip()]
        return found

    assert in_monitor(work) == [original, original, "400", "400"]
