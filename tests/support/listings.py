"""Reading the listings of machine code that the package holds: a label, or bytes and their text, a line."""

from __future__ import annotations

import re


def parsed(text: str) -> tuple[dict[str, int], list[tuple[int, bytes, str]]]:
    """The offsets of the labels, and the instructions: offset, bytes, text."""
    labels: dict[str, int] = {}
    instructions = []
    offset = 0
    for line in text.strip().splitlines():
        code, _, words = line.partition(";")
        content = bytes.fromhex(code.replace("SS", "00"))
        words = words.strip()
        if content:
            instructions.append((offset, content, words))
        elif words.endswith(":"):
            labels[words.removesuffix(":")] = offset
        else:
            assert words.startswith("--"), line
        offset += len(content)
    labels["name"] = offset  # the data behind the code
    return labels, instructions


def x86_target(offset: int, code: bytes) -> int:
    """Where a jump or a lea relative to rip leads: one or four bytes of distance at its end."""
    size = 1 if len(code) == 2 else 4
    return offset + len(code) + int.from_bytes(code[-size:], "little", signed=True)


def arm_target(offset: int, code: bytes) -> int:
    """Where b, b.cond, cbz, tbnz or adr leads."""
    word = int.from_bytes(code, "little")
    if word >> 26 == 0b000101:
        bits, value = 26, word
    elif word >> 24 in (0x54, 0xB4, 0xB5):
        bits, value = 19, word >> 5
    elif word >> 24 in (0x36, 0x37, 0xB7):
        bits, value = 14, word >> 5
    else:
        assert word >> 24 == 0x10
        return offset + ((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3)
    value &= (1 << bits) - 1
    return offset + 4 * (value - (1 << bits) if value >> bits - 1 else value)


def check_jumps(machine: str, text: str) -> None:
    """Every jump in the bytes leads to the label that the text beside them names, and each label is used."""
    labels, instructions = parsed(text)
    target = x86_target if machine == "x86_64" else arm_target
    names = "|".join(labels)
    seen = set()
    for offset, code, words in instructions:
        match = re.search(r"^(?:j\w+|b|b\.\w+|cbn?z|tbn?z|adr|lea)\b.*?\b(" + names + r")\]?$", words)
        if match:
            seen.add(match[1])
            assert target(offset, code) == labels[match[1]], words
    assert seen | {"name"} == set(labels)
