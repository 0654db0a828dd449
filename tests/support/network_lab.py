"""A small internet of network namespaces: a host, a client beside it, a project's sandbox, one container.

    client 198.51.100.2 ── 198.51.100.1 host        another "host": the machine's interfaces stay as they are
    sandbox 10.213.7.1 ── 10.213.7.2 container       as the product makes them, without an uplink

Sockets in any of them are made by a thread that enters it, and used from the test itself.
"""

from __future__ import annotations

import os
import queue
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from compose.linux import sockets
from compose.linux.mount import MNT_DETACH, MS_BIND, mount, umount2
from compose.linux.namespaces import CLONE_NEWNET, setns, unshare
from compose.network.setup.client import fork_setup
from compose.network.types import Endpoint, NetworkSpec
from compose.state.files import replace_json
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.state.paths import Paths

T = TypeVar("T")
PROJECT = "lab"
CONTAINER = "c" * 64
NETWORK = "n" * 64
HOST, CLIENT, GATEWAY, TARGET = "198.51.100.1", "198.51.100.2", "10.213.7.1", "10.213.7.2"
HOST6, CLIENT6 = "2001:db8:5::1", "2001:db8:5::2"
GATEWAY6, TARGET6 = "fd00:213:7::1", "fd00:213:7::2"
_NETD = """
import sys, os
sys.path.insert(0, sys.argv[1])
from compose.linux.namespaces import CLONE_NEWNET, setns
setns(os.open(sys.argv[2], os.O_RDONLY | os.O_CLOEXEC), CLONE_NEWNET)
from compose.network.netd import process as netd
named = {}
for word in sys.argv[8:]:
    name, _, numbers = word.rpartition("=")
    named[name] = [int(number) for number in numbers.split(",")]
project, run, resolv_conf, port = sys.argv[4:8]
netd.main(int(sys.argv[3]), named, project, run, resolv_conf=resolv_conf, resolver_port=int(port))
"""
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Lab:
    """The namespaces, and one netd in the host's."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.directory = f"{paths.run}/lab"
        self.resolv_conf = f"{paths.run}/resolv.conf"
        self.resolver_port = 53
        self.netd: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.named: dict[str, list[socket.socket]] = {}
        self._pins: list[str] = []
        self._again: list[str] = []
        self._open: list[socket.socket] = []
        project_run = paths.project_run(PROJECT)
        for directory in (self.directory, paths.namespaces, project_run, f"{paths.run}/networks"):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(self.resolv_conf, "w") as file:
            file.write("nameserver 127.0.0.1\n")
        for name in ("host", "client"):
            self._pin(name)
        self._setup = fork_setup(paths)
        self._setup.create_sandbox(PROJECT, uplink=False)
        both = ("10.213.7.0/24", GATEWAY, "fd00:213:7::/64", GATEWAY6)
        self._setup.create_networks([NetworkSpec(NETWORK, "default", PROJECT, *both)])
        endpoint = Endpoint(NETWORK, "eth0", f"{TARGET}/24", GATEWAY, ipv6=f"{TARGET6}/64", gateway6=GATEWAY6)
        names = self._setup.create_containers(PROJECT, [(CONTAINER, [endpoint], True)])[CONTAINER]
        self._names = [socket.socket(fileno=number) for number in names]
        self._open += self._names
        self._connect()

    def path(self, name: str) -> str:
        if name == "sandbox":
            return self.paths.project_namespace(PROJECT)
        if name == "container":
            return self.paths.container_namespace(CONTAINER)
        return f"{self.directory}/{name}"

    def _pin(self, name: str) -> None:
        path = self.path(name)
        with open(path, "w"):
            pass

        def make() -> None:
            unshare(CLONE_NEWNET)
            mount("/proc/thread-self/ns/net", path, None, MS_BIND)

        in_thread(make)
        self._pins.append(path)
        self.run(name, "ip", "link", "set", "lo", "up")

    def pin_again(self, name: str, path: str) -> None:
        """Pin a namespace at another path as well."""
        with open(path, "w"):
            pass
        mount(self.path(name), path, None, MS_BIND)
        self._again.append(path)

    def _connect(self) -> None:
        self._pair("client", "host", "eth0", "veth0")
        for name, here, here6 in (("host", HOST, HOST6), ("client", CLIENT, CLIENT6)):
            device = "veth0" if name == "host" else "eth0"
            self.run(name, "ip", "address", "add", f"{here}/24", "dev", device)
            self.run(name, "ip", "address", "add", f"{here6}/64", "dev", device, "nodad")

    def _pair(self, first: str, second: str, name: str, peer: str) -> None:
        link = ("ip", "link", "add", name, "type", "veth", "peer", "name", peer)
        self.run(first, *link, "netns", "lab-peer", second=second)
        self.run(first, "ip", "link", "set", name, "up")
        self.run(second, "ip", "link", "set", peer, "up")

    def run(self, name: str, *command: str, second: str = "", input: str = "") -> str:
        """Run a command in a namespace; ``lab-peer`` stands for the one called `second`."""
        holder = None
        words = [*command]
        if second:
            enter = ["nsenter", f"--net={self.path(second)}"]
            holder = subprocess.Popen([*enter, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert holder.stdin and holder.stdout
            holder.stdin.write(b"x")
            holder.stdin.flush()
            holder.stdout.read(1)  # now it has entered
            words[words.index("lab-peer")] = str(holder.pid)
        try:
            done = subprocess.run(
                ["nsenter", f"--net={self.path(name)}", *words], input=input, text=True, capture_output=True
            )
        finally:
            if holder is not None:
                holder.communicate()
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def make(self, name: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket in a namespace, with a time-out for the test's sake."""

        def create() -> socket.socket:
            self._enter(name)
            return socket.socket(family, kind)

        made = in_thread(create)
        made.settimeout(MOMENT)
        self._open.append(made)
        return made

    def _enter(self, name: str) -> None:
        descriptor = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        setns(descriptor, CLONE_NEWNET)
        os.close(descriptor)

    def call(self, name: str, function: Callable[[], T]) -> T:
        """Call a function in a thread that is in a namespace."""

        def call() -> T:
            self._enter(name)
            return function()

        return in_thread(call)

    def listen(self, name: str, address: str, port: int = 0, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A bound (and for TCP listening) socket."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.make(name, family, kind)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(4096)
        return made

    def publish(
        self,
        address: str,
        target_port: int,
        kind: int = socket.SOCK_STREAM,
        port: int = 0,
        target: str = TARGET,
    ) -> int:
        """Publish a port of the container; the host's port."""
        listener = self.listen("host", address, port, kind)
        port = listener.getsockname()[1]
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        self.put(f"listen/{CONTAINER}/{protocol}/{address}/{port}/{target}/{target_port}", [listener])
        return port

    def put(self, name: str, made: list[socket.socket]) -> None:
        self.named[name] = made
        if self.control is not None:
            sockets.send(self.control, f"put {name}".encode(), [one.fileno() for one in made])

    def drop(self, name: str) -> None:
        assert self.control is not None
        sockets.send(self.control, f"drop {name}".encode())
        for one in self.named.pop(name):
            one.close()

    def name_service(self, container: str = CONTAINER) -> tuple[str, int]:
        """Give netd the two sockets of a container, whose questions come from the lab's container; where."""
        if container == CONTAINER:
            self.put(f"dns/{container}", self._names)
            return "127.0.0.11", 53
        udp = self.listen("container", "127.0.0.1", 0, socket.SOCK_DGRAM)
        tcp = self.listen("container", "127.0.0.1", udp.getsockname()[1])
        self.put(f"dns/{container}", [udp, tcp])
        address, port = udp.getsockname()
        return str(address), int(port)

    def endpoint(self, network: str, slot: str, **value: object) -> None:
        """Write an endpoint file."""
        os.makedirs(self.paths.network_run(network), exist_ok=True)
        project, service, _number = slot.split(".")
        whole: dict[str, object] = {"container": CONTAINER, "project": project, "service": service}
        whole.update({"ipv4": TARGET, "names": [service], **value})
        replace_json(f"{self.paths.network_run(network)}/{slot}.json", whole, durable=False)

    def start(self, *, python: str = sys.executable, project: str = PROJECT) -> None:
        """Start netd with everything that has been put."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        numbers = {name: [one.fileno() for one in made] for name, made in self.named.items()}
        words = [f"{name}={','.join(map(str, fds))}" for name, fds in numbers.items()]
        own = str(theirs.fileno())
        arguments = [_ROOT, self.path("host"), own, project, self.paths.run, self.resolv_conf]
        self.netd = subprocess.Popen(
            [python, "-I", "-S", "-c", _NETD, *arguments, str(self.resolver_port), *words],
            pass_fds=[int(own), *(fd for fds in numbers.values() for fd in fds)],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.control = ours

    def kill(self) -> None:
        """End netd without a warning, as the kernel may."""
        assert self.netd is not None and self.control is not None
        self.netd.kill()
        self.netd.wait()
        self.control.close()
        self.netd = self.control = None

    def errors(self) -> str:
        """What netd has complained about."""
        try:
            with open(f"{self.paths.project_run(PROJECT)}/errors.log") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        if self.netd is not None:
            self.kill()
        for one in self._open:
            one.close()
        for path in self._again:
            umount2(path, MNT_DETACH)
            os.unlink(path)
        with self._setup:
            failures = self._setup.remove_sandbox(PROJECT, [CONTAINER])
        for path in self._pins:
            umount2(path, MNT_DETACH)
        for directory in (self.paths.project_run(PROJECT), f"{self.paths.run}/networks"):
            shutil.rmtree(directory, ignore_errors=True)
        assert not failures


def in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own, which ends with whatever namespace it has entered."""
    results: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((True, function()))
        except BaseException as error:
            results.put((False, error))

    thread = threading.Thread(target=work)
    thread.start()
    good, value = results.get()
    thread.join()
    if not good:
        assert isinstance(value, BaseException)
        raise value
    return value  # type: ignore[return-value]


class Server:
    """Accepts connections in the background and calls `serve` for each in a thread."""

    def __init__(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        self.peers: list[str] = []
        self._listener = listener
        self._serve = serve
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._stop, self._stopping = os.pipe()
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener.fileno(), self._stop], [], [])
            if self._stop in ready:
                return
            client, address = self._listener.accept()
            client.settimeout(MOMENT)
            self.peers.append(address[0])
            thread = threading.Thread(target=self._one, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, client: socket.socket) -> None:
        with client:
            try:
                self._serve(client)
            except OSError:
                return

    def close(self) -> None:
        os.close(self._stopping)
        for thread in [*self._threads]:
            thread.join(MOMENT)
        os.close(self._stop)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end."""
    pieces = []
    while piece := sock.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def until(true: Callable[[], T], complaint: str = "it did not happen") -> T:
    """Ask until the answer is true; for states that nothing announces."""
    end = time.monotonic() + MOMENT
    while True:
        if value := true():
            return value
        assert time.monotonic() < end, complaint
        select.select([], [], [], 0.005)


def private_memory(pid: int) -> int:
    """Private bytes of a process."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        lines = [line.split() for line in file if line.endswith("kB\n")]
    values = {words[0].rstrip(":"): int(words[1]) for words in lines}
    return (values["Private_Clean"] + values["Private_Dirty"]) * 1024
