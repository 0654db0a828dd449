"""How long `up` and `down` take, ours and Docker Compose's alternately in one run, and what stays in memory.

    python -m benchmarks.up_down                  # both; needs `docker compose` and a running engine
    python -m benchmarks.up_down --peer ''        # ours alone
    python -m benchmarks.up_down --sizes 1,10 --repeat 10 --stack ''

Both sides must have `debian:bookworm` (and, for the stack, its four built images, which the first round, not
counted, makes). The two take turns within each repetition, so that whatever else the machine does falls on
both. `down` is measured with `--timeout 0`: `sleep` as process 1 ignores the stop signal, and the default
grace period of ten seconds would be all that one sees of Docker Compose. The result is a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from tests.support import processes

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMAGE = "debian:bookworm"
STACK = "examples/lemp/compose.yaml"
PROJECT = "pycompose-benchmark"


class Tool(NamedTuple):
    """One side of the comparison."""

    name: str
    command: tuple[str, ...]

    def run(self, file: str, *arguments: str) -> float:
        """Run a command on a compose file; returns its seconds."""
        command = [*self.command, "-f", file, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        begin = time.perf_counter()
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=os.path.dirname(file),
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stderr.decode()}")
        return seconds


class Row(NamedTuple):
    """What is measured on both sides."""

    title: str
    unit: str
    values: dict[str, list[float]]


def sleepers(directory: str, count: int) -> str:
    """A compose file of `count` services that do nothing."""
    path = os.path.join(directory, f"sleep-{count}.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"name: {PROJECT}\nservices:\n")
        for number in range(1, count + 1):
            file.write(f"  s{number}:\n    image: {IMAGE}\n    command: [sleep, infinity]\n")
    return path


def resident(pids: list[int]) -> float:
    """The proportional set size of some processes together, in MiB; none for one that has ended meanwhile."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1024


def our_helpers() -> list[int]:
    """Keeper, name service and monitors: what runs below us and in no process namespace of its own."""
    here = os.readlink("/proc/self/ns/pid")
    return [one.pid for one in processes.descendants() if os.readlink(f"/proc/{one.pid}/ns/pid") == here]


def peer_helpers() -> list[int]:
    """One shim a container and the proxies of published ports; the two daemons are not counted."""
    found = []
    for pid in processes.everything():
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                name = file.read().strip()
        except OSError:
            continue
        if name.startswith(("containerd-shim", "docker-proxy")):
            found.append(pid)
    return found


HELPERS = {"pycompose": our_helpers, "Docker Compose": peer_helpers}


def measure(
    tools: list[Tool], title: str, file: str, repeat: int, up: list[str], down: list[str]
) -> list[Row]:
    """Up and down `repeat` times on each side in turn, after one round that is not counted."""
    rows = [Row(f"up, {title}", "s", {}), Row(f"down, {title}", "s", {}), Row(f"helpers, {title}", "MiB", {})]
    for repetition in range(repeat + 1):
        for tool in tools:
            try:
                figures = [tool.run(file, *up)]
                memory = resident(HELPERS[tool.name]())
            except BaseException:
                tool.run(file, *down)
                raise
            figures += [tool.run(file, *down), memory]
            processes.reap()
            for row, figure in zip(rows, figures, strict=True):
                if repetition:
                    row.values.setdefault(tool.name, []).append(figure)
        sys.stderr.write(f"{title}: {repetition} of {repeat}\n")
    return rows


def cell(values: list[float]) -> str:
    """The median, and the range around it."""
    digits = 0 if statistics.median(values) >= 20 else 2
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def table(rows: list[Row], tools: list[Tool]) -> str:
    """The rows in Markdown; the ratio says how many times more the last tool needs than the first."""
    names = [tool.name for tool in tools]
    heads = ["", *names, *(["ratio"] if len(names) > 1 else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [f"{row.title} ({row.unit})", *(cell(row.values[name]) for name in names)]
        if len(names) > 1:
            first, last = (statistics.median(row.values[name]) for name in (names[0], names[-1]))
            cells.append(f"{last / first:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Time up and down, side by side with Docker Compose.")
    parser.add_argument("--ours", default=os.path.join(os.path.dirname(sys.executable), "pycompose"))
    parser.add_argument("--peer", default="docker compose", help="the other command; '' for none")
    parser.add_argument("--sizes", default="1,10,50", help="how many services, separated by commas")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stack", default=os.path.join(ROOT, STACK), help="'' for none")
    parser.add_argument("--stack-repeat", type=int, default=3)
    options = parser.parse_args()
    tools = [Tool("pycompose", tuple(shlex.split(options.ours)))]
    if options.peer:
        tools.append(Tool("Docker Compose", tuple(shlex.split(options.peer))))
    processes.become_subreaper()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for size in [int(text) for text in options.sizes.split(",") if text]:
            title = f"{size} service" + ("s" if size > 1 else "")
            file, down = sleepers(directory, size), ["down", "--timeout", "0"]
            rows += measure(tools, title, file, options.repeat, ["up", "-d"], down)
    if options.stack:
        name = os.path.basename(os.path.dirname(os.path.abspath(options.stack)))
        up, down = ["up", "-d", "--wait"], ["down", "--volumes"]
        rows += measure(tools, f"{name} to healthy", options.stack, options.stack_repeat, up, down)
    kernel, python = os.uname().release.split("-")[0], platform.python_version()
    where = f"{os.cpu_count()} cores, Linux {kernel}, Python {python}"
    stack = f", of {options.stack_repeat} for the stack" if options.stack else ""
    sys.stdout.write(f"Medians of {options.repeat}{stack} (range in brackets); {where}.\n\n")
    sys.stdout.write(table(rows, tools))
    return 0


if __name__ == "__main__":
    sys.exit(main())
