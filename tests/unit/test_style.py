"""The linters as tests, and what no linter knows about this project."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import networkx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("compose", "tests", "benchmarks")
TEXTS = (*PYTHON, "docs", "examples", "schemas", ".ci")
LONGEST_MODULE = 650
# Hosts that a text may point a reader to. Nothing in the project connects to any of them.
READING = {
    "docs.docker.com",
    "github.com",
    "json-schema.org",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
}


def run(*command: str) -> None:
    """Run a linter; its output is the failure."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def texts() -> Iterator[tuple[Path, str]]:
    """Every file of ours that holds text."""
    paths = [path for path in ROOT.iterdir() if path.is_file() and path.name not in ("LICENSE", ".git")]
    for name in TEXTS:
        paths += [path for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in paths:
        if "__pycache__" not in path.parts:
            try:
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # data of a test


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet", "--output-format", "concise", ".")


def test_mypy_finds_nothing() -> None:
    run("mypy", "--no-error-summary")


def test_no_file_names_a_host_that_packages_come_from() -> None:
    """Where packages and images come from is the user's own setting, never ours."""
    first = "(?:deb|security|archive|ftp|mirrors?|registry|index|auth|files|snapshot|dl-cdn|production)"
    hosts = re.compile(rf"\b{first}(?:-\d)?\.(?:[a-z0-9-]+\.)*(?:org|io|com|net)\b|\bpyp" + r"i\.org\b")
    urls = re.compile(r"\bhttps?://([a-z0-9.-]+\.[a-z]{2,})\b")
    reserved = re.compile(r"(^|\.)example(\.(com|org|net))?$|\.(test|invalid)$")
    found = []
    for path, text in texts():
        named = [host for host in urls.findall(text) if host not in READING]
        found += [f"{path}: {host}" for host in hosts.findall(text) + named if not reserved.search(host)]
    assert not found


def test_no_file_names_a_path_of_one_machine() -> None:
    paths = re.compile(
        "/work" + r"/(?:main|shared)|\.py" + "env|compose-" + "peers|compose-" + "vm|/home/[a-z]+/"
    )
    found = [f"{path}: {match}" for path, text in texts() for match in paths.findall(text)]
    assert not found


def test_no_module_is_too_long_to_have_one_reason_to_change() -> None:
    sizes = {path: text.count("\n") for path, text in texts() if path.suffix == ".py"}
    assert not {path: size for path, size in sizes.items() if size > LONGEST_MODULE}


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    skips = re.compile(r"pytest\.(?:skip|importorskip)\b|mark\.(?:skip|xfail)|unittest\.skip")
    here = Path(__file__).resolve().relative_to(ROOT)
    tests = [(path, text) for path, text in texts() if path.parts[0] == "tests" and path != here]
    assert not [str(path) for path, text in tests if skips.search(text)]


def light_modules() -> list[Path]:
    """What helper processes and the quick commands import: see the table in docs/dependencies.md."""
    found = [ROOT / "compose/errors.py"]
    for name in ("linux", "runtime", "state", "network/netd"):
        found += (ROOT / "compose" / name).rglob("*.py")
    return found


HEAVY = {"asyncio", "dataclasses", "enum", "inspect", "logging", "pathlib", "subprocess", "typing"}


@pytest.mark.parametrize("path", light_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_helper_processes_import_nothing_heavy(path: Path) -> None:
    """At the top of a module; for a type checker alone (`if TYPE_CHECKING`) anything goes."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert not names & HEAVY


LAYERS = {
    "compose": (
        ("__main__",),
        ("cli",),
        ("ui", "oci", "engine"),
        ("plan", "images", "network"),
        ("runtime", "volumes", "model"),
        ("state", "graph"),
        ("linux",),
        ("errors",),
    ),
    "compose.runtime": (
        ("attachment",),
        ("client",),
        ("supervision",),
        ("container", "output"),
        ("processes", "usage"),
        ("records", "cgroups"),
        ("spec", "protocol", "loop", "oom"),
    ),
    "compose.network": (
        ("setup", "netd"),
        ("kernel",),
        ("addresses", "labels", "listeners", "types"),
    ),
    "compose.runtime.supervision": (
        ("keeper",),
        ("helpers",),
        ("heir", "revival"),
        ("monitor", "asking"),
        ("spawn",),
        ("lost", "leftovers", "orphans", "once"),
        ("hold", "children", "isolation", "complaints", "bytecode"),
    ),
}
"""The modules and folders of a package, from the top down: each imports only from rows below its own."""


WHOLES_AND_PARTS = {"compose.runtime.supervision.monitor.monitor"}
"""Modules whose parts, each in a module of its own, share the state of the whole: they may name its type."""


def modules() -> dict[str, Path]:
    """Every module of ours by its name."""
    found = {}
    for path in (ROOT / "compose").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def type_checkers_own(tree: ast.Module) -> Iterator[ast.AST]:
    """What stands under `if TYPE_CHECKING`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                yield from ast.walk(statement)


def imported(path: Path, *, but_by_type: frozenset[str] = frozenset()) -> set[str]:
    """Every name of ours that a module imports, wherever it does, for a type checker alone as well.

    Of modules in `but_by_type`, what is imported for a type checker alone is left out.
    """
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = set(type_checkers_own(tree))
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join((*above, *filter(None, [node.module])))
            if source not in but_by_type or node not in for_types:
                found |= {f"{source}.{alias.name}" for alias in node.names}
    return found


def test_no_circle_of_modules() -> None:
    """No module needs, by way of others, itself: each can be read, tested and moved after what it needs."""
    known = modules()
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for module, path in known.items():
        for name in imported(path, but_by_type=frozenset(WHOLES_AND_PARTS)):
            needed = name if name in known else name.rpartition(".")[0]
            if needed in known and needed != module:
                graph.add_edge(module, needed)
    circles = [sorted(found) for found in networkx.strongly_connected_components(graph) if len(found) > 1]
    assert not circles


@pytest.mark.parametrize("package", LAYERS)
def test_arrows_point_downwards_only(package: str) -> None:
    row = {name: place for place, names in enumerate(LAYERS[package]) for name in names}
    folder = ROOT / package.replace(".", "/")
    wrong = []
    for path in folder.rglob("*.py"):
        where = path.relative_to(folder).with_suffix("").parts[0]
        if where == "__init__":
            continue
        for name in imported(path):
            base, _, target = name.partition(f"{package}.")
            target = target.partition(".")[0]
            if base or target in ("", where, "__version__"):
                continue
            if row[target] <= row[where]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong
