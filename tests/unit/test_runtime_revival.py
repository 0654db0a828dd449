"""Containers outlive all of their helpers: what those held is there again once somebody asks."""

from __future__ import annotations

import os
import signal
import socket
import time

from compose.linux import sockets
from compose.runtime import protocol, records
from compose.runtime.supervision.revival import Revival
from tests.support.containers import PROJECT, Stand, wait_for_end
from tests.support.patience import MOMENT
from tests.support.ports import free_port


def kill_together(*pids: int) -> None:
    """kill -9 before any of them can act on the death of another."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    while not all(records.process_fields(pid)[0] == "T" for pid in pids):
        time.sleep(0.001)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for_end(pids)


class Published:
    """A listening socket that the keeper holds for a container, as the engine gives it."""

    def __init__(self, stand: Stand, identity: str) -> None:
        self.stand = stand
        self.identity = identity
        self.address = ("127.0.0.1", free_port())
        with socket.create_server(self.address) as listening:
            self.name = f"listen/{identity}/tcp/127.0.0.1/{self.address[1]}/10.0.0.2/80"
            stand.keeper.put(self.name, [listening.fileno()])

    def netd(self) -> int:
        """The process that answers, as the stand-in for netd does; 0 where nobody listens."""
        try:
            with socket.create_connection(self.address, timeout=MOMENT) as client:
                number, project = client.recv(100).split()
                assert project.decode() == PROJECT
                return int(number)
        except ConnectionRefusedError:
            return 0

    def lost(self) -> list[str]:
        return self.stand.state(self.identity).get("lost", [])


def until_held(stand: Stand, *names: str) -> None:
    """Wait until the keeper has read what was sent to it."""
    deadline = time.monotonic() + MOMENT
    while missing := set(names) - set(stand.keeper.names()):
        assert time.monotonic() < deadline, missing
        time.sleep(0.01)


def running(stand: Stand) -> tuple[str, Published]:
    identity = stand.make("sleep", "1000")
    published = Published(stand, identity)
    stand.keeper.start(identity)
    assert published.netd()
    return identity, published


def kill_helpers(stand: Stand, published: Published) -> None:
    monitor = stand.state(published.identity)["monitor_pid"]
    kill_together(stand.keeper_pid(), published.netd(), monitor)
    assert not published.netd()


def test_a_published_port_is_opened_again_where_it_was(stand: Stand) -> None:
    identity, published = running(stand)
    before = stand.state(identity)
    kill_helpers(stand, published)
    Revival(stand.paths, PROJECT, seconds=MOMENT).bring_back(identity)
    after = stand.state(identity)
    assert (after["pid"], after["monitor_pid"]) == (before["pid"], after["monitor_pid"])
    assert published.lost() == []
    assert published.netd()
    until_held(stand, published.name)


def test_a_port_that_somebody_else_has_is_opened_when_he_has_gone(stand: Stand) -> None:
    identity, published = running(stand)
    kill_helpers(stand, published)
    with socket.create_server(published.address):
        Revival(stand.paths, PROJECT, seconds=MOMENT).bring_back(identity)
        assert published.lost() == [published.name]
        assert stand.keeper.names() == []
    stand.until(identity, lambda state: "lost" not in state)
    assert published.netd()


def test_who_gives_a_port_back_ends_the_search_for_it(stand: Stand) -> None:
    identity, published = running(stand)
    kill_helpers(stand, published)
    with socket.create_server(published.address) as another:
        Revival(stand.paths, PROJECT, seconds=MOMENT).bring_back(identity)
        assert published.lost() == [published.name]
        stand.keeper.put(published.name, [another.fileno()])
        stand.until(identity, lambda state: "lost" not in state)
    assert published.netd()


def test_what_has_ended_listens_no_more(stand: Stand) -> None:
    identity, published = running(stand)
    kill_helpers(stand, published)
    with socket.create_server(published.address):
        Revival(stand.paths, PROJECT, seconds=MOMENT).bring_back(identity)
        assert stand.keeper.stop(identity, grace=0)["status"] == "exited"
    assert published.lost() == []
    assert not published.netd()


def test_nobody_comes_back_while_the_project_goes_down(stand: Stand) -> None:
    identity, published = running(stand)
    stand.keeper.set_stopping(True)
    kill_helpers(stand, published)
    Revival(stand.paths, PROJECT, seconds=MOMENT).bring_back(identity)
    assert records.is_unwatched(stand.state(identity))


def test_only_what_nobody_watches_is_revived(stand: Stand) -> None:
    identity, published = running(stand)
    revived: list[str] = []
    assert records.read_state(stand.paths, identity, revived.append)["status"] == "running"
    assert revived == []
    kill_helpers(stand, published)
    assert records.read_state(stand.paths, identity, revived.append)["status"] == "running"
    assert revived == [identity]
    path = f"{stand.paths.container(identity)}/state.json"
    records.write(path, {**stand.state(identity), "boot_id": "another"})
    assert records.read_state(stand.paths, identity, revived.append)["status"] == "exited"
    assert revived == [identity]


def test_a_monitor_hands_over_more_descriptors_than_a_packet_holds(stand: Stand) -> None:
    identity = stand.make("sleep", "1000")
    read, write = os.pipe()
    names = [f"name/{identity}/{number}" for number in range(600)]
    stand.keeper.put_all({name: [write] for name in names})
    os.close(write)
    stand.keeper.start(identity)
    keeper = stand.keeper_pid()
    kill_together(keeper)
    stand.ensure()

    until_held(stand, *names)
    stand.keeper.stop(identity, grace=0)
    os.close(read)


def test_descriptors_travel_in_packets_that_the_kernel_takes() -> None:
    reader, writer = os.pipe()
    named = {f"name/{number}": [reader, writer] for number in range(300)}
    ours, theirs = sockets.pair()
    there: dict[str, int] = {}
    for names, descriptors in protocol.batches(named):
        protocol.request(ours, "put", descriptors, names=names, padding="x" * 40_000)
        message, received = protocol.receive(theirs)
        assert message is not None and len(received) == len(descriptors)
        there.update(message["names"])
        for number in received:
            os.close(number)
    assert there == dict.fromkeys(named, 2)
    for one in (ours, theirs):
        one.close()
    os.close(reader)
    os.close(writer)
