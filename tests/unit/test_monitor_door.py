"""Those who enter a container do so in threads of its monitor."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from compose.runtime.loop import Loop
from compose.runtime.supervision.monitor.door import Door
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from compose.runtime.container.birth import Birth


def test_a_container_is_not_frozen_while_somebody_enters_it() -> None:
    """He would never let go of what he has of the monitor's."""
    loop = Loop()
    door = Door(loop)
    on_his_way, go_on = threading.Event(), threading.Event()
    arrived: list[object] = []

    def enter(_birth: Birth) -> str:
        on_his_way.set()
        assert go_on.wait(MOMENT)
        return "entered"

    def hear(launched: object, error: Exception | None) -> None:
        arrived.extend((launched, error))
        loop.stop()

    door.settle(MOMENT)
    door.enter(enter, hear)
    assert on_his_way.wait(MOMENT)
    begun = time.monotonic()
    door.settle(0.05)  # who is held up there holds nobody up for long
    assert time.monotonic() - begun >= 0.05
    threading.Timer(0.05, go_on.set).start()
    door.settle(MOMENT)
    assert go_on.is_set()
    loop.run()
    assert arrived == ["entered", None]
    loop.close()
