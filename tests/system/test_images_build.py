"""Real builds: what is in the image, what it starts with, what comes from the cache."""

from __future__ import annotations

import os
import signal
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from compose.errors import BuildError
from compose.images.build import BuildRequest, build
from compose.images.overlay import mounted
from compose.images.store import ImageStore
from compose.linux.beneath import open_in_root
from tests.support.images import store_image

if TYPE_CHECKING:
    from pathlib import Path

    from compose.images.catalogue import Image
    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths


class Builder:
    """Builds in a context directory on a busybox image called ``base``."""

    def __init__(self, paths: Paths, context: Path, busybox_root: str) -> None:
        self.context = context
        self.store = ImageStore(paths)
        self.base = store_image(paths, "base", busybox_root, config={"Cmd": ["sh"], "Env": ["BASE=1"]})
        self.output: list[str] = []
        self.progress: list[str] = []

    def file(self, name: str, content: str = "", mode: int = 0o644) -> Path:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        return path

    def build(self, text: str, **options: Any) -> Image:
        self.output.clear()
        self.progress.clear()
        request = BuildRequest(context=str(self.context), dockerfile_inline=text, **options)
        return build(
            request, self.store,
            lambda what, status, fraction: self.progress.append(status),
            output=lambda line: self.output.append(line.decode()),
        )  # fmt: skip

    @property
    def cached(self) -> int:
        """How many steps of the last build came from the cache."""
        return sum(status.endswith("] cached") for status in self.progress)

    def read(self, image: Image, path: str) -> str:
        with mounted(self.store.root, image.layers) as root:
            descriptor = open_in_root(root, path.encode(), os.O_RDONLY)
            with open(descriptor, encoding="utf-8") as file:
                return file.read()

    def stat(self, image: Image, path: str) -> tuple[str, int, int]:
        """Mode in octal, user, group."""
        with mounted(self.store.root, image.layers) as root:
            descriptor = open_in_root(root, path.encode(), os.O_PATH)
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        return oct(stat.S_IMODE(status.st_mode))[2:], status.st_uid, status.st_gid

    def names(self, image: Image, path: str) -> list[str]:
        """Everything below the directory `path`, sorted."""
        found: list[str] = []
        with mounted(self.store.root, image.layers) as root:
            top = open_in_root(root, path.encode(), os.O_RDONLY | os.O_DIRECTORY)
            try:
                for above, directories, files, _ in os.fwalk(dir_fd=top):
                    found += [os.path.normpath(os.path.join(above, name)) for name in directories + files]
            finally:
                os.close(top)
        return sorted(found)


@pytest.fixture
def builder(nothing_left: None, paths: Paths, tmp_path: Path, busybox_root: str) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    return Builder(paths, context, busybox_root)


def test_the_configuration_is_what_docker_makes_of_it(builder: Builder) -> None:
    """Compared with ``docker build`` 20.10, but for WORKDIR's owner and its trailing slash (BuildKit's)."""
    image = builder.build(
        """FROM base
MAINTAINER Some One
USER app
WORKDIR /w/x
WORKDIR y/../z
CMD echo hi
ENTRYPOINT ["x"]
EXPOSE 80 81-83/udp 80/tcp
VOLUME /v1 /v2
VOLUME ["/v 3"]
HEALTHCHECK --interval=5s --retries=2 --start-period=1m30s CMD test -e /x
LABEL a=b "c d"="e f"
ENV X=1 Y="$X y" Z=a\\ b
ENV OLD form of it
STOPSIGNAL SIGINT
ONBUILD RUN echo trigger
SHELL ["/bin/sh", "-ec"]
CMD hello $X
""",
        tags=("app:1", "app:2"),
        labels={"from": "request"},
    )
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert image.settings == {
        "Env": ["BASE=1", path, "X=1", "Y= y", "Z=a b", "OLD=form of it"],
        "User": "app",
        "WorkingDir": "/w/x/z",
        "Cmd": ["/bin/sh", "-ec", "hello $X"],
        "Entrypoint": ["x"],
        "ExposedPorts": {"80/tcp": {}, "81/udp": {}, "82/udp": {}, "83/udp": {}},
        "Volumes": {"/v1": {}, "/v2": {}, "/v 3": {}},
        "Healthcheck": {
            "Test": ["CMD-SHELL", "test -e /x"],
            "Interval": 5 * 10**9,
            "Retries": 2,
            "StartPeriod": 90 * 10**9,
        },
        "Labels": {"a": "b", "c d": "e f", "from": "request"},
        "StopSignal": "SIGINT",
        "OnBuild": ["RUN echo trigger"],
        "Shell": ["/bin/sh", "-ec"],
    }
    assert image.config["author"] == "Some One"
    assert image.names == ["docker.io/library/app:1", "docker.io/library/app:2"]
    assert builder.stat(image, "/w/x/z") == ("755", 1000, 1000)
    assert [entry.get("empty_layer", False) for entry in image.config["history"]][:5] == [
        *(True, True, False, False, True)
    ]


@pytest.mark.parametrize(
    ("lines", "command", "entrypoint"),
    [
        ("", ["sh"], None),
        ('ENTRYPOINT ["e"]', None, ["e"]),
        ('CMD ["c"]\nENTRYPOINT ["e"]', ["c"], ["e"]),
        ('ENTRYPOINT ["e"]\nCMD c $X', ["/bin/sh", "-c", "c $X"], ["e"]),
        ("ENTRYPOINT e", None, ["/bin/sh", "-c", "e"]),
        ('CMD ["a" b]', ["/bin/sh", "-c", '["a" b]'], None),
        ("CMD []", [], None),
    ],
)
def test_command_and_entry_point(
    builder: Builder, lines: str, command: list[str] | None, entrypoint: list[str] | None
) -> None:
    settings = builder.build(f"FROM base\n{lines}\n").settings
    assert settings.get("Cmd") == command
    assert settings.get("Entrypoint") == entrypoint


def test_run_changes_the_image_and_nothing_of_the_runtime_stays_in_it(builder: Builder) -> None:
    image = builder.build(
        """FROM base
ENV GREETING=hello
WORKDIR /w
USER app
RUN echo "$GREETING $(id -un) $(pwd)"; echo err >&2; echo made > /tmp/made
USER root
RUN ["/bin/sh", "-c", "rm /etc/os-release; mkdir -m 700 /new; cat /etc/resolv.conf /etc/hosts >/dev/null"]
RUN true
"""
    )
    assert builder.output == ["hello app /w", "err"]
    assert builder.read(image, "/tmp/made") == "made\n"
    assert builder.stat(image, "/tmp/made") == ("644", 1000, 1000)
    assert "os-release" not in builder.names(image, "/etc")
    assert builder.stat(image, "/new") == ("700", 0, 0)
    assert builder.names(image, "/dev") == builder.names(image, "/proc") == builder.names(image, "/sys") == []
    assert not {"resolv.conf", "hosts", "hostname"} & set(builder.names(image, "/etc"))
    assert len(image.layers) == len(builder.base.layers) + 3  # WORKDIR and two RUNs: `true` made none


def test_a_failing_step_says_where_and_what_it_said(builder: Builder) -> None:
    with pytest.raises(BuildError) as caught:
        builder.build("FROM base\nRUN echo before\nRUN echo the reason; exit 7\n", tags=("app",))
    assert caught.value.message == ("dockerfile_inline:3: RUN echo the reason; exit 7 ended with exit code 7")
    assert caught.value.hint == "it said: the reason"
    assert builder.store.find("app") is None
    builder.build("FROM base\nRUN echo before\n")
    assert builder.cached == 1


def test_here_documents(builder: Builder) -> None:
    image = builder.build(
        """FROM base
ARG WHO=world
RUN <<EOF
set -e
echo "$((1 + 1)) $WHO" > /one
EOF
RUN cat > /two <<'X' && cat >> /two <<Y
$WHO
X
$WHO
Y
RUN <<EOF
#!/bin/cat
it's
EOF
COPY <<one <<-"two" --skip /files/
hello $WHO
one
	$WHO
	two
COPY --chmod=750 --chown=app <<EOF /bin/script
#!/bin/sh
EOF
""".replace(" --skip", "")
    )
    assert builder.read(image, "/one") == "2 world\n"
    assert builder.read(image, "/two") == "$WHO\nworld\n"
    assert "it's" in builder.output
    assert builder.read(image, "/files/one") == "hello world\n"
    assert builder.read(image, "/files/two") == "$WHO\n"
    assert builder.stat(image, "/files/one") == ("644", 0, 0)
    assert builder.stat(image, "/bin/script") == ("750", 1000, 1000)


def test_copy_from_the_context(builder: Builder) -> None:
    builder.file("a", "a", 0o600)
    builder.file("d/b", "b")
    builder.file("d/sub/c", "c", 0o755)
    os.chown(builder.context / "d" / "b", 55, 66)
    os.symlink("d/b", builder.context / "link")
    os.symlink("nowhere", builder.context / "d" / "sub" / "dangling")
    image = builder.build(
        """FROM base
RUN mkdir /real && ln -s /real /ln && ln -s real/file /fl
COPY a /file
COPY a /dir/
COPY d /tree
COPY --chown=app a /owned/deep/file
COPY --chown=1000:extra --chmod=0711 d /modes
COPY link /linked
COPY d/* a /globs/
COPY a /ln
COPY a /fl
WORKDIR /w
COPY a .
COPY ["a", "./b c"]
"""
    )
    assert builder.stat(image, "/file") == ("600", 0, 0)
    assert builder.names(image, "/dir") == ["a"]
    assert builder.names(image, "/tree") == ["b", "sub", "sub/c", "sub/dangling"]
    assert builder.stat(image, "/tree/b") == ("644", 0, 0)
    assert builder.stat(image, "/tree/sub/c") == ("755", 0, 0)
    assert builder.stat(image, "/owned/deep") == ("755", 1000, 1000)
    assert builder.stat(image, "/owned/deep/file") == ("600", 1000, 1000)
    assert builder.stat(image, "/modes/sub/c") == ("711", 1000, 2000)
    assert builder.read(image, "/linked") == "b"
    assert builder.names(image, "/globs") == ["a", "b", "c", "dangling"]
    assert builder.names(image, "/real") == ["a", "file"]
    assert builder.names(image, "/w") == ["a", "b c"]


def test_dockerignore(builder: Builder) -> None:
    for name in (
        "a/x.log",
        "a/keep.log",
        "c/d/z.log",
        "sub/deep/f",
        "sub/g",
        "top.log",
        "README.md",
        ".hidden",
    ):
        builder.file(name)
    os.mkfifo(builder.context / "fifo.log")
    builder.file(".dockerignore", "# no\n**/*.log\na/*\n!a/keep.log\n/sub\n!sub/deep\nREAD*\n!README.md\n")
    image = builder.build("FROM base\nCOPY . /all\nCOPY a* su? /m/\n")
    assert builder.names(image, "/all") == [
        *(
            ".dockerignore",
            ".hidden",
            "README.md",
            "a",
            "a/keep.log",
            "c",
            "c/d",
            "sub",
            "sub/deep",
            "sub/deep/f",
        )
    ]
    assert builder.names(image, "/m") == ["deep", "deep/f", "keep.log"]
    with pytest.raises(
        BuildError, match="top.log is not in the build context, or .dockerignore leaves it out"
    ):
        builder.build("FROM base\nCOPY top.log /\n")


def test_the_context_cannot_be_left(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    builder.file("d/file")
    os.symlink("../secret", builder.context / "up")
    os.symlink(str(tmp_path / "secret"), builder.context / "absolute")
    os.symlink("..", builder.context / "parent")
    for source in ("../secret", "d/../../secret", "up", "absolute", "parent/secret", "parent", "/../secret"):
        with pytest.raises(BuildError) as caught:
            builder.build(f"FROM base\nCOPY {source} /x\n")
        assert caught.value.message.startswith("dockerfile_inline:2: "), source
    image = builder.build("FROM base\nCOPY . /all\n")  # a link within a directory is copied as a link
    with mounted(builder.store.root, image.layers) as root:
        descriptor = open_in_root(root, b"all", os.O_RDONLY)
        assert os.readlink("up", dir_fd=descriptor) == "../secret"
        os.close(descriptor)


@pytest.mark.parametrize("line", ["COPY pipe /x", "COPY . /x", "COPY d /x", "ADD pipe /x"])
def test_fifos_and_devices_are_refused_at_once(builder: Builder, line: str) -> None:
    builder.file("d/file")
    os.mkfifo(builder.context / "pipe")
    os.mknod(builder.context / "d" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(BuildError, match="neither a file"):
        builder.build(f"FROM base\n{line}\n")


def test_images_links_cannot_lead_a_copy_out(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("alive")
    builder.file("a", "attack")
    builder.build(
        f"""FROM base
RUN ln -s {tmp_path}/canary /abs && ln -s ../../../../../../..{tmp_path}/canary /rel && ln -s {tmp_path} /dir
COPY a /abs
COPY a /rel
COPY a /dir/canary
WORKDIR /dir/new
"""
    )
    assert (tmp_path / "canary").read_text() == "alive"
    assert sorted(os.listdir(tmp_path)) == ["canary", "context"]


def test_add_unpacks_archives(builder: Builder) -> None:
    inner = builder.file("inner", "content", 0o640)
    for name, mode in (("a.tar", "w:"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")):
        with tarfile.open(builder.context / name, mode) as file:  # type: ignore[call-overload]
            file.add(inner, "d/inner")
    builder.file("fake.tar.gz", "no archive")
    image = builder.build(
        """FROM base
ADD a.tar /tar
ADD a.tgz a.tar.xz /more/
ADD --chown=app a.tar /owned/
ADD fake.tar.gz inner /plain/
COPY a.tar /copied
"""
    )
    assert builder.names(image, "/tar") == builder.names(image, "/more") == ["d", "d/inner"]
    assert builder.stat(image, "/owned/d/inner") == ("640", 1000, 1000)
    assert builder.names(image, "/plain") == ["fake.tar.gz", "inner"]
    assert builder.stat(image, "/copied")[0] != "755"


def test_stages(builder: Builder) -> None:
    builder.file("a", "1")
    text = """ARG BASE=base
FROM ${BASE} AS one
ARG WHAT=default
RUN mkdir /o && echo "$WHAT" > /o/f && chown 7:8 /o/f && mkfifo /o/p && ln -s /o /lo
ENV FROM_ONE=1
FROM base AS never
RUN exit 1
FROM scratch AS bare
COPY --from=one /o /copied
COPY --from=0 /lo/f /file
COPY --from=base /etc/passwd /passwd
FROM one AS last
RUN echo last > /last
"""
    bare = builder.build(text, target="bare", args={"WHAT": "given", "UNKNOWN": "x"})
    assert builder.names(bare, "/") == ["copied", "copied/f", "copied/p", "file", "passwd"]
    assert builder.read(bare, "/file") == "given\n"
    assert builder.stat(bare, "/copied/f") == ("644", 7, 8)
    assert builder.stat(bare, "/copied") == ("755", 0, 0)
    assert bare.settings["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert "warning: no ARG asks for the build argument UNKNOWN" in builder.progress
    last = builder.build(text)
    assert "FROM_ONE=1" in last.settings["Env"]
    assert builder.read(last, "/o/f") == "default\n"
    assert builder.read(builder.build(text, target="0"), "/o/f") == "default\n"
    with pytest.raises(BuildError, match="no stage nope") as caught:
        builder.build(text, target="nope")
    assert caught.value.hint == "stages: one, never, bare, last"


def test_stages_that_name_each_other_are_an_error(builder: Builder) -> None:
    with pytest.raises(BuildError, match="a stage can only copy from one that stands before it"):
        builder.build("FROM base AS a\nCOPY --from=b /x /\nFROM base AS b\nCOPY --from=a /x /\n")
    with pytest.raises(BuildError, match="is not in the store"):
        builder.build("FROM later\nFROM base AS later\n", target="0")


def test_arguments(builder: Builder) -> None:
    text = """ARG GLOBAL=g
FROM base
ARG GLOBAL
ARG A=a
ARG B=$A-b C
ARG TARGETARCH
ENV A=env
RUN echo "$GLOBAL|$A|$B|$C|${HTTP_PROXY}|$TARGETARCH|$UNDECLARED"
"""
    builder.build(text, args={"B": "given", "HTTP_PROXY": "p", "UNDECLARED": "x"})
    assert builder.output[0].startswith("g|env|given||p|")
    assert builder.output[0].endswith("64|") or builder.output[0].count("|") == 6
    builder.build(text, args={"B": "given", "HTTP_PROXY": "another", "UNDECLARED": "x"})
    assert builder.cached == 1
    builder.build(text, args={"C": "other"})
    assert builder.cached == 0
    assert builder.output[0].startswith("g|env|a-b|other||")


def test_triggers_of_the_base_image_run_once(builder: Builder) -> None:
    builder.file("a", "1")
    builder.build("FROM base\nONBUILD COPY a /a\nONBUILD RUN echo triggered >> /log\n", tags=("parent",))
    child = builder.build("FROM parent\nRUN cat /log\n", tags=("child",))
    assert builder.output == ["triggered"]
    assert "OnBuild" not in child.settings
    grandchild = builder.build("FROM child\nRUN cat -n /log | cut -f 2\n")
    assert builder.output == ["triggered"]
    assert builder.names(grandchild, "/").count("a") == 1


def test_the_same_build_gives_the_same_image(builder: Builder) -> None:
    builder.file("a", "1")
    text = "FROM base\nCOPY a /a\nRUN cat /a\nCMD x\n"
    first = builder.build(text)
    assert builder.cached == 0
    again = builder.build(text)
    assert (builder.cached, again.id, builder.output) == (2, first.id, [])
    os.utime(builder.context / "a")
    assert builder.build(text).id == first.id
    builder.file("a", "2")
    assert builder.build(text).id != first.id
    assert (builder.cached, builder.output) == (0, ["2"])
    builder.file("a", "1")
    assert builder.build(text).id == first.id
    builder.file("a", "1", 0o755)
    builder.build(text)
    assert builder.cached == 0
    builder.build(text, no_cache=True)
    assert (builder.cached, builder.output) == (0, ["1"])


def test_what_a_step_depends_on_is_in_its_key(builder: Builder) -> None:
    builder.build("FROM base\nENV A=1\nRUN echo $A\n")
    builder.build("FROM base\nENV A=2\nRUN echo $A\n")
    assert builder.output == ["2"]
    builder.build("FROM base\nUSER app\nENV A=1\nRUN echo $A\n")
    assert builder.output == ["1"]
    builder.build("FROM base\nENV A=1\nWORKDIR /tmp\nRUN echo $A\n")
    assert builder.output == ["1"]
    builder.build('FROM base\nENV A=1\nSHELL ["/bin/sh", "-ec"]\nRUN echo $A\n')
    assert builder.output == ["1"]


def test_an_image_that_claims_a_history_poisons_nothing(
    builder: Builder, paths: Paths, tmp_path: Path
) -> None:
    """CVE-2024-24557: only what was built here counts, whatever a foreign image says it is."""
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "evil").write_text("evil")
    store_image(paths, "evil", str(evil))
    image = builder.build("FROM scratch\nCOPY . /\n")
    assert "evil" not in builder.names(image, "/")
    assert builder.cached == 0


def test_a_lost_layer_is_built_again(builder: Builder) -> None:
    text = "FROM base\nRUN echo one > /one\n"
    image = builder.build(text)
    builder.store.remove(image.id)
    builder.store.prune(cache=True)
    assert builder.build(text).id
    assert builder.cached == 0


def test_the_runner_gets_a_container_of_the_layers_so_far(
    nothing_left: None, paths: Paths, tmp_path: Path, busybox_root: str
) -> None:
    base = store_image(paths, "base", busybox_root)
    specs: list[ContainerSpec] = []

    def run(spec: ContainerSpec, stdin: int, output: int) -> int:
        specs.append(spec)
        os.write(output, b"1%\r2%\rone\r\ntwo without an end")
        with open(f"{spec['rootfs']['upper']}/made", "w", encoding="utf-8") as file:
            file.write("made")
        return 0

    lines: list[str] = []
    request = BuildRequest(str(tmp_path), dockerfile_inline="FROM base\nRUN x\n", args={"A": None})
    image = build(request, ImageStore(paths), lambda *report: lines.append(report[1]), run=run)
    (spec,) = specs
    assert spec["rootfs"]["lower"][1:] == base.layers[::-1]
    assert spec["network_namespace"] == ""
    assert spec["oci"]["process"]["args"] == ["/bin/sh", "-c", "x"]
    assert spec["oci"]["process"]["noNewPrivileges"] is False
    assert spec["seccomp"]
    assert os.listdir(image.layers[-1]) == ["made"]
    assert [line for line in lines if "one" in line or "two" in line] == [
        "one",
        "two without an end",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM no/such:image\n", "dockerfile_inline:1: the image no/such:image is not in the store"),
        (
            "FROM base\nADD http://example.org/x /\n",
            "dockerfile_inline:2: ADD of an address is not supported",
        ),
        ("FROM base\nCOPY missing /\n", "dockerfile_inline:2: missing is not in the build context"),
        ("FROM base\nCOPY *.missing /\n", "dockerfile_inline:2: no file matches"),
        ("FROM base\nCOPY --chown=nobody:nope a /\n", "--chown=nobody:nope: the image has no such user"),
        ("FROM base\nCOPY --chmod=u+x a /\n", "--chmod=u+x"),
        ("FROM base\nCOPY a a /etc/passwd\n", "the destination must be a directory"),
        ("FROM base\nCOPY a /etc/passwd/x\n", "no directory"),
        ("FROM base\nRUN mkdir /x\nCOPY a /x/a/\nCOPY a /x\n", "is a directory"),
        ("FROM --platform=linux/s390x base\n", "--platform=linux/s390x"),
        ("FROM ${NOTHING}\n", "the name is empty"),
        ("FROM base\nUSER nosuch\nRUN true\n", "nosuch"),
        ("FROM base\nEXPOSE 99999\n", "not a port"),
        ("FROM base\nSTOPSIGNAL SIGNOPE\n", "no such signal"),
        ("FROM base\nRUN /no/such/program\n", "exit code 127"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(builder: Builder, text: str, message: str) -> None:
    builder.file("a")
    with pytest.raises(BuildError) as caught:
        builder.build(text, tags=("broken",))
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert builder.store.find("broken") is None
    assert os.listdir(f"{builder.store.root}/scratch") == []


def test_a_killed_build_leaves_nothing_and_the_next_one_goes_on(builder: Builder) -> None:
    text = "FROM base\nRUN echo one > /one\nRUN echo ready; read never < /fifo\n"
    text = text.replace("echo ready", "mkfifo /fifo; echo ready")
    reader, writer = os.pipe()

    def tell(line: bytes) -> None:
        os.write(writer, line)

    pid = os.fork()
    if not pid:
        try:
            request = BuildRequest(str(builder.context), dockerfile_inline=text)
            build(request, builder.store, lambda *report: None, output=tell)
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 100) == b"ready"
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert os.read(reader, 100) == b""  # nobody has the pipe any more
    os.close(reader)
    assert len(os.listdir(f"{builder.store.root}/scratch")) == 1
    builder.build("FROM base\nRUN echo one > /one\n")
    assert builder.cached == 1
    assert os.listdir(f"{builder.store.root}/scratch") == []
