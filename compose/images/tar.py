"""Tar archives as streams: a reader that believes nothing, and the headers that a layer's digest is made of.

`read` yields one `Entry` after the other and hands out the content of regular files; it never opens, makes or
follows anything. `compose.images.unpack` writes entries below a directory descriptor. The standard library's
`tarfile` is not used, because its extraction filters have been broken repeatedly (CVE-2025-4517 and others)
and what a user's Python has is not ours to choose.

Read: ustar, GNU long names and binary numbers, PAX records (path, linkpath, size, uid, gid, mtime,
``SCHILY.xattr.*``). Refused in one line: sparse files, multi-volume archives, numbers out of range, names
with NUL, headers whose sum is wrong, records that pass the limits.
"""

from __future__ import annotations

import os
import stat
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from compose.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
CHUNK = 1 << 18
MAX_ID = (1 << 32) - 2  # 2^32-1 is "no id" for chown(2)
_MIN_TIME, _MAX_TIME = -(1 << 31), 1 << 34
_XATTR = "SCHILY.xattr."


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Bytes(Protocol):
    """The content of one entry."""

    def read(self, size: int = ..., /) -> bytes: ...


class Limits(NamedTuple):
    """What an archive may ask for before it is taken for a bomb."""

    entries: int = 2_000_000
    total: int = 64 << 30
    """Bytes of the whole uncompressed stream."""
    metadata: int = 1 << 20
    """Bytes of one long name or PAX record block."""


class Entry(NamedTuple):
    """One member of an archive; names are bytes as they stand there."""

    name: bytes
    kind: int
    """The file type bits of ``st_mode``; 0 for a hard link to `link`."""
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    """Nanoseconds since the epoch."""
    link: bytes
    device: tuple[int, int]
    xattrs: dict[str, bytes]


class _Stream:
    """Exact reads from a stream, counted against the limit."""

    def __init__(self, source: Readable, limits: Limits) -> None:
        self._source = source
        self._left = limits.total

    def block(self) -> bytes:
        """The next header block; empty at the end of the stream."""
        found = self._take(BLOCK)
        while found and len(found) < BLOCK:
            more = self._take(BLOCK - len(found))
            if not more:
                raise ImageError("the archive is cut off in a header")
            found += more
        return found

    def _take(self, size: int) -> bytes:
        try:
            found = self._source.read(size)
        except ImageError:
            raise
        except (OSError, EOFError, ValueError) as error:
            raise ImageError(f"the archive cannot be read: {error}") from error
        except Exception as error:  # zlib.error and lzma.LZMAError have no common base
            raise ImageError(f"the archive cannot be uncompressed: {error}") from error
        self._left -= len(found)
        if self._left < 0:
            raise ImageError("the archive is larger than the limit when uncompressed")
        return found

    def some(self, size: int) -> bytes:
        found = self._take(min(size, CHUNK))
        if not found:
            raise ImageError("the archive is cut off")
        return found

    def exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self.some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.some(size))

    def drain(self) -> None:
        while self._take(CHUNK):
            pass


class Content:
    """The bytes of the entry that was yielded last; what is not read is skipped."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream = stream
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, empty at the end of the entry."""
        wanted = self.left if size < 0 else min(size, self.left)
        if not wanted:
            return b""
        found = self._stream.some(wanted)
        self.left -= len(found)
        return found


def read(source: Readable, limits: Limits | None = None) -> Iterator[tuple[Entry, Content]]:
    """The entries of an uncompressed archive, each with its content; raises `ImageError`.

    The stream is read to its very end, so that a digest over it is complete.
    """
    limits = limits or Limits()
    stream = _Stream(source, limits)
    count = 0
    extended: dict[str, bytes] = {}
    while block := stream.block():
        if not block.strip(b"\0"):
            break
        count += 1
        if count > limits.entries:
            raise ImageError(f"the archive has more than {limits.entries} entries")
        _check_sum(block)
        flag = block[156:157]
        if flag in b"LKxg":
            _extend(extended, flag, _metadata(stream, block, limits))
            continue
        entry = _entry(block, flag, extended)
        extended = {}
        content = Content(stream, entry.size)
        yield entry, content
        stream.skip(content.left + -entry.size % BLOCK)
    stream.drain()


def _metadata(stream: _Stream, block: bytes, limits: Limits) -> bytes:
    size = _number(block[124:136], "size")
    if size > limits.metadata:
        raise ImageError(f"the archive has a name or record of {size} bytes")
    found = stream.exactly(size)
    stream.skip(-size % BLOCK)
    return found


def _extend(extended: dict[str, bytes], flag: bytes, data: bytes) -> None:
    if flag == b"L":
        extended["path"] = data.split(b"\0", 1)[0]
    elif flag == b"K":
        extended["linkpath"] = data.split(b"\0", 1)[0]
    elif flag == b"x":
        extended.update(_records(data))
    # g: global records are comments in practice (git archive); Docker ignores them too


def _records(data: bytes) -> dict[str, bytes]:
    """PAX records, ``LENGTH KEY=VALUE\\n`` (POSIX.1-2017, pax, Extended Header)."""
    found: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[space + 1 : position + length]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or record[-1:] != b"\n" or position + length > len(data):
            raise ImageError("the archive has a damaged PAX record")
        if key.startswith(b"GNU.sparse."):
            raise ImageError("the archive has a sparse file, which is not supported")
        found[key.decode("utf-8", "surrogateescape")] = value
        position += length
    return found


def _check_sum(block: bytes) -> None:
    stored = _number(block[148:156], "sum")
    if stored != _sum(block) and stored != _sum(block) - 256 * sum(byte > 127 for byte in _unsummed(block)):
        raise ImageError("not a tar archive, or a damaged one: the sum of a header is wrong")


def _unsummed(block: bytes) -> bytes:
    return block[:148] + block[156:]


def _sum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * 32


def _number(field: bytes, what: str) -> int:
    """A numeric field: octal digits, or GNU's big-endian binary form."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if digits.strip(b"01234567"):
            raise ImageError(f"the archive has a damaged {what}: {digits!r}")
        value = int(digits or b"0", 8)
    if value < 0 and what != "time":
        raise ImageError(f"the archive has a negative {what}")
    return value


_KINDS = {
    b"0": stat.S_IFREG, b"\0": stat.S_IFREG, b"7": stat.S_IFREG, b"1": 0, b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"5": stat.S_IFDIR, b"6": stat.S_IFIFO,
}  # fmt: skip


def _entry(block: bytes, flag: bytes, extended: dict[str, bytes]) -> Entry:
    kind = _KINDS.get(flag)
    if kind is None:
        raise ImageError(f"the archive has an entry of type {os.fsdecode(flag)!r}, which is not supported")
    name = _name(block, extended)
    if kind == stat.S_IFREG and name.endswith(b"/"):  # how archives before 1988 wrote directories
        kind = stat.S_IFDIR
    size = _decimal(extended, "size", block[124:136])
    device = (0, 0)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        device = (_number(block[329:337], "device"), _number(block[337:345], "device"))
    link = extended.get("linkpath", block[157:257].split(b"\0", 1)[0])
    for text in (name, link):
        if b"\0" in text or len(text) > 4096:
            raise ImageError(f"the archive has a bad name: {text[:80]!r}")
    return Entry(
        name, kind, _number(block[100:108], "mode") & 0o7777,
        _identity(extended, "uid", block[108:116]), _identity(extended, "gid", block[116:124]),
        size if kind == stat.S_IFREG else 0, _time(extended, block[136:148]), link, device,
        {key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)},
    )  # fmt: skip


def _name(block: bytes, extended: dict[str, bytes]) -> bytes:
    if "path" in extended:
        return extended["path"]
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _decimal(extended: dict[str, bytes], key: str, field: bytes) -> int:
    text = extended.get(key)
    if not text:
        return _number(field, key)
    if not text.isdigit() or len(text) > 19:
        raise ImageError(f"the archive has a damaged {key}: {text[:40]!r}")
    return int(text)


def _identity(extended: dict[str, bytes], key: str, field: bytes) -> int:
    value = _decimal(extended, key, field)
    if value > MAX_ID:
        raise ImageError(f"the archive has the {key} {value}, which no file can have")
    return value


def _time(extended: dict[str, bytes], field: bytes) -> int:
    """Nanoseconds, cut to what file systems can hold."""
    text = extended.get("mtime")
    if not text:
        return max(_MIN_TIME, min(_MAX_TIME, _number(field, "time"))) * 10**9
    whole, _, fraction = text.partition(b".")
    if not whole.lstrip(b"-").isdigit() or (fraction and not fraction.isdigit()) or len(whole) > 30:
        raise ImageError(f"the archive has a damaged mtime: {text[:40]!r}")
    nanoseconds = int((fraction[:9] + b"0" * 9)[:9])
    seconds = max(_MIN_TIME, min(_MAX_TIME, int(whole)))
    return seconds * 10**9 + (-nanoseconds if whole.startswith(b"-") else nanoseconds)


def header(entry: Entry) -> bytes:
    """The header blocks of `entry`, always the same: ustar, with PAX records where needed."""
    records = {_XATTR + key: value for key, value in entry.xattrs.items()}
    seconds, nanoseconds = divmod(entry.mtime, 10**9)
    if nanoseconds or seconds < 0 or seconds >= 1 << 33:
        records["mtime"] = (b"-" if seconds < 0 else b"") + b"%d.%09d" % divmod(abs(entry.mtime), 10**9)
        seconds = max(0, min(seconds, (1 << 33) - 1))
    numbers = (("uid", entry.uid, 1 << 21), ("gid", entry.gid, 1 << 21), ("size", entry.size, 1 << 33))
    for key, value, limit in numbers:
        if value >= limit:
            records[key] = b"%d" % value
    for key, text in (("path", entry.name), ("linkpath", entry.link)):
        if len(text) > 100 or not text.isascii():
            records[key] = text
    plain = _block(
        entry.name[:100], _flag(entry.kind), entry.mode, entry.uid % (1 << 21), entry.gid % (1 << 21),
        entry.size % (1 << 33), seconds, entry.link[:100], entry.device,
    )  # fmt: skip
    if not records:
        return plain
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = _block(b"././@PaxHeader", b"x", 0o644, 0, 0, len(data), 0, b"", (0, 0))
    return extended + data + padding(len(data)) + plain


def padding(size: int) -> bytes:
    """What fills the last block of `size` bytes of content."""
    return b"\0" * (-size % BLOCK)


END = b"\0" * 2 * BLOCK


def _flag(kind: int) -> bytes:
    return next(flag for flag, value in _KINDS.items() if value == kind)


def _record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _block(
    name: bytes, flag: bytes, mode: int, uid: int, gid: int, size: int, seconds: int, link: bytes,
    device: tuple[int, int],
) -> bytes:  # fmt: skip
    found = b"".join((
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % uid, b"%07o\0" % gid, b"%011o\0" % size,
        b"%011o\0" % seconds, b" " * 8, flag, link.ljust(100, b"\0"), b"ustar\x0000", b"\0" * 64,
        b"%07o\0" % device[0], b"%07o\0" % device[1], b"\0" * 167,
    ))  # fmt: skip
    return found[:148] + b"%06o\0 " % sum(found) + found[156:]


def uncompressed(file: IO[bytes]) -> Readable:
    """The stream inside `file`, by its first bytes: gzip, bzip2, xz or none; raises `ImageError` for zstd.

    `file` must be buffered or seekable, and stand at its beginning.
    """
    peek = getattr(file, "peek", None)
    if peek is not None:
        magic = peek(6)[:6]
    else:
        magic = file.read(6)
        file.seek(-len(magic), os.SEEK_CUR)
    if magic.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=file, mode="rb")
    if magic.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(file)
    if magic == b"\xfd7zXZ\0":
        import lzma

        return lzma.LZMAFile(file)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        raise ImageError("archives compressed with zstd are not supported yet")
    return file


def is_header(block: bytes) -> bool:
    """Whether `block` begins an archive."""
    try:
        _check_sum(block)
    except (ImageError, IndexError):
        return False
    return len(block) == BLOCK and bool(block.strip(b"\0"))
