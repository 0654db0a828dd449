"""Platforms: how they are written, and what this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images import platforms
from compose.images.platforms import Platform, parse

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = """{state}
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "host", lambda: Platform("linux", "amd64", "v1"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm"),
        ("linux", "linux/amd64"),
    ],
)
def test_platforms_as_they_are_written(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize("text", ["windows/amd64", "linux/", "a/b/c/d", "", "linux//v8"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(ImageError):
        parse(text)


def test_the_platform_of_an_image() -> None:
    assert platforms.of_image({"os": "linux", "architecture": "arm64"}) == parse("linux/arm64/v8")
    assert platforms.of_image({}) == parse("linux/amd64")


def test_what_the_processor_runs_itself(tmp_path: Path) -> None:
    assert platforms.why_not(parse("linux/amd64"), str(tmp_path)) == ""
    assert platforms.why_not(parse("linux/386"), str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("status", "state", "flags", "why"),
    [
        ("enabled", "enabled", "OCF", ""),
        ("enabled", "enabled", "OC", "the interpreter for arm64 programs is registered without the flag F"),
        ("enabled", "disabled", "F", "this amd64 machine has no interpreter for arm64 programs"),
        ("disabled", "enabled", "F", "this amd64 machine has no interpreter for arm64 programs"),
    ],
)
def test_what_an_interpreter_runs(tmp_path: Path, status: str, state: str, flags: str, why: str) -> None:
    (tmp_path / "status").write_text(f"{status}\n")
    (tmp_path / "qemu-aarch64").write_text(ENTRY.format(state=state, flags=flags))
    (tmp_path / "python3").write_text(
        "enabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\nmagic 6f0d0d0a\n"
    )
    assert platforms.why_not(parse("linux/arm64"), str(tmp_path)) == why
    assert "no interpreter for riscv64" in platforms.why_not(parse("linux/riscv64"), str(tmp_path))


def test_where_there_is_no_binfmt_misc(tmp_path: Path) -> None:
    missing = platforms.why_not(parse("linux/s390x"), str(tmp_path / "none"))
    assert missing == "this amd64 machine has no interpreter for s390x programs"
    assert platforms.why_not(parse("linux/vax"), str(tmp_path)) == "nothing is known of vax"
