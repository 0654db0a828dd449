"""System call numbers and constants that differ between machines.

x86_64 and aarch64 are known. System calls added since Linux 5.0 (424 and above) have one number everywhere.
"""

from __future__ import annotations

import os

MACHINE = os.uname().machine
_X86_64 = MACHINE == "x86_64"
if MACHINE not in ("x86_64", "aarch64"):
    raise ImportError(f"pycompose does not know the system calls of {MACHINE}; it runs on x86_64 and aarch64")

SYS_read = 0 if _X86_64 else 63
SYS_write = 1 if _X86_64 else 64
SYS_close = 3 if _X86_64 else 57
SYS_rt_sigaction = 13 if _X86_64 else 134
SYS_munmap = 11 if _X86_64 else 215
SYS_ioctl = 16 if _X86_64 else 29
SYS_rt_sigprocmask = 14 if _X86_64 else 135
SYS_madvise = 28 if _X86_64 else 233
SYS_recvmsg = 47 if _X86_64 else 212
SYS_clone = 56 if _X86_64 else 220
SYS_execve = 59 if _X86_64 else 221
SYS_getcwd = 79 if _X86_64 else 17
SYS_fchdir = 81 if _X86_64 else 50
SYS_fchown = 93 if _X86_64 else 55
SYS_umask = 95 if _X86_64 else 166
SYS_setsid = 112 if _X86_64 else 157
SYS_setgroups = 116 if _X86_64 else 159
SYS_setresuid = 117 if _X86_64 else 147
SYS_setresgid = 119 if _X86_64 else 149
SYS_exit_group = 231 if _X86_64 else 94
SYS_openat = 257 if _X86_64 else 56
SYS_dup3 = 292 if _X86_64 else 24
SYS_prlimit64 = 302 if _X86_64 else 261
SYS_mount = 165 if _X86_64 else 40
SYS_umount2 = 166 if _X86_64 else 39
SYS_pivot_root = 155 if _X86_64 else 41
SYS_setdomainname = 171 if _X86_64 else 162
SYS_sethostname = 170 if _X86_64 else 161
SYS_capget = 125 if _X86_64 else 90
SYS_capset = 126 if _X86_64 else 91
SYS_prctl = 157 if _X86_64 else 167
SYS_keyctl = 250 if _X86_64 else 219
SYS_unshare = 272 if _X86_64 else 97
SYS_setns = 308 if _X86_64 else 268
SYS_seccomp = 317 if _X86_64 else 277
SYS_bpf = 321 if _X86_64 else 280
SYS_statx = 332 if _X86_64 else 291
SYS_memfd_create = 319 if _X86_64 else 279

SYS_pidfd_send_signal = 424
SYS_open_tree = 428
SYS_move_mount = 429
SYS_fsopen = 430
SYS_fsconfig = 431
SYS_fsmount = 432
SYS_pidfd_open = 434
SYS_clone3 = 435
SYS_close_range = 436
SYS_openat2 = 437
SYS_pidfd_getfd = 438
SYS_mount_setattr = 442
SYS_quotactl_fd = 443
