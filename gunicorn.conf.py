"""The web role. Sized for two cores; WEB_PROCESSES and WEB_THREADS say otherwise."""

import os
import sys
from pathlib import Path

from annotator.processes import die_with_parent

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_PROCESSES", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
# One line a judgment would be a disk write a judgment; a proxy in front keeps such a log where one is wanted.
accesslog = None
errorlog = "-"
keepalive = 15
timeout = 60
graceful_timeout = 8
# The heartbeat file: never on a disk that may stall.
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" and Path("/dev/shm").is_dir() else None
control_socket_disable = True


def post_fork(arbiter: object, worker: object) -> None:
    """A killed master takes its processes with it, so that its port is free at once."""
    die_with_parent()
