"""The machine code of `init`: one instruction a line, its bytes before the semicolon.

It is the same program twice, and in C it would be this. Descriptor 3 is the socket of steps.py; ``STEP`` is
the number by which a record says that a program could not be executed.

    prctl(PR_SET_NAME, "init");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigprocmask(SIG_SETMASK, all, NULL);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid());
        fcntl(3, F_SETFD, FD_CLOEXEC);
        sigprocmask(SIG_SETMASK, none, NULL);
        execve(argv[1], argv + 2, environ);
    }
    if (child <= 0) {
        write(3, {STEP, errno, 0, 0}, 16);
        exit(127);
    }
    close(3);
    signals = signalfd(-1, all, SFD_CLOEXEC);
    for (;;) {
        do n = read(signals, &info, 128); while (n == -EINTR);
        if (n == 128 && info.ssi_signo != SIGCHLD)
            kill(child, info.ssi_signo);
        else
            while ((pid = wait4(-1, &status, n == 128 ? WNOHANG : 0, NULL)) > 0)
                if (pid == child)
                    exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
"""

from __future__ import annotations

X86_64 = """
48 89 e3             ; mov rbx, rsp
48 81 ec 00 01 00 00 ; sub rsp, 256
; -- prctl(PR_SET_NAME, "init")
6a 0f                ; push 15
5f                   ; pop rdi
48 8d 35 6a 01 00 00 ; lea rsi, [rip+name]
b8 9d 00 00 00       ; mov eax, 157
0f 05                ; syscall
; -- prctl(PR_SET_CHILD_SUBREAPER, 1): orphans come to it also where it is not process 1
6a 24                ; push 36
5f                   ; pop rdi
6a 01                ; push 1
5e                   ; pop rsi
b8 9d 00 00 00       ; mov eax, 157
0f 05                ; syscall
; -- rt_sigprocmask(SIG_SETMASK, all)
48 83 0c 24 ff       ; or qword ptr [rsp], -1
6a 02                ; push 2
5f                   ; pop rdi
48 89 e6             ; mov rsi, rsp
31 d2                ; xor edx, edx
6a 08                ; push 8
41 5a                ; pop r10
b8 0e 00 00 00       ; mov eax, 14
0f 05                ; syscall
; -- fork()
b8 39 00 00 00       ; mov eax, 57
0f 05                ; syscall
85 c0                ; test eax, eax
0f 84 9c 00 00 00    ; jz child
0f 88 fe 00 00 00    ; js failed
41 89 c4             ; mov r12d, eax
; -- close(3): the report is the child's
6a 03                ; push 3
5f                   ; pop rdi
b8 03 00 00 00       ; mov eax, 3
0f 05                ; syscall
; -- signalfd4(-1, all, SFD_CLOEXEC)
83 cf ff             ; or edi, -1
48 89 e6             ; mov rsi, rsp
6a 08                ; push 8
5a                   ; pop rdx
41 ba 00 00 08 00    ; mov r10d, 0x80000
b8 21 01 00 00       ; mov eax, 289
0f 05                ; syscall
41 89 c5             ; mov r13d, eax
; next:
; -- read(signalfd, 128 bytes); again when interrupted
44 89 ef             ; mov edi, r13d
48 8d 74 24 40       ; lea rsi, [rsp+64]
ba 80 00 00 00       ; mov edx, 128
31 c0                ; xor eax, eax
0f 05                ; syscall
83 f8 fc             ; cmp eax, -4
74 ea                ; je next
6a 01                ; push 1
41 5e                ; pop r14
3d 80 00 00 00       ; cmp eax, 128
75 15                ; jne blind
; -- kill(child, signal), unless it is SIGCHLD
8b 74 24 40          ; mov esi, [rsp+64]
83 fe 11             ; cmp esi, 17
74 0f                ; je reap
44 89 e7             ; mov edi, r12d
b8 3e 00 00 00       ; mov eax, 62
0f 05                ; syscall
eb ca                ; jmp next
; blind:
; -- no signalfd: wait for children, and pass nothing on
45 31 f6             ; xor r14d, r14d
; reap:
; -- wait4(-1, WNOHANG)
83 cf ff             ; or edi, -1
48 8d 74 24 08       ; lea rsi, [rsp+8]
44 89 f2             ; mov edx, r14d
45 31 d2             ; xor r10d, r10d
b8 3d 00 00 00       ; mov eax, 61
0f 05                ; syscall
85 c0                ; test eax, eax
7e ae                ; jle next
44 39 e0             ; cmp eax, r12d
75 e2                ; jne reap
; -- its exit code, or 128 + the signal that ended it
8b 44 24 08          ; mov eax, [rsp+8]
0f b6 fc             ; movzx edi, ah
83 e0 7f             ; and eax, 0x7f
74 06                ; jz leave
8d b8 80 00 00 00    ; lea edi, [rax+128]
; leave:
; -- exit_group(code)
b8 e7 00 00 00       ; mov eax, 231
0f 05                ; syscall
; child:
; -- setpgid(0, 0)
31 ff                ; xor edi, edi
31 f6                ; xor esi, esi
b8 6d 00 00 00       ; mov eax, 109
0f 05                ; syscall
; -- getpid()
b8 27 00 00 00       ; mov eax, 39
0f 05                ; syscall
89 44 24 08          ; mov [rsp+8], eax
; -- ioctl(0, TIOCSPGRP): the terminal's signals are for it alone
31 ff                ; xor edi, edi
be 10 54 00 00       ; mov esi, 0x5410
48 8d 54 24 08       ; lea rdx, [rsp+8]
b8 10 00 00 00       ; mov eax, 16
0f 05                ; syscall
; -- fcntl(3, F_SETFD, FD_CLOEXEC)
6a 03                ; push 3
5f                   ; pop rdi
6a 02                ; push 2
5e                   ; pop rsi
6a 01                ; push 1
5a                   ; pop rdx
b8 48 00 00 00       ; mov eax, 72
0f 05                ; syscall
; -- rt_sigprocmask(SIG_SETMASK, none)
48 83 24 24 00       ; and qword ptr [rsp], 0
6a 02                ; push 2
5f                   ; pop rdi
48 89 e6             ; mov rsi, rsp
31 d2                ; xor edx, edx
6a 08                ; push 8
41 5a                ; pop r10
b8 0e 00 00 00       ; mov eax, 14
0f 05                ; syscall
; -- execve(argv[1], argv + 2, envp)
48 8b 7b 10          ; mov rdi, [rbx+16]
48 8d 73 18          ; lea rsi, [rbx+24]
48 8b 03             ; mov rax, [rbx]
48 8d 54 c3 10       ; lea rdx, [rbx+rax*8+16]
b8 3b 00 00 00       ; mov eax, 59
0f 05                ; syscall
; failed:
; -- write(3, {step, errno, 0, 0}, 16)
f7 d8                ; neg eax
c7 04 24 SS SS SS SS ; mov dword ptr [rsp], STEP
89 44 24 04          ; mov [rsp+4], eax
48 83 64 24 08 00    ; and qword ptr [rsp+8], 0
6a 03                ; push 3
5f                   ; pop rdi
48 89 e6             ; mov rsi, rsp
6a 10                ; push 16
5a                   ; pop rdx
6a 01                ; push 1
58                   ; pop rax
0f 05                ; syscall
; -- exit_group(127)
6a 7f                ; push 127
5f                   ; pop rdi
b8 e7 00 00 00       ; mov eax, 231
0f 05                ; syscall
"""

AARCH64 = """
f3 03 00 91          ; mov x19, sp
ff 03 04 d1          ; sub sp, sp, #256
; -- prctl(PR_SET_NAME, "init")
e0 01 80 d2          ; mov x0, #15
01 0e 00 10          ; adr x1, name
e8 14 80 d2          ; mov x8, #167
01 00 00 d4          ; svc #0
; -- prctl(PR_SET_CHILD_SUBREAPER, 1): orphans come to it also where it is not process 1
80 04 80 d2          ; mov x0, #36
21 00 80 d2          ; mov x1, #1
01 00 00 d4          ; svc #0
; -- rt_sigprocmask(SIG_SETMASK, all)
09 00 80 92          ; mov x9, #-1
e9 03 00 f9          ; str x9, [sp]
40 00 80 d2          ; mov x0, #2
e1 03 00 91          ; mov x1, sp
02 00 80 d2          ; mov x2, #0
03 01 80 d2          ; mov x3, #8
e8 10 80 d2          ; mov x8, #135
01 00 00 d4          ; svc #0
; -- fork()
20 02 80 d2          ; mov x0, #17
01 00 80 d2          ; mov x1, #0
02 00 80 d2          ; mov x2, #0
03 00 80 d2          ; mov x3, #0
04 00 80 d2          ; mov x4, #0
88 1b 80 d2          ; mov x8, #220
01 00 00 d4          ; svc #0
00 06 00 b4          ; cbz x0, child
c0 09 f8 b7          ; tbnz x0, #63, failed
f4 03 00 aa          ; mov x20, x0
; -- close(3): the report is the child's
60 00 80 d2          ; mov x0, #3
28 07 80 d2          ; mov x8, #57
01 00 00 d4          ; svc #0
; -- signalfd4(-1, all, SFD_CLOEXEC)
00 00 80 92          ; mov x0, #-1
e1 03 00 91          ; mov x1, sp
02 01 80 d2          ; mov x2, #8
03 01 a0 d2          ; mov x3, #0x80000
48 09 80 d2          ; mov x8, #74
01 00 00 d4          ; svc #0
f5 03 00 aa          ; mov x21, x0
; next:
; -- read(signalfd, 128 bytes); again when interrupted
e0 03 15 aa          ; mov x0, x21
e1 03 01 91          ; add x1, sp, #64
02 10 80 d2          ; mov x2, #128
e8 07 80 d2          ; mov x8, #63
01 00 00 d4          ; svc #0
1f 10 00 b1          ; cmn x0, #4
40 ff ff 54          ; b.eq next
36 00 80 d2          ; mov x22, #1
1f 00 02 f1          ; cmp x0, #128
01 01 00 54          ; b.ne blind
; -- kill(child, signal), unless it is SIGCHLD
e1 43 40 b9          ; ldr w1, [sp, #64]
3f 44 00 71          ; cmp w1, #17
c0 00 00 54          ; b.eq reap
e0 03 14 aa          ; mov x0, x20
28 10 80 d2          ; mov x8, #129
01 00 00 d4          ; svc #0
f0 ff ff 17          ; b next
; blind:
; -- no signalfd: wait for children, and pass nothing on
16 00 80 d2          ; mov x22, #0
; reap:
; -- wait4(-1, WNOHANG)
00 00 80 92          ; mov x0, #-1
e1 23 00 91          ; add x1, sp, #8
e2 03 16 aa          ; mov x2, x22
03 00 80 d2          ; mov x3, #0
88 20 80 d2          ; mov x8, #260
01 00 00 d4          ; svc #0
1f 00 00 f1          ; cmp x0, #0
ed fc ff 54          ; b.le next
1f 00 14 eb          ; cmp x0, x20
e1 fe ff 54          ; b.ne reap
; -- its exit code, or 128 + the signal that ended it
e1 0b 40 b9          ; ldr w1, [sp, #8]
20 3c 08 53          ; ubfx w0, w1, #8, #8
21 18 00 72          ; ands w1, w1, #0x7f
40 00 00 54          ; b.eq leave
20 00 02 11          ; add w0, w1, #128
; leave:
; -- exit_group(code)
c8 0b 80 d2          ; mov x8, #94
01 00 00 d4          ; svc #0
; child:
; -- setpgid(0, 0)
00 00 80 d2          ; mov x0, #0
01 00 80 d2          ; mov x1, #0
48 13 80 d2          ; mov x8, #154
01 00 00 d4          ; svc #0
; -- getpid()
88 15 80 d2          ; mov x8, #172
01 00 00 d4          ; svc #0
e0 0b 00 b9          ; str w0, [sp, #8]
; -- ioctl(0, TIOCSPGRP): the terminal's signals are for it alone
00 00 80 d2          ; mov x0, #0
01 82 8a d2          ; mov x1, #0x5410
e2 23 00 91          ; add x2, sp, #8
a8 03 80 d2          ; mov x8, #29
01 00 00 d4          ; svc #0
; -- fcntl(3, F_SETFD, FD_CLOEXEC)
60 00 80 d2          ; mov x0, #3
41 00 80 d2          ; mov x1, #2
22 00 80 d2          ; mov x2, #1
28 03 80 d2          ; mov x8, #25
01 00 00 d4          ; svc #0
; -- rt_sigprocmask(SIG_SETMASK, none)
ff 03 00 f9          ; str xzr, [sp]
40 00 80 d2          ; mov x0, #2
e1 03 00 91          ; mov x1, sp
02 00 80 d2          ; mov x2, #0
03 01 80 d2          ; mov x3, #8
e8 10 80 d2          ; mov x8, #135
01 00 00 d4          ; svc #0
; -- execve(argv[1], argv + 2, envp)
60 0a 40 f9          ; ldr x0, [x19, #16]
61 62 00 91          ; add x1, x19, #24
62 02 40 f9          ; ldr x2, [x19]
62 0e 02 8b          ; add x2, x19, x2, lsl #3
42 40 00 91          ; add x2, x2, #16
a8 1b 80 d2          ; mov x8, #221
01 00 00 d4          ; svc #0
; failed:
; -- write(3, {step, errno, 0, 0}, 16)
e0 03 00 4b          ; neg w0, w0
SS SS SS SS          ; mov w1, #STEP
e1 03 00 29          ; stp w1, w0, [sp]
ff 07 00 f9          ; str xzr, [sp, #8]
60 00 80 d2          ; mov x0, #3
e1 03 00 91          ; mov x1, sp
02 02 80 d2          ; mov x2, #16
08 08 80 d2          ; mov x8, #64
01 00 00 d4          ; svc #0
; -- exit_group(127)
e0 0f 80 d2          ; mov x0, #127
c8 0b 80 d2          ; mov x8, #94
01 00 00 d4          ; svc #0
"""


def assemble(text: str, step: bytes) -> bytes:
    """The bytes of a listing; `step` is what stands in the place of ``SS SS SS SS``."""
    listed = " ".join(line.partition(";")[0].strip() for line in text.splitlines())
    before, _, after = listed.partition("SS SS SS SS")
    return bytes.fromhex(before) + step + bytes.fromhex(after) + b"init\0"
