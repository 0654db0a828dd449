"""Signals that are waited for as descriptors are."""

from __future__ import annotations

import os
import select
import signal

from compose.ui.heard import Heard


def test_a_signal_that_comes_before_the_wait_is_not_missed() -> None:
    former = signal.getsignal(signal.SIGUSR1)
    with Heard((signal.SIGUSR1,)) as heard:
        assert not select.select([heard], [], [], 0)[0]
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert select.select([heard], [], [])[0]
            assert heard.take() == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) == former
    assert signal.set_wakeup_fd(-1) == -1
