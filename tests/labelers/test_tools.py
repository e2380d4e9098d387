"""Evidence for a judge: sums checked exactly, code checked where it can get at nothing."""

import os
import subprocess
import sys

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
    ],
)
def test_whole_sums_are_checked_exactly_and_what_is_unsure_is_left_alone(text, found):
    assert tools.arithmetic(text) == found


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
    "starts a process": ("import os\nassert os.fork() >= 0", "BlockingIOError"),
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
assert os.getpid() == 1
assert libc.socket(2, 1, 0) < 0 or libc.connect(3, b"\\x02\\x00\\x00\\x16\\x7f\\x00\\x00\\x01" + bytes(8), 16) == -1
assert libc.unshare(0x10000000) == -1
assert libc.mount(b"none", b"/", b"tmpfs", 0, None) == -1
assert libc.chroot(b"..") == -1
assert os.listdir("/") == []
assert dict(os.environ) == {}
"""


def test_there_is_no_way_back_through_the_c_library():
    assert sandbox.check(ESCAPES) == sandbox.Found(compiles=True, checks=7, passed=7)


# Into every descriptor it may have been left.
WRITE = "import os\nassert 1\nfor n in range(3, 9):\n    try:\n        {}\n    except OSError: pass"
ENDLESS = {
    "a loop": "assert 1\nwhile True: pass",
    "a fork bomb": "import os\nassert 1\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "sleep": "import signal\nassert 1\nsignal.pause()",
    "a flood": WRITE.format("while True: os.write(n, b'x' * 99999)"),
    "a forged answer": WRITE.format("os.write(n, b'{\"checks\": 9}\\n' * 9)"),
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_is_ended_and_leaves_nothing_behind(source, monkeypatch):
    monkeypatch.setattr(sandbox, "CPU", 1)
    monkeypatch.setattr(sandbox, "WALL", 1.5)
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(real(*args, **more)) or started[0])
    found = sandbox.check(source)
    assert found.ended and not found.passed
    with pytest.raises(ProcessLookupError):
        os.killpg(started[0].pid, 0)


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
    seal = f"{sys.executable} -I -S -B {sandbox._RUNNER} 1 536870912"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", f"{allowed} && echo 'assert 1' | {seal}"],
        capture_output=True,
        text=True,
    )
    if "sysctl" in done.stderr or "cannot create" in done.stderr or "Permission" in done.stderr:
        pytest.skip(f"this machine does not let us make such a place: {done.stderr}")
    assert '"refused"' in done.stdout and "sealed" not in done.stdout
