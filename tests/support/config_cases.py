"""Compose files beside what `docker compose config` makes of them.

    tests/unit/compose_files/NAME/
      compose.yaml, ...     the files
      case.json             options, where there are any: files, profiles, environment, options of config
      expected.json         the peer's answer; the case's directory is written @HERE@
      expected.yaml         the same as YAML, byte for byte

A new case needs its files only; this module then asks the peer, a docker compose 2.40 binary (it needs no
engine):

    python -m tests.support.config_cases PROGRAM [NAME...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1] / "unit" / "compose_files"
BASE_ENVIRONMENT = {"HOME": "/root", "PATH": "/usr/bin:/bin"}


class Case(NamedTuple):
    """One directory of compose files."""

    name: str
    directory: Path
    files: list[str]
    profiles: list[str]
    environment: dict[str, str]
    options: list[str]

    @property
    def expected_file(self) -> Path:
        """Where the peer's answer is."""
        return self.directory / "expected.json"

    @property
    def expected_text(self) -> Path:
        """Where the peer's answer as YAML is."""
        return self.directory / "expected.yaml"

    def expected(self) -> Any:
        """The peer's answer as it was recorded, with the paths of this checkout."""
        return self.here(self.expected_file.read_text(encoding="utf-8"))

    def here(self, text: str) -> Any:
        """An answer with the paths of this checkout."""
        return json.loads(self.paths_of_here(text))

    def paths_of_here(self, text: str) -> str:
        """A text with the paths of this checkout."""
        return text.replace("@HERE@", str(self.directory)).replace("@ABOVE@", str(self.directory.parent))


def cases() -> list[Case]:
    """Every case by name."""
    return [case(directory) for directory in sorted(ROOT.iterdir()) if directory.is_dir()]


def case(directory: Path) -> Case:
    """The case of one directory."""
    options_file = directory / "case.json"
    options = json.loads(options_file.read_text(encoding="utf-8")) if options_file.exists() else {}
    return Case(
        directory.name,
        directory,
        options.get("files", ["compose.yaml"]),
        options.get("profiles", []),
        {**BASE_ENVIRONMENT, **options.get("environment", {})},
        options.get("options", []),
    )


def ask(program: str, one: Case) -> str:
    """The peer's answer for a case, as JSON."""
    values = json.loads(ask_text(program, one, "json"))
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def ask_text(program: str, one: Case, kind: str = "yaml") -> str:
    """The peer's answer for a case, as YAML or JSON, byte for byte."""
    files = [word for name in one.files for word in ("-f", name)]
    profiles = [word for name in one.profiles for word in ("--profile", name)]
    done = subprocess.run(
        [program, *files, *profiles, "config", "--format", kind, *one.options],
        cwd=one.directory,
        env=one.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{one.name}: {done.stderr}")
    return done.stdout.replace(str(one.directory), "@HERE@").replace(str(one.directory.parent), "@ABOVE@")


def main(arguments: list[str]) -> None:
    """Record the answers of the cases named, or of all."""
    program, *names = arguments
    for one in cases():
        if not names or one.name in names:
            one.expected_file.write_text(ask(program, one), encoding="utf-8")
            one.expected_text.write_text(ask_text(program, one), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
