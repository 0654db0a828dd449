"""What health checks cost: the processor time of keeper and monitors while many services are probed.

    python -m benchmarks.health                       # 40 services, a probe a second each
    python -m benchmarks.health --services 10 --interval 2s --seconds 60

The time of the helper processes and of the probes that they start is taken from /proc; from that of the
probes, what the probe program itself takes is subtracted: fork, exec and exit when it is started without a
container by posix_spawn(3), which copies nothing. How many probes there were is read from the log of the last
ones of each container: on a busy machine they are fewer than was asked for. What is left is ours, in percent
of one core. Needs `debian:bookworm`, which makes itself.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from compose.state.paths import Paths

PROJECT = "pycompose-health"
PROGRAM = "true"
TICK = os.sysconf("SC_CLK_TCK")


def write_file(directory: str, services: int, interval: str) -> str:
    """A compose file of services that do nothing and are probed."""
    path = os.path.join(directory, "compose.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"name: {PROJECT}\nservices:\n")
        for number in range(1, services + 1):
            file.write(f"  s{number}:\n    image: debian:bookworm\n    command: [sleep, infinity]\n")
            file.write(f"    healthcheck: {{test: [CMD, '{PROGRAM}'], interval: {interval}}}\n")
    return path


def helpers() -> list[int]:
    """The project's keeper and its monitors."""
    run = Paths.from_environment().project_run(PROJECT)
    with open(f"{run}/keeper.json", "rb") as file:
        keeper = json.load(file)["pid"]
    with open(f"/proc/{keeper}/task/{keeper}/children", encoding="ascii") as file:
        found = [keeper]
        for pid in map(int, file.read().split()):
            with open(f"/proc/{pid}/comm", encoding="utf-8") as name:
                found += [pid] if name.read().strip() != "pc-netd" else []
    return found


def used(pids: list[int]) -> tuple[float, float]:
    """Seconds of processor time of some processes, and of their children that have ended."""
    own = children = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        own += (int(fields[11]) + int(fields[12])) / TICK
        children += (int(fields[13]) + int(fields[14])) / TICK
    return own, children


def distance() -> float:
    """Seconds from the beginning of one probe to that of the next, by what is on record of the last ones."""
    found: list[float] = []
    paths = Paths.from_environment()
    for state in glob.glob(f"{paths.data}/containers/*/state.json"):
        with open(state, "rb") as file:
            log = (json.load(file).get("health") or {}).get("log") or []
        if len(log) > 1:
            found.append((log[-1]["start"] - log[0]["start"]) / (len(log) - 1) / 1e9)
    return sum(found) / len(found)


def program_cost(repeat: int = 300) -> float:
    """Seconds that the probe program takes by itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _run in range(repeat):
        pid = os.posix_spawnp(PROGRAM, [PROGRAM], os.environ)
        os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds / repeat


def main() -> int:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", type=int, default=40)
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "compose", "-f"]
    with tempfile.TemporaryDirectory() as directory:
        file = write_file(directory, options.services, options.interval)
        try:
            subprocess.run([*command, file, "--progress", "quiet", "up", "--wait"], check=True)
            ours = helpers()
            program = program_cost()
            first, begun = used(ours), time.monotonic()
            time.sleep(options.seconds)
            second, seconds = used(ours), time.monotonic() - begun
            probes = options.services * seconds / distance()
        finally:
            subprocess.run([*command, file, "down", "-t", "0"], check=True, capture_output=True)
    program = (program + program_cost()) / 2 * probes
    report(options, probes, seconds, (second[0] - first[0], second[1] - first[1], program))
    return 0


def report(
    options: argparse.Namespace, probes: float, seconds: float, times: tuple[float, float, float]
) -> None:
    own, children, program = times
    sys.stdout.write(
        f"{options.services} services, a probe every {options.interval}: {probes:.0f} in {seconds:.0f} s\n"
        f"keeper and monitors   {own / seconds * 100:5.1f} % of a core\n"
        f"probes                {children / seconds * 100:5.1f} %\n"
        f"  the program itself  {program / seconds * 100:5.1f} %\n"
        f"ours                  {(own + children - program) / seconds * 100:5.1f} %\n"
    )


if __name__ == "__main__":
    sys.exit(main())
