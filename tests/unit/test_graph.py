"""The graph of services: order, neighbours, and circles named in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ModelError
from compose.graph import service_graph, start_order
from compose.model import load
from compose.model.order import quick_order

if TYPE_CHECKING:
    from pathlib import Path


def services(**depends: str) -> dict[str, Any]:
    """Services by name, each with the names of those it depends on."""
    return {name: {"depends_on": {other: {} for other in others.split()}} for name, others in depends.items()}


STACK = services(web="app cache", app="db cache", db="", cache="", alone="")


def test_order_starts_with_what_others_need() -> None:
    assert start_order(service_graph(STACK)) == ["alone", "cache", "db", "app", "web"]


NAMES = st.text("abc", min_size=1, max_size=2)


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4).map(" ".join), max_size=9))
def test_quick_order_is_that_of_the_graph(depends: dict[str, str]) -> None:
    some = services(**depends)
    expected: list[str] | None
    try:
        expected = start_order(service_graph(some))
    except ModelError:
        expected = None
    assert quick_order(some) == expected


def test_what_is_not_there_is_no_neighbour() -> None:
    assert start_order(service_graph(services(a="gone"))) == ["a"]


def test_circle_is_named_in_full() -> None:
    with pytest.raises(ModelError) as caught:
        start_order(service_graph(services(c="a", a="b", b="c d", d="")))
    assert str(caught.value) == "the services depend on each other in a circle: a -> b -> c -> a"


def test_implied_dependencies_make_the_order(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        """\
services:
  a: {image: x, links: ["b:bee"]}
  b: {image: x, volumes_from: [c]}
  c: {image: x, network_mode: "service:d"}
  d: {image: x, ipc: "service:e"}
  e: {image: x}
"""
    )
    project = load(["compose.yaml"], cwd=str(tmp_path), environment={})
    assert project.order == ["e", "d", "c", "b", "a"]
    assert project.dependencies("c") == ["d"]


def test_circle_through_implied_dependencies_names_each_place(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        """\
services:
  a: {image: x, links: [b]}
  b: {image: x, network_mode: "service:c"}
  c:
    image: x
    depends_on: [a]
"""
    )
    with pytest.raises(ModelError) as caught:
        load(["compose.yaml"], cwd=str(tmp_path), environment={})
    assert str(caught.value) == (
        "compose.yaml:2:25: services.a.depends_on: the services depend on each other in a circle: "
        "a (compose.yaml:2:25) -> b (compose.yaml:3:17) -> c (compose.yaml:6:18) -> a"
    )
