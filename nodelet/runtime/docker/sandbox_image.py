"""The sandbox's image, made here: one static program of some 250 bytes.

No registry is asked for it, and nothing is compiled on a node. The program is the whole image, and does what a pod's
first process must: let the kernel reap orphans (SIGCHLD ignored), sleep, and end at once on SIGTERM or SIGINT.

It needs no signal handler. As process 1 it would not even get a signal left at its default; but a blocked signal is
kept pending whatever its disposition, and `rt_sigtimedwait` takes it from there. So:

    rt_sigaction(SIGCHLD, SIG_IGN);  rt_sigprocmask(SIG_BLOCK, {INT, TERM});
    do r = rt_sigtimedwait({INT, TERM}); while (r < 0);  exit_group(0);
"""

from __future__ import annotations

import functools
import hashlib
import io
import platform
import struct
import tarfile

REPOSITORY = "podium/sandbox"
PROGRAM = "/pause"

_BASE = 0x400000
_HEADERS = 64 + 56
_SIGINT, _SIGTERM, _SIGCHLD = 2, 15, 17
_SIGNALS = 1 << (_SIGINT - 1) | 1 << (_SIGTERM - 1)
# struct kernel_sigaction {handler = SIG_IGN (1), flags, restorer, mask}, and the signal set after it.
_DATA = struct.pack("<QQQQ", 1, 0, 0, 0) + struct.pack("<Q", _SIGNALS)
_IGNORE, _SET = 0, 32
_SET_SIZE = 8


def _x86_64() -> bytes:
    """The program for x86-64: number in eax, arguments in rdi, rsi, rdx, r10."""
    size = 88
    ignore, signals = size + _IGNORE, size + _SET
    code = bytearray()

    def rel32(target: int) -> bytes:
        return struct.pack("<i", target - (len(code) + 7))  # from the end of a 7-byte lea

    code += b"\xb8" + struct.pack("<I", 13)  # mov eax, 13          rt_sigaction
    code += b"\xbf" + struct.pack("<I", _SIGCHLD)  # mov edi, SIGCHLD
    code += b"\x48\x8d\x35" + rel32(ignore)  # lea rsi, [rip+ignore]
    code += b"\x31\xd2"  # xor edx, edx         no old action
    code += b"\x41\xba" + struct.pack("<I", _SET_SIZE)  # mov r10d, 8
    code += b"\x0f\x05"  # syscall
    code += b"\xb8" + struct.pack("<I", 14)  # mov eax, 14          rt_sigprocmask
    code += b"\x31\xff"  # xor edi, edi         SIG_BLOCK
    code += b"\x48\x8d\x35" + rel32(signals)  # lea rsi, [rip+set]
    code += b"\x31\xd2"  # xor edx, edx         no old set
    code += b"\x41\xba" + struct.pack("<I", _SET_SIZE)  # mov r10d, 8
    code += b"\x0f\x05"  # syscall
    wait = len(code)
    code += b"\xb8" + struct.pack("<I", 128)  # wait: mov eax, 128   rt_sigtimedwait
    code += b"\x48\x8d\x3d" + rel32(signals)  # lea rdi, [rip+set]
    code += b"\x31\xf6"  # xor esi, esi         no siginfo
    code += b"\x31\xd2"  # xor edx, edx         no timeout
    code += b"\x41\xba" + struct.pack("<I", _SET_SIZE)  # mov r10d, 8
    code += b"\x0f\x05"  # syscall
    code += b"\x85\xc0"  # test eax, eax
    code += b"\x78" + struct.pack("<b", wait - (len(code) + 2))  # js wait              EINTR
    code += b"\xb8" + struct.pack("<I", 231)  # mov eax, 231         exit_group
    code += b"\x31\xff"  # xor edi, edi         code 0
    code += b"\x0f\x05"  # syscall
    assert len(code) == size, len(code)
    return bytes(code) + _DATA


def _aarch64() -> bytes:
    """The program for aarch64: number in x8, arguments in x0 to x3; each instruction is 4 bytes."""
    size = 22 * 4
    ignore, signals = size + _IGNORE, size + _SET
    code: list[int] = []

    def mov(register: int, value: int) -> None:
        code.append(0xD2800000 | value << 5 | register)  # movz Xd, #imm16

    def adr(register: int, target: int) -> None:
        offset = target - 4 * len(code)
        code.append(0x10000000 | (offset & 3) << 29 | (offset >> 2) << 5 | register)  # adr Xd, label

    def call(number: int) -> None:
        mov(8, number)
        code.append(0xD4000001)  # svc #0

    mov(0, _SIGCHLD)
    adr(1, ignore)
    mov(2, 0)  # no old action
    mov(3, _SET_SIZE)
    call(134)  # rt_sigaction
    mov(0, 0)  # SIG_BLOCK
    adr(1, signals)
    mov(2, 0)  # no old set
    mov(3, _SET_SIZE)
    call(135)  # rt_sigprocmask
    wait = len(code)
    adr(0, signals)  # wait:
    mov(1, 0)  # no siginfo
    mov(2, 0)  # no timeout
    mov(3, _SET_SIZE)
    call(137)  # rt_sigtimedwait
    back = (wait - len(code)) & 0x3FFF
    code.append(0xB7F80000 | back << 5)  # tbnz x0, #63, wait   EINTR
    mov(0, 0)
    call(94)  # exit_group(0)
    assert 4 * len(code) == size, len(code)
    return struct.pack(f"<{len(code)}I", *code) + _DATA


_PROGRAMS = {"x86_64": (62, _x86_64), "amd64": (62, _x86_64), "aarch64": (183, _aarch64), "arm64": (183, _aarch64)}


def program(machine: str) -> bytes:
    """The ELF file for a machine as `platform.machine()` names it.

    Raises:
        ValueError: No program was written for it.
    """
    if machine not in _PROGRAMS:
        raise ValueError(f"no sandbox program for {machine}; there are {', '.join(sorted(_PROGRAMS))}")
    number, assemble = _PROGRAMS[machine]
    body = assemble()
    length = _HEADERS + len(body)
    # 64-bit little-endian executable; entry right behind the headers, no sections.
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    # One PT_LOAD, readable and executable (the data is only read), of the whole file.
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, length, length, 0x10000)
    return header + body


def image_tar(machine: str) -> bytes:
    """The image's one layer: the program, and nothing that changes between two runs of this function."""
    data, out = program(machine), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(PROGRAM.lstrip("/"))
        entry.size, entry.mode = len(data), 0o555
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def image_name() -> str:
    """`podium/sandbox:TAG`; the tag changes with the program, so a new version never runs an old image."""
    return f"{REPOSITORY}:{hashlib.sha256(program(platform.machine())).hexdigest()[:12]}"
