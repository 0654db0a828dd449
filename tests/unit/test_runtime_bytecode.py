"""The bytecode of helpers: made once, outside of them, and only where it can be kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compose.runtime.supervision import bytecode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

LEAN = ("-OO", *bytecode.PLAIN)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package."""\n')
    (package / "first.py").write_text('"""The first."""\nimport package.second\n')
    (package / "second.py").write_text('"""The second."""\n')
    return tmp_path


def kept(root: Path) -> set[str]:
    return {file.name.split(".")[0] for file in root.glob("package/__pycache__/*.opt-2.pyc")}


def test_it_is_made_once_for_all_that_is_loaded(root: Path) -> None:
    assert bytecode.flags(str(root), ["package.first"]) == LEAN
    assert kept(root) == {"__init__", "first", "second"}
    times = {file: os.stat(file).st_mtime_ns for file in root.glob("package/__pycache__/*")}
    assert bytecode.flags(str(root), ["package.first"]) == LEAN
    assert {file: os.stat(file).st_mtime_ns for file in root.glob("package/__pycache__/*")} == times


def test_its_functions_have_no_docstrings(root: Path) -> None:
    flags = bytecode.flags(str(root), ["package.first"])
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import package.first as m; print(m.__doc__)"
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_it_is_made_again_for_a_newer_source(root: Path) -> None:
    bytecode.flags(str(root), ["package.first"])
    source = root / "package/first.py"
    source.write_text("import package.second, package.third\n")
    (root / "package/third.py").write_text("")
    later = os.stat(source).st_mtime + 60
    os.utime(source, (later, later))
    assert not bytecode._is_current(str(source))
    bytecode.flags(str(root), ["package.first"])
    assert "third" in kept(root)


def test_who_cannot_keep_it_goes_without(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert bytecode.flags(str(root), ["package.first"]) == bytecode.PLAIN
    assert kept(root) == set()


def test_what_cannot_be_executed_is_no_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(root / "missing"))
    assert bytecode.flags(str(root), ["package.first"]) == bytecode.PLAIN


def test_a_module_that_cannot_be_loaded_leaves_what_was_made_before(root: Path) -> None:
    assert bytecode.flags(str(root), ["package.first", "package.missing"]) == LEAN
