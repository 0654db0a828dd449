"""Numbers of bytes as docker prints them."""

from __future__ import annotations


def binary(size: float) -> str:
    """``392KiB``, ``23.54GiB``: four digits, powers of 1024."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def decimal(size: float) -> str:
    """``1.04kB``, ``116MB``: three digits, powers of 1000."""
    return _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), 3)


def _scaled(size: float, base: int, units: tuple[str, ...], digits: int) -> str:
    place = 0
    while size >= base and place < len(units) - 1:
        size /= base
        place += 1
    return f"{size:.{digits}g}{units[place]}"
