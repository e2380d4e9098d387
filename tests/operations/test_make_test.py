"""`make test` that is stopped: what its browser part has said is shown, and no process is left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stack import ROOT, TESTS_OWN

pytestmark = pytest.mark.slow
MADE_FROM = ("requirements.txt", "constraints.txt", "install.sh", "requirements-dev.txt", "tests/browser/chromium.py")
SETTINGS = """[tool.pytest.ini_options]
addopts = "-q --import-mode=importlib -p no:django -p no:schemathesis"
markers = ["slow: x", "browser: x"]
"""
TESTS = """
import pathlib, time, pytest
part = pathlib.Path(__file__).parent.name
pytestmark = [pytest.mark.browser] if part == "browser" else []

@pytest.fixture
def begun():
    pathlib.Path("begun-" + part).touch()
    yield
    pathlib.Path("torn-down-" + part).touch()

def test_that_fails():
    assert False, part + " failed"

def test_that_takes_long(begun):
    time.sleep(600)
"""


@pytest.fixture
def checkout(tmp_path):
    """Our Makefile over two tests a part, with everything installed."""
    (tmp_path / "tests/browser").mkdir(parents=True)
    for name in MADE_FROM:
        (tmp_path / name).touch()
    for folder in ("tests", "tests/browser"):
        (tmp_path / folder / "test_it.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv/.installed-test-yes").touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def in_session(number):
    """Command lines of the processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == number and state != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_the_browser_part_said_is_shown_when_make_test_is_stopped(checkout, sent):
    inherited = {name: value for name, value in os.environ.items() if name not in TESTS_OWN}
    environment = {
        name: value for name, value in inherited.items() if not name.startswith(("PYTEST_", "MAKE", "MFLAGS"))
    }
    with (checkout / "said").open("wb") as said:
        make = subprocess.Popen(
            ["make", "test", "MODELS=yes", "TEST_PROCESSES=1"], cwd=checkout, env=environment, stdout=said,
            stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        assert within(300, lambda: len(list(checkout.glob("begun-*"))) == 2), (checkout / "said").read_text()
        # Ctrl-C reaches all that runs in the terminal; a limit kills what it has started.
        (os.killpg if sent == signal.SIGINT else os.kill)(make.pid, sent)
        assert make.wait(120)  # by itself it would take ten minutes
        words = (checkout / "said").read_text()
        shown = words.partition("=== in the browser")[2]
        assert "test_it.py F" in shown or "\nF" in shown
        if sent == signal.SIGINT:
            assert within(60, lambda: not in_session(make.pid)), in_session(make.pid)
            assert "browser failed" in shown and "tests failed" in words, "pytest ends with what failed"
            assert len(list(checkout.glob("torn-down-*"))) == 2
    finally:
        if in_session(make.pid):
            os.killpg(make.pid, signal.SIGKILL)


def test_what_is_of_one_group_runs_in_one_process(tmp_path):
    """Two stacks at once are too many for two cores. A pytest and a pytest-xdist that do not fit forget groups."""
    (tmp_path / "test_it.py").write_text(
        "import os, pathlib, pytest\n"
        "@pytest.mark.xdist_group('stack')\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_it(number):\n"
        "    pathlib.Path(os.environ['PYTEST_XDIST_WORKER']).touch()\n"
    )
    words = ["-n", "2", "--dist", "loadgroup", "-p", "no:django", "-p", "no:schemathesis", "--rootdir", str(tmp_path)]
    inherited = {name: value for name, value in os.environ.items() if name not in TESTS_OWN}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "test_it.py"], cwd=tmp_path, capture_output=True, text=True,
        env={name: value for name, value in inherited.items() if not name.startswith("PYTEST_")},
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert len(list(tmp_path.glob("gw*"))) == 1
