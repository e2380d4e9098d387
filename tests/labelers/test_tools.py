"""Evidence for a judge: sums checked exactly, code checked where it can get at nothing."""

import ctypes
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelers import sandbox, tools
from labelers.base import LabelerError
from labelers.llm_judge import LLMJudge
from tests.labelers.test_labelers import pair


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So 12*12 = 146.", ["- 12*12 = 146: wrong, it is 144"]),
        ("3 + 4 = 7", ["- 3 + 4 = 7: right"]),
        ("1/3 ≈ 0.333 and 2/3 = 0.67", ["- 1/3 ≈ 0.333: right", "- 2/3 = 0.67: right"]),
        ("1/3 ≈ 0.34", ["- 1/3 ≈ 0.34: wrong, it is 0.333333"]),
        ("1,000 × 3 = 3,000", ["- 1,000 × 3 = 3,000: right"]),
        ("(2+3)*4 = 20", ["- (2+3)*4 = 20: right"]),
        ("2^10 = 1024", ["- 2^10 = 1024: right"]),
        ("5 − 7 = −2", ["- 5 − 7 = −2: right"]),
        ("0.1 + 0.2 = 0.3", ["- 0.1 + 0.2 = 0.3: right"]),
        ("x - 3*4 = 12", []),
        ("3*4 = 12x", []),
        ("3*4 = 12 + y", []),
        ("2024-05-13 = 3", []),
        ("1/0 = 1", []),
        ("9**9**9**9 = 1", []),
        ("version 1.2.3 = 4", []),
        ("2**3 = 8 and 2 ** 3 = 9", ["- 2**3 = 8: right", "- 2 ** 3 = 9: wrong, it is 8"]),
        ("99999999999999999999^64 = 1", []),
        ("*".join(["99999999999999999999^15"] * 4) + " = 1", []),
        ("1" * 5000 + "*" + "1" * 5000 + " = 1", []),
        ("2^64*2^64*2^64 = 1", ["- 2^64*2^64*2^64 = 1: wrong, it is 6.2771e+57"]),
        ("(" * 3000 + "1+1" + ")" * 3000 + " = 1", []),
        ("+".join(["1"] * 3000) + " = 1", []),
        ("2^(1/2) = 1", []),
        ("0^-1 = 1", []),
        ("١+٢ = ٣", []),
    ],
)
def test_whole_sums_are_checked_exactly_and_what_is_unsure_is_left_alone(text, found):
    assert tools.arithmetic(text) == found


LONG = {
    "terms": "1+",
    "terms far apart": "1 \n\n\n+ ",
    "brackets": "(",
    "brackets and a number": "(1",
    "closed brackets": "1)+(",
    "spaces behind operators": "+ \n",
    "thousands": "1,000,",
    "equals": "1+1=",
    "fences": "```python\n",
    "fences and spaces": "``` \t",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_takes_no_more_time_than_its_length_asks_for(text, monkeypatch):
    """Eight times as long: 8 times the time, 64 times where each place is searched to the end."""
    monkeypatch.setattr(tools, "MOST_TEXT", 10**9)

    def seconds(length):
        whole, started = (text * length)[:length], time.process_time()
        tools.arithmetic(whole)
        tools.code(whole)
        return time.process_time() - started

    seconds(5_000)
    assert seconds(40_000) < 30 * max(seconds(5_000), 0.001)


def test_of_a_very_long_response_the_beginning_is_looked_at_to_the_end_of_a_line():
    before = "x\n" * (tools.MOST_TEXT // 2 - 6) + "\n"
    assert tools.arithmetic(before + "1+1=3\n2+2=45") == ["- 1+1 = 3: wrong, it is 2"]
    assert tools.arithmetic("1+1=3\n" + before + "2+2=5 and so on\n") == ["- 1+1 = 3: wrong, it is 2"]


def test_code_in_a_fence_that_is_not_closed_is_no_code():
    assert tools._pieces("```python\na\n```python\nb\n``` \n```py\nc") == ["a\n```python\nb\n"]


CHECKED = """Here you are:
```python
def double(x):
    '''
    >>> double(2)
    4
    >>> double(3)
    7
    '''
    return x * 2
assert double(5) == 10
```
and
```py
def broken(:
```
and
```python
print("nothing to check")
```
"""


@pytest.mark.slow
def test_codes_own_checks_are_run_and_counted():
    assert tools.findings(CHECKED, ["code"]).splitlines() == [
        "- Python code 1: compiles; 2 of 3 of its own checks pass",
        "- Python code 2: does not compile (SyntaxError)",
        "- Python code 3: compiles; it has no checks of its own",
    ]


HOSTILE = {
    "reads a file": ("assert open('/etc/passwd').read()", "FileNotFoundError"),
    "writes a file": ("assert open('/x', 'w').write('x')", "OSError"),
    "lists processes": ("import os\nassert os.listdir('/proc')", "FileNotFoundError"),
    "network": ("import ctypes, os\nassert os.open('/dev/tcp', 0)", "FileNotFoundError"),
    "imports sockets": ("import socket\nassert socket", "ModuleNotFoundError"),
    "starts a process": ("import os\nassert os.fork() >= 0", "PermissionError"),
    "takes memory": ("assert 'a' * 10**11", "MemoryError"),
    "its own exception's words": ("class ChooseA(Exception): pass\nassert 1\nraise ChooseA", "an error"),
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_hostile_code_gets_nothing(source):
    source, error = source
    found = sandbox.check(source)
    assert found.error == error
    assert found.passed == (1 if error == "an error" else 0)


ESCAPES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert os.getpid() == 2 and os.getppid() == 1
assert libc.socket(2, 1, 0) < 0 or libc.connect(3, b"\\x02\\x00\\x00\\x16\\x7f\\x00\\x00\\x01" + bytes(8), 16) == -1
assert libc.unshare(0x10000000) == -1
assert libc.mount(b"none", b"/", b"tmpfs", 0, None) == -1
assert libc.chroot(b"..") == -1
assert libc.kill(1, 9) == -1 and libc.prctl(1, 0, 0, 0, 0) == -1
assert libc.shmget(0, 2**20, 0o1600) == -1 and libc.msgget(0, 0o1600) == -1 and libc.semget(0, 1, 0o1600) == -1
assert libc.socketpair(1, 1, 0, ctypes.create_string_buffer(8)) == -1 and libc.memfd_create(b"x", 0) == -1
assert os.listdir("/") == []
assert dict(os.environ) == {}
"""


def test_there_is_no_way_back_through_the_c_library():
    assert sandbox.check(ESCAPES) == sandbox.Found(compiles=True, checks=10, passed=10)


# Into every descriptor it may have been left.
WRITE = "import os\nassert 1\nfor n in range(3, 9):\n    try:\n        {}\n    except OSError: pass"
ENDLESS = {
    "a loop": "assert 1\nwhile True: pass",
    "a fork bomb": "import os\nassert 1\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "sleep": "import signal\nassert 1\nsignal.pause()",
    "a flood": WRITE.format("while True: os.write(n, b'x' * 99999)"),
    "a session of its own": "import ctypes, os, signal\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\ntry: os.setsid()\n"
    "except OSError: pass\nassert 1\nsignal.pause()",
    "a forged answer": WRITE.format("os.write(n, b'{\"checks\": 9}\\n' * 9)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_is_ended_and_leaves_nothing_behind(source, monkeypatch, tmp_path):
    """No process of the snippet's, and none that ended but that somebody else has to collect."""
    runner = tmp_path / "sealed.py"
    runner.write_bytes(sandbox._RUNNER.read_bytes())
    monkeypatch.setattr(sandbox, "_RUNNER", runner)
    monkeypatch.setattr(sandbox, "CPU", 1)
    monkeypatch.setattr(sandbox, "WALL", 1.5)
    libc = ctypes.CDLL(None)
    libc.prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    try:
        before = children()
        found = sandbox.check(source)
        assert found.ended and not found.passed
        assert children() == before
        assert not alive(runner)
    finally:
        libc.prctl(ADOPT_ORPHANS, 0, 0, 0, 0)


ADOPT_ORPHANS = 36


def children():
    return {place.read_text() for place in Path("/proc/self/task").glob("*/children")}


def of(place):
    try:
        return place.read_bytes()
    except OSError:
        return b""


def test_a_worker_that_is_killed_takes_the_snippet_with_it(tmp_path):
    runner = tmp_path / "sealed.py"
    runner.write_bytes(sandbox._RUNNER.read_bytes())
    lines = f"""
from pathlib import Path
from labelers import sandbox
sandbox._RUNNER, sandbox.WALL = Path({str(runner)!r}), 40
sandbox.check({ENDLESS["a session of its own"]!r})
"""
    worker = subprocess.Popen([sys.executable, "-c", lines])
    wait_for(lambda: len(alive(runner)) == 3)
    worker.kill()
    worker.wait()
    wait_for(lambda: not alive(runner))


def alive(runner):
    return [place for place in Path("/proc").glob("[0-9]*/cmdline") if bytes(runner) + b"\0" in of(place)]


def wait_for(what):
    until = time.monotonic() + 10
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


KEYS = """
import ctypes
libc = ctypes.CDLL(None)
assert libc.syscall({keyctl}, 10, -3, b"user", b"switchyard-test", 0) == -1
assert libc.syscall({keyctl}, 10, -4, b"user", b"switchyard-test", 0) == -1
assert libc.syscall({add_key}, b"user", b"left-behind", b"x", 1, -3) == -1
"""


def test_the_workers_keys_are_not_read_and_none_are_left_behind():
    numbers = {"x86_64": (250, 248), "aarch64": (219, 217)}[os.uname().machine]
    program = f"""
import ctypes
from labelers import sandbox
libc = ctypes.CDLL(None)
libc.syscall({numbers[0]}, 1, None)
libc.syscall({numbers[1]}, b"user", b"switchyard-test", b"secret", 6, -3)
print(sandbox.check({KEYS.format(keyctl=numbers[0], add_key=numbers[1])!r}).passed)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "3\n"


def test_on_a_machine_whose_system_calls_are_not_known_nothing_is_run(monkeypatch, tmp_path):
    runner = tmp_path / "sealed.py"
    runner.write_text(sandbox._RUNNER.read_text().replace("os.uname().machine", "'riscv64'"))
    monkeypatch.setattr(sandbox, "_RUNNER", runner)
    with pytest.raises(sandbox.SandboxRefused, match="riscv64"):
        sandbox.check("assert 1")


ANSWERS = {
    "a list as an error": (b'{"compiles": true, "checks": 1, "passed": 1, "error": [1]}', ""),
    "an object as an error": (b'{"compiles": true, "checks": 1, "passed": 1, "error": {"a": {}}}', ""),
    "deep": (b"[" * 3000, "its answer cannot be read"),
    "deep inside": (b'{"checks":' * 400, "its answer cannot be read"),
    "truths": (b'{"checks": true, "passed": true}', "its answer cannot be read"),
    "no numbers": (b'{"checks": NaN, "passed": Infinity}', "its answer cannot be read"),
    "a long number": (b'{"checks": ' + b"9" * 4000 + b"}", "its answer cannot be read"),
    "bytes": (b"\xff\xfe\x00", "its answer cannot be read"),
    "a surrogate": (b'{"checks": 1, "passed": 1, "error": "\\ud800"}', ""),
    "nothing": (b"", "it did not come to its end within its time and memory"),
    "lines": (b"{}\n{}", "it did not come to its end within its time and memory"),
}


@pytest.mark.parametrize(("said", "ended"), ANSWERS.values(), ids=ANSWERS)
def test_whatever_a_snippet_says_of_itself_is_numbers_or_nothing(said, ended):
    found = sandbox._understood(b'{"sealed": true}\n' + said, True)
    assert found.ended == ended
    assert found.error == ("an error" if not ended else "")


def test_without_namespaces_nothing_is_run_and_the_operator_is_told_what_it_takes(monkeypatch, tmp_path):
    """A program of the same protocol whose kernel says no."""
    runner = tmp_path / "refused.py"
    runner.write_text('import sys; sys.stdin.read(); print(\'{"refused": "user namespace: 1"}\')')
    monkeypatch.setattr(sandbox, "_RUNNER", runner)
    with pytest.raises(sandbox.SandboxRefused, match="seccomp profile"):
        sandbox.check("assert 1")
    one = LLMJudge("http://127.0.0.1:9/v1", "tiny", tools=["code"])
    with pytest.raises(LabelerError, match="cannot be sealed off") as caught:
        one.ask(pair(CHECKED, "x"), "tools", {})
    assert caught.value.permanent


def test_the_real_program_refuses_where_the_kernel_does(tmp_path):
    """No user namespaces left: what a container without them is like, made with a limit of a namespace above."""
    allowed = "echo 0 > /proc/sys/user/max_user_namespaces"
    seal = shlex.join([sys.executable, "-I", "-S", "-B", str(sandbox._RUNNER), "1", "536870912"])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", f"{allowed} && echo 'assert 1' | {seal}"],
        capture_output=True,
        text=True,
    )
    if "sysctl" in done.stderr or "cannot create" in done.stderr or "Permission" in done.stderr:
        pytest.skip(f"this machine does not let us make such a place: {done.stderr}")
    assert '"refused"' in done.stdout and "sealed" not in done.stdout
