"""The listings of the init: every jump in the bytes leads to the label that the text beside them names."""

from __future__ import annotations

import struct

import pytest

from compose.runtime.container import init, init_code
from tests.support.listings import check_jumps, parsed

LISTINGS = {"x86_64": init_code.X86_64, "aarch64": init_code.AARCH64}


@pytest.mark.parametrize("machine", LISTINGS)
def test_jumps_lead_where_the_text_says(machine: str) -> None:
    check_jumps(machine, LISTINGS[machine])


@pytest.mark.parametrize("machine", LISTINGS)
def test_the_file_is_one_segment_and_begins_at_its_first_instruction(machine: str) -> None:
    program = init.program(machine)
    labels, instructions = parsed(LISTINGS[machine])
    entry, base, size = (struct.unpack_from("<Q", program, at)[0] for at in (24, 64 + 16, 64 + 32))
    assert size == len(program) < 700
    code = program[entry - base :]
    assert code.startswith(instructions[0][1])
    assert code[labels["name"] :] == b"init\0"
    assert machine != "aarch64" or {len(one[1]) for one in instructions} == {4}
