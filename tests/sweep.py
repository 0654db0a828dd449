"""The sweep of faults over many system calls, on demand: ``python -m tests.sweep --points 100 up down``.

Prints each point and what went wrong after it; the exit code is the number of those (at most 100). The tests
take a small sample of the same (e2e/test_sweep.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from compose.network.labels import uplink
from compose.state.paths import Paths
from tests.e2e.conftest import TINY, tiny_image
from tests.support import sweep
from tests.support.command import Stack
from tests.support.leftovers import Found, Machine, detach_below
from tests.support.processes import become_subreaper
from tests.support.rootfs import make_busybox_root

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    names = ", ".join(sweep.SCENARIOS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(sweep.SCENARIOS), help=names)
    parser.add_argument("--points", type=int, default=50, help="faults a scenario")
    parser.add_argument("--errors", action="store_true", help="let calls fail instead of killing processes")
    parser.add_argument("--roles", default="", help="only these, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", default="", help="one point: ROLE,CALL,NUMBER[,ERROR]")
    options = parser.parse_args()
    become_subreaper()
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background too: nothing is left behind
        signal.signal(number, signal.default_int_handler)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="sweep", dir="/var/tmp") as name:
        generator = random.Random(options.seed)
        for scenario in options.scenarios:
            failures += Sweep(name, scenario, options, generator).run()
    sys.stdout.write(f"{failures} failures\n")
    return min(failures, 100)


class Own(Machine):
    """The machine, without firewall objects and interfaces of other projects."""

    def __init__(self, directories: tuple[str, ...], name: str) -> None:
        super().__init__(directories)
        self._name = name

    def look(self, *, also_foreign: bool = False) -> Found:
        """Others may work on this machine meanwhile."""
        return {
            thing: text
            for thing, text in super().look(also_foreign=also_foreign).items()
            if thing.kind not in ("firewall", "interface") or self._name in text
        }


class Sweep:
    """Faults of one scenario; a failure is followed by a fresh start with new directories."""

    def __init__(
        self, directory: str, scenario: str, options: argparse.Namespace, generator: random.Random
    ) -> None:
        self.directory = directory
        self.scenario = scenario
        self.options = options
        self.generator = generator
        self.made = self.done = self.tried = 0
        self.counts: sweep.Counts = {}

    def run(self) -> int:
        """Make the faults; how many of them had consequences."""
        failures = 0
        while self.done < self.options.points:
            with tempfile.TemporaryDirectory(prefix="pc", dir="/run") as run:
                with self._fresh(run) as (stack, machine):
                    failures += self._until_failure(stack, machine)
        self._say(f"{self.scenario}: {self.tried} tried of {self.done}, {failures} failures")
        return failures

    def _until_failure(self, stack: Stack, machine: Machine) -> bool:
        before = machine.look(also_foreign=True)
        while self.done < self.options.points:
            self.done += 1
            point = self._next()
            begun = time.monotonic()
            try:
                found = sweep.inject(stack, point, mend=bool(self.done % 3))
                left = machine.wait_for(before)
                assert not left, f"{point} [{found.fired}]: left behind: {sorted(left.values())}"
            except AssertionError as error:
                self._say(f"FAILED  {error}")
                stack.try_run("down", "-t", "0", "--volumes")
                machine.patience = 5
                machine.remove(machine.wait_for(before), before)
                return True
            self.tried += bool(found.fired)
            what = "ok    " if found.fired else "missed"
            seconds = time.monotonic() - begun
            self._say(f"{what}  {point} {found.fired} {found.complaint} ({seconds:.1f} s)")
        return False

    def _say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def _fresh(self, run: str) -> Iterator[tuple[Stack, Machine]]:
        self.made += 1
        home = Path(self.directory) / f"{self.scenario}{self.made}"
        project = home / f"sweep{os.getpid()}"
        project.mkdir(parents=True)
        paths = Paths(f"{home}/data", run)
        os.mkdir(paths.data, 0o700)
        (home / "root").mkdir()
        tiny_image(paths, make_busybox_root(f"{home}/root"))
        stack = Stack(project, paths, TINY)
        sweep.prepare(stack)
        if not self.counts:
            found = sweep.counts(stack, self.scenario)
            for role, calls in sorted(found.items()):
                self._say(f"{self.scenario}: {role} makes {sum(calls.values())} calls of {len(calls)} kinds")
            wanted = self.options.roles.split(",") if self.options.roles else sorted(found)
            self.counts = {role: calls for role, calls in found.items() if role in wanted}
        try:
            yield stack, Own((paths.data, paths.run, str(project)), uplink(stack.host_name))
        finally:
            stack.try_run("down", "-t", "0", "--volumes")
            for directory in (paths.data, paths.run):
                detach_below(directory)

    def _next(self) -> sweep.Point:
        if self.options.at:
            role, call, number, *error = self.options.at.split(",")
            return sweep.Point(self.scenario, role, call, int(number), *error)
        return sweep.choose(self.scenario, self.counts, self.generator, errors=self.options.errors)


if __name__ == "__main__":
    sys.exit(main())
