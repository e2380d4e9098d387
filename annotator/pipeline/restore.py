"""Restore: a lossless store becomes a project again, from which the same bytes go out. All of it, or nothing.

What it says of money is history: costs stay with their judgments, and no account is charged or held for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.formats import folders, store
from annotator.formats.files import FileInvalid
from annotator.formats.store import Store
from annotator.models import Import, Job, Project, User
from annotator.models.jobs import storable
from annotator.pipeline import heap, ingest_tables, restore_tables, versions, work
from annotator.pipeline.restore_tables import Restored, StoreInvalid
from annotator.uploads import arriving_folder

# Shares of the work, in percent: hashing the files, and each table by about how long its rows take.
VERIFIED = 15
UNTIL = {"protocols": 15, "raters": 16, "prompts": 25, "responses": 45, "comparisons": 55, "routes": 60}


@dataclass(frozen=True)
class Restoration:
    """How many rows of each table came in; none where the project came from the same store."""

    tables: dict[str, int] = field(default_factory=dict)
    switched_off: list[str] = field(default_factory=list)

    @property
    def anything_new(self) -> bool:
        return bool(self.tables)

    def __str__(self) -> str:
        if not self.anything_new:
            return _("This project came from the same store: nothing was changed")
        words = _(
            "%(judgments)s %(of_comparisons)s restored, %(with_protocols)s. What they cost is history and charged to"
            " nobody"
        )
        if self.switched_off:
            words += "; " + _("labelers that did not come with the store are switched off: %(names)s")
        return words % {**self._numbers(), "names": ", ".join(self.switched_off)}

    def _numbers(self) -> dict[str, str]:
        judgments, comparisons, protocols = (self.tables[of] for of in ("judgments", "comparisons", "protocols"))
        return {
            "judgments": ngettext("%(n)s judgment", "%(n)s judgments", judgments) % {"n": judgments},
            "of_comparisons": ngettext("of %(n)s comparison", "of %(n)s comparisons", comparisons) % {"n": comparisons},
            "with_protocols": ngettext(
                "with %(n)s version of the protocol", "with %(n)s versions of the protocol", protocols
            )
            % {"n": protocols},
        }


def is_store(path: Path) -> bool:
    """Whether a lossless store lies at `path`."""
    try:
        return store.tree_of(path) is not None
    except FileInvalid:
        return False


def restore(
    project: Project,
    path: Path,
    *,
    filename: str = "",
    by: User | None = None,
    job: Job | None = None,
    dry_run: bool = False,
) -> Restoration:
    """Bring the store at `path` into a project without comparisons; with `dry_run` check all of it and store nothing.

    Raises StepRefused with result {"errors": [{"line", "field", "reason", "file"}], "more": 0}; JobCancelled.
    """
    with _words(), heap.spared(), ingest_tables.Heart(job) as heart:
        found = opened(path)
        found.verify(lambda share: heart.beat(int(VERIFIED * share), 100, "checking the files' hashes"))
        with transaction.atomic():
            if _came_before(project, found):
                return Restoration()
            restored = Restored(project)
            restore_tables.restore(found, restored, _progress(heart))
            switched_off = _finish(restored)
            done = Restoration(restored.counts, switched_off)
            _record(project, found, path, filename, by, done)
            transaction.set_rollback(dry_run)
    return done


def opened(path: Path) -> Store:
    tree, scratch = store.tree_of(path), arriving_folder()
    if tree is None:
        raise FileInvalid("this is no lossless store")
    return Store(path, tree, Path(scratch) if scratch else None)


@contextmanager
def _words() -> Iterator[None]:
    """What is wrong with the store, as StepRefused."""
    try:
        yield
    except StoreInvalid as invalid:
        reason = _("Nothing was restored: %(reason)s. Export the store again, or correct the row.")
        raise work.StepRefused(reason % {"reason": invalid}, errors=[invalid.error], more=0) from invalid
    except FileInvalid as invalid:
        reason = _("Nothing was restored: %(reason)s.") % {"reason": invalid}
        raise work.StepRefused(reason, errors=[], more=0) from invalid


def _progress(heart: ingest_tables.Heart) -> Callable[[str, float], None]:
    names = [name for name, _take in restore_tables.STEPS]

    def beat(table: str, share: float) -> None:
        before = [UNTIL[name] for name in names[: names.index(table)]]
        low, high = before[-1] if before else VERIFIED, UNTIL.get(table, 99)
        heart.pulse(int(low + (high - low) * share), 100, table)

    return beat


def _came_before(project: Project, found: Store) -> bool:
    """True when this store is in the project already. Raises StepRefused when something else is."""
    with connection.cursor() as cursor:
        # As imports do: what is looked at stays true until the end.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [project.pk])
    if Import.objects.filter(project=project, format=store.FORMAT, report__data_sha256=found.digest).exists():
        return True
    if not is_free(project):
        raise work.StepRefused(_("Nothing was restored: %(reason)s.") % {"reason": not_free()})
    return False


def is_free(project: Project) -> bool:
    """Whether a store may come into it."""
    return not (project.comparisons.exists() or project.prompts.exists() or project.plans.exists())


def not_free() -> str:
    return _(
        "this project has prompts, comparisons or plans of its own, and a lossless store is a whole project;"
        " make a new project and restore it there"
    )


def _finish(restored: Restored) -> list[str]:
    """What keeps the store's words true later: ids, guidelines and labelers of this project must not mix with its own.

    Gives the names of the labelers that were switched off.
    """
    _number_guidelines_on(restored)
    own = restored.project.labelers.filter(kind__in=versions.OWN, enabled=True)
    names = list(own.order_by("pk").values_list("name", flat=True))
    own.update(enabled=False)
    return names


def _number_guidelines_on(restored: Restored) -> None:
    """Judgments of the store answered versions whose texts are not in it: this project's come after them."""
    project, highest = restored.project, restored.highest_guidelines
    for version in project.guidelines_versions.order_by("-version") if highest else ():
        version.version += highest
        version.save(update_fields=["version"])
    Project.objects.filter(pk=project.pk).update(guidelines_version=F("guidelines_version") + highest)


def _record(project: Project, found: Store, path: Path, filename: str, by: User | None, done: Restoration) -> None:
    """Note the import, in its transaction."""
    sha256, size = folders.digest(path)
    report: dict[str, Any] = {**done.tables, "data_sha256": found.digest}
    Import.objects.create(
        project=project,
        filename=storable(filename)[-200:],
        format=store.FORMAT,
        sha256=sha256,
        bytes=size,
        rows=sum(done.tables.values()),
        report=report,
        created_by=by,
    )
