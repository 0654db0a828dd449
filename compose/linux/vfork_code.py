"""The machine code of `vfork`: one instruction a line, its bytes before the semicolon.

It is the same function twice, and in C it would be this, had C a way to say that the child shares the stack:

    long vfork_calls(struct call *call, struct clone_args *how, size_t size, struct note *note) {
        long result = clone3(how, size), saved;
        if (result != 0)
            return result;
        for (; call->number >= 0; call++) {
            note->at = call;
            result = syscall(call->number, call->flags & USE ? saved : call->arguments[0], ...);
            if (is_error(result)) {
                if (-result > 63 || !(call->tolerated >> -result & 1))
                    goto fatal;
                continue;
            }
            if (call->flags & SAVE)
                saved = result;
            if (call->flags & FORK) {
                if (result != 0) {
                    if (!(call->flags & AGAIN))
                        exit_group(0);
                    call = (char *) call + call->arguments[5];
                    continue;
                }
                note = (char *) note + 65536;
            }
            if (call->flags & ABSOLUTE && *(char *) call->arguments[0] != '/') {
                result = -EXDEV;
                goto fatal;
            }
        }
        result = -ENOENT;
    fatal:
        note->error = -result;
        write(note->report, note, 16);
        exit_group(127);
    }

The child touches neither the stack nor anything but `note`, so that its parent finds all as it left it. Each
of its own children has a note of its own, one page further on.
"""

from __future__ import annotations

X86_64 = """
53                         ; push rbx
41 54                      ; push r12
41 55                      ; push r13
48 89 fb                   ; mov rbx, rdi
49 89 cc                   ; mov r12, rcx
48 89 f7                   ; mov rdi, rsi
48 89 d6                   ; mov rsi, rdx
b8 b3 01 00 00             ; mov eax, 435
0f 05                      ; syscall
48 85 c0                   ; test rax, rax
74 06                      ; jz next
41 5d                      ; pop r13
41 5c                      ; pop r12
5b                         ; pop rbx
c3                         ; ret
; next:
8b 03                      ; mov eax, [rbx]
85 c0                      ; test eax, eax
0f 88 8c 00 00 00          ; js ended
48 8b 7b 08                ; mov rdi, [rbx+8]
48 8b 73 10                ; mov rsi, [rbx+16]
48 8b 53 18                ; mov rdx, [rbx+24]
4c 8b 53 20                ; mov r10, [rbx+32]
4c 8b 43 28                ; mov r8, [rbx+40]
4c 8b 4b 30                ; mov r9, [rbx+48]
f6 43 04 01                ; test byte ptr [rbx+4], 1
49 0f 45 fd                ; cmovnz rdi, r13
49 89 1c 24                ; mov [r12], rbx
0f 05                      ; syscall
48 3d 00 f0 ff ff          ; cmp rax, -4096
77 44                      ; ja failed
f6 43 04 02                ; test byte ptr [rbx+4], 2
4c 0f 45 e8                ; cmovnz r13, rax
f6 43 04 08                ; test byte ptr [rbx+4], 8
74 0c                      ; jz look
48 85 c0                   ; test rax, rax
75 21                      ; jnz born
49 81 c4 00 00 01 00       ; add r12, 65536
; look:
f6 43 04 04                ; test byte ptr [rbx+4], 4
74 0e                      ; jz done
48 8b 4b 08                ; mov rcx, [rbx+8]
80 39 2f                   ; cmp byte ptr [rcx], 47
b8 12 00 00 00             ; mov eax, 18
75 29                      ; jne fatal
; done:
48 83 c3 40                ; add rbx, 64
eb 94                      ; jmp next
; born:
f6 43 04 10                ; test byte ptr [rbx+4], 16
74 06                      ; jz gone
48 03 5b 30                ; add rbx, [rbx+48]
eb ee                      ; jmp done
; gone:
31 ff                      ; xor edi, edi
eb 3c                      ; jmp leave
; failed:
48 f7 d8                   ; neg rax
48 83 f8 3f                ; cmp rax, 63
77 0a                      ; ja fatal
48 8b 4b 38                ; mov rcx, [rbx+56]
48 0f a3 c1                ; bt rcx, rax
72 d7                      ; jc done
; fatal:
49 89 44 24 08             ; mov [r12+8], rax
eb 09                      ; jmp report
; ended:
49 c7 44 24 08 02 00 00 00 ; mov qword ptr [r12+8], 2
; report:
49 8b 7c 24 10             ; mov rdi, [r12+16]
4c 89 e6                   ; mov rsi, r12
ba 10 00 00 00             ; mov edx, 16
b8 01 00 00 00             ; mov eax, 1
0f 05                      ; syscall
bf 7f 00 00 00             ; mov edi, 127
; leave:
b8 e7 00 00 00             ; mov eax, 231
0f 05                      ; syscall
"""

AARCH64 = """
e9 03 00 aa ; mov x9, x0
ea 03 03 aa ; mov x10, x3
e0 03 01 aa ; mov x0, x1
e1 03 02 aa ; mov x1, x2
68 36 80 d2 ; mov x8, #435
01 00 00 d4 ; svc #0
40 00 00 b4 ; cbz x0, next
c0 03 5f d6 ; ret
; next:
28 01 40 b9 ; ldr w8, [x9]
a8 04 f8 37 ; tbnz w8, #31, ended
2b 05 40 b9 ; ldr w11, [x9, #4]
20 85 40 a9 ; ldp x0, x1, [x9, #8]
22 8d 41 a9 ; ldp x2, x3, [x9, #24]
24 95 42 a9 ; ldp x4, x5, [x9, #40]
4b 00 00 36 ; tbz w11, #0, call
e0 03 0c aa ; mov x0, x12
; call:
49 01 00 f9 ; str x9, [x10]
01 00 00 d4 ; svc #0
1f fc 3f b1 ; cmn x0, #4095
82 02 00 54 ; b.hs failed
4b 00 08 36 ; tbz w11, #1, kept
ec 03 00 aa ; mov x12, x0
; kept:
6b 00 18 36 ; tbz w11, #3, look
40 01 00 b5 ; cbnz x0, born
4a 41 40 91 ; add x10, x10, #16, lsl #12
; look:
cb 00 10 36 ; tbz w11, #2, done
2d 05 40 f9 ; ldr x13, [x9, #8]
ad 01 40 39 ; ldrb w13, [x13]
40 02 80 d2 ; mov x0, #18
bf bd 00 71 ; cmp w13, #47
21 02 00 54 ; b.ne fatal
; done:
29 01 01 91 ; add x9, x9, #64
e8 ff ff 17 ; b next
; born:
8b 00 20 36 ; tbz w11, #4, gone
2d 19 40 f9 ; ldr x13, [x9, #48]
29 01 0d 8b ; add x9, x9, x13
fb ff ff 17 ; b done
; gone:
00 00 80 d2 ; mov x0, #0
10 00 00 14 ; b leave
; failed:
e0 03 00 cb ; neg x0, x0
1f fc 00 f1 ; cmp x0, #63
c8 00 00 54 ; b.hi fatal
2d 1d 40 f9 ; ldr x13, [x9, #56]
ad 25 c0 9a ; lsr x13, x13, x0
6d fe 07 37 ; tbnz w13, #0, done
02 00 00 14 ; b fatal
; ended:
40 00 80 d2 ; mov x0, #2
; fatal:
40 05 00 f9 ; str x0, [x10, #8]
40 09 40 f9 ; ldr x0, [x10, #16]
e1 03 0a aa ; mov x1, x10
02 02 80 d2 ; mov x2, #16
08 08 80 d2 ; mov x8, #64
01 00 00 d4 ; svc #0
e0 0f 80 d2 ; mov x0, #127
; leave:
c8 0b 80 d2 ; mov x8, #94
01 00 00 d4 ; svc #0
"""


def assemble(text: str) -> bytes:
    """The bytes of a listing."""
    return bytes.fromhex("".join(line.partition(";")[0] for line in text.splitlines()))
