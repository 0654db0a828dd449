"""netd's loop: once it is to end, nothing more is done, for whoever takes over does it."""

from __future__ import annotations

import functools
import os

import pytest

from compose.network.netd.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[Loop]:
    failures: list[BaseException] = []
    yield Loop(failures.append)
    assert not failures


def ready() -> int:
    """A descriptor that can be read from."""
    source, target = os.pipe()
    os.write(target, b"x")
    os.close(target)
    return source


def test_a_timer_that_ends_it_is_the_last_call(loop: Loop) -> None:
    done: list[str] = []

    def end() -> None:
        done.append("end")
        loop.running = False

    source = ready()
    loop.add(source, lambda _events: done.append("event"))
    loop.after(0, end)
    loop.run()
    assert done == ["end"]
    os.close(source)


def test_so_is_an_event_that_ends_it(loop: Loop) -> None:
    done: list[int] = []
    sources = [ready(), ready(), ready()]

    def end(source: int, _events: int) -> None:
        done.append(source)
        loop.running = False

    for source in sources:
        loop.add(source, functools.partial(end, source))
    loop.run()
    assert len(done) == 1
    for source in sources:
        os.close(source)
