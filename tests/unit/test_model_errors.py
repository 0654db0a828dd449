"""What is wrong in a file is said in one line: place, key, problem, and what to write instead."""

from __future__ import annotations

import re
import resource
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


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("empty", "name")])
def test_error_begins_with_file_line_and_column(name: str, tmp_path: Path) -> None:
    assert re.match(r"compose\.yaml:\d+:\d+: ", failure(tmp_path, CASES[name]["file"].encode()).message)


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


HOSTILE = {
    "not UTF-8": (b"services:\n  a: {image: \xff}\n", "compose.yaml:2:14: is not UTF-8 text"),
    "a NUL": (b'services:\n  a: {image: "x\0"}\n', "compose.yaml:2:16: contains the character #x0000"),
    "deep brackets": (b"a: " + b"[" * 10_000, "is nested more than 64 levels deep"),
    "deep mappings": (
        b"".join(b" " * depth + b"a:\n" for depth in range(300)),
        "is nested more than 64 levels deep",
    ),
    "an alias bomb": (bomb(), "the file stands for more than 120000 values"),
    "deep variables": (nested_variables(5000), "variables are nested more than 64 levels deep"),
    "open variables": (b'services: {a: {image: "' + b"${" * 500_000 + b'"}}', "is not closed with `}`"),
    "a huge file": (b"# comment\n" * 5_000_000, "is larger than 8 MiB"),
    "many values": (b"x-a: [" + b"1," * 1_000_000 + b"1]", "the file stands for more than 120000 values"),
    "all ports thrice": (
        b"services: {a: {image: x, ports: ['1-65535:1-65535', '1-65535:1-65535/udp']}}",
        "more than 20000 ports",
    ),
    "long texts by aliases": (
        b"x-a: &a '" + b"v" * 1_000_000 + b"'\nx-b: [" + b"*a," * 50_000 + b"*a]",
        "the file stands for more than 120000 values",
    ),
    "a tangle": (
        b"services:\n"
        + b"".join(
            b"  s%d: {image: x, depends_on: [%s]}\n"
            % (one, b",".join(b"s%d" % o for o in range(40) if o != one))
            for one in range(40)
        ),
        "the services depend on each other in a circle: s0 (",
    ),
    "a long name": (b"services: {" + b"a" * 300 + b": {image: x}}", "cannot be a name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_quickly_and_cheaply(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    found = failure(tmp_path, data)
    assert words in found.message
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_variables_that_double_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=x\n" + "A=$A$A\n" * 40)
    assert ".env:22:3: comes to more than 1 MiB" in failure(tmp_path, b"services: {a: {image: x}}").message
    (tmp_path / ".env").write_text("A=" + "x" * 500_000 + "\n")
    found = failure(tmp_path, b"x-a: [" + b"$A," * 50_000 + b"$A]")
    assert "the values with variables come to more than 32 MiB" in found.message
    (tmp_path / ".env").write_text("A=1\n" * 300_000)
    assert failure(tmp_path, b"services: {a: {image: x}}").message == ".env: is larger than 1 MiB"


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
