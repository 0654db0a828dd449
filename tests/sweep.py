"""The sweep of faults over many system calls, on demand: ``python -m tests.sweep --points 100 up down``.

Prints each point and what went wrong after it; the exit code is the number of those (at most 100). The tests
take a small random sample of the same (e2e/test_sweep.py).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from compose.state.paths import Paths
from tests.e2e.conftest import TINY, tiny_image
from tests.support import sweep
from tests.support.command import Stack
from tests.support.processes import become_subreaper
from tests.support.rootfs import make_busybox_root


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", default=list(sweep.COMMANDS), help=", ".join(sweep.COMMANDS))
    parser.add_argument("--points", type=int, default=50, help="faults a command")
    parser.add_argument("--errors", action="store_true", help="let calls fail instead of killing processes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    become_subreaper()
    generator = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="sweep") as name, tempfile.TemporaryDirectory(dir="/run") as run:
        paths = Paths(f"{name}/data", run)
        os.mkdir(paths.data, 0o700)
        root = f"{name}/root"
        os.mkdir(root)
        tiny_image(paths, make_busybox_root(root))
        directory = Path(name) / f"sweep{os.getpid()}"
        directory.mkdir()
        stack = Stack(directory, paths, TINY)
        sweep.prepare(stack)
        stack.run("build")
        for command in options.commands:
            most = sweep.counts(stack, command, f"{name}/strace")
            sys.stdout.write(f"{command}: {sum(most.values())} calls of {len(most)} kinds\n")
            for _ in range(options.points):
                point = sweep.choose(command, most, generator, errors=options.errors)
                try:
                    sweep.inject(stack, point)
                    sys.stdout.write(f"ok      {point}\n")
                except AssertionError as error:
                    failures += 1
                    sys.stdout.write(f"FAILED  {error}\n")
                    stack.try_run("down", "-t", "0", "--volumes")
                sys.stdout.flush()
        sys.stdout.write(f"{failures} failures\n")
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main())
