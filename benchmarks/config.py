"""How long `config -q` takes, ours and Docker Compose's alternately in one run.

    python -m benchmarks.config                                  # both; needs `docker compose`, no engine
    python -m benchmarks.config --peer PROGRAM                   # another docker compose
    python -m benchmarks.config --peer '' --sizes 1,500 --repeat 20

Each size is measured cold, with an empty cache, so that the files are parsed, validated and put together, and
cached, as every later command finds it until a file changes. Docker Compose keeps no cache: its one figure
stands beside both of ours. The sides take turns within each repetition, so that whatever else the machine
does falls on both; processor time is shown as well, since that hardly depends on it. Measure a pycompose that
is installed in a clean virtual environment (`--ours`): the hooks of an editable installation cost as much as
all our imports. The result is a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

SERVICE = """\
  s{number}:
    image: "nginx:${{TAG:-1.{number}}}"
    command: [nginx, -g, daemon off;]
    environment: {{NUMBER: "{number}", MODE: production}}
    ports: ["{port}:80"]
    volumes: ["./data{number}:/data", "shared:/shared"]
    healthcheck: {{test: [CMD, curl, -f, localhost], interval: 10s}}
    labels: [com.example.tier=web]
"""


class Cost(NamedTuple):
    """What one run took, in milliseconds."""

    wall: float
    processor: float


def write(directory: str, count: int) -> None:
    """A compose file of `count` services; four in five depend on the one before."""
    with open(os.path.join(directory, "compose.yaml"), "w", encoding="utf-8") as file:
        file.write("name: pycompose-benchmark\nservices:\n")
        for number in range(count):
            file.write(SERVICE.format(number=number, port=20_000 + number))
            if number % 5:
                file.write(f"    depends_on: [s{number - 1}]\n")
        file.write("volumes:\n  shared:\n")


def run(command: list[str], directory: str, environment: dict[str, str]) -> Cost:
    """Run a command that must succeed."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, "config", "-q"],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}\n{complaint.decode()}")
    return Cost(1000 * wall, 1000 * (usage.ru_utime + usage.ru_stime))


def measure(count: int, ours: list[str], peer: list[str], repeat: int) -> dict[str, list[Cost]]:
    """Cold, cached and the peer in turn, after one round that is not counted."""
    found: dict[str, list[Cost]] = {"cold": [], "cached": []}
    if peer:
        found["peer"] = []
    with tempfile.TemporaryDirectory() as directory:
        write(directory, count)
        data = os.path.join(directory, "state")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = kept | {"PYCOMPOSE_DATA_DIR": data, "PYCOMPOSE_RUN_DIR": os.path.join(directory, "run")}
        for repetition in range(repeat + 1):
            shutil.rmtree(data, ignore_errors=True)
            for kind, command in (("cold", ours), ("cached", ours), ("peer", peer)):
                if command:
                    cost = run(command, directory, environment)
                    if repetition:
                        found[kind].append(cost)
    return found


def cell(costs: list[Cost]) -> str:
    """Median of the wall clock's time, and of the processor's."""
    wall, processor = (statistics.median(one[index] for one in costs) for index in (0, 1))
    return f"{wall:.0f} ({processor:.0f})"


def table(results: dict[int, dict[str, list[Cost]]], *, peer: bool) -> str:
    """The results in Markdown; a ratio says how many times as long as Docker Compose we take."""
    heads = ["Services", "pycompose, cold", "pycompose, cached"]
    heads += ["Docker Compose", "ratio, cold", "ratio, cached"] if peer else []
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for count, found in results.items():
        cells = [str(count), *(cell(found[kind]) for kind in found)]
        if peer:
            cells += [ratio(found[kind], found["peer"]) for kind in ("cold", "cached")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def ratio(ours: list[Cost], peer: list[Cost]) -> str:
    """Ours over the peer's: the median of the ratios of runs that stood side by side."""
    pairs = list(zip(ours, peer, strict=True))
    wall, processor = (statistics.median(a[index] / b[index] for a, b in pairs) for index in (0, 1))
    return f"{wall:.2f} ({processor:.2f})"


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Time config -q, side by side with Docker Compose.")
    parser.add_argument("--ours", default=os.path.join(os.path.dirname(sys.executable), "pycompose"))
    parser.add_argument("--peer", default="docker compose", help="the other command; '' for none")
    parser.add_argument("--sizes", default="1,10,100,500", help="how many services, separated by commas")
    parser.add_argument("--repeat", type=int, default=11)
    options = parser.parse_args()
    ours, peer = shlex.split(options.ours), shlex.split(options.peer)
    results = {}
    for count in [int(text) for text in options.sizes.split(",") if text]:
        results[count] = measure(count, ours, peer, options.repeat)
        sys.stderr.write(f"{count} services: done\n")
    kernel, python = os.uname().release.split("-")[0], platform.python_version()
    where = f"{os.cpu_count()} cores, Linux {kernel}, Python {python}"
    sys.stdout.write(
        f"Milliseconds, medians of {options.repeat}, the processor's time in brackets; {where}.\n\n"
        f"{table(results, peer=bool(peer))}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
