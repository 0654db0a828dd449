"""Segments and their index, written and read: both streams, torn tails, rotation, the last lines."""

from __future__ import annotations

import itertools
import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.runtime.output import logs
from compose.runtime.output.pieces import Pieces
from compose.runtime.output.segments import (
    RECORD,
    STDERR,
    STDOUT,
    Held,
    Output,
    make_fifo,
    segment_numbers,
    segment_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pipes:
    """A container's side of an output: what is written arrives in the segments."""

    def __init__(self, directory: str, max_size: int = 0, max_files: int = 3) -> None:
        self.output = Output(directory, max_size, max_files)
        self.ends = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _stream in (STDOUT, STDERR)]

    def write(self, stream: int, data: bytes) -> None:
        """Write, and let the monitor's side move it; as one write of its own time."""
        self.output._last_time = 0
        view = memoryview(data)
        while view:
            view = view[os.write(self.ends[stream][1], view[:65536]) :]
            self.output.pump(self.ends[stream][0], stream)

    def close(self) -> None:
        self.output.close()
        for descriptor in itertools.chain(*self.ends):
            os.close(descriptor)


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    made = Pipes(str(tmp_path / "log"))
    yield made
    made.close()


def read(directory: object, **limits: int | None) -> list[tuple[int, bytes]]:
    return [(stream, line) for _time, stream, line in logs.read(str(directory), **limits)]  # type: ignore[arg-type]


def test_both_streams_come_back_in_order(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"one\ntwo\n")
    pipes.write(STDERR, b"bad\n")
    pipes.write(STDOUT, b"three\n")
    assert read(tmp_path / "log") == [(0, b"one"), (0, b"two"), (1, b"bad"), (0, b"three")]


def test_one_stream_may_speak_in_the_middle_of_the_others_line(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"hel")
    pipes.write(STDERR, b"oops\nwo")
    pipes.write(STDOUT, b"lo\n")
    assert read(tmp_path / "log") == [(1, b"oops"), (0, b"hello"), (1, b"wo")]


def test_a_lines_time_is_that_of_the_write_that_completed_it(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"hel")
    between = time.time_ns()
    pipes.write(STDOUT, b"lo\n")
    [(time_ns, _stream, line)] = logs.read(str(tmp_path / "log"))
    assert line == b"hello"
    assert between <= time_ns <= time.time_ns()
    assert read(tmp_path / "log", since=time_ns + 1) == []
    assert read(tmp_path / "log", until=time_ns) == []
    assert read(tmp_path / "log", since=time_ns, until=time_ns + 1) == [(0, b"hello")]


def test_bytes_of_any_kind_are_kept(pipes: Pipes, tmp_path: Path) -> None:
    data = random.Random(7).randbytes(300_000)
    pipes.write(STDOUT, data)
    lines = [line for _stream, line in read(tmp_path / "log")]
    assert b"\n".join(lines) + (b"\n" if data.endswith(b"\n") else b"") == data


def test_a_line_without_end_comes_in_pieces(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"x" * (5 << 19) + b"\n")
    lines = [line for _stream, line in read(tmp_path / "log")]
    assert len(lines) > 1
    assert max(map(len, lines)) <= logs.LONGEST_PIECE + (1 << 18)
    assert b"".join(lines) == b"x" * (5 << 19)


def test_rotation_keeps_the_newest_and_cuts_between_lines(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory, max_size=2000, max_files=2)
    for number in range(300):
        pipes.write(number % 2, b"line %d\n" % number)
    pipes.close()
    numbers = segment_numbers(directory)
    assert len(numbers) == 2
    for number in numbers[:-1]:
        sizes = [os.path.getsize(segment_path(directory, number, kind)) for kind in ("raw", "index")]
        assert 2000 <= sum(sizes) < 2100
    lines = read(directory)
    first = int(lines[0][1].split()[1])
    assert lines == [(number % 2, b"line %d" % number) for number in range(first, 300)]


def test_a_successor_goes_on_where_the_killed_one_stopped(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory)
    pipes.write(STDERR, b"first\nsec")
    pipes.output._announce(STDOUT)  # killed between the record and the bytes
    pipes.output.close()
    with open(segment_path(directory, 1, "index"), "ab") as index:
        index.write(b"torn")  # and in the middle of a record
    pipes.output = Output(directory, 0, 3)
    pipes.write(STDERR, b"ond\n")
    pipes.write(STDOUT, b"third\n")
    pipes.close()
    assert read(directory) == [(1, b"first"), (1, b"second"), (0, b"third")]
    assert os.path.getsize(segment_path(directory, 1, "index")) % RECORD == 0


def test_a_lost_index_loses_times_and_not_lines(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"one\ntwo\n")
    os.truncate(segment_path(str(tmp_path / "log"), 1, "index"), 0)
    assert read(tmp_path / "log") == [(0, b"one"), (0, b"two")]


@pytest.mark.parametrize("size", [9, 10, 11, 25])
def test_what_was_written_last_is_there_although_only_one_segment_is_kept(tmp_path: Path, size: int) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory, max_size=size, max_files=1)
    for number in range(9):
        pipes.write(STDOUT, b"line %d\n" % number)
        assert read(directory)[-1] == (0, b"line %d" % number)
        assert len(segment_numbers(directory)) == 1
    pipes.close()


def test_a_full_disk_makes_room_by_its_oldest_segment(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory, max_size=100, max_files=5)
    assert not pipes.output.make_room()
    for _number in range(30):
        pipes.write(STDOUT, b"0123456789\n")
    oldest = segment_numbers(directory)[0]
    assert pipes.output.make_room()
    assert oldest not in segment_numbers(directory)
    pipes.close()


writes = st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=12).map(lambda b: b.replace(b"a", b"\n"))))


@settings(max_examples=60, deadline=None)
@given(writes, st.integers(0, 12), st.integers(0, 120))
def test_the_last_lines_are_the_last_of_all_lines(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[int, bytes]], tail: int, max_size: int
) -> None:
    directory = str(tmp_path_factory.mktemp("log"))
    pipes = Pipes(directory, max_size=max_size, max_files=1000)
    for stream, data in chunks:
        pipes.write(stream, data)
    pipes.close()
    everything = read(directory)
    for stream in (STDOUT, STDERR):
        written = b"".join(data for which, data in chunks if which == stream)
        lines = [line for which, line in everything if which == stream]
        assert lines == (written.removesuffix(b"\n").split(b"\n") if written else [])
    assert read(directory, tail=tail) == everything[max(0, len(everything) - tail) :]


def test_a_reader_reads_on_over_rotation(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory, max_size=120, max_files=1000)
    reader = logs.Reader(directory)
    found = []
    for number in range(100):
        pipes.write(number % 2, b"line %d\n" % number)
        if number % 7 == 0:
            found += [line for _time, _stream, line in reader.lines()]
    found += [line for _time, _stream, line in reader.lines()]
    assert found == [b"line %d" % number for number in range(100)]
    reader.close()
    pipes.close()


def test_a_reader_that_is_overtaken_goes_on_with_a_whole_line(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pipes = Pipes(directory, max_size=120, max_files=2)
    reader = logs.Reader(directory)
    pipes.write(STDOUT, b"line 0\n")
    found = [line for _time, _stream, line in reader.lines()]
    for number in range(1, 100):
        pipes.write(STDOUT, b"line %d\n" % number)
    found += [line for _time, _stream, line in reader.lines()]
    reader.close()
    pipes.close()
    assert found[0] == b"line 0"
    assert found[-1] == b"line 99"
    assert all(line.startswith(b"line ") for line in found)


def test_who_is_attached_reads_bytes_that_are_no_line_yet(pipes: Pipes, tmp_path: Path) -> None:
    pipes.write(STDOUT, b"before\n")
    pieces = Pieces(str(tmp_path / "log"), *pipes.output.place())
    assert list(pieces.read()) == []
    pipes.write(STDERR, b"name? ")
    assert list(pieces.read()) == [(STDERR, b"name? ")]
    pipes.write(STDOUT, b"hello ")
    pipes.write(STDERR, b"bad")
    pipes.write(STDOUT, b"there")
    assert list(pieces.read()) == [(STDOUT, b"hello "), (STDERR, b"bad"), (STDOUT, b"there")]
    everything = Pieces(str(tmp_path / "log"))
    assert b"".join(data for _, data in everything.read()) == b"before\nname? hello badthere"
    pieces.close()
    everything.close()


def test_who_is_attached_reads_on_over_rotation(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pieces = Pieces(directory)  # before there is anything
    assert list(pieces.read()) == []
    pipes = Pipes(directory, max_size=120, max_files=1000)
    found: list[tuple[int, bytes]] = []
    for number in range(100):
        pipes.write(number % 2, b"line %d\n" % number)
        if number % 7 == 0:
            found += pieces.read()
    found += pieces.read()
    assert found == [(number % 2, b"line %d\n" % number) for number in range(100)]
    pieces.close()
    pipes.close()


def test_logs_of_several_containers_are_merged_by_time(tmp_path: Path) -> None:
    made = {key: Pipes(str(tmp_path / key)) for key in "ab"}
    for number in range(10):
        made["ab"[number % 2]].write(STDOUT, b"%d\n" % number)
    merged = logs.merge((key, logs.read(str(tmp_path / key))) for key in "ab")
    assert [(key, line) for key, _time, _stream, line in merged] == [
        ("ab"[number % 2], b"%d" % number) for number in range(10)
    ]
    for pipes in made.values():
        pipes.close()


def test_a_fifo_is_replaced_by_nothing_but_a_fifo(tmp_path: Path) -> None:
    path = str(tmp_path / "stdout")
    (tmp_path / "stdout").write_text("not a fifo")
    descriptor = make_fifo(path, 0)
    assert os.stat(path).st_mode & 0o7777 == 0o622
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"kept")
    os.close(writer)
    again = make_fifo(path, 0)  # what a successor does when nobody kept the descriptor
    assert os.read(again, 10) == b"kept"
    for number in (descriptor, again):
        os.close(number)


@pytest.mark.parametrize("max_files", [1, 3])
def test_who_is_held_for_loses_nothing_however_late_it_reads(tmp_path: Path, max_files: int) -> None:
    directory = str(tmp_path / "log")
    pieces = Pieces.held(directory)
    pipes = Pipes(directory, max_size=1000, max_files=max_files)
    got = b""
    written = b""
    for number in range(200):
        data = b"%06d" % number * 15 + b"\n"
        while True:
            try:
                pipes.write(STDOUT, data)
                break
            except Held:  # now it reads what there is, as far as to the newest segment
                assert len(segment_numbers(directory)) == max_files + 1
                got += b"".join(piece for _stream, piece in pieces.read())
                data = b""
        written += b"%06d" % number * 15 + b"\n"
    pipes.output.drain([(pipes.ends[0][0], STDOUT)])
    got += b"".join(piece for _stream, piece in pieces.read())
    assert got == written
    pieces.close()
    pipes.write(STDOUT, b"x" * 999 + b"\n")
    pipes.write(STDOUT, b"end\n")
    assert len(segment_numbers(directory)) <= max_files + 1
    pipes.close()


def test_a_full_disk_takes_nothing_from_who_is_held_for(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    pieces = Pieces.held(directory)
    pipes = Pipes(directory, max_size=100)
    for _line in range(3):
        pipes.write(STDOUT, b"x" * 90 + b"\n")
    assert not pipes.output.make_room()
    pieces.close()
    assert pipes.output.make_room()
    pipes.close()
