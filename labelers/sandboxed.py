"""The other side of `labelers.sandbox`: run as a program, it seals itself off and then runs what it is given.

Arguments: seconds of CPU, bytes of memory. The source comes on stdin; stdout gets {"sealed": true} or {"refused": why},
then {"compiles", "checks", "passed", "error"}. It imports nothing of ours, and all that snippets may import now: later
there are no files.
"""

# ruff: noqa: F401 (imported for the snippets)
import ast
import bisect
import collections
import contextlib
import copy
import ctypes
import dataclasses
import datetime
import decimal
import doctest
import enum
import errno
import fractions
import functools
import heapq
import io
import itertools
import json
import math
import operator
import os
import random
import re
import resource
import select
import signal
import statistics
import string
import struct
import sys
import textwrap
import types
import typing

_NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x04000000 | 0x20000000 | 0x40000000  # mount, IPC, UTS, PID, network
_NEW_USER = 0x10000000
_READ_ONLY_EMPTY = 1 | 2 | 4 | 8  # read-only, nosuid, nodev, noexec
_PRIVATE = 0x4000 | 0x40000  # recursively
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _DROP_BOUNDING, _NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38
_NEW_SESSION_KEYRING = 1
_NOBODY = 65534
# Seconds after which all is over, even where nobody ends it.
_LONGEST = 60
# All that Python needs to compute, raise, sleep and look for files that are not there: what is not named is refused,
# and so is what kernels to come will have. By machine: the kernel's number of it (AUDIT_ARCH), that of `keyctl`, and
# those allowed. From the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
# fmt: off
_CALLS = {
    "x86_64": (0xC000003E, 250, (
        0, 1, 2, 3, 257,  # read write open close openat
        4, 5, 6, 262, 332, 21, 269, 89, 267, 79, 217,  # *stat* access* readlink* getcwd getdents
        8, 17, 18, 19, 20, 32, 72,  # lseek pread pwrite readv writev dup fcntl
        9, 10, 11, 12, 25, 28,  # mmap mprotect munmap brk mremap madvise
        13, 14, 15, 131, 234, 219,  # rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack tgkill restart_syscall
        7, 23, 34, 35, 36, 37, 38, 230, 270, 271,  # *poll *select pause *nanosleep *itimer alarm
        39, 102, 104, 107, 108, 110, 186,  # getpid getuid getgid geteuid getegid getppid gettid
        96, 98, 100, 201, 228, 229, 318,  # gettimeofday getrusage times time clock_gettime clock_getres getrandom
        24, 202, 60, 231,  # sched_yield futex exit exit_group
    )),
    "aarch64": (0xC00000B7, 219, (
        56, 57, 63, 64,  # openat close read write
        79, 80, 291, 48, 78, 17, 61,  # fstatat fstat statx faccessat readlinkat getcwd getdents
        62, 65, 66, 67, 68, 23, 25,  # lseek readv writev pread pwrite dup fcntl
        214, 215, 216, 222, 226, 233,  # brk munmap mremap mmap mprotect madvise
        134, 135, 139, 132, 131, 128,  # rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack tgkill restart_syscall
        72, 73, 101, 102, 103, 115,  # pselect ppoll nanosleep getitimer setitimer clock_nanosleep
        172, 173, 174, 175, 176, 177, 178,  # getpid getppid getuid geteuid getgid getegid gettid
        113, 114, 153, 165, 169, 278,  # clock_gettime clock_getres times getrusage gettimeofday getrandom
        93, 94, 98, 124,  # exit exit_group futex sched_yield
    )),
}
# fmt: on
# Instructions of a filter, and what it may return.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
# From here on, numbers are of another interface of x86.
_X32 = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class _Filter(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _ok(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _seal(cpu: int, memory: int) -> None:
    """Everything up to the run itself; raises OSError.

    Goes on in the second process of its namespaces. The first is ours too and only waits: with it the kernel ends all
    there is in there, it dies with this one, and nothing inside can signal or trace it or ask to outlive it.
    """
    machine = os.uname().machine
    if machine not in _CALLS:
        raise OSError(errno.ENOSYS, f"its system calls are not known here: {machine}")
    architecture, keyctl, allowed = _CALLS[machine]
    _leave(keyctl)
    alive, mine = os.pipe()
    _go_on_in_a_child()
    os.close(mine)
    _die_with_the_parent(alive)
    _empty_root()
    _drop_capabilities()
    _go_on_in_a_child()
    os.setsid()
    _limit(cpu, memory)
    _allow_only(architecture, allowed)


def _leave(keyctl: int) -> None:
    """Out of the machine's user, keys and namespaces, but for processes: those come with the next child."""
    _die_with_the_worker()
    if os.geteuid() == 0:
        # Limits on processes do not hold for the machine's root.
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _die_with_the_worker()  # another user's wish is forgotten
        _ok(_libc.prctl(_DUMPABLE, 1, 0, 0, 0), "prctl")
    # Not every kernel has keyrings; what could be read is refused by the filter too.
    _libc.syscall(keyctl, _NEW_SESSION_KEYRING, None)
    user, group = os.geteuid(), os.getegid()
    _ok(_libc.unshare(_NEW_USER), "user namespace")
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    _ok(_libc.unshare(_NEW_NAMESPACES), "namespaces")
    _ok(_libc.prctl(_DUMPABLE, 0, 0, 0, 0), "prctl")


def _die_with_the_worker() -> None:
    _ok(_libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")
    signal.alarm(_LONGEST)


def _die_with_the_parent(alive: int) -> None:
    """`alive` ends when the parent does: it may have done so before this was asked for."""
    _ok(_libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")
    os.setsid()
    if select.select([alive], [], [], 0)[0]:
        os._exit(1)
    os.close(alive)


def _go_on_in_a_child() -> None:
    """Return in a child; here, wait for it, and end it when asked to end: whoever asks finds nothing left behind."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child:
        os.closerange(0, 4)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(child, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.waitpid(child, 0)
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _empty_root() -> None:
    _ok(_libc.mount(None, b"/", None, _PRIVATE, None), "private mounts")
    _ok(_libc.mount(b"none", b"/tmp", b"tmpfs", _READ_ONLY_EMPTY, b"size=4k"), "empty root")
    os.chdir("/tmp")
    os.chroot("/tmp")
    os.chdir("/")


def _limit(cpu: int, memory: int) -> None:
    for name, most in (
        ("CPU", cpu),
        ("AS", memory),
        ("FSIZE", 0),
        ("CORE", 0),
        ("NOFILE", 8),
        ("NPROC", 0),
        ("MEMLOCK", 0),
        ("MSGQUEUE", 0),
    ):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _drop_capabilities() -> None:
    _ok(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    number = 0
    while _libc.prctl(_DROP_BOUNDING, number, 0, 0, 0) == 0:
        number += 1
    header = struct.pack("Ii", 0x20080522, 0)
    _ok(_libc.capset(header, struct.pack("6I", *[0] * 6)), "capabilities")


def _allow_only(architecture: int, allowed: tuple[int, ...]) -> None:
    """From here on the kernel refuses all other system calls; those of another architecture end the process."""
    # Code, how many instructions to jump over if it is so and if not, operand. Of what is asked, the number stands at
    # byte 0 and the architecture at byte 4.
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    steps += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for number in allowed:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _REFUSE))
    written = _Filter(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    _ok(_libc.prctl(_SECCOMP, 2, ctypes.byref(written), 0, 0), "seccomp filter")


def _check(source: str) -> dict[str, object]:
    found: dict[str, object] = {"compiles": False, "checks": 0, "passed": 0, "error": ""}
    try:
        examples = doctest.DocTestParser().get_examples(source)
    except ValueError:
        examples = []
    try:
        tree = ast.parse(source, "<response>")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        if not examples or not source.lstrip().startswith(">>>"):
            return found | {"error": type(error).__name__}
        # A session as an interpreter shows it.
        failed, tried = _examples(source, {"__name__": "response"})
        return found | {"compiles": True, "checks": tried, "passed": tried - failed}
    found["compiles"] = True
    asserts = sum(isinstance(node, ast.Assert) for node in tree.body)
    if not asserts and not examples:
        return found
    module = types.ModuleType("response")
    held = 0
    for node in tree.body:
        part = ast.Module([node], type_ignores=[])
        try:
            exec(compile(part, "<response>", "exec"), module.__dict__)
            held += isinstance(node, ast.Assert)
        except AssertionError as error:
            found["error"] = "" if isinstance(node, ast.Assert) else type(error).__name__
            if not isinstance(node, ast.Assert):
                break
        except BaseException as error:
            found["error"] = type(error).__name__
            break
    failed = tried = 0
    for test in doctest.DocTestFinder().find(module, "response", module=False, globs=module.__dict__):
        some_failed, some_tried = _run(test)
        failed, tried = failed + some_failed, tried + some_tried
    return found | {"checks": asserts + tried, "passed": held + tried - failed}


def _examples(source: str, names: dict[str, object]) -> tuple[int, int]:
    return _run(doctest.DocTestParser().get_doctest(source, names, "response", None, 0))


def _run(test: doctest.DocTest) -> tuple[int, int]:
    with contextlib.redirect_stdout(io.StringIO()):
        done = doctest.DocTestRunner(verbose=False).run(test, out=lambda _text: None)
    return done.failed, done.attempted


def main() -> None:
    source = sys.stdin.buffer.read().decode("utf-8", "replace")
    answer, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.closerange(answer + 1, 256)
    assert answer == 3, "closed by number where nobody must answer"
    os.environ.clear()  # the interpreter itself adds a locale
    try:
        _seal(int(sys.argv[1]), int(sys.argv[2]))
    except OSError as error:
        os.write(answer, json.dumps({"refused": f"{error.strerror}: {error.errno}"}).encode())
        os._exit(1)
    os.write(answer, b'{"sealed": true}\n')
    os.write(answer, json.dumps(_check(source)).encode())


if __name__ == "__main__":
    main()
