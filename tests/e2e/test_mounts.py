"""What is mounted into a container, key by key: its effect inside, or what is said where it has none."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compose.linux import mount as m
from compose.linux import selinux

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Stack


class Row(NamedTuple):
    """A service that runs a script; every line that it writes is compared."""

    name: str
    yaml: str
    """The rest of the service, in flow style."""
    script: str
    expected: str


def services(rows: list[Row]) -> str:
    """The rows as services of a compose file."""
    text = "services:\n"
    for row in rows:
        command = json.dumps(["sh", "-c", row.script.replace("$", "$$")])
        text += f"  {row.name}: {{image: IMAGE, command: {command}, {row.yaml}}}\n"
    return text


def check(stack: Stack, rows: list[Row]) -> None:
    """Compare what the services have written, once they have ended."""
    stack.run("logs", "-f")
    found: dict[str, list[str]] = {}
    for line in stack.run("logs").splitlines():
        before, _, text = line.partition("| ")
        found.setdefault(before.strip().removesuffix("-1"), []).append(text)
    written = {row.name: "\n".join(found.get(row.name, [])) for row in rows}
    assert written == {row.name: row.expected for row in rows}


@contextlib.contextmanager
def mounted(path: Path, kind: str, *, shared: bool = False) -> Iterator[str]:
    """Mount a tmpfs, or the directory on itself, on the host while the test runs."""
    path.mkdir(parents=True, exist_ok=True)
    place = str(path)
    if kind == "bind":
        m.mount(place, place, None, m.MS_BIND)
    else:
        m.mount(kind, place, kind, 0)
    m.mount(None, place, None, m.MS_SHARED if shared else m.MS_PRIVATE)
    try:
        yield place
    finally:
        m.umount2(place, m.MNT_DETACH)


TMPFS = "stat -c '%a %u %g' /t; grep ' /t ' /proc/mounts | cut -d ' ' -f 4 | tr , '\\n'"
TRY = "touch /m/x 2>/dev/null && echo above; touch /m/below/x 2>/dev/null && echo below; ls /m/below"


def bind(name: str, options: str) -> str:
    return f"volumes: [{{type: bind, source: ./{name}, target: /m, {options}}}]"


def test_bind_mounts_with_mounts_below_them(stack: Stack) -> None:
    rows = [
        Row("writable", "volumes: ['./writable:/m']", TRY, "above\nbelow\nhost\nx"),
        Row("readonly", "volumes: ['./readonly:/m:ro']", TRY, "host"),
        Row("forced", bind("forced", "bind: {recursive: readonly}, read_only: true"), TRY, "host"),
        Row("partly", bind("partly", "bind: {recursive: writable}, read_only: true"), TRY, "below\nhost\nx"),
        Row("shallow", bind("shallow", "bind: {recursive: disabled}"), TRY, "above\nbelow\nx"),
        Row("consistent", bind("consistent", "consistency: delegated"), TRY, "above\nbelow\nhost\nx"),
        Row("labelled", "volumes: ['./labelled:/m:ro,Z']", TRY, "host"),
    ]
    with contextlib.ExitStack() as undone:
        for row in rows:
            below = undone.enter_context(mounted(stack.directory / row.name / "below", "tmpfs"))
            Path(f"{below}/host").touch()
        stack.write(services(rows))
        assert "warning" not in stack.up()
        check(stack, rows)
        stack.run("down", "-t", "0")


def test_mounts_come_and_go_with_the_hosts_where_that_is_asked_for(stack: Stack) -> None:
    forms = ["", ":private", ":rslave", ":slave", ":rshared", ":shared"]
    names = [form.strip(":") or "default" for form in forms]
    command = "sleep infinity"
    mounts = {name: f"'./tree:/m{form}'" for name, form in zip(names, forms, strict=True)}
    mounts["slave"] = "{type: bind, source: ./tree, target: /m, bind: {propagation: slave}}"
    text = "".join(
        f"  {name}: {{image: IMAGE, command: {command}, privileged: true, volumes: [{mount}]}}\n"
        for name, mount in mounts.items()
    )
    stack.write(f"services:\n{text}")
    with mounted(stack.directory / "tree", "bind", shared=True) as tree:
        for name in ("host", *names):
            os.mkdir(f"{tree}/{name}")
        stack.up()
        with mounted(stack.directory / "tree/host", "tmpfs", shared=True) as later:
            Path(f"{later}/file").touch()
            seen = [name for name in names if stack.shell(name, "ls /m/host")]
            assert seen == ["rslave", "slave", "rshared", "shared"]
        for name in names:
            stack.shell(name, f"mount -t tmpfs x /m/{name} && touch /m/{name}/file")
        assert [name for name in names if os.listdir(f"{tree}/{name}")] == ["rshared", "shared"]
        for name in ("rshared", "shared"):
            stack.shell(name, f"umount /m/{name}")
        stack.run("down", "-t", "0")


def test_directories_are_labelled_where_the_host_has_selinux(stack: Stack) -> None:
    stack.write("""
services:
  short: {image: IMAGE, command: [touch, /m/x], volumes: ['./short:/m:Z']}
  long:
    image: IMAGE
    command: [touch, /m/x]
    volumes: [{type: bind, source: ./long, target: /m, bind: {selinux: z}}]
""")
    for name in ("short", "long"):
        (stack.directory / name).mkdir()
    stack.run("up")
    for name in ("short", "long"):
        assert (stack.directory / name / "x").exists()
        label = b""
        with contextlib.suppress(OSError):
            label = os.getxattr(stack.directory / name, "security.selinux")
        assert (label == selinux.CONTAINER_FILE) == selinux.enabled()


def test_a_mount_that_is_not_shared_cannot_be_propagated(stack: Stack) -> None:
    stack.write("services:\n  box: {image: IMAGE, command: id, volumes: ['./tree:/m:rslave']}\n")
    with mounted(stack.directory / "tree", "bind"):
        text = stack.fails("up", "-d")
        assert "tree: lies on a mount of the host that is not shared" in text
        stack.run("down")


def test_tmpfs_options_short_and_long(stack: Stack) -> None:
    some = "grep -E '^(ro|rw|size|mode|uid|gid|nosuid|nodev|noexec|nr_)' | tr '\\n' ' '"
    rows = [
        Row("plain", "tmpfs: /t", f"{TMPFS} | {some}", "1777 0 0\nrw nosuid nodev noexec "),
        Row("all", "tmpfs: ['/t:size=1m,mode=1770,uid=5,gid=6,nr_inodes=40']",
            f"{TMPFS} | {some}",
            "1770 5 6\nrw nosuid nodev noexec size=1024k nr_inodes=40 mode=1770 uid=5 gid=6 "),
        Row("owned", "tmpfs: ['/t:uid=7']", "stat -c '%u %g' /t", "7 0"),
        Row("undone", "tmpfs: ['/t:exec,suid,dev']",
            "cp /bin/busybox /t/echo; /t/echo runs; grep ' /t ' /proc/mounts | grep -cE 'no(suid|dev|exec)'",
            "runs\n0"),
        Row("noexec", "tmpfs: ['/t:noexec']",
            "cp /bin/busybox /t/echo; /t/echo 2>/dev/null || echo no", "no"),
        Row("readonly", "tmpfs: ['/t:ro']", "touch /t/x 2>/dev/null || echo no", "no"),
        Row("full", "tmpfs: ['/t:size=64k']", "head -c 1m /dev/zero > /t/x 2>/dev/null; stat -c %s /t/x",
            "65536"),
        Row("covers-nothing", "tmpfs: [/new/t], user: '1000'", "touch /new/t/x; stat -c %a /new/t", "1777"),
        Row("covers", "tmpfs: [/tmp]", "stat -c %a /tmp", "1777"),
        Row("long", "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 2m, mode: 0o1700}}]",
            f"{TMPFS} | {some}", "1700 0 0\nrw nosuid nodev noexec size=2048k mode=1700 "),
        Row("fixed", "volumes: [{type: tmpfs, target: /t, read_only: true}]",
            "touch /t/x 2>/dev/null || echo no", "no"),
    ]  # fmt: skip
    stack.write(services(rows))
    assert "warning" not in stack.up()
    check(stack, rows)


def test_volumes_in_part_and_without_content(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN mkdir -p /seed/inner && echo one > /seed/inner/file\n", "Dockerfile")
    stack.write(
        """
services:
  seed: {build: ., image: PROJECT-seed, command: [echo, seeded], volumes: ["data:/seed"]}
  part:
    image: IMAGE
    command: [sh, -c, "cat /p/file; touch /p/new; ls /p"]
    volumes: [{type: volume, source: data, target: /p, volume: {subpath: ./inner/}}]
    depends_on: {seed: {condition: service_completed_successfully}}
  file:
    image: IMAGE
    command: [sh, -c, "cat /etc/f; touch /etc/f 2>/dev/null || echo fixed"]
    volumes: [{type: volume, source: data, target: /etc/f, read_only: true, volume: {subpath: inner/file}}]
    depends_on: {seed: {condition: service_completed_successfully}}
  empty:
    image: PROJECT-seed
    command: [sh, -c, "ls /seed | wc -l"]
    volumes: [{type: volume, source: other, target: /seed, volume: {nocopy: true}}]
    depends_on: {seed: {condition: service_completed_successfully}}
  short:
    image: PROJECT-seed
    command: [sh, -c, "ls /seed | wc -l"]
    volumes: ["third:/seed:nocopy"]
    depends_on: {seed: {condition: service_completed_successfully}}
volumes: {data: {}, other: {}, third: {}}
""".replace("PROJECT", stack.name)
    )
    assert "warning" not in stack.up()
    rows = [
        Row("part", "", "", "one\nfile\nnew"),
        Row("file", "", "", "one\nfixed"),
        Row("empty", "", "", "0"),
        Row("short", "", "", "0"),
    ]
    check(stack, rows)


HOSTILE = ["/etc", "../../../../../../../etc", "/proc/self/root/etc", "loop"]


def test_a_subpath_never_leads_out_of_its_volume(stack: Stack) -> None:
    """What lies in a volume was written by containers: links in it may point anywhere."""
    made = "; ".join(f"ln -s {text} /v/link{number}" for number, text in enumerate(HOSTILE))
    stack.write(f"""
services:
  evil: {{image: IMAGE, command: [sh, -c, "{made}; ln -s loop /v/loop; mkdir /v/real; ln -s real /v/good"],
         volumes: ["data:/v"]}}
volumes: {{data: {{}}}}
""")
    stack.up()
    stack.run("logs", "-f")
    for name in [f"link{number}" for number in range(len(HOSTILE))]:
        stack.write(victim(name))
        text = stack.fails("up", "-d")
        assert "leads out of the volume" in text or "Too many levels of symbolic links" in text, name
    stack.write(victim("good"))
    stack.up()
    assert stack.shell("victim", "ls -d /v") == "/v"
    for name in ("../x", "/x", "a/../../b"):
        stack.write(victim(name))
        assert "leads out" in stack.fails("up", "-d")
    stack.write(victim("missing"))
    assert "missing: No such file or directory" in stack.fails("up", "-d")
    stack.write(victim("good"))


def victim(subpath: str) -> str:
    return f"""
services:
  victim:
    image: IMAGE
    command: [sleep, infinity]
    volumes: [{{type: volume, source: data, target: /v, volume: {{subpath: {subpath}}}}}]
volumes: {{data: {{}}}}
"""


def test_configs_and_secrets_from_everywhere(stack: Stack) -> None:
    stack.write("from a file\n", "given/file")
    stack.write(
        """
configs:
  filed: {file: given/file}
  inline: {content: "hello ${NAME}"}
  varied: {environment: NAME}
secrets:
  filed: {file: given/file}
  varied: {environment: TOKEN}
"""
        + services(
            rows := [
                Row("targets", "configs: [filed, inline, {source: varied, target: relative/place}]",
                    "cat /filed /inline; echo; cat /relative/place", "from a file\nhello world\nworld"),
                Row("modes",
                    "configs: [varied, {source: inline, target: /c, uid: '5', gid: '6', mode: 0440}]",
                    "stat -c '%a %u %g' /c /varied", "440 5 6\n444 0 0"),
                Row("secrets", "secrets: [filed, varied, {source: varied, target: x/y},"
                    " {source: filed, target: /etc/z}]",
                    "cd /run/secrets; cat filed varied; echo; cat x/y; echo; cat /etc/z",
                    "from a file\nt0ken\nt0ken\nfrom a file"),
                Row("secretive", "secrets: [{source: varied, uid: '1000', gid: '7', mode: 0o400}]",
                    "stat -c '%a %u %g' /run/secrets/varied", "400 1000 7"),
                Row("fixed", "configs: [inline, filed], secrets: [varied]",
                    "for f in /inline /filed /run/secrets/varied; do touch $f 2>/dev/null || echo no; done",
                    "no\nno\nno"),
                Row("readonly", "read_only: true, configs: [inline], secrets: [varied]",
                    "cat /inline; echo; cat /run/secrets/varied; touch /x 2>/dev/null || echo; echo fixed",
                    "hello world\nt0ken\nfixed"),
            ]
        )
    )  # fmt: skip
    stack.environment |= {"NAME": "world", "TOKEN": "t0ken"}
    assert "warning" not in stack.up()
    check(stack, rows)


def test_a_changed_content_makes_the_container_again(stack: Stack) -> None:
    text = """
services:
  box: {image: IMAGE, command: [sleep, infinity], configs: [inline], secrets: [varied]}
configs: {inline: {content: one}}
secrets: {varied: {environment: TOKEN}}
"""
    stack.write(text)
    stack.environment["TOKEN"] = "first"
    stack.up()
    before = stack.ids()
    stack.up()
    assert stack.ids() == before
    stack.write(text.replace("content: one", "content: two"))
    stack.up()
    assert stack.shell("box", "cat /inline /run/secrets/varied") == "twofirst"
    stack.environment["TOKEN"] = "second"
    assert "(secrets.varied changed)" in stack.run("up", "--dry-run")
    stack.up()
    assert stack.shell("box", "cat /inline /run/secrets/varied") == "twosecond"


def test_only_the_owner_of_the_store_can_read_a_secret(stack: Stack) -> None:
    secret = "a-very-secret-value"
    stack.environment["TOKEN"] = secret
    stack.write("""
services:
  box: {image: IMAGE, command: [sleep, infinity], secrets: [token]}
secrets: {token: {environment: TOKEN}}
""")
    stack.up()
    found = [path for root in (stack.paths.data, stack.paths.run) for path in holders(root, secret)]
    assert found, "the container has it from somewhere"
    for path in found:
        assert not readable_by_others(path), path
    assert secret not in stack.run("config")


def holders(root: str, text: str) -> Iterator[str]:
    """The files below `root` that hold `text`."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.lstat(path).st_mode) and text.encode() in Path(path).read_bytes():
                    yield path


def readable_by_others(path: str) -> bool:
    """Whether another user could open the file: its mode, and a way through every directory above it."""
    if not os.stat(path).st_mode & 0o044:
        return False
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o011:
            return False
    return True


REFUSED = {
    "volumes: [{type: bind, source: ./none, target: /m, bind: {propagation: rprivate}}]":
        "none is to be mounted, but does not exist",
    "volumes: [{type: bind, source: ./none, target: /m, bind: {create_host_path: false}}]":
        "bind: {create_host_path: true}",
    "volumes: [{type: bind, source: ., target: /m, bind: {propagation: always}}]":
        "there is no propagation always",
    "volumes: [{type: bind, source: ., target: /m, bind: {recursive: readonly}}]": "`read_only: true`",
    "volumes: [{type: image, target: /m}]": "an image mount needs a source",
    "tmpfs: ['/t:size=1m,colour=red']": "tmpfs /t: colour=red is not an option of a tmpfs",
    "configs: [missing]": "compose.yaml:2:21: configs.missing.file: ",
    "configs: [elsewhere]": "configs.elsewhere is external, but there is no store of configs",
    "secrets: [elsewhere]": "secrets.elsewhere is external, but there is no store of secrets",
    "secrets: [{source: here, uid: me}]": "service box: secrets.here: uid: me is not a number",
    "secrets: [unset]": "service box: secrets.unset: the variable UNSET_NOWHERE is not set",
}  # fmt: skip


def test_what_cannot_be_mounted_is_said(stack: Stack) -> None:
    top = """
configs: {missing: {file: ./missing}, elsewhere: {external: true}}
secrets: {elsewhere: {external: true}, here: {environment: HERE}, unset: {environment: UNSET_NOWHERE}}
services:
"""
    stack.environment["HERE"] = "x"
    for text, said in REFUSED.items():
        stack.write(f'{top}  box: {{image: IMAGE, command: ["true"], {text}}}')
        assert said in stack.fails("up", "-d"), text
    for kind in ("npipe", "cluster"):
        text = f"volumes: [{{type: {kind}, source: a, target: /m}}]"
        stack.write(f'{top}  box: {{image: IMAGE, command: ["true"], {text}}}')
        assert f"`{kind}` is not supported yet, ignored: there are bind" in stack.up("--no-start")


def test_a_missing_directory_of_the_host_is_made_where_that_is_asked_for(stack: Stack) -> None:
    os.chown(stack.directory, 1234, 1235)
    stack.write("""
services:
  box: {image: IMAGE, command: ["true"], volumes: ["./a/b:/m", {type: bind, source: ./c, target: /n,
        bind: {create_host_path: true}}, {type: bind, source: ./d, target: /o}]}
""")
    stack.up()
    for name in ("a", "a/b", "c", "d"):
        made = (stack.directory / name).stat()
        assert (made.st_uid, made.st_gid) == (1234, 1235)


def test_options_of_another_type_of_mount_are_said(stack: Stack) -> None:
    stack.write("""
services:
  box:
    image: IMAGE
    volumes:
      - {type: tmpfs, source: x, target: /t, bind: {propagation: rslave}}
      - {type: bind, source: ., target: /b, tmpfs: {size: 1m}}
""")
    said = stack.up("--no-start")
    assert "compose.yaml:6:23: services.box.volumes[0].source: ignored: a tmpfs has none" in said
    assert "volumes[0].bind: ignored: it is a mount of type tmpfs" in said
    assert "volumes[1].tmpfs: ignored: it is a mount of type bind" in said


def test_a_tmpfs_looks_the_same_after_a_restart(stack: Stack) -> None:
    stack.write("services: {box: {image: IMAGE, command: [sleep, '1000'], tmpfs: [/new/t]}}\n")
    stack.up()
    stack.run("restart", "-t", "0")
    assert stack.shell("box", "stat -c %a /new /new/t") == "755\n1777"


def test_of_several_that_want_one_place_one_is_there(stack: Stack) -> None:
    """Which one is docker compose's choice; a container's shared memory and its own files give way too."""
    for name in ("first", "second", "bound", "names"):
        stack.write(f"{name}\n", name)
    stack.write("""
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    configs:
      - {source: first, target: /two-configs}
      - {source: second, target: /two-configs}
      - {source: first, target: /config-and-secret}
      - {source: first, target: /config-and-volume}
      - {source: first, target: /config-and-tmpfs}
      - {source: first, target: /config-and-device}
      - {source: written, target: /etc/hostname}
    secrets:
      - {source: second, target: /config-and-secret}
      - {source: second, target: /secret-and-bind}
      - {source: second, target: /secret-and-device/}
    volumes:
      - data:/config-and-volume/
      - ./bound:/secret-and-bind
      - ./bound:/bind-and-device
      - ./names:/etc/hosts
    tmpfs: [/config-and-tmpfs, "/dev/shm:size=5m"]
    devices:
      - /dev/null:/config-and-device
      - /dev/null:/secret-and-device
      - /dev/null:/bind-and-device
    shm_size: 20m
configs: {first: {file: ./first}, second: {file: ./second}, written: {content: "given\n"}}
secrets: {second: {file: ./second}}
volumes: {data: {}}
""")
    stack.up()
    places = {
        "/two-configs": "second",
        "/config-and-secret": "second",
        "/secret-and-bind": "bound",
        "/config-and-device": "first",
        "/secret-and-device": "second",
        "/bind-and-device": "bound",
        "/etc/hosts": "names",
        "/etc/hostname": "given",
    }
    assert stack.shell("box", f"cat {' '.join(places)}").split() == list(places.values())
    table = [line.split(" ") for line in stack.shell("box", "cat /proc/mounts").splitlines()]
    for place in (*places, "/config-and-volume", "/config-and-tmpfs", "/dev/shm"):
        assert [line[1] for line in table].count(place) == 1, place
    assert next(line[2] for line in table if line[1] == "/config-and-tmpfs") == "tmpfs"
    assert "size=5120k" in next(line[3] for line in table if line[1] == "/dev/shm")
    assert stack.shell("box", "ls -A /config-and-volume") == ""
