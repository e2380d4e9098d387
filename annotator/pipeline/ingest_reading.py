"""Reading: a file's rows, checked and gathered into parts; a large file is read by a process of its own.

So reading computes on one core while another stores. That process is always a part ahead, knows neither the database
nor the settings, and ends with who started it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotator.formats import folders
from annotator.formats.entries import Entries, Way
from annotator.formats.files import RowFile
from annotator.formats.folders import Folder
from annotator.formats.rows import RowInvalid, RowLeft
from annotator.pipeline import heap
from annotator.pipeline.ingest_rows import Batch, Gathering
from annotator.pipeline.ingest_taking import Taking
from annotator.processes import die_with_parent

ROOT = Path(__file__).parents[2]
# Rows and characters of a part; each is stored by one COPY a table.
BATCH = 1000
BATCH_SIZE = 16 * 2**20
# Bytes of a file that is worth a process of its own, which takes most of a second to start.
APART = 4 * 2**20
# Seconds after which the process says that it still reads.
SIGN_OF_LIFE = 0.5

Problem = tuple[int, str, str]  # line, field, reason
# Is told how many rows have been read, and the share of the file.
Alive = Callable[[int, float], None]


@dataclass(frozen=True)
class Reading:
    """What is to be read, and how: `definition` is the protocol's, `source` names where judgments come from when the
    rows do not, in `scratch` the files of a zip are unpacked."""

    path: Path
    way: Way
    source: str
    definition: Mapping[str, Any]
    scratch: str | None = None


@dataclass
class Part:
    """Some rows and what is wrong with others. Nothing of a file is stored from its first wrong row on."""

    batch: Batch
    problems: list[Problem]
    # Rows read so far, and the share of the file.
    taken: int
    share: float
    format: str
    left: Counter[str]
    # Of a folder, what `folders.where` needs for its lines.
    began: list[tuple[int, str]]


@contextmanager
def parts(reading: Reading, alive: Alive) -> Iterator[Iterator[Part]]:
    """The file in parts, at least one, the last perhaps without rows; what reads ends with the block.

    Raises FileInvalid; MemoryError when the process that reads was killed.
    """
    read = _apart(reading, alive) if _size(reading.path) > APART else _read(reading, alive)
    try:
        yield read
    finally:
        read.close()


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def opened(
    path: Path,
    way: Way,
    scratch: str | None = None,
    *,
    budget: int | None = None,
    on_line: Callable[[int], None] | None = None,
) -> RowFile | Folder:
    """The rows of what lies at `path`. Raises FileInvalid; `budget` and `on_line` are those of RowFile."""
    if not folders.is_folder(path):
        return RowFile(path, budget=budget, on_line=on_line)
    return Folder(path, way.table, scratch=Path(scratch) if scratch else None, budget=budget, on_line=on_line)


def _read(reading: Reading, alive: Alive) -> Generator[Part]:
    taken = 0
    file = opened(reading.path, reading.way, reading.scratch, on_line=lambda _line: alive(taken, file.share_read()))
    read = Entries(file, reading.way)
    taking, gathering = Taking(reading.definition, read), Gathering(reading.source)
    pending = Pending()
    for taken, (line, entry) in enumerate(read, 1):
        try:
            gathering.add(line, *taking.take(entry))
        except RowLeft:
            pass
        except RowInvalid as invalid:
            pending.problems.append((line, invalid.field, invalid.reason))
        if taken % BATCH == 0 or gathering.batch.size > BATCH_SIZE:
            yield pending.part(gathering, taking, file, taken)
    yield pending.part(gathering, taking, file, taken)


@dataclass
class Pending:
    """What is said of the rows since the part before."""

    problems: list[Problem] = field(default_factory=list)
    began: int = 0
    has_failed: bool = False

    def part(self, gathering: Gathering, taking: Taking, file: RowFile | Folder, taken: int) -> Part:
        problems, self.problems = self.problems, []
        self.has_failed = self.has_failed or bool(problems)
        batch = gathering.done()
        began = file.began[self.began :] if isinstance(file, Folder) else []
        self.began += len(began)
        left, taking.left = taking.left, Counter()
        kept = Batch() if self.has_failed else batch
        return Part(kept, problems, taken, file.share_read(), taking.read.format, left, began)


def _apart(reading: Reading, alive: Alive) -> Generator[Part]:
    """What a process of its own reads. What it raises is raised here."""
    command = [sys.executable, "-m", __name__]
    with heap.spared(), subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(pickle.dumps((os.getpid(), reading)))
            process.stdin.close()
            for came in _ahead(process):
                if isinstance(came, Exception):
                    raise came
                if isinstance(came, Part):
                    yield came
                else:
                    alive(*came)
        finally:
            process.kill()


def _ahead(process: subprocess.Popen[bytes]) -> Iterator[Any]:
    """What the process sends, to the None at its end: unpacked while what came before is being stored."""
    with ThreadPoolExecutor(1, "unpacking") as thread:
        try:
            coming = thread.submit(_received, process)
            while (came := coming.result()) is not None:
                coming = thread.submit(_received, process)
                yield came
        finally:
            process.kill()  # the thread waits for it


def _received(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    try:
        return pickle.load(process.stdout)  # what it holds was made by our own process, never by who made the file
    except (EOFError, pickle.UnpicklingError):
        words = f"the process that read the file ended with status {process.wait()}"
        raise (MemoryError if process.returncode < 0 else RuntimeError)(words) from None


def serve() -> None:
    """Read what standard input asks for, and write the parts to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed gets between the parts
    parent, reading = pickle.load(sys.stdin.buffer)
    die_with_parent(parent=parent)

    def send(message: Any) -> None:
        answers.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
        answers.flush()

    try:
        with heap.spared():
            for part in _read(reading, _now_and_then(send)):
                send(part)
        send(None)
    except Exception as error:
        error.add_note(traceback.format_exc())
        send(error)


def _now_and_then(send: Callable[[Any], None]) -> Alive:
    said = 0.0

    def alive(taken: int, share: float) -> None:
        nonlocal said
        if time.monotonic() - said > SIGN_OF_LIFE:
            said = time.monotonic()
            send((taken, share))

    return alive


if __name__ == "__main__":
    # By its name, so that parts are of the class that is known elsewhere.
    from annotator.pipeline import ingest_reading

    ingest_reading.serve()
