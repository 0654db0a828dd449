"""JSON as files and packets have it: the same values as the standard library's, and text for people."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.state import files, lock
from compose.state.files import dumps, loads, read_json, readable, replace_json

if TYPE_CHECKING:
    from pathlib import Path

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_is_written_is_read_again(value: object) -> None:
    for text in (dumps(value), readable(value)):
        assert loads(text) == json.loads(text) == value


def test_a_file_is_for_people(tmp_path: Path) -> None:
    path = str(tmp_path / "service.json")
    value: object = {
        "name": "café",
        "command": ["sleep", "1"],
        "ports": [{"target": 80}, {}],
        "empty": {},
        "n": None,
    }
    replace_json(path, value)
    text = """\
{
 "name": "café",
 "command": ["sleep", "1"],
 "ports": [
  {
   "target": 80
  },
  {}
 ],
 "empty": {},
 "n": null
}
"""
    assert (tmp_path / "service.json").read_text(encoding="utf-8") == text
    assert read_json(path) == value


@pytest.mark.parametrize("name", [os.fsdecode(b"/caf\xe9"), "\ud800", "\udcff\udc80"])
def test_names_of_any_bytes_survive(name: str, tmp_path: Path) -> None:
    assert loads(dumps(name)) == name
    replace_json(str(tmp_path / "file"), {name: [name]})
    assert read_json(str(tmp_path / "file")) == {name: [name]}


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b'{"a":1} x', b"nul"])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its text
        loads(text)


def test_in_a_process_without_json_too() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from compose.state.files import loads
for text in (b"", b"{", b"[1,]", b'{"a', b'"\\\\x"'):
    try:
        loads(text)
    except ValueError:
        continue
    sys.exit(f"{text} was read")
"""
    root = __file__.rpartition("/tests/")[0]
    subprocess.run([sys.executable, "-I", "-S", "-c", script, root], check=True)


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="set is nothing that JSON knows"):
        dumps({"a": {1}})


def _full(*about: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", _full)
    with pytest.raises(OSError, match="No space left") as failed:
        files.replace(f"{tmp_path}/state.json", b"{}")
    assert failed.value.filename == f"{tmp_path}/state.json"
    assert not list(tmp_path.iterdir())


def test_what_grows_no_larger_is_written_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{tmp_path}/keeper.json"
    files.replace_or_overwrite(path, b'{"stopping": false}')
    monkeypatch.setattr(os, "write", _full)
    files.replace_or_overwrite(path, b'{"stopping": true}')
    assert files.read_json(path) == {"stopping": True}
    files.replace_or_overwrite(path, b'{"stopping": false}')
    assert files.read_json(path) == {"stopping": False}
    with pytest.raises(OSError, match="No space left"):
        files.replace_or_overwrite(path, b'{"stopping": false, "more": 1}')
    assert files.read_json(path) == {"stopping": False}


def test_a_lock_is_held_although_there_is_no_room_to_say_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", _full)
    found = lock.ProjectLock(f"{tmp_path}/shop.lock", "up")
    found.take(None)
    try:
        other = lock.ProjectLock(f"{tmp_path}/shop.lock", "down")
        assert found.held and not other.take_again()
    finally:
        found.let_go()
