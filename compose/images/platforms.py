"""Platforms: ``OS/ARCHITECTURE[/VARIANT]`` as images and compose files name them, and what can be run here.

Programs of another architecture run where the kernel knows an interpreter for them (binfmt_misc). Inside a
container that only works if the interpreter was opened when it was registered (flag F): the path is none of
the container's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

BINFMT = "/proc/sys/fs/binfmt_misc"

_ALIASES = {
    **{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"},
    **{"armhf": "arm/v7", "armel": "arm/v6", "armv7l": "arm/v7", "armv6l": "arm/v6"},
}
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_RUN_AS_WELL = {"amd64": ("386",), "arm64": ("arm",)}
"""What a processor runs besides its own architecture."""
_MACHINES = {
    **{"amd64": (64, "little", 62), "386": (32, "little", 3), "arm": (32, "little", 40)},
    **{"arm64": (64, "little", 183), "riscv64": (64, "little", 243), "ppc64le": (64, "little", 21)},
    **{"s390x": (64, "big", 22), "loong64": (64, "little", 258), "mips64le": (64, "little", 8)},
}
"""Bits, byte order and number of the machine in the header of its programs (elf.h)."""


class Platform(NamedTuple):
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        shown = "" if self.variant == _DEFAULT_VARIANTS.get(self.architecture) else self.variant
        return "/".join(filter(None, (self.os, self.architecture, shown)))


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``linux/amd64``, ``arm64`` or ``linux``. Raises `ImageError`."""
    words = text.lower().strip().split("/")
    if words == ["linux"]:
        return host()
    if len(words) == 1:
        words = ["linux", *words]
    words = [words[0], *_ALIASES.get(words[1], words[1]).split("/"), *words[2:]]
    if len(words) > 3 or not all(words):
        raise ImageError(f"{text} is no platform", hint="write linux/amd64 or linux/arm64")
    if words[0] != "linux":
        raise ImageError(f"{text}: there are only containers of Linux", hint="write linux/amd64")
    variant = words[2] if len(words) > 2 else _DEFAULT_VARIANTS.get(words[1], "")
    return Platform(words[0], words[1], variant)


def host() -> Platform:
    """This machine's."""
    machine = os.uname().machine
    architecture, _, variant = _ALIASES.get(machine, machine).partition("/")
    return Platform("linux", architecture, variant or _DEFAULT_VARIANTS.get(architecture, ""))


def of_image(config: Mapping[str, Any]) -> Platform:
    """That of an image, from its OCI config; what it does not say is this machine's."""
    own = host()
    architecture = str(config.get("architecture") or own.architecture)
    variant = str(config.get("variant") or _DEFAULT_VARIANTS.get(architecture, ""))
    return Platform(str(config.get("os") or own.os), architecture, variant)


def why_not(platform: Platform, binfmt: str = BINFMT) -> str:
    """Why programs of a platform cannot be run here, in words; "" when they can."""
    own = host().architecture
    if platform.architecture in (own, *_RUN_AS_WELL.get(own, ())):
        return ""
    if platform.architecture not in _MACHINES:
        return f"nothing is known of {platform.architecture}"
    flags = _interpreter_flags(_header(platform.architecture), binfmt)
    if flags is None:
        return f"this {own} machine has no interpreter for {platform.architecture} programs"
    if "F" not in flags:
        return f"the interpreter for {platform.architecture} programs is registered without the flag F"
    return ""


def _header(architecture: str) -> bytes:
    """The first 20 bytes of its programs."""
    bits, order, number = _MACHINES[architecture]
    big = order == "big"
    identity = b"\x7fELF" + bytes([bits // 32, 2 if big else 1, 1]) + bytes(9)
    kind = (2).to_bytes(2, "big" if big else "little")
    return identity + kind + number.to_bytes(2, "big" if big else "little")


def _interpreter_flags(header: bytes, directory: str) -> str | None:
    """The flags of the enabled interpreter whose magic number fits; None when there is none."""
    try:
        with open(f"{directory}/status", encoding="ascii") as file:
            if file.read().strip() != "enabled":
                return None
        names = sorted(os.listdir(directory))
    except OSError:
        return None
    for name in names:
        if name in ("register", "status"):
            continue
        try:
            with open(f"{directory}/{name}", encoding="utf-8", errors="replace") as file:
                entry = file.read()
        except OSError:
            continue
        if entry.startswith("enabled") and _fits(entry, header):
            return _field(entry, "flags:")
    return None


def _fits(entry: str, header: bytes) -> bool:
    magic, mask = (bytes.fromhex(_field(entry, key)) for key in ("magic", "mask"))
    offset = int(_field(entry, "offset") or 0)
    if not magic or offset:
        return False
    mask = mask or b"\xff" * len(magic)
    shown = header.ljust(len(magic), b"\0")
    return all((one ^ other) & bits == 0 for one, other, bits in zip(shown, magic, mask, strict=False))


def _field(entry: str, key: str) -> str:
    for line in entry.splitlines():
        if line.startswith(key):
            return line.removeprefix(key).strip()
    return ""
