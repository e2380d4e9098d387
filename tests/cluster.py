"""A pytest plugin (`-p tests.cluster`): a PostgreSQL cluster of the tests' own, up before Django's settings load."""

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path


def _own_cluster() -> None:
    from annotator.embedded import Cluster

    folder = Path(tempfile.mkdtemp(prefix="switchyard-tests-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "pg", fast=True)
    cluster.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(cluster.stop)
    os.environ["DATABASE_URL"] = cluster.url
    os.environ["SWITCHYARD_VAR"] = str(folder / "var")
    os.environ.setdefault("SECRET_KEY", secrets.token_hex(32))
    os.environ.setdefault("HTTPS", "no")


if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Each process has a database of its own, in which the same numbers name other projects: no shared files.
    os.environ["SWITCHYARD_VAR"] = str(Path(os.environ["SWITCHYARD_VAR"]) / worker)

if "PYTEST_XDIST_WORKER" not in os.environ and not os.environ.get("TEST_DATABASE_URL"):
    _own_cluster()
