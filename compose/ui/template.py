"""``--format`` as docker's users write it: table, json, or a Go template."""

from __future__ import annotations

from compose.ui import go_template
from compose.ui.table import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def render(
    form: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    *,
    minimum: int = 10,
) -> str:
    """The text of `rows` in the format `form`: "table", "table TEMPLATE", "json" or TEMPLATE.

    `columns` are the fields of the plain table with their headings; `headers` those of more fields. What can
    be called in a row is a method, as in ``{{.Label "key"}}``. `minimum` is the least width of a column, its
    space included. Raises `UsageError`.
    """
    if form in ("", "table"):
        cells = [[str(row[field]) for field in columns] for row in rows]
        return table(list(columns.values()), cells, minimum=minimum)
    if form == "json":
        return "".join(go_template.as_json(row) + "\n" for row in rows)
    as_table = form.startswith("table ")
    text = form.removeprefix("table ").replace("\\t", "\t").replace("\\n", "\n")
    nodes = go_template.parse(text)
    lines = [go_template.expand(nodes, row) for row in rows]
    if not as_table:
        return "".join(line + "\n" for line in lines)
    names = {**(headers or {}), **columns}
    head = "".join(_heading(node, names) for node in nodes)
    cells = [line.split("\t") for line in lines]
    width = max(len(row) for row in [head.split("\t"), *cells])
    return table(*_padded(head.split("\t"), cells, width), minimum=minimum)


def _padded(head: list[str], rows: list[list[str]], width: int) -> tuple[list[str], list[list[str]]]:
    return head + [""] * (width - len(head)), [row + [""] * (width - len(row)) for row in rows]


def _heading(node: go_template.Node, names: Mapping[str, str]) -> str:
    if node.kind == "text":
        return node.text
    field = next((word[1:] for word in node.words if word.startswith(".") and len(word) > 1), "")
    return names.get(field, field.upper())


def label_of(labels: Mapping[str, str]) -> Any:
    """The method of a row that has these labels: the one with this name, or nothing."""
    return lambda name: labels.get(name, "")
