"""bpf(2), as far as device programs of control groups need it."""

from __future__ import annotations

import ctypes
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import SYS_bpf

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_QUERY = 16
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2


def load_device_program(instructions: bytes) -> int:
    """Load a BPF_PROG_TYPE_CGROUP_DEVICE program (8 bytes an instruction); returns its descriptor."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII",
        BPF_PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        *(0, 0, 0, 0, 0),
    )
    return syscall(SYS_bpf, BPF_PROG_LOAD, attributes, len(attributes), what="bpf load")


def attach_to_cgroup(program: int, directory: int) -> None:
    """Attach a device program to a control group; those of its ancestors go on to apply as well."""
    attributes = struct.pack("=IIII", directory, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
    syscall(SYS_bpf, BPF_PROG_ATTACH, attributes, len(attributes), what="bpf attach")


def programs_of_cgroup(directory: int) -> int:
    """How many device programs are attached to this very control group."""
    attributes = ctypes.create_string_buffer(
        struct.pack("=IIIIQI", directory, BPF_CGROUP_DEVICE, 0, 0, 0, 0), 32
    )
    syscall(SYS_bpf, BPF_PROG_QUERY, attributes, 32, what="bpf query")
    return int(struct.unpack_from("=I", attributes, 24)[0])
