"""What `config --explain`, `--origin` and `--supported` print."""

from __future__ import annotations

import json

from compose.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.errors import ComposeError
    from compose.model.explain import Explanation

_WIDEST = 100


def explained(arguments: argparse.Namespace, options: dict[str, Any]) -> tuple[str, ComposeError | None]:
    """Where a variable or a value comes from, and what kept the files from being loaded."""
    from compose import model

    variable = arguments.explain is not None
    wanted = arguments.explain if variable else arguments.origin
    found = model.load_explanation(wanted, arguments.file or None, variable=variable, **options)
    problem = next((one.problem for one in found if one.problem is not None), None)
    if not any(one.candidates for one in found) and problem is None:
        raise UsageError(
            f"nothing sets the variable {wanted}, and no file asks for it",
            hint="see 'pycompose config --variables'",
        )
    if arguments.format == "json":
        return _json(found), problem
    return "\n".join(_text(one) for one in found if one.candidates), problem


def _json(found: list[Explanation]) -> str:
    from compose.model.present import as_json

    shown = [
        {
            "subject": one.subject,
            "value": one.value,
            "candidates": [candidate._asdict() for candidate in one.candidates],
        }
        for one in found
    ]
    return as_json(shown) + "\n"


def _text(one: Explanation) -> str:
    rows = [(item.state, item.place, _shown(item.value), item.note) for item in one.candidates]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [one.subject]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  " + "  ".join((*cells, row[3])).rstrip())
    return "".join(f"{line}\n" for line in lines)


def _shown(value: Any) -> str:
    """A value in one line; an empty string can be seen."""
    if value is None:
        return "-"
    plain = isinstance(value, str) and value and value.isprintable()
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def supported(kind: str | None) -> str:
    """Every key of the specification and what becomes of it."""
    from compose.model.supported import rows
    from compose.ui.table import table

    if kind == "json":
        return json.dumps([row._asdict() for row in rows()], indent=2) + "\n"
    return table(("KEY", "SUPPORT", "REASON"), rows())
