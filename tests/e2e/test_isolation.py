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


LURE = """
services:
  app:
    image: IMAGE
    network_mode: none
    restart: always
    command: [sh, -c, "cat /etc/app.conf /srv/deep/file; echo written >> /etc/app.conf; exec sleep infinity"]
    volumes: ["./conf/app.conf:/etc/app.conf", "./conf/deep:/srv/deep", "./conf/known:/known", "data:/data"]
  editor: {image: IMAGE, network_mode: none, command: [sleep, infinity], volumes: ["./conf:/conf"]}
volumes: {data: {driver_opts: {type: none, o: bind, device: DIRECTORY/conf/data}}}
"""


@pytest.mark.parametrize("link", ["conf/app.conf", "conf/deep", "conf/known", "conf/data"])
def test_no_link_of_a_container_leads_a_later_start_to_the_host(stack: Stack, link: str) -> None:
    """One that can write to the directory of a mount's source puts a link in its place, and waits."""
    for name in ("conf/app.conf", "conf/deep/file", "conf/data/file", "secret", "other"):
        stack.write(name + "\n", name)
    os.symlink("../other", stack.directory / "conf/known")  # made by the developer: it may lead out
    stack.write(LURE.replace("DIRECTORY", str(stack.directory)))
    stack.up()
    stack.until_written("conf/deep/file", "app")
    leads = "." if link in ("conf/deep", "conf/data") else "secret"
    stack.shell("editor", f"rm -rf /{link}; ln -s ../{leads} /{link}")
    stack.try_run("exec", "-T", "app", "sh", "-c", "kill -9 -1")  # its policy starts it again
    said = stack.fails("restart", "-t", "0", "app")
    assert "a link that was not there before" in said and "--force-recreate" in said
    assert (stack.directory / "secret").read_text() == "secret\n"
    assert "secret" not in stack.run("logs", "app")
    assert stack.ps("--all")[f"{stack.name}-app-1"]["State"] != "running"


def test_links_of_the_developer_are_followed_by_later_starts(stack: Stack) -> None:
    for name in ("one/file", "two/file", "outside"):
        stack.write(name + "\n", f"conf/{name}" if "/" in name else name)
    links = {"current": "one", "absolute": str(stack.directory / "conf/one"), "out": "../outside"}
    for name, leads in links.items():
        os.symlink(leads, stack.directory / "conf" / name)
    stack.write("""
services:
  app:
    image: IMAGE
    network_mode: none
    command: [sh, -c, "cat /a/file /b/file /c"]
    volumes: ["./:/project", "./conf/current:/a", "./conf/absolute:/b", "./conf/out:/c"]
""")
    stack.up()
    stack.run("logs", "-f", "app")  # until it has ended
    for name, leads in {"current": "two", "absolute": str(stack.directory / "conf/two")}.items():
        (stack.directory / "conf" / name).unlink()
        os.symlink(leads, stack.directory / "conf" / name)
    stack.run("start", "app")
    shown = stack.run("logs", "-f", "--no-log-prefix", "app").split()
    assert shown == ["one/file", "one/file", "outside", "two/file", "two/file", "outside"]
