"""What passes through a published port, and what it costs: our forwarder and docker-proxy in turn.

    python -m benchmarks.ports                    # both; needs root, nginx, wrk and docker-proxy
    python -m benchmarks.ports --seconds 5 --repeat 7

nginx runs in a container's network namespace; wrk asks it with keep-alive, with a new connection for each
request, and for files of 1 MiB. docker-proxy stands beside the bridge, where Docker's host would be; our
forwarder stands in another namespace, as it does in earnest, and reaches the container through the sandbox.
Without a forwarder wrk itself stands beside the bridge.

The forwarders take turns within each repetition, so that whatever else the machine does falls on all of them.
Requests a second depend on how many cores are free; processor time a request hardly does. The result is a
Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from compose.state.paths import Paths
from tests.support.lock import machine
from tests.support.network_lab import TARGET, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS, PEER, NONE = "pycompose", "docker-proxy", "none"
_NGINX = """
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    server {{
        listen 80;
        location / {{ return 200 "hello\\n"; }}
        location /big {{ root {directory}; }}
    }}
}}
"""
_TICK = os.sysconf("SC_CLK_TCK")
_PORT = 8080


class Load(NamedTuple):
    """What is asked for."""

    title: str
    path: str
    close: bool = False


LOADS = (
    Load("keep-alive", "/"),
    Load("a connection a request", "/", close=True),
    Load("files of 1 MiB", "/big"),
)


class Figures(NamedTuple):
    """One run of wrk through one forwarder."""

    requests: float
    """A second."""
    processor: float
    """Microseconds of the forwarder's processor time a request; 0 without a forwarder."""


def processor_time(pid: int) -> float:
    """Seconds that a process has used so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextlib.contextmanager
def nginx(lab: Lab, directory: str) -> Iterator[None]:
    """The server, in the container's namespace."""
    configuration = f"{directory}/nginx.conf"
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(_NGINX.format(directory=directory))
    with open(f"{directory}/big", "wb") as file:
        file.write(os.urandom(1 << 20))
    os.chmod(directory, 0o755)
    enter = ["nsenter", f"--net={lab.path('container')}"]
    subprocess.run([*enter, "nginx", "-c", configuration], check=True)
    try:
        yield
    finally:
        subprocess.run(["nginx", "-c", configuration, "-s", "quit"], check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def docker_proxy(lab: Lab) -> Iterator[int]:
    """docker-proxy beside the bridge; its process number."""
    words = f"-proto tcp -host-ip 0.0.0.0 -host-port {_PORT} -container-ip {TARGET} -container-port 80"
    script = f"exec docker-proxy {words} 3>&1"  # it says on descriptor 3 that it listens
    command = ["nsenter", f"--net={lab.path('sandbox')}", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.terminate()


def ask(lab: Lab, place: str, url: str, load: Load, seconds: int, pid: int) -> Figures:
    """Let wrk ask from a namespace, and look at what the forwarder `pid` has used meanwhile."""
    header = ["-H", "Connection: close"] if load.close else []
    before = processor_time(pid) if pid else 0.0
    text = lab.run(place, "wrk", "-t1", "-c16", f"-d{seconds}s", *header, url + load.path)
    used = processor_time(pid) - before if pid else 0.0
    found = re.search(r"(\d+) requests in ([\d.]+)(m?)s", text)
    if not found or "Socket errors" in text or "Non-2xx" in text:
        raise SystemExit(f"{url}{load.path}: {text}")
    count = int(found[1])
    return Figures(count / (float(found[2]) / (1000 if found[3] else 1)), used / count * 1e6)


def measure(lab: Lab, seconds: int, repeat: int) -> dict[tuple[Load, str], list[Figures]]:
    """Every load through every forwarder, in turn."""
    lab.publish("0.0.0.0", 80, port=_PORT)
    lab.start()
    assert lab.netd is not None
    found: dict[tuple[Load, str], list[Figures]] = {}
    with docker_proxy(lab) as peer:
        sides = (
            (OURS, "host", f"http://127.0.0.1:{_PORT}", lab.netd.pid),
            (PEER, "sandbox", f"http://127.0.0.1:{_PORT}", peer),
            (NONE, "sandbox", f"http://{TARGET}", 0),
        )
        for repetition in range(repeat):
            for load in LOADS:
                for name, place, url, pid in sides:
                    figures = ask(lab, place, url, load, seconds, pid)
                    found.setdefault((load, name), []).append(figures)
            sys.stderr.write(f"{repetition + 1} of {repeat}\n")
    return found


def table(found: dict[tuple[Load, str], list[Figures]]) -> str:
    """Medians in Markdown, with the range around them; a ratio above 1 is in our favour."""
    lines = [f"| | {OURS} | {PEER} | ratio | without |", "|---|---|---|---|---|"]
    for field, unit in ((0, "requests/s"), (1, "µs of processor time a request")):
        for load in LOADS:
            values = {name: [one[field] for one in found[load, name]] for name in (OURS, PEER, NONE)}
            ours, peer, none = (statistics.median(values[name]) for name in (OURS, PEER, NONE))
            cells = [_cell(values[name]) for name in (OURS, PEER)]
            ratio = ours / peer if field == 0 else peer / ours
            last = f"{none:.0f}" if field == 0 else ""
            lines.append(f"| {load.title} ({unit}) | {cells[0]} | {cells[1]} | {ratio:.2f} | {last} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure published ports, side by side with docker-proxy.")
    parser.add_argument("--seconds", type=int, default=3, help="how long each run takes")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    for program in ("nginx", "wrk", "docker-proxy"):
        if shutil.which(program) is None:
            parser.error(f"there is no {program} here")
    with tempfile.TemporaryDirectory(prefix="pcb") as directory:
        for name in ("data", "run"):
            os.mkdir(f"{directory}/{name}", 0o700)
        with machine(), contextlib.closing(Lab(Paths(f"{directory}/data", f"{directory}/run"))) as lab:
            with nginx(lab, directory):
                found = measure(lab, options.seconds, options.repeat)
    kernel, python = os.uname().release.split("-")[0], platform.python_version()
    where = f"{os.cpu_count()} cores, Linux {kernel}, Python {python}"
    sys.stdout.write(f"Medians of {options.repeat} (range in brackets); {where}.\n\n{table(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
