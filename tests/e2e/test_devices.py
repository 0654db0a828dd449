"""Devices of the host inside containers: which ones are there, and what may be done with them."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from typing import TYPE_CHECKING

import pytest

from compose.runtime import records
from compose.state.index import Index
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compose.runtime.spec import ContainerState
    from tests.support.command import Stack

KMSG = os.makedev(1, 11)
"""The kernel's log: whoever has the right to the node may write; it is none of the standard devices."""
WRITE = "(true > {}) 2>/dev/null && echo written || echo refused"
READ = "(true < {}) 2>/dev/null && echo read || echo refused"


@pytest.fixture
def node(tmp_path: Path) -> str:
    """A directory with a device in it, and a file, a link and a directory beside it."""
    directory = tmp_path / "nodes"
    (directory / "below").mkdir(parents=True)
    (directory / "file").touch()
    (directory / "link").symlink_to("device")
    for path in (directory / "device", directory / "below/other"):
        os.mknod(path, stat.S_IFCHR | 0o640, KMSG)
        os.chown(path, 7, 8)
    return str(directory)


def output(stack: Stack, service: str) -> list[str]:
    return [line.partition("| ")[2] for line in stack.run("logs", "-f", service).splitlines()]


def test_devices_are_there_with_the_access_that_was_asked_for(stack: Stack, node: str) -> None:
    look = "ls -ln /dev/x | tr -s ' ' | cut -d ' ' -f 1,3-6"
    stack.write(f"""
services:
  written:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}; {READ.format("/dev/x")}; {look}"]
    devices: ["{node}/device:dev/x:w"]
  long:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/sub/x")}"]
    devices: [{{source: "{node}/link", target: /dev/sub/x, permissions: rw}}]
  readable:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}"]
    devices: ["{node}/device:/dev/x:r"]
  directory:
    image: IMAGE
    command: [sh, -c, "cd /dev/all; find . -type c | sort; {WRITE.format("below/other")}"]
    devices: ["{node}:/dev/all"]
  none:
    image: IMAGE
    command: [sh, -c, "mknod /x c 1 11; {WRITE.format("/x")}"]
  rule:
    image: IMAGE
    command: [sh, -c, "mknod /x c 1 11; {WRITE.format("/x")}"]
    device_cgroup_rules: ["c 1:11 wm"]
  every:
    image: IMAGE
    privileged: true
    command: [sh, -c, "test -c /dev/kmsg && {WRITE.format("/dev/kmsg")}; test -c /dev/y && echo also"]
    devices: ["{node}/device:/dev/y:r"]
""")
    assert "warning" not in stack.up()
    assert output(stack, "written") == ["written", "refused", "crw-r----- 7 8 1, 11"]
    assert output(stack, "long") == ["written"]
    assert output(stack, "readable")[-1] == "refused"
    assert output(stack, "directory") == ["./below/other", "./device", "written"]
    assert output(stack, "none")[-1] == "refused"
    assert output(stack, "rule") == ["written"]
    assert output(stack, "every") == ["written", "also"]


def test_a_restart_keeps_devices(stack: Stack, node: str) -> None:
    stack.write(f"""
services:
  again:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}; exit 1"]
    restart: on-failure:2
    devices: ["{node}/device:/dev/x:w"]
""")
    stack.up()
    assert output(stack, "again") == ["written"] * 3


def test_a_device_that_was_numbered_anew_is_found_again(stack: Stack, node: str) -> None:
    stack.write(f"""
services:
  a:
    image: IMAGE
    command: [sh, -c, "stat -c '%t:%T' /dev/x; {WRITE.format("/dev/x")}; {READ.format("/dev/x")}"]
    devices: ["{node}/device:/dev/x:w"]
""")
    os.unlink(f"{node}/device")
    os.mknod(f"{node}/device", stat.S_IFCHR | 0o600, os.makedev(1, 7))  # a standard device
    stack.up()
    assert output(stack, "a") == ["1:7", "written", "read"]
    os.unlink(f"{node}/device")
    os.mknod(f"{node}/device", stat.S_IFCHR | 0o600, KMSG)  # a boot later
    stack.run("start")
    assert output(stack, "a")[3:] == ["1:b", "written", "refused"]
    os.unlink(f"{node}/device")
    assert "is not there any more" in stack.fails("start")


def describe(stack: Stack, kind: str, *devices: dict[str, object]) -> None:
    """Write a vendor's description, and let the stack find it."""
    directory = stack.directory / "cdi"
    directory.mkdir(exist_ok=True)
    content = {"cdiVersion": "0.6.0", "kind": kind, "devices": devices}
    (directory / f"{kind.replace('/', '-')}.json").write_text(json.dumps(content))
    stack.environment["PYCOMPOSE_CDI_DIRS"] = f"/no-such:{directory}"


def test_a_vendor_describes_devices(stack: Stack, node: str) -> None:
    edits = {
        "deviceNodes": [{"path": "/dev/card", "hostPath": f"{node}/device", "permissions": "w"}],
        "mounts": [{"hostPath": node, "containerPath": "/vendor", "options": ["ro"]}],
        "env": ["CARD=0"],
        "additionalGids": [4242],
    }
    describe(stack, "nvidia.com/gpu", {"name": "0", "containerEdits": edits}, {"name": "1"})
    script = f"{WRITE.format('/dev/card')}; ls /vendor; echo $$CARD; id -G"
    stack.write(f"""
services:
  named:
    image: IMAGE
    command: [sh, -c, "{script}"]
    environment: {{CARD: own}}
    devices: [nvidia.com/gpu=0]
  gpus: {{image: IMAGE, command: [sh, -c, "{script}"], gpus: all}}
  reserved:
    image: IMAGE
    command: [sh, -c, "{script}"]
    deploy: {{resources: {{reservations: {{devices: [{{capabilities: [gpu], count: 1}}]}}}}}}
  chosen:
    image: IMAGE
    command: [sh, -c, "{script}"]
    gpus: [{{driver: nvidia, device_ids: ['0']}}]
  described:
    image: IMAGE
    command: [sh, -c, "{script}"]
    deploy:
      resources:
        reservations:
          devices: [{{driver: cdi, device_ids: [nvidia.com/gpu=0], capabilities: [any]}}]
""")
    assert "warning" not in stack.up()
    for service in ("named", "gpus", "reserved", "chosen", "described"):
        assert output(stack, service) == ["written", "below", "device", "file", "link", "0", "0 4242"]


def test_a_gpu_that_nobody_describes_is_said_before_anything_is_made(stack: Stack) -> None:
    stack.environment["PYCOMPOSE_CDI_DIRS"] = "/no-such"
    stack.write("services: {a: {image: IMAGE, gpus: all}}\n")
    said = stack.fails("up", "-d")
    assert "service a: gpus: device nvidia.com/gpu=all: no file in /no-such describes it" in said
    assert "nvidia-ctk cdi generate" in said
    assert stack.ps("--all") == {}


def hook(stack: Stack, script: str, name: str = "createContainer", **fields: object) -> dict[str, object]:
    """A device with a hook, a shell script of the host that gets its own name as first argument."""
    path = stack.directory / f"{name}.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    entry = {"hookName": name, "path": str(path), "args": [path.name, "given"], **fields}
    return {"name": name, "containerEdits": {"hooks": [entry]}}


def test_hooks_of_vendors_finish_a_container(stack: Stack) -> None:
    # The root lies where the bundle's config.json says, in the mount namespace of the container alone.
    find_root = (
        """sed -n 's/^ *"path": "\\(.*\\)",*$/\\1/p' "$bundle/config.json" | grep /layers/ | head -1"""
    )
    script = f"""state=$(cat); bundle=$(echo "$state" | sed 's/.*"bundle": "\\([^"]*\\)".*/\\1/')
root=$({find_root}); echo "$1 $VENDOR $(echo "$state" | grep -c '"status": "creating"')" >"$root/left"
echo "$state" | sed 's/.*"pid": \\([0-9]*\\).*/\\1/' >"$root/pid"; echo hello from the hook >&2"""
    inside = hook(stack, script, env=["VENDOR=v"], timeout=300)
    outside = hook(
        stack, f"cat >/dev/null; readlink /proc/self/ns/mnt >{stack.directory}/outside", "prestart"
    )
    describe(stack, "v.com/x", inside, outside)
    stack.write("""
services:
  a:
    image: IMAGE
    command: [sh, -c, "cat /left; cat /proc/[0-9]*/stat | grep -c ' Z '; test $$(cat /pid) -gt 1 && echo yes"]
    devices: [v.com/x=createContainer, v.com/x=prestart]
""")
    stack.up()
    assert output(stack, "a") == ["hello from the hook", "given v 1", "0", "yes"]
    assert (stack.directory / "outside").read_text().strip() == os.readlink("/proc/self/ns/mnt")


@pytest.mark.parametrize("name", ["createContainer", "createRuntime"])
def test_a_hook_that_fails_or_hangs_ends_the_launch(stack: Stack, name: str) -> None:
    failing, hanging = hook(stack, "exit 3", name), hook(stack, "exec sleep 1000", "prestart", timeout=1)
    describe(stack, "v.com/x", failing, hanging)
    stack.write(f"services: {{a: {{image: IMAGE, command: ['true'], devices: [v.com/x={name}]}}}}\n")
    assert f"run the hook {stack.directory}/{name}.sh: it failed" in stack.fails("up", "-d")
    stack.run("down")
    stack.write("services: {a: {image: IMAGE, command: ['true'], devices: [v.com/x=prestart]}}\n")
    assert "prestart.sh: no end within its timeout" in stack.fails("up", "-d")


def inner_hook(script: str) -> dict[str, object]:
    """A device whose hook is a script of the container's shell."""
    entry = {"hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", script]}
    return {"name": "inside", "containerEdits": {"hooks": [{**entry, "env": ["PATH=/bin"]}]}}


def test_a_hook_inside_has_the_rights_of_the_program(stack: Stack) -> None:
    look = "grep -E '^(Uid|CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status"
    describe(stack, "v.com/x", inner_hook(f"cat > /tmp/state; {look}"))
    stack.write(f"""
services:
  root:
    image: IMAGE
    command: [sh, -c, "{look}; cat /tmp/state"]
    devices: [v.com/x=inside]
    tmpfs: /tmp
    annotations: {{org.example.key: a value}}
  user:
    image: IMAGE
    user: app
    security_opt: [no-new-privileges]
    cap_drop: [ALL]
    init: true
    tmpfs: /tmp
    command: [sh, -c, "{look}"]
    devices: [v.com/x=inside]
""")
    stack.up()
    root, user = output(stack, "root"), output(stack, "user")
    assert len(root) > 10 and root[:5] == root[5:10] and '"status": "created"' in "".join(root[10:])
    assert '"org.example.key": "a value"' in "".join(root[10:])
    assert len(user) == 10 and user[:5] == user[5:]
    assert user[0].split()[1] == "1000" and user[1].split()[1] == "0" * 16


def test_a_failing_hook_inside_ends_the_launch(stack: Stack) -> None:
    describe(stack, "v.com/x", inner_hook("echo so it is >&2; exit 3"))
    stack.write("services: {a: {image: IMAGE, command: ['true'], devices: [v.com/x=inside]}}\n")
    assert "run the hook /bin/sh: it failed" in stack.fails("up", "-d")
    assert "so it is" in stack.run("logs", "a")


def state(stack: Stack) -> ContainerState:
    """The state of the only container."""
    index = Index(stack.paths)
    (row,) = index.containers(stack.name)
    index.close()
    return records.recorded_state(stack.paths, row.id)


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + MOMENT
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def test_hooks_follow_the_start_and_every_end(stack: Stack) -> None:
    done = stack.directory / "done"
    look = """status=$(grep -o '"status": *"[a-z]*"' | cut -d '"' -f 4)"""
    script = f"{look}; echo $(basename $0) $status $(readlink /proc/self/ns/pid) >>{done}"
    following, ending = hook(stack, script, "poststart"), hook(stack, script, "poststop")
    (stack.directory / "failing.sh").write_text("#!/bin/sh\necho not today; exit 3\n")
    (stack.directory / "failing.sh").chmod(0o755)
    hooks = [{"hookName": "poststart", "path": str(stack.directory / "failing.sh")}]
    failing: dict[str, object] = {"name": "failing", "containerEdits": {"hooks": hooks}}
    describe(stack, "v.com/x", failing, following, ending)
    stack.write("""
services:
  a:
    image: IMAGE
    command: [sh, -c, "while [ ! -e /end ]; do sleep 0.05; done; rm /end; exit 1"]
    restart: on-failure
    devices: [v.com/x=failing, v.com/x=poststart, v.com/x=poststop]
""")
    own = os.readlink("/proc/self/ns/pid")
    begun, ended = f"poststart.sh running {own}", f"poststop.sh stopped {own}"
    assert f"hook poststart {stack.directory}/failing.sh: exit code 3: not today" in stack.up()
    assert done.read_text().splitlines() == [begun]
    stack.shell("a", "touch /end")  # it fails, and is started again
    wait_for(lambda: done.read_text().splitlines() == [begun, ended, begun])
    stack.run("stop", "-t", "0")
    assert done.read_text().splitlines() == [begun, ended, begun, ended]


def test_hooks_are_run_although_the_monitor_dies(stack: Stack) -> None:
    done = stack.directory / "done"
    gate = stack.directory / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    waiting = hook(stack, f"echo begun >>{done}; {wait}; echo done >>{done}", "poststart")
    describe(stack, "v.com/x", waiting, hook(stack, f"echo stopped >>{done}", "poststop"))
    stack.write("""
services:
  a: {image: IMAGE, command: [sleep, '1000'], devices: [v.com/x=poststart, v.com/x=poststop]}
""")
    with stack.start("up", "-d") as command:
        wait_for(lambda: done.exists() and done.read_text() == "begun\n")
        os.kill(state(stack)["monitor_pid"], signal.SIGKILL)
        wait_for(lambda: done.read_text() == "begun\nbegun\n")  # its successor cannot know of the first one
        command.communicate(timeout=MOMENT)
    gate.touch()
    wait_for(lambda: done.read_text().count("done") == 2 and not state(stack).get("poststart_due"))
    assert state(stack)["status"] == "running"
    stack.run("stop", "-t", "0")
    assert done.read_text().splitlines()[4:] == ["stopped"]


def test_a_launch_that_fails_has_its_end_too(stack: Stack) -> None:
    done = stack.directory / "done"
    describe(stack, "v.com/x", hook(stack, f"echo stopped >>{done}", "poststop"))
    stack.write("services: {a: {image: IMAGE, command: [no-such], devices: [v.com/x=poststop]}}\n")
    assert "no-such" in stack.fails("up", "-d")
    assert done.read_text() == "stopped\n"
