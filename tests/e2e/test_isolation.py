"""What a service's processes may do, from the compose file to the kernel: the table that Docker gives."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import descendants

if TYPE_CHECKING:
    from tests.support.command import Stack

KEYS = (
    *("Umask", "Uid", "Gid", "Groups", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    *("NoNewPrivs", "Seccomp"),
)
PATTERN = f"^({'|'.join(KEYS)}):"
LOOK = f"grep -E '{PATTERN}' /proc/self/status"
NOTHING = "0" * 16
DEFAULT = "00000000a80425fb"

STACK = f"""
x-each: &each
  image: IMAGE
  command: ["sh", "-c", "{LOOK}; echo looked; exec sleep infinity"]
  network_mode: none
services:
  plain: {{<<: *each}}
  user: {{<<: *each, user: "4321"}}
  groups: {{<<: *each, user: "4321:1000", group_add: ["7"]}}
  more: {{<<: *each, cap_add: [NET_ADMIN]}}
  none: {{<<: *each, cap_drop: [ALL]}}
  all: {{<<: *each, privileged: true}}
  strict: {{<<: *each, security_opt: ["no-new-privileges:true"]}}
"""


def table(uid: int, gid: int, groups: str, permitted: str, bounding: str, **others: str) -> dict[str, str]:
    """A row, written down from what a Docker Engine shows for the same options."""
    found = {"Umask": "0022", "Uid": " ".join([str(uid)] * 4), "Gid": " ".join([str(gid)] * 4)}
    found |= {"Groups": groups, "SigIgn": NOTHING, "CapInh": NOTHING, "CapPrm": permitted}
    found |= {"CapEff": permitted, "CapBnd": bounding, "CapAmb": NOTHING, "NoNewPrivs": "0", "Seccomp": "2"}
    return found | others


def ours() -> str:
    """Every capability that a container can have here."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith("CapBnd"))


EXPECTED = {
    "plain": table(0, 0, "0", DEFAULT, DEFAULT),
    "user": table(4321, 0, "0", NOTHING, DEFAULT),
    "groups": table(4321, 1000, "7 1000", NOTHING, DEFAULT),
    "more": table(0, 0, "0", "00000000a80435fb", "00000000a80435fb"),
    "none": table(0, 0, "0", NOTHING, NOTHING),
    "all": table(0, 0, "0", ours(), ours(), Seccomp="0"),
    "strict": table(0, 0, "0", DEFAULT, DEFAULT, NoNewPrivs="1"),
}


def rows(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {key: " ".join(value.split()) for key, _, value in lines if key in KEYS}


def test_the_status_of_every_process_is_dockers(stack: Stack) -> None:
    stack.write(STACK)
    stack.up()
    stack.until_written("looked", times=len(EXPECTED))
    found = {service: rows(stack.run("logs", "--no-log-prefix", service)) for service in EXPECTED}
    for service, wanted in EXPECTED.items():
        assert found[service] == wanted, service
    look = ("grep", "-E", PATTERN, "/proc/self/status")  # without a shell, which has signals of its own
    executed = {service: rows(stack.run("exec", "-T", service, *look)) for service in EXPECTED}
    for service, wanted in EXPECTED.items():
        assert executed[service] == wanted, service
    as_user = rows(stack.run("exec", "-T", "--user", "4321", "plain", *look))
    assert as_user == table(4321, 0, "0", NOTHING, DEFAULT)


def test_no_socket_of_ours_has_an_abstract_name(stack: Stack) -> None:
    """CVE-2020-15257: whoever is in the host's network namespace could talk to it."""
    stack.write("services: {app: {image: IMAGE, command: [sleep, infinity], network_mode: host}}")
    stack.up()
    held = sockets_of_ours()
    named = {line.split()[-1] for line in unix_sockets() if line.split()[6] in held}
    assert any(name.endswith("/keeper.sock") for name in named)
    assert not [name for name in named if name.startswith("@")]


def unix_sockets() -> list[str]:
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()[1:]


def sockets_of_ours() -> set[str]:
    """The inodes of sockets that processes hold that this test has started."""
    found = set()
    for process in descendants():
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{process.pid}/fd"):
                with contextlib.suppress(OSError):
                    kind, _, inode = os.readlink(f"/proc/{process.pid}/fd/{number}").partition(":")
                    if kind == "socket":
                        found.add(inode.strip("[]"))
    return found


@pytest.mark.parametrize("directory", ["/proc/self/fd/3", "/proc/1/root", "/proc/self/cwd/../.."])
def test_a_working_directory_outside_is_refused(stack: Stack, directory: str) -> None:
    """CVE-2024-21626, as a key of the file and as an option of exec."""
    text = "services: {app: {image: IMAGE, command: [sleep, infinity], network_mode: none}}"
    stack.write(text)
    stack.up()
    done = stack.try_run("exec", "-T", "-w", directory, "app", "pwd")
    assert (done.code != 0, done.out, "working directory" in done.err) == (True, "", True), done
    stack.write(text.replace("network_mode", f"working_dir: {directory}, network_mode"))
    assert "working directory" in stack.fails("up", "-d", "-t", "0")
