"""role.sh: which command lines its roles become. Celery is a stand-in that writes down how it was called."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Seconds, fewer than what stands in for Celery sleeps: what hangs does so for ever, and how quick it is, is not asked.
PATIENCE = 60
ROLE = Path(__file__).resolve().parents[2] / "role.sh"
STAND_IN = """#!/bin/sh
echo "${CUDA_VISIBLE_DEVICES-unset} $*" >>"$CALLS"
[ "${CUDA_VISIBLE_DEVICES-}" = "${ENDS-none}" ] && { sleep 0.3; exit 3; }
case "$*" in *solo*) exec sleep 100 ;; esac
"""


@pytest.fixture
def call(tmp_path):
    """Starts role.sh with a `python` and an `nvidia-smi` of our own; gives the process and what they were told."""
    calls = tmp_path / "calls"
    calls.touch()
    started = []

    def started_with(*words, cards=None, **variables):
        (tmp_path / "python").write_text(STAND_IN)
        listed = "exit 9" if cards is None else "\n".join(f"echo {card}" for card in cards)
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{listed}\n")
        for name in ("python", "nvidia-smi"):
            (tmp_path / name).chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), **variables}
        process = subprocess.Popen(["sh", str(ROLE), *words], env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, lambda: sorted(calls.read_text().splitlines())

    yield started_with
    for process in started:
        process.kill()
        process.stderr.close()
        process.wait()


def until(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cards", "variables", "wanted"),
    [(range(1), {}, ["0"]), (range(4), {}, ["0", "1", "2", "3"]), (None, {"GPUS": "2,5"}, ["2", "5"])],
)
def test_the_gpu_role_starts_one_solo_process_a_card(call, cards, variables, wanted):
    process, calls = call("worker", "gpu", cards=cards, **variables)
    until(lambda: len(calls()) == len(wanted))
    assert [line.split()[0] for line in calls()] == wanted
    for line in calls():
        assert f"-Q gpu -P solo -c 1 -n gpu{line.split()[0]}@%h" in line
        assert "-m celery -A annotator worker" in line
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_a_gpu_worker_that_ends_ends_the_role(call):
    process, calls = call("worker", "gpu", cards=range(2), ENDS="1")
    assert process.wait(PATIENCE) == 1
    assert len(calls()) == 2


def test_without_a_card_the_gpu_role_says_what_to_do(call):
    process, calls = call("worker", "gpu")
    assert process.wait(PATIENCE) == 1
    assert "GPUS=0,1" in process.stderr.read() and calls() == []


def test_other_workers_are_one_command(call):
    process, calls = call("worker", "default,gpu", WORKER_PROCESSES="3")
    assert process.wait(PATIENCE) == 0
    assert calls() == ["unset -m annotator.workers default,gpu 3"]


@pytest.mark.slow
def test_a_process_of_a_worker_that_is_killed_is_started_again_and_all_end_when_told_to(tmp_path):
    """Whatever it is that runs: here processes that sleep."""
    code = (
        "from annotator import workers; workers.solo = lambda queues, name: ['sleep', '100']; workers.main(['q', '2'])"
    )
    with (tmp_path / "said").open("w+") as said:
        worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROLE.parent, stderr=said)

        def asleep():
            pids = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
            return {pid for pid in pids if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()}

        until(lambda: len(asleep()) == 2)
        first = asleep()
        for pid in first:
            os.kill(int(pid), signal.SIGKILL)
        until(lambda: len(asleep() - first) == 2)
        last = asleep()
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in last)
        said.seek(0)
        assert "q-1 ended (signal SIGKILL); starting it again in 1 s" in said.read()


@pytest.mark.slow
def test_a_worker_without_a_number_of_processes_says_what_is_needed():
    command = [sys.executable, "-m", "annotator.workers", "default", "many"]
    done = subprocess.run(command, cwd=ROLE.parent, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "default,http 2" in done.stderr
