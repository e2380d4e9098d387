"""What `make run` says, in one line, when it cannot start; and what it leaves behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from annotator.cluster import Cluster
from annotator.embedded import CannotStart, Supervisor
from tests.stack import ROOT, Stack


def refused(tmp_path, **environment):
    """Start, expect a refusal; the lines said after "switchyard:"."""
    stack = Stack(tmp_path, **environment)
    done = subprocess.run(
        [sys.executable, "-m", "annotator.embedded"], cwd=ROOT, env=stack.environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert not done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("switchyard:")]
    assert lines == done.stdout.splitlines()[-1:]
    return lines[0]


@pytest.mark.slow
def test_an_occupied_port_is_named_with_another_to_try(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(tmp_path, PORT=str(port))
    assert f"port {port} cannot be used" in said
    assert f"make run PORT={port + 1}" in said


@pytest.mark.slow
def test_a_port_that_is_none_is_refused(tmp_path):
    assert "PORT='none'" in refused(tmp_path, PORT="none")
    for port in ("0", "70000"):
        with pytest.raises(CannotStart, match=f"PORT='{port}'"):
            Supervisor({"PORT": port, "SWITCHYARD_VAR": str(tmp_path)})


@pytest.mark.slow
def test_an_unreachable_database_is_named_without_its_password(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"postgresql://me:geheim@127.0.0.1:{closed.getsockname()[1]}/nowhere"
        said = refused(tmp_path, DATABASE_URL=address)
    assert "the database of DATABASE_URL cannot be reached" in said
    assert "unset it" in said
    assert "geheim" not in said


def answers(cluster):
    import psycopg

    with psycopg.connect(cluster.url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.slow
@pytest.mark.xdist_group("stack")
@pytest.mark.parametrize("name", ["with a space", "l" + "o" * 60 + "ng/l" + "o" * 60 + "ng", "ümläut, comma"])
def test_a_cluster_lives_in_any_path(folder, name):
    folder = folder / name
    folder.parent.mkdir(exist_ok=True)
    cluster = Cluster(folder, fast=True)
    cluster.start()
    try:
        assert answers(cluster)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(cluster.socket.stat().st_mode) == 0o700
    finally:
        cluster.stop()
    assert folder == cluster.socket or not cluster.socket.exists()


@pytest.mark.slow
@pytest.mark.xdist_group("stack")
def test_a_postmaster_pid_of_a_foreign_process_is_no_obstacle(folder):
    """The recorded id now belongs to somebody else of the same user, as happens in containers."""
    cluster = Cluster(folder / "pg", fast=True)
    cluster.start()
    lines = (cluster.data / "postmaster.pid").read_text().splitlines()
    cluster.process.kill()
    cluster.process.wait()
    user = {"user": cluster.user.pw_uid} if cluster.user else {}
    foreign = subprocess.Popen(["sleep", "60"], cwd="/", **user)
    try:
        (cluster.data / "postmaster.pid").write_text("\n".join([str(foreign.pid), *lines[1:], ""]))
        again = Cluster(folder / "pg", fast=True)
        again.start()
        assert answers(again)
        assert foreign.poll() is None
        again.stop()
    finally:
        foreign.kill()
        foreign.wait()


@pytest.mark.slow
@pytest.mark.xdist_group("stack")
def test_a_cluster_that_outlived_its_supervisor_is_taken_over(folder):
    survivor = Cluster(folder / "pg", fast=True)
    survivor.start()
    again = Cluster(folder / "pg", fast=True)
    again.start()
    try:
        assert survivor.process.wait(10) == 0, "the survivor was not stopped cleanly"
        assert answers(again)
    finally:
        again.stop()


@pytest.mark.slow
@pytest.mark.xdist_group("stack")
def test_an_initialisation_that_was_killed_midway_is_begun_again(folder):
    folder = folder / "pg"
    begun = Cluster(folder, fast=True)
    folder.mkdir(mode=0o700)
    if begun.user:
        os.chown(folder, begun.user.pw_uid, begun.user.pw_gid)
    (folder / "initialising").mkdir()
    (folder / "initialising" / "half").write_text("")
    begun.start()
    try:
        assert answers(begun)
    finally:
        begun.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's checkout can be closed to the user who runs PostgreSQL")
def test_a_checkout_only_root_can_read_gets_its_cluster_elsewhere(tmp_path):
    from annotator.cluster import SYSTEM_DIRECTORY
    from annotator.embedded import Supervisor

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = stat.S_IMODE(closed.stat().st_mode)
    directory = Supervisor({"SWITCHYARD_VAR": str(closed)})._cluster_directory()
    assert directory.parent == SYSTEM_DIRECTORY
    assert stat.S_IMODE(closed.stat().st_mode) == before


@pytest.mark.slow
@pytest.mark.xdist_group("stack")
def test_a_stop_while_starting_leaves_no_process(folder):
    stack = Stack(folder)
    stack.output.parent.mkdir(exist_ok=True)
    with stack.output.open("wb") as output:
        stack.process = subprocess.Popen(
            [sys.executable, "-m", "annotator.embedded"], cwd=ROOT, env=stack.environment, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip
    stack.wait_until(lambda: "preparing" in stack.said(), 120)  # no start has told yet how slow this machine is
    time.sleep(0.5)
    assert stack.stop(signal.SIGTERM) == 0
    assert stack.pids() == []


@pytest.mark.slow
def test_an_address_that_is_not_postgresql_is_refused_without_its_password(tmp_path):
    said = refused(tmp_path, DATABASE_URL="mysql://me:geheim@host/x")
    assert "DATABASE_URL must begin with postgresql://" in said and "geheim" not in said


@pytest.mark.slow
def test_a_var_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    file = tmp_path / "taken"
    file.touch()
    said = refused(tmp_path, SWITCHYARD_VAR=str(file))
    assert str(file) in said and "make run SWITCHYARD_VAR=" in said
