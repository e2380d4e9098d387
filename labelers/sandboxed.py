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
_DEATH_SIGNAL, _DUMPABLE, _NO_NEW_PRIVILEGES, _DROP_BOUNDING = 1, 4, 38, 24
_NOBODY = 65534
_libc = ctypes.CDLL(None, use_errno=True)


def _ok(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _seal(cpu: int, memory: int) -> None:
    """Everything up to the run itself. Goes on in a child, the first process of its namespace; raises OSError."""
    if os.geteuid() == 0:
        # Limits on processes do not hold for the machine's root.
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _ok(_libc.prctl(_DUMPABLE, 1, 0, 0, 0), "prctl")
    user, group = os.geteuid(), os.getegid()
    _ok(_libc.unshare(_NEW_USER), "user namespace")
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    _ok(_libc.unshare(_NEW_NAMESPACES), "namespaces")
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    _ok(_libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")
    _ok(_libc.mount(None, b"/", None, _PRIVATE, None), "private mounts")
    _ok(_libc.mount(b"none", b"/tmp", b"tmpfs", _READ_ONLY_EMPTY, b"size=4k"), "empty root")
    os.chdir("/tmp")
    os.chroot("/tmp")
    os.chdir("/")
    _limit(cpu, memory)
    _drop_capabilities()


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
    os.environ.clear()  # the interpreter itself adds a locale
    try:
        _seal(int(sys.argv[1]), int(sys.argv[2]))
    except OSError as error:
        os.write(answer, json.dumps({"refused": f"{error.strerror}: {error.errno}"}).encode())
        return
    os.write(answer, b'{"sealed": true}\n')
    os.write(answer, json.dumps(_check(source)).encode())


if __name__ == "__main__":
    main()
