"""The command line of an OCI runtime, by the specification's own words, and as podman and conmon use it."""

from __future__ import annotations

import array
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from compose.runtime import cgroups
from compose.runtime.container import apparmor
from tests.support.bundles import Bundle, Caller, Runtime, reap
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_life_of_a_container(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.shell("echo started; exec sleep 1000")
    config["annotations"] = {"org.example.key": "value"}
    bundle.write(config)
    caller = Caller(runtime, bundle, "one")
    assert (caller.code, caller.error) == (0, "")
    state = runtime.state("one")
    assert state["status"] == "created"
    assert (state["id"], state["pid"], state["ociVersion"]) == ("one", caller.pid, "1.2.0")
    assert (state["bundle"], state["annotations"]) == (str(bundle.directory), {"org.example.key": "value"})
    assert caller.silent()
    runtime.good("start", "one")
    assert os.read(caller.output, 100) == b"started\n"
    assert runtime.status("one") == "running"
    assert json.loads(runtime.good("list", "--format", "json"))[0]["pid"] == caller.pid
    assert runtime.good("list").split()[:8] == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "one"] + [
        str(caller.pid),
        "running",
    ]
    runtime.good("kill", "one", "KILL")
    assert caller.wait() == -signal.SIGKILL
    assert runtime.status("one") == "stopped"
    assert runtime.state("one")["pid"] == 0
    runtime.good("delete", "one")
    assert "does not exist" in runtime.fails("state", "one")
    assert caller.text() == ""


def test_what_must_be_an_error_and_change_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("sleep", "1000")
    for operation in ("start", "kill", "delete", "state", "pause"):
        assert "container one does not exist" in runtime.fails(operation, "one")
    caller = Caller(runtime, bundle, "one")
    assert "exists already" in runtime.fails("create", "--bundle", str(bundle.directory), "one")
    assert "cannot be deleted: it is created" in runtime.fails("delete", "one")
    assert "cannot be paused: it is created" in runtime.fails("pause", "one")
    assert runtime.status("one") == "created"
    runtime.good("start", "one")
    assert "cannot be started: it is running" in runtime.fails("start", "one")
    assert "cannot be deleted: it is running" in runtime.fails("delete", "one")
    assert "no such signal" in runtime.fails("kill", "one", "NONESUCH")
    runtime.good("kill", "one", "0")
    assert runtime.status("one") == "running"
    runtime.good("kill", "one", "KILL")
    caller.wait()
    for operation in ("start", "kill", "pause", "resume"):
        assert "it is stopped" in runtime.fails(operation, "one")
    assert "it is stopped" in runtime.fails("exec", "one", "true")
    state = runtime.state("one")
    assert (state["status"], state["pid"]) == ("stopped", 0)
    runtime.good("delete", "one")
    runtime.good("delete", "--force", "one")  # what is not there needs no force


def test_a_signal_ends_what_has_not_been_started(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("sleep", "1000")
    caller = Caller(runtime, bundle, "one")
    runtime.good("kill", "one")
    assert caller.wait() == 128 + signal.SIGTERM
    assert runtime.status("one") == "stopped"
    assert "cannot be started: it is stopped" in runtime.fails("start", "one")
    assert caller.text() == ""


@pytest.mark.parametrize("name", ["", ".", "..", "../one", "a/b", "a b", "x" * 1025])
def test_names_that_could_leave_the_directory_are_refused(
    runtime: Runtime, bundle: Bundle, name: str
) -> None:
    bundle.configure("true")
    assert "container name" in runtime.fails("create", "--bundle", str(bundle.directory), name)
    assert "container name" in runtime.fails("state", name)


def test_run_is_create_and_start_and_delete(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("echo out; echo err >&2; exit 7")
    done = runtime.run("run", "--bundle", str(bundle.directory), "one")
    assert done == (7, "out\n", "err\n")
    assert runtime.good("list", "--quiet") == ""
    bundle.configure("nonesuch")
    assert "exec nonesuch: executable file not found" in runtime.fails(
        "run", "-b", str(bundle.directory), "one"
    )
    assert runtime.good("list", "--quiet") == ""


def test_signals_reach_what_runs_in_the_foreground(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    with runtime.start("run", "-b", str(bundle.directory), "one") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(MOMENT) == 9


CONFIGURED = """
umask; id -u; id -G; ulimit -n; cat /proc/self/oom_score_adj; cat /proc/sys/net/ipv4/ip_default_ttl
hostname; stat -c '%t:%T %a' /dev/own; cat /masked /hidden/* 2>&1; touch /fixed/x 2>&1; touch /mounted/y
cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; pwd
mkdir /made 2>&1; touch /root-fixed 2>&1
"""


def test_the_configuration_is_what_the_process_finds(runtime: Runtime, bundle: Bundle) -> None:
    for name in ("hidden", "fixed", "mounted"):
        (bundle.root / name).mkdir()
    (bundle.root / "masked").write_text("secret\n")
    (bundle.root / "hidden/file").write_text("secret\n")
    (bundle.directory / "source").mkdir()
    config = bundle.shell(CONFIGURED, cwd="/tmp", oomScoreAdj=500)
    config["process"]["user"] |= {"additionalGids": [7], "umask": 0o027}
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]
    config["hostname"] = "inside"
    config["root"]["readonly"] = True
    config["mounts"].append(
        {"destination": "/mounted", "type": "bind", "source": "source", "options": ["rbind", "rw"]}
    )
    linux = config["linux"]
    linux["sysctl"]["net.ipv4.ip_default_ttl"] = "33"
    linux["maskedPaths"] += ["/masked", "/hidden", "/not-there"]
    linux["readonlyPaths"] += ["/fixed", "/not-there"]
    linux["devices"] = [{"path": "/dev/own", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640}]
    linux["resources"]["pids"] = {"limit": 33}
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
    }
    config["unknown"] = {"to": "this version"}
    bundle.write(config)
    done = runtime.run("run", "-b", str(bundle.directory), "one")
    assert done.out.splitlines() == [
        *("0027", "0", "0 7", "99", "500", "33", "inside", "1:5 640"),
        "cat: can't open '/hidden/*': No such file or directory",
        "touch: /fixed/x: Read-only file system",
        *("33", "/tmp"),
        "mkdir: can't create directory '/made': Permission denied",
        "touch: /root-fixed: Read-only file system",
    ], done
    assert os.listdir(bundle.directory / "source") == ["y"]


def change(*path: str | int, value: Any) -> Callable[[Any], None]:
    """Set one value in a configuration; None takes it away."""

    def apply(config: Any) -> None:
        for key in path[:-1]:
            config = config[key]
        if value is None:
            del config[path[-1]]
        else:
            config[path[-1]] = value

    return apply


FILTER = {"defaultAction": "SCMP_ACT_ALLOW"}
MAPPING = [{"containerID": 0, "hostID": 1000, "size": 1}]
REFUSED = [
    (change("process", value=None), "process"),
    (change("process", "args", value=[]), "process.args"),
    (change("process", "cwd", value="relative"), "process.cwd: relative: not an absolute path"),
    (change("process", "ioPriority", value={"class": "IOPRIO_CLASS_RT"}), "process.ioPriority"),
    (change("process", "terminal", value=True), "--console-socket"),
    (change("process", "rlimits", value=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), "RLIMIT_X"),
    (change("root", "path", value="nowhere"), "nowhere: no such directory"),
    (change("ociVersion", value="2.0.0"), "ociVersion 2.0.0"),
    (change("windows", value={"x": 1}), "a runtime for Linux"),
    (change("process", "args", value=["nonesuch"]), "exec nonesuch: executable file not found in $PATH"),
    (change("process", "args", value=["/etc/passwd"]), "exec /etc/passwd: Permission denied"),
    (change("linux", "sysctl", value={"vm.swappiness": "60"}), "vm.swappiness belongs to the whole machine"),
    (change("linux", "sysctl", value={"kernel/hostname": "x"}), "kernel/hostname belongs to the whole"),
    (
        change("linux", "sysctl", value={"net.ipv4.ip_forward": 1}),
        "linux.sysctl.net.ipv4.ip_forward: must be",
    ),
    (change("linux", "resources", value={"rdma": {"x": {"hcaHandles": 1}}}), "linux.resources.rdma"),
    (change("linux", "seccomp", value=FILTER | {"syscalls": [{}]}), "syscalls[0].names: is missing"),
    (change("linux", "seccomp", value=FILTER | {"flags": ["X"]}), "linux.seccomp.flags: X"),
    (change("linux", "seccomp", value=FILTER | {"architectures": ["X"]}), "architecture X is not known"),
    (change("process", "env", value=[5]), "process.env[0]: must be a string"),
    (change("process", "user", value=5), "process.user: must be an object"),
    (change("process", "user", value={"uid": -1}), "process.user.uid: must be a user"),
    (change("process", "args", value=["a\0b"]), "process.args[0]: must not contain a zero byte"),
    (change("root", "readonly", value="x"), "root.readonly: must be true or false"),
    (change("linux", "maskedPaths", value="x"), "linux.maskedPaths: must be a list"),
    (change("linux", "uidMappings", value=MAPPING), "linux.uidMappings"),
    (change("linux", "namespaces", value=[{"type": "pid"}]), "a mount namespace of its own"),
    (change("linux", "namespaces", value=[{"type": "mount"}, {"type": "user"}]), "user: not supported"),
    (change("linux", "namespaces", value=[{"type": "mount"}, {"type": "x"}]), "x: no such namespace"),
    (change("linux", "namespaces", value=[{"type": "mount"}] * 2), "mount: named twice"),
    (change("linux", "namespaces", 0, value={"type": "network", "path": "/nowhere"}), "network (/nowhere)"),
    (change("linux", "intelRdt", value={"closID": "x"}), "linux.intelRdt"),
    (change("linux", "rootfsPropagation", value="shared"), "linux.rootfsPropagation"),
    (change("linux", "sysctl", value={"net.no.such": "1"}), "set sysctl net.no.such"),
    (change("linux", "seccomp", value={"defaultAction": "X"}), "action X is not supported"),
    (change("hooks", value={"prestart": [{"path": "hook"}]}), "hooks.prestart: hook: not an absolute path"),
    (change("hooks", value={"createRuntime": [{"path": "/nowhere"}]}), "/nowhere"),
    (change("mounts", 0, value={"type": "proc"}), "mounts[0].destination: is missing"),
    (
        change("mounts", 0, value={"destination": "/m", "options": ["bind"]}),
        "/m: a bind mount needs a source",
    ),
]


@pytest.mark.parametrize(("apply", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_had_is_named_and_leaves_nothing(
    runtime: Runtime, bundle: Bundle, apply: Callable[[Any], None], message: str
) -> None:
    config = bundle.configure("sleep", "1000")
    config["linux"]["namespaces"].sort(key=lambda one: str(one["type"] != "network"))
    apply(config)
    bundle.write(config)
    log = bundle.directory / "log"
    arguments = ("--log", str(log), "--log-format", "json", "create", "-b", str(bundle.directory), "one")
    assert message in runtime.fails(*arguments)
    entry = json.loads(log.read_text().splitlines()[-1])
    assert (entry["level"], message in entry["msg"]) == ("error", True)
    assert runtime.good("list", "--quiet") == ""


def test_a_file_that_is_no_configuration(runtime: Runtime, bundle: Bundle) -> None:
    arguments = ("create", "-b", str(bundle.directory), "one")
    assert "--bundle names its directory" in runtime.fails(*arguments)
    for text in ("", "[]", "{", "[" * 100_000, '{"ociVersion": "1.0.0"}'):
        (bundle.directory / "config.json").write_text(text)
        assert "config.json" in runtime.fails(*arguments)


HOOK = """#!/bin/busybox sh
state=$(cat)
[ "$2" = /inside ] || [ "$1" = poststop ] || [ -e config.json ] || exit 1
echo "$1 $(echo "$state" | grep -o '"status": *"[a-z]*"' | cut -d'"' -f4) $KEY" >> "$2"
"""


def test_hooks_run_in_their_order_with_the_state(runtime: Runtime, bundle: Bundle) -> None:
    record = bundle.directory / "record"
    for place in (bundle.directory, bundle.root):
        (place / "hook").write_text(HOOK.replace("/bin/busybox", shutil.which("busybox") or "/bin/busybox"))
        (place / "hook").chmod(0o755)
    (bundle.root / "hook").write_text(HOOK)
    config = bundle.shell("echo program; cat /inside")
    config["hooks"] = {
        kind: [
            {
                "path": str(bundle.directory / "hook"),
                "args": ["hook", kind, str(record)],
                "env": ["KEY=value"],
            }
        ]
        for kind in ("poststop", "poststart", "createContainer", "createRuntime", "prestart")
    }
    config["hooks"]["startContainer"] = [{"path": "/hook", "args": ["hook", "startContainer", "/inside"]}]
    for hooks in config["hooks"].values():
        hooks[0].setdefault("env", []).append(f"PATH={os.environ['PATH']}:/bin")
    bundle.write(config)
    caller = Caller(runtime, bundle, "one")
    assert caller.code == 0, caller.error
    before = ["prestart creating value", "createRuntime creating value", "createContainer creating value"]
    assert record.read_text().splitlines() == before
    runtime.good("start", "one")
    assert caller.wait() == 0
    assert caller.text().splitlines() == ["program", "startContainer created "]
    runtime.good("delete", "one")
    found = record.read_text().splitlines()[3:]
    assert [line.split()[0] for line in found] == ["poststart", "poststop"]
    assert found[1] == "poststop stopped value"


def test_a_hook_that_takes_too_long_ends_the_creation(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.configure("true")
    slow = {"path": shutil.which("sleep") or "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    config["hooks"] = {"createRuntime": [slow]}
    bundle.write(config)
    assert "no end within its timeout" in runtime.fails("create", "-b", str(bundle.directory), "one")
    assert runtime.good("list", "--quiet") == ""


def test_sockets_of_a_service_manager_are_the_containers(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("echo $LISTEN_FDS $LISTEN_PID $$; cat <&3")
    (bundle.directory / "content").write_text("content\n")
    command = " ".join(runtime.command("run", "-b", str(bundle.directory), "one"))
    script = f"exec 3<{bundle.directory}/content; LISTEN_FDS=1 LISTEN_PID=$$ exec {command}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "1 1 1\ncontent\n"), done


def test_a_failing_hook_ends_the_creation_but_not_what_has_happened(runtime: Runtime, bundle: Bundle) -> None:
    record = bundle.directory / "record"
    false = shutil.which("false") or "/bin/false"
    touch = shutil.which("touch") or "/bin/touch"
    config = bundle.configure("sleep", "1000")
    config["hooks"] = {
        "createRuntime": [{"path": false}],
        "poststop": [{"path": touch, "args": ["touch", str(record)]}],
    }
    bundle.write(config)
    assert f"hook {false}" in runtime.fails("create", "-b", str(bundle.directory), "one")
    assert record.exists()
    assert runtime.good("list", "--quiet") == ""
    config["hooks"] = {"poststart": [{"path": false}]}
    bundle.write(config)
    caller = Caller(runtime, bundle, "one")
    assert "warning: hook poststart" in runtime.run("start", "one").err
    assert runtime.status("one") == "running"
    config["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    bundle.write(config)
    other = Caller(runtime, bundle, "other")
    assert "hook /bin/false" in runtime.fails("start", "other")
    assert other.wait() == 127
    assert runtime.status("other") == "stopped"
    for each in (caller, other):
        runtime.good("delete", "--force", each.identity)
        os.close(each.output)


def test_more_processes_in_a_container(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("sleep", "1000")
    caller = Caller(runtime, bundle, "one")
    runtime.good("start", "one")
    assert runtime.good("exec", "one", "sh", "-c", "id -u; pwd; echo $KEY") == "0\n/\n\n"
    options = ("exec", "--user", "app", "--cwd", "/tmp", "--env", "KEY=value")
    assert runtime.good(*options, "one", "sh", "-c", "id -u; pwd; echo $KEY") == "1000\n/tmp\nvalue\n"
    assert runtime.run("exec", "one", "sh", "-c", "exit 6").code == 6
    assert runtime.run("exec", "one", "sh", "-c", "kill -9 $$").code == 137
    assert "executable file not found" in runtime.fails("exec", "one", "nonesuch")
    process = {"args": ["sh", "-c", "id -u; grep CapEff /proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]}
    process["user"] = {"uid": 5, "gid": 6}  # type: ignore[assignment]
    (bundle.directory / "process.json").write_text(json.dumps(process))
    pid_file = bundle.directory / "exec.pid"
    arguments = ("exec", "--process", str(bundle.directory / "process.json"), "--pid-file", str(pid_file))
    assert runtime.good(*arguments, "one") == "5\nCapEff:\t0000000000000000\n"
    assert int(pid_file.read_text()) > 0
    runtime.good("pause", "one")
    assert runtime.status("one") == "paused"
    assert "it is paused" in runtime.fails("exec", "one", "true")
    runtime.good("resume", "one")
    runtime.good("kill", "--all", "one", "KILL")
    caller.wait()
    os.close(caller.output)


def test_descriptors_that_are_passed_on_and_no_others(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("ls /proc/self/fd | tr '\\n' ' '; cat <&3; cat <&4")
    for number, text in ((3, "third"), (4, "fourth"), (5, "fifth")):
        (bundle.directory / str(number)).write_text(text)
    opened = [os.open(bundle.directory / str(number), os.O_RDONLY) for number in (3, 4, 5)]

    def arrange() -> None:
        for target, descriptor in zip((33, 34, 35), opened, strict=True):
            os.dup2(descriptor, target)
        for target in (3, 4, 5):
            os.dup2(target + 30, target)

    done = runtime.run(
        "run", "--preserve-fds", "2", "-b", str(bundle.directory), "one", preexec_fn=arrange, close_fds=False
    )
    for descriptor in opened:
        os.close(descriptor)
    assert done.out == "0 1 2 3 4 5 thirdfourth"  # ls itself has the directory open as 5


def test_a_terminal_goes_to_the_console_socket(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.shell("tty; stty size; read x; echo got $x", terminal=True)
    config["process"]["consoleSize"] = {"height": 33, "width": 77}
    bundle.write(config)
    path = bundle.directory / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        caller = Caller(runtime, bundle, "one", "--console-socket", str(path))
        assert caller.code == 0, caller.error
        connection, _ = listener.accept()
        with connection:
            _, rights, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
    (master,) = array.array("i", rights[0][2])
    runtime.good("start", "one")
    os.write(master, b"hello\n")
    found = b""
    try:
        while part := os.read(master, 4096):
            found += part
    except OSError:  # EIO: nobody has the terminal open any more
        os.close(master)
    assert (
        found.decode().replace("\r", "").split("\n")[:2] == ["/dev/pts/0", "33 77"] or b"got hello" in found
    )
    assert b"got hello" in found
    assert caller.wait() == 0
    os.close(caller.output)


def test_only_descriptors_that_the_caller_has_are_passed_on(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("true")
    for option, message in (("2", "--preserve-fds 2: descriptor 3 is not open"), ("-1", "not a number")):
        done = runtime.run("create", "--preserve-fds", option, "-b", str(bundle.directory), "one")
        assert (done.code, done.out, message in done.err) == (2, "", True), done
    assert runtime.good("list", "--quiet") == ""


def test_the_names_and_settings_of_the_host_are_left_alone(runtime: Runtime, bundle: Bundle) -> None:
    before = os.uname()
    config = bundle.configure("true")
    everything = list(config["linux"]["namespaces"])
    cases: list[tuple[str, str, Any, str]] = [
        ("uts", "hostname", "other", "hostname: would be that of the host"),
        ("uts", "domainname", "other", "domainname: would be that of the host"),
        ("uts", "linux", {"kernel.domainname": "other"}, "there is no own uts namespace"),
        ("network", "linux", {"net.ipv4.ip_default_ttl": "64"}, "there is no own network namespace"),
        ("ipc", "linux", {"kernel.msgmax": "8192"}, "there is no own ipc namespace"),
    ]
    for kind, key, value, message in cases:
        for replacement in ([], [{"type": kind, "path": f"/proc/self/ns/{kind.replace('work', '')}"}]):
            changed = {**config, "linux": {**config["linux"]}}
            changed["linux"]["namespaces"] = [one for one in everything if one["type"] != kind] + replacement
            if key == "linux":
                changed["linux"]["sysctl"] = value
                changed["hostname"] = ""
            else:
                changed[key] = value
            bundle.write(changed)
            assert message in runtime.fails("run", "-b", str(bundle.directory), "one")
    assert os.uname() == before


def test_more_rights_and_groups_for_one_more_process(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.configure("sleep", "1000", capabilities={"bounding": ["CAP_KILL", "CAP_NONESUCH"]})
    bundle.write(config)
    caller = Caller(runtime, bundle, "one")
    assert "process.capabilities: CAP_NONESUCH is not known, ignored" in caller.error
    runtime.good("start", "one")
    show = ("sh", "-c", "id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    options = ("exec", "-g", "7", "--additional-gids", "8", "--cap", "CAP_CHOWN", "--no-new-privs")
    lines = runtime.good(*options, "one", *show).split()
    assert lines == ["0", "7", "8", "CapEff:", "0000000000000001", "NoNewPrivs:", "1"]
    assert runtime.run("exec", "one", "nonesuch").code == 255
    runtime.good("kill", "--all", "one", "KILL")
    caller.wait()
    os.close(caller.output)


def test_the_session_keyring_is_kept_when_it_is_asked_for(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("head -n 1 /proc/keys >/dev/null; echo ran")
    assert runtime.good("run", "--no-new-keyring", "-b", str(bundle.directory), "one") == "ran\n"
    bundle.configure("true", capabilities={})
    options = ("run", "--no-new-keyring", "--no-subreaper", "-b", str(bundle.directory))
    assert runtime.good(*options, "one") == ""


def test_the_version_is_told(runtime: Runtime) -> None:
    assert runtime.good("--version").startswith("pycompose-oci version ")


def test_namespaces_by_path(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("sleep", "1000")
    first = Caller(runtime, bundle, "first")
    runtime.good("start", "first")
    config = bundle.shell("readlink /proc/self/ns/net; readlink /proc/self/ns/uts")
    for entry in config["linux"]["namespaces"]:
        if entry["type"] in ("network", "uts"):
            entry["path"] = f"/proc/{first.pid}/ns/{ {'network': 'net'}.get(entry['type'], entry['type']) }"
    bundle.write(config)
    theirs = [os.readlink(f"/proc/{first.pid}/ns/{kind}") for kind in ("net", "uts")]
    assert runtime.good("run", "-b", str(bundle.directory), "second").split() == theirs
    runtime.good("kill", "first", "9")
    first.wait()
    os.close(first.output)


def test_creations_that_are_killed_leave_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.configure("sleep", "1000")
    arguments = ("create", "--bundle", str(bundle.directory), "one")
    begin = time.monotonic()
    runtime.good(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    runtime.good("delete", "--force", "one")
    generator = random.Random(2014)
    for part in range(12):
        silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with runtime.start(*arguments, **silence) as process:
            try:
                process.wait((part + generator.random()) / 12 * seconds)  # the moment is the point here
            except subprocess.TimeoutExpired:
                process.kill()
        names = runtime.good("list", "--quiet").split()
        if names:
            assert runtime.status("one") in ("creating", "created", "stopped")
        runtime.good("delete", "--force", "one")
        reap()


def test_a_profile_of_apparmor_confines_the_process(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.shell("cat /proc/self/attr/current")
    config["process"]["apparmorProfile"] = apparmor.NAME
    bundle.write(config)
    arguments = ("run", "--bundle", str(bundle.directory), "one")
    if apparmor.default():
        apparmor.load()
        assert runtime.run(*arguments).out == f"{apparmor.NAME} (enforce)\n"
    else:
        assert f"confine it by {apparmor.NAME}" in runtime.fails(*arguments)
    assert runtime.good("list", "--quiet") == ""


def test_features_are_those_of_the_specification(runtime: Runtime) -> None:
    found = json.loads(runtime.good("features"))
    assert (found["ociVersionMin"], found["ociVersionMax"]) == ("1.0.0", "1.2.0")
    assert {"rbind", "ro", "rro", "nosuid"} <= set(found["mountOptions"])
    assert found["linux"]["seccomp"]["enabled"] is found["linux"]["apparmor"]["enabled"] is True
    assert "CAP_SYS_ADMIN" in found["linux"]["capabilities"]


def test_podman_runs_containers_on_it(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Where podman is installed; elsewhere `Caller` does what its conmon does."""
    podman = shutil.which("podman")
    if podman is None:
        return
    program = tmp_path / "pycompose-oci"
    program.write_text("#!/bin/sh\nexec " + " ".join(runtime.command()) + ' "$@"\n')
    program.chmod(0o755)
    common = [podman, "--root", str(tmp_path / "podman"), "--runroot", f"{os.path.dirname(tmp_path)}/r"]
    common += ["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(program)]

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*common, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    rootfs = ("--network", "none", "--rootfs", str(bundle.root))
    assert run("run", "--rm", *rootfs, "sh", "-c", "echo out; exit 5") == (5, "out\n")
    assert run("run", "-d", "--name", "one", *rootfs, "sleep", "1000")[0] == 0
    assert run("exec", "one", "sh", "-c", "echo $0; exit 4") == (4, "sh\n")
    assert run("update", "--cpus", "0.5", "one")[0] == 0
    assert run("stop", "-t", "0", "one")[0] == 0
    assert run("inspect", "one", "--format", "{{.State.ExitCode}}") == (0, "137\n")
    assert run("rm", "one")[0] == 0
    assert runtime.good("list", "--quiet") == ""
    cgroups.remove_base("libpod_parent")
    subprocess.run(["umount", str(tmp_path / "podman/overlay")], capture_output=True, check=False)
