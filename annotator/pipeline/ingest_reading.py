"""Reading: a file's rows, checked and gathered into parts; a large file is read by a process of its own.

So reading computes on one core while another stores. That process is always a part ahead, knows no database, and ends
with the thread that started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.utils import translation

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
# Rows and bytes of a part; each is stored by one COPY a table.
BATCH = 1000
BATCH_SIZE = 16 * 2**20
# Bytes of a file that is worth a process of its own, which takes a second of a core to start.
APART = 16 * 2**20
# Seconds after which the process says that it still reads, if it has computed for so many since.
SIGN_OF_LIFE, BUSY = 0.5, 0.005

Problem = tuple[int, str, str]  # line, field, reason
# Is told how many rows have been read, and the share of the file.
Alive = Callable[[int, float], None]


@dataclass(frozen=True)
class Reading:
    """What is to be read, and how: `definition` is the protocol's, `source` names where judgments come from when the
    rows do not, in `scratch` the files of a zip are unpacked, in `language` errors are told."""

    path: Path
    way: Way
    source: str
    definition: Mapping[str, Any]
    scratch: str | None = None
    language: str | None = None


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
def parts(reading: Reading, alive: Alive, *, apart: bool = True) -> Iterator[Iterator[Part]]:
    """The file in parts, at least one, the last perhaps without rows; what reads ends with the block.

    Without `apart` no process is begun. Raises FileInvalid; MemoryError when the process that reads was killed.
    """
    if not apart or _size(reading.path) <= APART:
        with closing(_read(reading, alive)) as read:
            yield read
        return
    # A process that is killed removes nothing.
    with (
        tempfile.TemporaryDirectory(dir=reading.scratch, prefix=folders.UNPACKED) as folder,
        closing(_apart(replace(reading, scratch=folder), alive)) as read,
    ):
        yield read


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
    pipe, path = subprocess.PIPE, os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        heap.spared(),
        subprocess.Popen(command, stdin=pipe, stdout=pipe, env=os.environ | {"PYTHONPATH": path}) as process,
    ):
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # how it ended is told below
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
        raise (MemoryError if process.returncode == -signal.SIGKILL else RuntimeError)(words) from None


def serve() -> None:
    """Read what standard input asks for, and write the parts to standard output."""
    # Who started it ends it, also where a whole group of processes is told to: an import under way is finished first.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed gets between the parts
    parent, reading = pickle.load(sys.stdin.buffer)
    die_with_parent(parent=parent)
    apps.populate(())  # what translations ask for; Django's whole setup takes a second
    if reading.language:
        translation.activate(reading.language)
    Serving(answers).serve(reading)


class Serving:
    """Writes parts, and now and then, as long as it computes, how far it is."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers, self._lock, self._is_over = answers, threading.Lock(), threading.Event()
        self._so_far = (0, 0.0)

    def serve(self, reading: Reading) -> None:
        threading.Thread(target=self._live, daemon=True).start()
        try:
            with heap.spared():
                for part in _read(reading, self._note):
                    self._send(pickle.dumps(part, pickle.HIGHEST_PROTOCOL))
                    self._note(part.taken, part.share)
            self._end(None)
        except Exception as error:
            self._end(_sendable(error))

    def _note(self, taken: int, share: float) -> None:
        self._so_far = (taken, share)

    def _end(self, message: Exception | None) -> None:
        self._is_over.set()
        self._send(pickle.dumps(message))

    def _send(self, message: bytes) -> None:
        with self._lock:
            self._answers.write(message)
            self._answers.flush()

    def _live(self) -> None:
        before = time.process_time()
        while not self._is_over.wait(SIGN_OF_LIFE):
            if time.process_time() - before > BUSY:
                self._send(pickle.dumps(self._so_far))
            before = time.process_time()


def _sendable(error: Exception) -> Exception:
    """`error` with where it was raised; as a RuntimeError where it could not be made anew on the other side."""
    told = "".join(traceback.format_exception(error))
    error.add_note(told)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own constructor wants
        return RuntimeError(told)
    return error


if __name__ == "__main__":
    # By its name, so that parts are of the class that is known elsewhere.
    from annotator.pipeline import ingest_reading

    ingest_reading.serve()
