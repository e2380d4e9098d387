"""The footer of a Parquet file, looked at before it is read.

pyarrow takes 640 bytes for each column of each row group, which a footer may name in three, and makes room for as many
as a list says it holds. So a long footer is read by a process of its own first, whose memory has an end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A footer of so many bytes is read at once: it takes 225 MB at most. Files of rows take ten times their footer.
SHORT = 2**20
# Bytes and seconds that a longer one may take, and the longest list in it: row groups, or columns of one.
MEMORY, SECONDS = 512 * 2**20, 20
LONGEST_LIST = 100_000

_TRY = f"""
import resource, sys
import pyarrow.parquet as pq
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY},) * 2)
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
pq.ParquetFile(sys.argv[1], memory_map=True, thrift_container_size_limit={LONGEST_LIST})
"""


def why_not(path: Path) -> str:
    """Why pyarrow should not read the file's footer, in words; "" when it may."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
    # What is longer than its file pyarrow refuses.
    if length <= SHORT or length > size or _is_read(path):
        return ""
    return (
        f"its footer of {length / 2**20:.0f} MB cannot be read; write fewer row groups, or send its rows as JSON Lines"
    )


def _is_read(path: Path) -> bool:
    tried = [sys.executable, "-I", "-c", _TRY, str(path.absolute())]
    try:
        return not subprocess.run(tried, capture_output=True, timeout=2 * SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return False
