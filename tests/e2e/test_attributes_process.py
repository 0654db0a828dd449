"""Keys about the process: ``init``, users and groups, capabilities, ``security_opt``, limits."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compose.images import platforms
from compose.images.store import ImageStore
from compose.runtime.container import modules
from compose.state.files import read_json
from tests.support.attribute_rows import STATUS, Row, services, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Stack

ROWS = [
    Row("init", "init: true", "cat /proc/1/comm; echo $$", "init\n2"),
    Row("init false", "init: false", "cat /proc/1/comm; echo $$", "sh\n1"),
    Row("init as a user", "init: true, user: app, read_only: true", "id -u; cat /proc/1/comm", "1000\ninit"),
    Row("user with a name and a group", "user: 'app:nogroup'", "id -u; id -G", "1000\n65534"),
    Row("user that no file knows", "user: '4321'", "id -u; id -g; echo $HOME", "4321\n0\n/"),
    Row("user root by number", "user: '0:0'", "id -un; echo $HOME", "root\n/root"),
    Row("group_add", "user: '1000:2000', group_add: [nogroup, '77']", "id -G", "2000 77 65534"),
    Row(
        "cap_add ALL", "cap_add: [ALL], cap_drop: [CAP_CHOWN]", STATUS.format("CapEff") + "|grep -o '.$'", "e"
    ),
    Row(
        "cap_drop ALL but one",
        "cap_drop: [all], cap_add: [CAP_CHOWN, sys_time]",
        STATUS.format("CapBnd"),
        "CapBnd: 0000000002000001",
    ),
    Row(
        "no-new-privileges alone",
        "security_opt: [no-new-privileges]",
        STATUS.format("NoNewPrivs"),
        "NoNewPrivs: 1",
    ),
    Row(
        "no-new-privileges:false",
        "security_opt: ['no-new-privileges:false']",
        STATUS.format("NoNewPrivs"),
        "NoNewPrivs: 0",
    ),
    Row(
        "seccomp=FILE",
        "security_opt: ['seccomp=profiles/no-mkdir.json']",
        "mkdir /x 2>&1; touch /y && echo ok; " + STATUS.format("Seccomp"),
        "mkdir: can't create directory '/x': Operation not permitted\nok\nSeccomp: 2",
    ),
    Row("apparmor=unconfined", "security_opt: ['apparmor=unconfined', 'label=disable']", "echo ok", "ok"),
    Row(
        "systempaths=unconfined",
        "security_opt: ['systempaths=unconfined', 'apparmor=unconfined'], cap_add: [SYS_ADMIN]",
        "cd /proc; grep -c ' /proc/' mounts; cat sys/kernel/domainname > sys/kernel/domainname && echo ok",
        "0\nok",
    ),
    Row(
        "masked paths",
        "labels: {}",
        "wc -l < /proc/keys; touch /proc/sys/kernel/domainname 2>&1 | grep -o 'Read.*'",
        "0\nRead-only file system",
    ),
    Row("platform", "platform: linux", "uname -s", "Linux"),
    Row("runtime", "runtime: runc", "echo ok", "ok"),
    Row(
        "privileged",
        "privileged: true",
        "grep -c ' /proc/' /proc/mounts; grep ' /sys ' /proc/mounts | grep -o 'rw';"
        " test -w /sys/fs/cgroup && echo w;"
        " mkdir /m && mount -t tmpfs none /m && echo mounted; umount /m;"
        " test -c /dev/kmsg -o -b /dev/vda -o -c /dev/mem && echo devices; " + STATUS.format("Seccomp"),
        "0\nrw\nw\nmounted\ndevices\nSeccomp: 0",
    ),
    Row("tty and stdin", "tty: true, stdin_open: true", "test -t 0 && tty", "/dev/pts/0"),
    Row(
        "writable-cgroups",
        "security_opt: ['writable-cgroups=true']",
        "grep -E ' /sys/fs/cgroup(/pids)? ' /proc/mounts | tail -1 | grep -o ' rw'",
        " rw",
    ),
]

NO_MKDIR = """{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
  [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
"""


def test_every_key_has_its_effect(stack: Stack) -> None:
    stack.write(NO_MKDIR, "profiles/no-mkdir.json")
    stack.write("services:\n" + services(ROWS))
    assert "warning" not in stack.up()
    assert wrong(stack, ROWS) == {}


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("security_opt: ['nosuch=1']", "security_opt: there is no option nosuch=1"),
        (
            "security_opt: ['no-new-privileges:maybe']",
            "security_opt: there is no option no-new-privileges:maybe",
        ),
        ("security_opt: ['seccomp=nosuch.json']", "seccomp profile"),
        ("security_opt: ['seccomp=compose.yaml']", "seccomp profile"),
        ("working_dir: here", "working_dir: here is not an absolute path"),
        ("stop_grace_period: -1s", "stop_grace_period: -1s is less than 0"),
        ("healthcheck: {test: x, interval: -1s}", "healthcheck.interval: -1s is less than 1ms"),
        ("dns: [nosuch]", "dns: 'nosuch' is not an IP address"),
        ("devices: [/etc/passwd]", "devices[0]: /etc/passwd: not a device"),
        ("tmpfs: [x]", "mount target x: not an absolute path"),
        ("cap_add: [NOSUCH]", "NOSUCH"),
        ("cap_drop: [CAP_NOSUCH]", "NOSUCH"),
        ("runtime: runsc", "runtime: there is no runsc: pycompose runs containers itself"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(stack: Stack, yaml: str, says: str) -> None:
    stack.write(f"services:\n  a:\n    image: IMAGE\n    {yaml}\n")
    said = stack.fails("up", "-d")
    assert said.startswith("pycompose: compose.yaml:4:") and "service a: " in said and says in said
    assert stack.ps("--all") == {}


def test_what_the_host_cannot_give_is_said_once(stack: Stack) -> None:
    # a profile that is not loaded is an error where there are profiles
    profile = "unconfined" if modules.has_apparmor() else "mine"
    options = f"ulimits: {{nofile: 1099511627776}}, security_opt: ['apparmor={profile}', 'label=type:mine_t']"
    stack.write(f"services:\n  a: {{image: IMAGE, {options}, scale: 2, command: [sleep, '1000']}}\n")
    said = stack.up()
    assert said.count("set limit nofile: this host gives less, and the most that it gives is set") == 1
    if not modules.has_apparmor():
        assert said.count("this host has no AppArmor: apparmor=mine has no effect") == 1
    if not modules.has_selinux():
        assert said.count("no SELinux: label system_u:system_r:mine_t:s0 has no effect") == 1


def test_a_group_that_is_not_there_is_named_by_its_key(stack: Stack) -> None:
    stack.write("services:\n  a: {image: IMAGE, user: app, group_add: [nosuch]}\n")
    assert "group_add nosuch: no such group in the image's /etc/group" in stack.fails("up", "-d")


def test_labels_and_annotations_stay_with_the_container(stack: Stack) -> None:
    stack.write(
        "services:\n  a: {image: IMAGE, command: [sleep, '9'], annotations: [a=b], labels: {c: d, e: ''}}\n"
    )
    stack.up()
    (one,) = stack.ps().values()
    assert {"c=d", "e="} <= set(one["Labels"].split(","))
    spec = next(Path(stack.paths.containers).glob(f"{one['ID']}*/spec.json"))
    assert read_json(str(spec))["oci"]["annotations"]["a"] == "b"


FOREIGN = "pycompose-test/foreign"


def test_an_image_of_another_platform(stack: Stack) -> None:
    store = ImageStore(stack.paths)
    with store.session() as session:
        layer = session.add_layer(session.directory())
        config = {"architecture": "vax", "os": "linux", "config": {"Cmd": ["/program"]}}
        session.add_image(config, [layer], [FOREIGN])
    text = f"services:\n  a:\n    image: {FOREIGN}\n"
    stack.write(text + "    platform: linux/amd64\n")
    said = stack.fails("up", "-d")
    assert (
        f"compose.yaml:4:5: service a: platform: image {FOREIGN} is for linux/vax, not for linux/amd64"
        in said
    )
    stack.write(text + "    platform: linux/vax\n")
    assert "service a: platform: nothing is known of vax" in stack.fails("up", "-d")
    stack.write(text)
    said = stack.fails("up", "-d")  # warned of, and tried nevertheless
    assert f"warning: compose.yaml:2:3: service a: image {FOREIGN} is for linux/vax" in said
    assert "exec /program" in said


@contextlib.contextmanager
def interpreter(architecture: str, program: Path) -> Iterator[None]:
    """Have the kernel run programs of an architecture by a program of this one, wherever they are."""
    header, name = platforms._header(architecture), f"pycompose-test-{os.getpid()}"
    magic = "".join(f"\\x{byte:02x}" for byte in header)
    with contextlib.ExitStack() as stack:
        if not os.path.exists(f"{platforms.BINFMT}/register"):
            subprocess.run(["mount", "-t", "binfmt_misc", "none", platforms.BINFMT], check=True)
            stack.callback(subprocess.run, ["umount", platforms.BINFMT], check=True)
        mask = "\\xff" * len(header)
        Path(platforms.BINFMT, "register").write_text(f":{name}:M:0:{magic}:{mask}:{program}:F")
        stack.callback(Path(platforms.BINFMT, name).write_text, "-1")
        yield


def test_a_foreign_program_runs_where_the_kernel_has_an_interpreter(stack: Stack, tmp_path: Path) -> None:
    shutil.copy(shutil.which("busybox") or "", tmp_path / "echo")
    architecture = "loong64"
    store = ImageStore(stack.paths)
    with store.session() as session:
        directory = session.directory()
        program = Path(directory, "layer/tree/program")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(platforms._header(architecture).ljust(256, b"\0"))
        program.chmod(0o755)
        config = {"architecture": architecture, "os": "linux", "config": {"Cmd": ["/program", "hello"]}}
        session.add_image(config, [session.add_layer(directory)], [FOREIGN])
    stack.write(
        f"services: {{a: {{image: {FOREIGN}, platform: linux/{architecture}, user: '1000', init: true}}}}\n"
    )
    if why_not := platforms.why_not(platforms.parse(f"linux/{architecture}")):
        said = stack.fails("up", "-d")
        assert f"no interpreter for {architecture} programs" in why_not and f"platform: {why_not}" in said
        assert "qemu-user-static" in said and stack.ps("--all") == {}
    with interpreter(architecture, tmp_path / "echo"):
        assert "warning" not in stack.up()
        assert stack.run("logs", "-f", "--no-log-prefix") == "/program hello\n"
