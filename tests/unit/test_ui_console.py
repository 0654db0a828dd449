"""This terminal while a container has it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

PROGRAM = """
from compose.ui import console

class Over:
    terminal, ended, exit_code, writer = False, True, 5, None
    resize = kill = None
    def read(self):
        yield 0, b"one\\r\\n"

console.Console.resize = lambda *_, **__: None
raise SystemExit(console.follow(Over(), stdin=True, detacher=None, terminal=True))
"""


def test_what_a_command_that_is_over_wrote_to_its_terminal_is_shown_as_it_wrote_it() -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdin=slave, stdout=slave, check=False)
        assert done.returncode == 5
        assert os.read(master, 100) == b"one\r\n"
    finally:
        os.close(master)
        os.close(slave)
