"""What is wrong in a file is said in one line: place, key, problem, and what to write instead."""

from __future__ import annotations

import functools
import math
import os
import re
import resource
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.errors import ComposeError, ModelError
from compose.model import load

CASES: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("compose_errors.yaml").read_text(encoding="utf-8")
)


def failure(directory: Path, data: bytes) -> ComposeError:
    """The error of loading a file with these bytes."""
    (directory / "compose.yaml").write_bytes(data)
    with pytest.raises(ComposeError) as caught:
        load(["compose.yaml"], cwd=str(directory), environment={})
    return caught.value


@pytest.mark.parametrize("name", CASES)
def test_error_has_its_place_and_its_hint(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = failure(tmp_path, case["file"].encode())
    assert (found.message, found.hint) == (case["message"], case["hint"])
    assert "\n" not in found.message
    assert case["hint"]


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].get("place", True)])
def test_error_begins_with_file_line_and_column(name: str, tmp_path: Path) -> None:
    assert re.match(r"compose\.yaml:\d+:\d+: ", failure(tmp_path, CASES[name]["file"].encode()).message)


def test_what_a_message_shows_of_a_file_cannot_leave_its_line(tmp_path: Path) -> None:
    found = failure(tmp_path, b'services: {a: {image: x, restart: "a\\n\\e[2Jb"}}')
    assert found.message == r"compose.yaml:1:26: services.a.restart: `a\n\x1b[2Jb` is not a restart policy"
    found = failure(tmp_path, b'services: {"a\\nb": {image: x}}')
    assert found.message == r"compose.yaml:1:12: services: `a\nb` cannot be a name"


def bomb() -> bytes:
    """Ten lines of aliases that stand for 10^10 values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for number in range(10):
        name, before = chr(98 + number), chr(97 + number)
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
    return "\n".join(lines).encode()


def nested_variables(depth: int) -> bytes:
    """A variable inside of a variable's default, and so on."""
    return b'services: {a: {image: "' + b"${A:-" * depth + b"}" * depth + b'"}}'


def services(count: int, body: str) -> bytes:
    """A file of so many services; `{}` in the body is the service's number, `{next}` the following one's."""
    lines = [f"  s{one}: " + body.format(one, next=(one + 1) % count) for one in range(count)]
    return ("services:\n" + "\n".join(lines) + "\n").encode()


def one_service(body: str) -> bytes:
    """A file with one service."""
    return f"services: {{a: {{image: x, {body}}}}}\n".encode()


HOSTILE = {
    "not UTF-8": (b"services:\n  a: {image: \xff}\n", "compose.yaml:2:14: is not UTF-8 text"),
    "a NUL": (b'services:\n  a: {image: "x\0"}\n', "compose.yaml:2:16: contains the character #x0000"),
    "deep brackets": (b"a: " + b"[" * 10_000, "is nested more than 64 levels deep"),
    "deep mappings": (
        b"".join(b" " * depth + b"a:\n" for depth in range(300)),
        "is nested more than 64 levels deep",
    ),
    "an alias bomb": (bomb(), "the files stand for more than 40000 values"),
    "deep variables": (nested_variables(5000), "variables are nested more than 64 levels deep"),
    "open variables": (
        b'services: {a: {image: "' + b"${" * 90_000 + b'"}}',
        "is not closed with `}`",
    ),
    "very many variables": (
        one_service('command: ["' + "$A" * 500_000 + '"]'),
        "more than 100000 uses of variables",
    ),
    "nested variables, many times": (
        one_service("command: [" + ",".join(['"' + "${A:-" * 60 + "}" * 60 + '"'] * 5000) + "]"),
        "more than 100000 uses of variables",
    ),
    "a huge file": (b"# comment\n" * 500_000, "is larger than 2 MiB"),
    "a long line": (b"services:\n" + b"\t" * 2_000_000, "a tab is used for indentation"),
    "many values": (b"x-a: [" + b"1," * 900_000 + b"1]", "the files stand for more than 40000 values"),
    "many documents": (b"---\n" * 500_000, "the files stand for more than 40000 values"),
    "many services": (services(30_000, "{{image: x}}"), "the files stand for more than 40000 values"),
    "many mistakes": (services(9_000, "{{imag: x}}"), "compose.yaml:2:8: services.s0.imag: unknown key"),
    "one mistake after many services": (
        services(9_000, "{{image: x}}") + b"  z: {imag: x}\n",
        "services.z.imag: unknown key",
    ),
    "a wrong name among many": (
        services(9_000, "{{image: x}}") + b"  z: {image: x, depends_on: [servic]}\n",
        "there is no service `servic`",
    ),
    "a long list with one entry twice": (
        one_service(f"security_opt: [{','.join(f'C{one}' for one in range(39_000))}, C1]"),
        "`C1` is in the list twice",
    ),
    "all ports thrice": (
        b"services: {a: {image: x, ports: ['1-65535:1-65535', '1-65535:1-65535/udp']}}",
        "more than 20000 ports",
    ),
    "many ports, many times": (
        services(1_000, '{{image: x, ports: ["1-20000:1-20000"]}}'),
        "services.s1.ports[0]: more than 20000 ports",
    ),
    "many mounts": (
        one_service(f"volumes: [{','.join(f'./a{one}:/b{one}' for one in range(30_000))}]"),
        "more than 10000 volumes",
    ),
    "extended without end": (
        b"services:\n  s0: {image: x, environment: {"
        + b",".join(b"A%d: x" % one for one in range(500))
        + b"}}\n"
        + b"".join(b"  s%d: {extends: {service: s%d}}\n" % (one, one - 1) for one in range(1, 4000)),
        "the files come to more than 130000 values",
    ),
    "long texts by aliases": (
        b"x-a: &a '" + b"v" * 1_000_000 + b"'\nx-b: [" + b"*a," * 50_000 + b"*a]",
        "the files stand for more than 40000 values",
    ),
    "a long command": (one_service(f'command: "{"a " * 100_000}"'), "is longer than 128 KiB"),
    "long commands": (
        services(8, f'{{{{image: x, command: "{"a " * 64_000}"}}}}'),
        "the commands come to more than",
    ),
    "a huge number": (one_service(f"mem_limit: {'9' * 2_000_000}"), "`+Inf` is out of range"),
    "a huge number in quotes": (one_service(f"scale: '{'9' * 2_000_000}'"), "is not a whole number"),
    "a long duration": (one_service(f"stop_grace_period: {'1h' * 1_000_000}"), "is too long for a duration"),
    "a tangle": (
        b"services:\n"
        + b"".join(
            b"  s%d: {image: x, depends_on: [%s]}\n"
            % (one, b",".join(b"s%d" % o for o in range(40) if o != one))
            for one in range(40)
        ),
        "the services depend on each other in a circle: s0 (",
    ),
    "a circle of many": (
        services(3_000, "{{image: x, depends_on: [s{next}]}}"),
        "services.s0.depends_on: the services depend on each other in a circle: s0 (",
    ),
    "a long name": (b"services: {" + b"a" * 300 + b": {image: x}}", "cannot be a name"),
}
HOSTILE_VARIABLES = {
    "many": (b"A=1\n" * 250_000, ".env:30001:1: more than 30000 variables"),
    "many comments": (b"#\n" * 500_000 + b"A B=1\n", ".env:500001:1: `A B` is not a name"),
    "many uses": (b"A=" + b"$A" * 500_000, "more than 100000 uses of variables"),
    "a long text that does not end": (b'A="' + b"\\n\n" * 300_000, "has no closing"),
    "large": (b"A=1\n" * 300_000, ".env: is larger than 1 MiB"),
}


@functools.cache
def a_second() -> int:
    """Whole seconds of the processor here, for what takes one on a machine of today: 100 ordinary files."""
    ordinary = services(50, "{{image: x, ports: ['80'], environment: {{A: b}}, volumes: ['/a:/b']}}")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "compose.yaml").write_bytes(ordinary)
        load(["compose.yaml"], cwd=directory, environment={})
        before = time.process_time()
        load(["compose.yaml"], cwd=directory, environment={})
        return math.ceil(100 * (time.process_time() - before))


def confined_failure(directory: Path) -> str:
    """The error of a load that has one second of the processor, and 200 MiB more memory than there is now."""
    seconds = a_second()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        memory = pages * resource.getpagesize() + (200 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        message = "nothing was wrong"
        try:
            load(["compose.yaml"], cwd=str(directory), environment={})
        except ComposeError as problem:
            message = problem.message
        except BaseException as problem:
            message = f"{type(problem).__name__}: {problem}"
        os.write(writing, message.encode("utf-8", "surrogateescape")[:5000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        message = pipe.read().decode("utf-8", "surrogateescape")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, "took more than a second" if status == -signal.SIGXCPU else status
    return message


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_quickly_and_cheaply(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    (tmp_path / "compose.yaml").write_bytes(data)
    assert words in confined_failure(tmp_path)


@pytest.mark.parametrize("name", HOSTILE_VARIABLES)
def test_hostile_file_of_variables_is_refused_quickly_and_cheaply(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE_VARIABLES[name]
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}}")
    (tmp_path / ".env").write_bytes(data)
    assert words in confined_failure(tmp_path)


@pytest.mark.parametrize("data", [b"A=1\n" * 20_000, b"#\n" * 400_000], ids=["variables", "comments"])
def test_a_large_file_of_variables_for_many_services_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(services(2_000, "{{image: x, env_file: many.env}}"))
    (tmp_path / "many.env").write_bytes(data)
    assert ", each file counted every time it is read" in confined_failure(tmp_path)


def test_what_is_just_within_the_limits_is_read(tmp_path: Path) -> None:
    """Ranges of ports as telephony has them, and more services than a machine can run."""
    (tmp_path / "compose.yaml").write_bytes(one_service('ports: ["16384-32768:16384-32768/udp"]'))
    assert confined_failure(tmp_path) == "nothing was wrong"
    (tmp_path / "compose.yaml").write_bytes(
        services(3_000, "{{image: x, depends_on: {{}}, labels: [a=b, c=d]}}")
    )
    assert confined_failure(tmp_path) == "nothing was wrong"


def test_variables_that_double_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=x\n" + "A=$A$A\n" * 40)
    assert ".env:22:3: comes to more than 1 MiB" in failure(tmp_path, b"services: {a: {image: x}}").message
    (tmp_path / ".env").write_text("A=" + "x" * 500_000 + "\n")
    found = failure(tmp_path, b"x-a: [" + b"$A," * 30_000 + b"$A]")
    assert "the values with variables come to more than 32 MiB" in found.message


def test_includes_that_double_each_other_are_refused(tmp_path: Path) -> None:
    for number in range(20):
        following = f"{number + 1}.yaml"
        (tmp_path / f"{number}.yaml").write_text(f"include: [{following}, {following}]\n")
    (tmp_path / "20.yaml").write_text("services: {a: {image: x}}\n")
    assert "more than 300 files are included" in failure(tmp_path, b"include: [0.yaml]\n").message


def test_values_cannot_become_structure(tmp_path: Path) -> None:
    """A variable's value stays one scalar, whatever it looks like."""
    value = 'x"\n    privileged: true'
    (tmp_path / "compose.yaml").write_text(
        'services: {a: {image: x, command: ["${V}", "$(touch p)", "`id`"]}}'
    )
    project = load(["compose.yaml"], cwd=str(tmp_path), environment={"V": value})
    assert project.services["a"]["command"] == [value, "$(touch p)", "`id`"]
    assert "privileged" not in project.services["a"]


def test_error_in_an_extended_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("services:\n  b:\n    imag: x\n")
    found = failure(tmp_path, b"services: {a: {extends: {file: base.yaml, service: b}}}")
    assert found.message == "base.yaml:3:5: services.b.imag: unknown key"


def test_error_of_a_merged_value_names_the_file_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("services:\n  a:\n    image: x\n    volumes: ['./a:/a']\n")
    (tmp_path / "two.yaml").write_text("services:\n  a:\n    volumes:\n      - data:/b\n")
    with pytest.raises(ModelError) as caught:
        load(["one.yaml", "two.yaml"], cwd=str(tmp_path), environment={})
    assert str(caught.value) == "two.yaml:4:9: services.a.volumes[1]: there is no volume `data`"


def test_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match="cannot be read: No such file"):
        load(["nope.yaml"], cwd=str(tmp_path), environment={})
    with pytest.raises(ComposeError, match=r"there is no compose\.yaml"):
        load(cwd=str(tmp_path), environment={})
