"""A public data set by its name: streamed from the hub into a file aside, then imported as any file, all or nothing.

No code of a data set is run, and of its files only those that lie in its own repository are read: a set's own header
may name any path or address, which would be read from here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from annotator.formats import front_matter
from annotator.formats.entries import Way
from annotator.formats.files import STRUCTURED
from annotator.models import Job, JobCancelled, Project, User
from annotator.pipeline import ingest, work
from annotator.pipeline.ingest_report import IngestReport

logger = logging.getLogger(__name__)

# "owner/name", as the hub spells it: neither a path of this machine nor an address.
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# A configuration, or a folder of the set; a split; a branch, tag or commit.
PART = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", re.ASCII)
# Kinds of files that hold rows of text.
FILES = ("parquet", "json", "csv", "arrow")
# Rows between two signs of life.
BEAT_ROWS = 500
# What is left free on the disk, in bytes.
LEAST_FREE = 2**30
# Seconds the hub may take to say what a set is.
PATIENCE = 30


@dataclass(frozen=True)
class Asked:
    """Which rows of which set. `limit`: 0 for all of them; `source`: where its judgments come from."""

    name: str
    config: str = ""
    split: str = ""
    revision: str = ""
    limit: int = 0
    source: str = ""


@dataclass(frozen=True)
class Opened:
    """A set's rows, ready to be streamed. `origin` goes with the import; `total` is 0 where the set does not say."""

    rows: Any
    origin: dict[str, Any]
    total: int
    # Whether cells may hold JSON as text.
    in_columns: bool


def is_possible() -> bool:
    """Whether this installation has the package that reads public sets."""
    return bool(settings.MODELS) and importlib.util.find_spec("datasets") is not None


def request_fetch(project: Project, asked: Asked, by: User | None) -> Job:
    """Ask for the import of a public set; asking twice before it is done asks once. Raises StepRefused."""
    _check(asked)
    key = hashlib.sha256(json.dumps(asdict(asked), sort_keys=True).encode()).hexdigest()
    job = Job.objects.ask(project, Job.Kind.FETCH, key=key, by=by, **asdict(asked))
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.FETCH]))
    return job


@shared_task(name=work.TASKS[Job.Kind.FETCH])
def run_fetches() -> int:
    return work.work(Job.Kind.FETCH, _fetch_job)


def _fetch_job(job: Job) -> work.Done:
    asked = Asked(**{name: value for name, value in job.parameters.items() if name in Asked.__dataclass_fields__})
    report = take(job.project, asked, job=job, by=job.requested_by)
    return work.Done(str(report), asdict(report))


def take(
    project: Project, asked: Asked, *, folder: Path | None = None, job: Job | None = None, by: User | None = None
) -> IngestReport:
    """Import a public set, or a `folder` of this machine in its layout (for who has a shell here).

    Raises StepRefused, and JobCancelled when `job` was cancelled; nothing is stored then.
    """
    if not is_possible():
        words = _(
            "Public sets are read with a package that this site was installed without (MODELS=no). Install it with"
            " models, or download the set's files and upload them."
        )
        raise work.StepRefused(words)
    if folder is None:
        _check(asked)
    aside = Path(settings.VAR_DIR) / "fetching"
    aside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=aside) as place:
        path = Path(place) / "rows.jsonl"
        with _in_words(asked):
            opened = _streamed(asked, folder)
            _write(path, opened, asked.limit, job)
        way = Way(split=opened.origin["split"], config=opened.origin["config"])
        coming = ingest.Coming(path, asked.name[-200:], way, source=asked.source, origin=opened.origin, by=by)
        return ingest.take_in(project, coming, job=job)


def _check(asked: Asked) -> None:
    if not NAME.fullmatch(asked.name) or ".." in asked.name:
        raise work.StepRefused(_("A set is named owner/name, as on the hub, for example allenai/multipref."))
    for part in (asked.config, asked.split, asked.revision):
        if part and (not PART.fullmatch(part) or ".." in part or len(part) > 100):
            raise work.StepRefused(_("%(part)s is no configuration, split or revision.") % {"part": part})


@contextlib.contextmanager
def _in_words(asked: Asked) -> Iterator[None]:
    try:
        yield
    except (JobCancelled, work.StepRefused):
        raise
    except Exception as error:  # whatever the hub, the library or the set does, the person who waits must be told
        raise work.StepRefused(_told(error, asked)) from error


def _streamed(asked: Asked, folder: Path | None) -> Opened:
    import datasets

    facts = _facts_of_folder(folder) if folder else _facts_of_hub(asked)
    where = str(folder) if folder else asked.name
    revision = None if folder else facts["revision"]
    names = datasets.get_dataset_config_names(where, revision=revision)
    # What is no configuration is a folder: sets without a header of their own are published so.
    part = {"name": asked.config} if asked.config in names else {"data_dir": asked.config}
    builder = datasets.load_dataset_builder(where, revision=revision, **(part if asked.config else {}))
    _refuse_foreign(builder, "" if folder else f"hf://datasets/{asked.name}@")
    splits = builder.as_streaming_dataset()
    split = _split(asked.split, list(splits))
    known = (builder.info.splits or {}).get(split)
    config = builder.config.name if not asked.config else asked.config
    origin = {"name": asked.name, "config": config, "split": split, **facts}
    origin |= {"limit": asked.limit} if asked.limit else {}
    total = (known.num_examples or 0) if known else 0
    total = min(total, asked.limit) if total and asked.limit else total or asked.limit
    return Opened(splits[split], origin, total, _kind(builder) != "json")


def _kind(builder: Any) -> str:
    """Of which kind the set's files are: the package's name for what reads them."""
    return type(builder).__module__.rsplit(".", 1)[-1]


def _refuse_foreign(builder: Any, home: str) -> None:
    """Only files of rows, and of a set on the hub only those in its own repository."""
    if _kind(builder) not in FILES:
        words = _("The set's files are of the kind %(kind)s; rows come as Parquet, JSON, CSV or Arrow.")
        raise work.StepRefused(words % {"kind": _kind(builder)})
    files = builder.config.data_files or {}
    if any(not str(file).startswith(home) for split in files.values() for file in split):
        raise work.StepRefused(_("The set names files outside its own repository, which are not read."))


def _facts_of_hub(asked: Asked) -> dict[str, Any]:
    """The commit that the revision stands for now, and the licence that the set's card names."""
    from huggingface_hub import HfApi

    # With sizes: a card is fetched only when it is one.
    info = HfApi().dataset_info(asked.name, revision=asked.revision or None, timeout=PATIENCE, files_metadata=True)
    _refuse_withheld(info, asked.name)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    return {"revision": str(info.sha), "licence": _licence(_header_on_hub(asked.name, str(info.sha), sizes))}


def _refuse_withheld(info: Any, name: str) -> None:
    """What the workers' token opens is not every lead's to read: private and gated sets only where the operator says.

    A private set is told of like one that does not exist: whoever may not read it need not know of it.
    """
    if name in settings.PUBLIC_SETS_ALLOWED or not (info.private or info.gated):
        return
    if info.private:
        raise work.StepRefused(_no_set(name))
    words = _(
        "%(name)s is given only to who accepts its terms. The operator of this site can accept them and name it in"
        " PUBLIC_SETS_ALLOWED; or download its files with your own account and upload them."
    )
    raise work.StepRefused(words % {"name": name})


def _no_set(name: str) -> str:
    return _("There is no public data set %(name)s on the hub. Look at the spelling; capitals count.") % {"name": name}


def _header_on_hub(name: str, revision: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The set's header, looked at before anything that it names is opened. `sizes`: of its files, in bytes."""
    from huggingface_hub import hf_hub_download

    found: dict[str, Any] = {}
    for file in ("README.md", ".huggingface.yaml"):
        if file not in sizes:
            continue
        if sizes[file] > front_matter.LONGEST:
            raise work.StepRefused(_("The set's card is too long to be read."))
        path = Path(hf_hub_download(name, file, repo_type="dataset", revision=revision))
        found |= _header(path, is_card=file == "README.md")
    for text in _paths(found.get("configs")):
        if "://" in text or "::" in text or text.startswith(("/", "\\", "~")) or ".." in text:
            raise work.StepRefused(_("The set names files outside its own repository, which are not read."))
    return found


def _facts_of_folder(folder: Path) -> dict[str, Any]:
    card = folder / "README.md"
    return {"revision": "", "licence": _licence(_header(card, is_card=True) if card.is_file() else {})}


def _header(path: Path, *, is_card: bool) -> dict[str, Any]:
    """The YAML of a data set's card, or of a file that is nothing else."""
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(front_matter.LONGEST + 1)
    try:
        return front_matter.header(text) if is_card else front_matter.read(text)
    except front_matter.HeaderRefused as error:
        raise work.StepRefused(_("The header of the set's card cannot be read: %(why)s") % {"why": error}) from error


def _licence(header: Mapping[str, Any]) -> str:
    given = header.get("license") or header.get("licence") or ""
    return ", ".join(str(one) for one in given) if isinstance(given, list) else str(given)


def _paths(value: Any) -> Iterator[str]:
    """Every text under "data_files" and "data_dir", at any depth."""
    for config in value if isinstance(value, list) else []:
        if isinstance(config, dict):
            yield from _texts([config.get("data_files"), config.get("data_dir")])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _split(asked: str, splits: list[str]) -> str:
    if asked in splits:
        return asked
    if not asked and ("train" in splits or len(splits) == 1):
        return "train" if "train" in splits else splits[0]
    words = _("Say which split: %(splits)s.") if not asked else _("There is no split %(asked)s; there are: %(splits)s.")
    raise work.StepRefused(words % {"asked": asked, "splits": ", ".join(splits)})


def _told(error: Exception, asked: Asked) -> str:
    """What went wrong with the hub or the set's files, and what to do."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    facts = {"name": asked.name, "why": " ".join(str(error).split())[:300], "revision": asked.revision}
    is_missing = isinstance(error, RepositoryNotFoundError) or type(error).__name__ == "DatasetNotFoundError"
    if isinstance(error, GatedRepoError):
        words = _(
            "%(name)s is given only to who accepts its terms. Accept them on the hub, and give the workers your token"
            " as HF_TOKEN."
        )
    elif isinstance(error, RevisionNotFoundError):
        words = _("%(name)s has no revision %(revision)s.")
    elif is_missing:
        return _no_set(asked.name)
    elif isinstance(error, OSError | httpx2.HTTPError) and not isinstance(error, FileNotFoundError):
        words = _(
            "The hub could not be reached: %(why)s. Try again later; or download the set's files where there is a"
            " network, and upload them."
        )
    else:
        logger.error("%s was not understood", asked.name, exc_info=error)
        words = _("%(name)s cannot be read as it was asked for: %(why)s")
    return words % facts


def _write(path: Path, opened: Opened, limit: int, job: Job | None) -> None:
    """The rows as JSON Lines, as they would come from the set's own files."""
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(opened.rows.take(limit) if limit else opened.rows, 1):
            file.write(_line(row, number, opened.in_columns))
            if number % BEAT_ROWS == 0:
                _sign(path, number, opened.total, job)


def _sign(path: Path, number: int, total: int, job: Job | None) -> None:
    if shutil.disk_usage(path.parent).free < LEAST_FREE:
        raise work.StepRefused(_("The disk is nearly full. Make room, or ask for fewer rows."))
    if job:
        job.beat(min(number, total) if total else 0, total, _("%(count)s rows fetched") % {"count": number})


def _line(row: Mapping[str, Any], number: int, in_columns: bool) -> str:
    """A row as a file of it would give it: null is "not given", and columns of structure may hold JSON as text."""
    given = {name: value for name, value in row.items() if value is not None}
    for name in STRUCTURED if in_columns else ():
        if isinstance(given.get(name), str):
            try:
                given[name] = json.loads(given[name])
            except (ValueError, RecursionError):
                continue  # its reader says what is wrong with it
    try:
        return json.dumps(given, default=_plain) + "\n"
    except TypeError as error:
        reason = _("Row %(number)s of the set holds something else than text and numbers: %(why)s")
        raise work.StepRefused(reason % {"number": number, "why": error}) from error


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
