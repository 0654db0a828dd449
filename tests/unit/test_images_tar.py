"""The archive reader: what it reads as others write it, and what it refuses."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ImageError
from compose.images.tar import BLOCK, END, Entry, Limits, header, padding, read, uncompressed

if TYPE_CHECKING:
    from collections.abc import Callable


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive as the standard library writes it."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return output.getvalue()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def entries(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    return [
        (entry, content.read() if entry.size else b"") for entry, content in read(io.BytesIO(data), limits)
    ]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_others_write(form: int) -> None:
    data = archive(
        (member("d", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("d/f", mode=0o4711, uid=7, gid=8, mtime=12345), b"content"),
        (member("l", type=tarfile.SYMTYPE, linkname="d/f"), b""),
        (member("h", type=tarfile.LNKTYPE, linkname="d/f"), b""),
        (member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (member("p", type=tarfile.FIFOTYPE), b""),
        form=form,
    )
    found = entries(data)
    assert [(entry.name, entry.kind) for entry, _ in found] == [
        (b"d/", stat.S_IFDIR),
        (b"d/f", stat.S_IFREG),
        (b"l", stat.S_IFLNK),
        (b"h", 0),
        (b"c", stat.S_IFCHR),
        (b"p", stat.S_IFIFO),
    ]
    entry, content = found[1]
    assert (entry.mode, entry.uid, entry.gid, entry.mtime, content) == (
        0o4711,
        7,
        8,
        12345 * 10**9,
        b"content",
    )
    assert found[2][0].link == found[3][0].link == b"d/f"
    assert found[4][0].device == (1, 3)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_long_names_and_large_numbers(form: int) -> None:
    name, target = "d/" * 100 + "file", "t/" * 200
    data = archive(
        (member(name, uid=3_000_000, gid=4_000_000_000, mtime=8589934592), b"x"),
        (member("l", type=tarfile.SYMTYPE, linkname=target), b""),
        form=form,
    )
    (first, _), (second, _) = entries(data)
    assert (first.name, first.uid, first.gid) == (name.encode(), 3_000_000, 4_000_000_000)
    assert first.mtime == 8589934592 * 10**9
    assert second.link == target.encode()


def test_reads_extended_attributes_and_fractions_of_seconds() -> None:
    info = member("f", pax_headers={"SCHILY.xattr.user.note": "value", "mtime": "1.25"})
    ((entry, _),) = entries(archive((info, b"")))
    assert entry.xattrs == {"user.note": b"value"}
    assert entry.mtime == 1_250_000_000


def test_content_that_is_not_read_is_skipped() -> None:
    data = archive((member("a"), b"x" * 1000), (member("b"), b"y"))
    names = [entry.name for entry, _ in read(io.BytesIO(data))]
    assert names == [b"a", b"b"]


def test_headers_are_read_back_as_they_were_written() -> None:
    entry = Entry(
        b"d/" * 80 + b"\xff", stat.S_IFREG, 0o640, 5_000_000, 6, 3, 1_500_000_001, b"", (0, 0),
        {"user.a": b"\0\n1", "security.capability": b"\x01\0\0\x02"},
    )  # fmt: skip
    data = header(entry) + b"abc" + padding(3) + END
    assert entries(data) == [(entry, b"abc")]
    assert header(entry) == header(entry)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        assert [info.uid for info in file] == [5_000_000]


@given(
    name=st.binary(min_size=1, max_size=300).filter(
        lambda name: b"\0" not in name and not name.endswith(b"/")
    ),
    uid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**31) * 10**9, 2**34 * 10**9),
)
def test_any_header_survives(name: bytes, uid: int, mtime: int) -> None:
    entry = Entry(name, stat.S_IFREG, 0o644, uid, 0, 0, mtime, b"", (0, 0), {})
    assert entries(header(entry) + END) == [(entry, b"")]


def corrupted(data: bytes, offset: int, value: bytes) -> bytes:
    """`data` with a header field replaced and its sum made right again."""
    block = data[:offset] + value + data[offset + len(value) : BLOCK]
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + data[BLOCK:]


PLAIN = archive((member("file"), b"content"), form=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("uid 2^32-1", corrupted(PLAIN, 108, b"\x80\0\0\0\xff\xff\xff\xff")),
        ("a negative size", corrupted(PLAIN, 124, b"\xff" * 12)),
        ("letters in a number", corrupted(PLAIN, 100, b"rwxr-xr\0")),
        ("a multi-volume archive", corrupted(PLAIN, 156, b"M")),
        ("a GNU sparse file", corrupted(PLAIN, 156, b"S")),
        ("8 EiB of content", corrupted(PLAIN, 124, b"\x80\0\0\0\x7f" + b"\xff" * 7)),
        ("a wrong sum", PLAIN[:1] + b"X" + PLAIN[2:]),
        ("no archive", b"not an archive at all" * 100),
        ("cut in the content", archive((member("a"), b"x" * 5000))[:2000]),
        ("cut in a header", PLAIN[:300]),
    ],
)
def test_damaged_archives_are_refused(what: str, data: bytes) -> None:
    with pytest.raises(ImageError):
        entries(data)


@pytest.mark.parametrize("when", [-1, -(2**62), 2**62])
def test_times_out_of_range_are_cut_to_what_a_file_can_have(when: int) -> None:
    number = when.to_bytes(12, "big", signed=True)
    field = bytes([number[0] | 0x80]) + number[1:]
    ((entry, _),) = entries(corrupted(PLAIN, 136, field))
    assert -(2**31) * 10**9 <= entry.mtime <= 2**34 * 10**9


@pytest.mark.parametrize(
    "record",
    [
        *(
            b"99 path=x\n",
            b"x path=x\n",
            b"10 path=xy",
            b"0 a=b\n",
            b"-5 a=b\n",
            b"7 path\n",
            b"12 size=1e9\n",
        ),
        *(b"22 GNU.sparse.major=1\n", b"19 uid=4294967295\n", b"16 mtime=one.5\n"),
    ],
)
def test_damaged_records_are_refused(record: bytes) -> None:
    extended = corrupted(PLAIN, 156, b"x")[:BLOCK]
    extended = corrupted(extended, 124, b"%011o\0" % len(record))
    with pytest.raises(ImageError):
        entries(extended + record + padding(len(record)) + PLAIN)


def test_limits_stop_bombs() -> None:
    many = archive(*[(member(str(number)), b"") for number in range(20)])
    with pytest.raises(ImageError, match="more than 10 entries"):
        entries(many, Limits(entries=10))
    with pytest.raises(ImageError, match="larger than the limit"):
        entries(archive((member("a"), b"\0" * 100_000)), Limits(total=50_000))
    with pytest.raises(ImageError, match="record of"):
        entries(archive((member("n" * 5000), b"")), Limits(metadata=4000))


def test_a_gigabyte_of_record_is_not_read() -> None:
    bomb = corrupted(corrupted(PLAIN, 156, b"x"), 124, b"%011o\0" % (1 << 30))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            entries(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives(compress: Callable[[bytes], bytes]) -> None:
    whole = compress(PLAIN)
    assert [entry.name for entry, _ in read(uncompressed(io.BytesIO(whole)))] == [b"file"]
    with pytest.raises(ImageError):
        list(read(uncompressed(io.BytesIO(whole[: len(whole) // 2]))))


def test_what_follows_a_gzip_stream_is_refused_unless_it_is_another_one() -> None:
    half = len(PLAIN) // 2
    parts = gzip.compress(PLAIN[:half]) + gzip.compress(PLAIN[half:])
    assert [entry.name for entry, _ in read(uncompressed(io.BytesIO(parts)))] == [b"file"]
    with pytest.raises(ImageError):
        list(read(uncompressed(io.BytesIO(parts + b"garbage"))))


@given(st.binary(max_size=2000))
def test_noise_is_an_error_or_nothing(noise: bytes) -> None:
    try:
        entries(noise, Limits(total=1 << 20))
    except ImageError:
        pass


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_one_wrong_byte_is_an_error_or_harmless(position: int, value: int) -> None:
    try:
        entries(PLAIN[:position] + bytes([value]) + PLAIN[position + 1 :], Limits(total=1 << 20))
    except ImageError:
        pass
