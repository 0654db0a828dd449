"""Binary packages, deb(5): an ar archive of ``debian-binary``, ``control.tar`` and ``data.tar``."""

from __future__ import annotations

import io
import stat
from typing import NamedTuple

from compose.errors import ImageError
from compose.images import tar

_MAGIC = b"!<arch>\n"
_CONTROL_LIMIT = 64 << 20
_DATA_LIMIT = 2 << 30
_NOT_WHOLE = "an archive in it is cut off, or too large"


class Deb(NamedTuple):
    """A package file, split into its parts."""

    name: str
    control: dict[str, tuple[int, bytes]]
    """The control archive's files: mode and content. ``control`` is among them."""
    data: memoryview
    """The data archive, still compressed."""
    compression: str
    """``xz``, ``gz``, ``bz2``, ``zst`` or empty."""


def read(content: bytes, name: str) -> Deb:
    """Split a package file; raises `ImageError` that names the package."""
    members = _members(content, name)
    if not members or members[0][0] != "debian-binary" or not bytes(members[0][1]).startswith(b"2."):
        raise ImageError(f"{name} is not a Debian package of format 2")
    control: dict[str, tuple[int, bytes]] | None = None
    for member, part in members[1:]:
        if member.startswith("control.tar"):
            raw = uncompress(part, _extension(member), _CONTROL_LIMIT, name)
            control = _control(raw, name)
        elif member.startswith("data.tar"):
            if control is None or "control" not in control:
                break
            return Deb(name, control, part, _extension(member))
    raise ImageError(f"{name} is not whole: its control or data archive is missing")


def _members(content: bytes, name: str) -> list[tuple[str, memoryview]]:
    if not content.startswith(_MAGIC):
        raise ImageError(f"{name} is not a Debian package")
    view = memoryview(content)
    found = []
    position = len(_MAGIC)
    while position < len(content):
        header = content[position : position + 60]
        size = header[48:58].strip()
        if len(header) < 60 or header[58:60] != b"`\n" or not size.isdigit():
            raise ImageError(f"{name} is damaged: a bad header at byte {position}")
        start = position + 60
        end = start + int(size)
        if end > len(content):
            raise ImageError(f"{name} is cut off")
        found.append((header[:16].decode("ascii", "replace").strip().rstrip("/"), view[start:end]))
        position = end + end % 2
    return found


def _extension(member: str) -> str:
    return member.partition(".tar")[2].lstrip(".")


def uncompress(part: memoryview, compression: str, limit: int, name: str) -> bytes:
    """The whole of a compressed part, at most `limit` bytes; raises `ImageError`."""
    try:
        found = _uncompress(part, compression, limit)
    except Exception as error:  # zlib.error, lzma.LZMAError, EOFError, OSError: no common base
        raise ImageError(f"{name} is damaged: {error}") from error
    if found is None:
        raise ImageError(f"{name} is compressed with {compression}, which this Python cannot read")
    return found


def _uncompress(part: memoryview, compression: str, limit: int) -> bytes | None:
    # the decompressors give up the interpreter lock only for large pieces: one call for the whole
    if compression == "xz":
        import lzma

        return _bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ), part, limit)
    if compression == "gz":
        import zlib

        inflater = zlib.decompressobj(31)
        found = inflater.decompress(part, limit)
        if not inflater.eof:
            raise EOFError(_NOT_WHOLE)
        return found
    if compression == "bz2":
        import bz2

        return _bounded(bz2.BZ2Decompressor(), part, limit)
    if compression == "zst":
        return _zstandard(part, limit)
    return bytes(part) if not compression else None


def _bounded(decompressor: object, part: memoryview, limit: int) -> bytes:
    found: bytes = decompressor.decompress(part, limit)  # type: ignore[attr-defined]
    if not decompressor.eof:  # type: ignore[attr-defined]
        raise EOFError(_NOT_WHOLE)
    return found


def _zstandard(part: memoryview, limit: int) -> bytes | None:
    """Python 3.14 and later; Debian's own archive does not use it."""
    import importlib

    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        return None
    return _bounded(module.ZstdDecompressor(), part, limit)


def _control(raw: bytes, name: str) -> dict[str, tuple[int, bytes]]:
    found = {}
    for entry, content in tar.read(io.BytesIO(raw)):
        path = entry.name.decode("utf-8", "surrogateescape").removeprefix("./")
        if entry.kind == stat.S_IFDIR:
            continue
        if entry.kind != stat.S_IFREG or "/" in path or path in ("", ".", ".."):
            raise ImageError(f"{name} has {path!r} in its control archive")
        pieces = []
        while piece := content.read():
            pieces.append(piece)
        found[path] = (entry.mode, b"".join(pieces))
    return found


def data_archive(deb: Deb) -> bytes:
    """The package's files as an uncompressed tar archive; raises `ImageError`."""
    return uncompress(deb.data, deb.compression, _DATA_LIMIT, deb.name)
