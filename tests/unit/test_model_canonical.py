"""The canonical form, value by value as docker compose prints it (tests/support/config_cases.py)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from compose.model import load
from compose.model.present import presented
from tests.support.config_cases import Case, cases

if TYPE_CHECKING:
    from collections.abc import Iterator


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Each place where two values differ, in words."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted({*expected, *actual}):
            if key not in actual:
                yield f"{path}.{key}: missing, should be {expected[key]!r}"
            elif key not in expected:
                yield f"{path}.{key}: is {actual[key]!r}, should not be there"
            else:
                yield from differences(expected[key], actual[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif expected != actual or isinstance(expected, bool) is not isinstance(actual, bool):
        yield f"{path}: is {actual!r}, should be {expected!r}"


@pytest.mark.parametrize(
    "case", [case for case in cases() if not case.options], ids=lambda case: str(case.name)
)
def test_canonical_form_is_that_of_docker_compose(case: Case) -> None:
    project = load(case.files, cwd=str(case.directory), environment=case.environment, profiles=case.profiles)
    assert not list(differences(case.expected(), json.loads(presented(project, "json"))))


NOT_READ_AGAIN = ("json_text",)
"""An empty list of capabilities is left out, as docker compose does; it then refuses what it has printed."""


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.name not in NOT_READ_AGAIN], ids=lambda case: str(case.name)
)
def test_loading_what_was_printed_changes_nothing(case: Case, tmp_path: Any) -> None:
    """What `config` prints is a compose file of the same meaning."""
    project = load(case.files, cwd=str(case.directory), environment=case.environment, profiles=case.profiles)
    printed = presented(project, "yaml")
    file = tmp_path / "again.yaml"
    file.write_bytes(printed.encode("utf-8", "surrogateescape"))
    again = load([str(file)], environment=case.environment, profiles=["*"])
    assert presented(again, "yaml") == printed
