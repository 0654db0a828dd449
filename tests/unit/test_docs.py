"""The documentation names what there is, and its links lead somewhere."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from compose.cli.main import COMMANDS, command_parser, global_parser
from compose.model import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
PAGES += sorted(ROOT.glob("examples/**/*.md"))
LINK = re.compile(r"\]\(([^)]+)\)")
SHOWN = re.compile(r"`pycompose ([^`\n]+)`|^ *[#$] (?:[A-Z_]+=\S+ )*pycompose (.*)$", re.MULTILINE)
"""Commands in running text, and in blocks behind a prompt."""
PLACEHOLDER = re.compile(r"\[|\||\.\.\.|\bOPERATION\b")
NAMED_FILE = re.compile(r"`((?:compose|tests|docs|examples|benchmarks)/[\w/.-]+\.\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = page.parent / path if path else page
    if not heading:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = NAMED_FILE.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def commands_shown() -> list[str]:
    found = [
        (inline or block).partition(" #")[0].strip()
        for page in PAGES
        for inline, block in SHOWN.findall(page.read_text(encoding="utf-8"))
    ]
    alone = {text for text in found if len(text.split()) == 1 and not text.startswith("-")}  # a name
    return sorted({text for text in found if not PLACEHOLDER.search(text)} - alone)


@pytest.mark.parametrize("shown", commands_shown())
def test_every_command_that_a_page_shows_is_understood(shown: str) -> None:
    command = re.split(r" (?:[<>]|&&) ?", shown)[0]
    options = global_parser().read(shlex.split(command))
    if options.command:
        name, *rest = options.command
        command_parser(name).read(rest, namespace=options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_documented(command: str) -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(f"compose.cli.{command}").add_arguments(parser)
    options = {option.partition("=")[0] for action in parser._actions for option in action.option_strings}
    assert options == set(re.findall(r"`(--?[A-Za-z][A-Za-z-]*)", section))


def test_every_dependency_is_documented() -> None:
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").lower()
    block = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = re.findall(r'^ {4}"([a-z0-9-]+)>=', block.partition("dependencies = [")[2], re.MULTILINE)
    assert "anyio" in names
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").iterdir()))
def test_examples_are_valid_and_cause_no_warning(example: str) -> None:
    project = load([str(ROOT / "examples" / example / "compose.yaml")], environment={})
    assert project.warnings == []
    assert (ROOT / "examples" / example / "README.md").exists()


def names_of_tests() -> set[str]:
    files = (ROOT / "tests").glob("*/test_*.py")
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", ["isolation.md", "reliability.md"])
def test_every_promise_names_the_tests_that_hold_it(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    known = names_of_tests()
    assert [name for name in re.findall(r"`(test_\w+)`", text) if name not in known] == []
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.endswith(("held by |", "why |"))]
    assert [row for row in rows if "`test_" not in row and "none: " not in row] == []
