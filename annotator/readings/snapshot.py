"""What an export reads: the project's data as of one point, page by page, as the pure values that writers take.

The point is a time and the highest ids then, not a long transaction: a page is one short read, so an export of ten
minutes holds nothing up and its worker can show progress meanwhile. Judgments are append-only and texts immutable, what
was under way at that point is waited for, and what was corrected since still counts: so later pages are as old as the
first, and an export whose worker died goes on from its last finished part.
"""

from __future__ import annotations

import copy
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Collate, NullIf
from django.utils.timezone import now

from annotator.formats import source
from annotator.models import (
    Comparison,
    Import,
    Judgment,
    Label,
    Membership,
    Outcome,
    Profile,
    Project,
    Prompt,
    Protocol,
    Purpose,
    Rater,
    Recipe,
    Response,
    Role,
)
from annotator.models.votes import NO_BOUNDARY, Scope, approved_plan, as_text, behind
from annotator.models.votes import Count as Counted
from annotator.readings import judged_rows, under_way
from annotator.readings.judged_rows import parsed
from annotator.readings.raters import Known, identity, pseudonym
from annotator.readings.tally import Tally
from annotator.readings.wanted import Wanted, votes_wanted

PAGE = 500


@dataclass
class Pass:
    """How far the export has come in one table: where this part began, and how far it is now."""

    # The last id, and how many rows, before this part and with it.
    began_after: int = 0
    after: int = 0
    rows_before: int = 0
    rows: int = 0
    was_over: bool = False
    is_over: bool = False

    def begin(self) -> None:
        """A table that is read a second time for one part is read from where the part begins."""
        self.after, self.rows, self.is_over = self.began_after, self.rows_before, self.was_over

    def next_part(self) -> None:
        self.began_after, self.rows_before, self.was_over = self.after, self.rows, self.is_over


@dataclass
class Snapshot:
    """One project under one recipe and filters as of `seen`. Satisfies `formats.source.Source`.

    It is read in parts of `part_rows` rows a table: `next_part` moves on.
    """

    project: Project
    recipe: Recipe
    filters: source.Filters
    plan_id: int | None
    seen: datetime
    last: dict[str, int]
    # Users who review or lead the project.
    experts: frozenset[int] = frozenset()
    # The newest import that all parts know: what was waited for is later than `seen`.
    last_import: int = 0
    # Comparisons of one prompt follow each other, in one part; else they come as they were made.
    by_prompt: bool = False
    part_rows: int = sys.maxsize
    # How many votes comparisons want, where a filter asks for it.
    wanted: Wanted = field(default_factory=dict)
    # Called after each page that was read, whatever became of its rows.
    turned: Callable[[], None] = field(default=lambda: None, repr=False)
    passes: dict[str, Pass] = field(default_factory=lambda: defaultdict(Pass))
    tally: Tally = field(default_factory=Tally)
    _tally_before: Tally = field(default_factory=Tally)
    _raters: dict[int, Known] = field(default_factory=dict)

    @classmethod
    def take(
        cls, project: Project, recipe: Recipe, filters: source.Filters, waiting: Callable[[], None] | None = None
    ) -> Self:
        """The data as it is now. Judgments inside their undo window are not in it, now or later.

        `waiting` is called now and then while writes that are under way are waited for; raises
        `under_way.StillWriting`.
        """
        newest = {
            "judgments": Judgment.objects.filter(project=project),
            "comparisons": Comparison.objects.filter(project=project),
            "prompts": Prompt.objects.filter(project=project),
            "responses": Response.objects.filter(prompt__project=project),
            "protocols": Protocol.objects.filter(project=project),
        }
        # The time first: what becomes effective between the two reads is then in neither.
        seen = now()
        last = {name: rows.aggregate(last=Max("pk"))["last"] or 0 for name, rows in newest.items()}
        under_way.wait(project.pk, waiting)
        experts = Membership.objects.filter(project=project, role__in=(Role.REVIEWER, Role.LEAD))
        known = frozenset(experts.values_list("user_id", flat=True))
        asked = votes_wanted(project.pk, last["comparisons"]) if filters.status == "settled" else {}
        plan_id, came = approved_plan(project.pk), _newest_import(project)
        return cls(project, recipe, filters, plan_id, seen, last, known, came, wanted=asked)

    @classmethod
    def about(cls, project: Project, recipe: Recipe, filters: source.Filters, most: int) -> int:
        """About how many comparisons an export of now would pass, counted no further than `most`.

        Labels are the stored ones, which a moment ago may have been others; a comparison that has none under the recipe
        passes whatever agreement and votes are asked for.
        """
        boundless = {"judgments": NO_BOUNDARY, "comparisons": NO_BOUNDARY}
        snapshot = cls(project, recipe, filters, approved_plan(project.pk), now(), boundless)
        rows = snapshot.comparisons().filter(snapshot._has_label())
        if filters.protocol is not None:
            labeler = Q(rater__kind=Rater.Kind.LABELER)
            answers = snapshot._current().filter(Q(protocol__version=filters.protocol) | labeler)
            rows = rows.filter(Exists(answers))
        return rows.order_by()[:most].count()

    def _has_label(self) -> Q:
        """A stored label that passes. Only the routed recipe is sure to have all: of another a judgment will do."""
        stored = Label.objects.filter(comparison=OuterRef("pk"), recipe=self.recipe.pk)
        passing = stored.filter(votes__gte=self.filters.votes)
        if self.filters.agreement:
            passing = passing.filter(agreement__gte=self.filters.agreement)
        if self.recipe.pk and self.recipe.source == Recipe.Source.ROUTED:
            return Q(Exists(passing))
        counted = self._current().exclude(purpose=Purpose.REPEAT)
        counted = counted.filter(outcome__in=(Outcome.LEVEL, Outcome.NEITHER_VALID))
        if self.recipe.source != Recipe.Source.POOLED:
            counted = counted.filter(rater__kind=Rater.Kind.PERSON)
        else:
            accepted = Q(rater__labeler_version__accepted_at__isnull=False)
            counted = counted.filter(Q(rater__kind=Rater.Kind.PERSON) | accepted)
        return Q(Exists(passing)) | (~Q(Exists(stored)) & Q(Exists(counted)))

    def kept(self) -> dict[str, Any]:
        """Where the next part begins, in JSON types; `again` goes on from there."""
        return {
            "plan_id": self.plan_id,
            "seen": self.seen.isoformat(),
            "last": self.last,
            "experts": sorted(self.experts),
            "last_import": self.last_import,
            "wanted": self.wanted,
            "passes": {name: asdict(each) for name, each in self.passes.items()},
            "tally": self.tally.kept(),
        }

    @classmethod
    def again(cls, project: Project, recipe: Recipe, filters: source.Filters, kept: Mapping[str, Any]) -> Self:
        seen, last = datetime.fromisoformat(kept["seen"]), dict(kept["last"])
        snapshot = cls(project, recipe, filters, kept["plan_id"], seen, last, frozenset(kept["experts"]))
        snapshot.last_import = kept["last_import"]
        snapshot.wanted = kept["wanted"]
        snapshot.passes.update({name: Pass(**each) for name, each in kept["passes"].items()})
        snapshot.tally = Tally.again(kept["tally"])
        snapshot._tally_before = copy.deepcopy(snapshot.tally)
        return snapshot

    def next_part(self) -> bool:
        """Move on behind what was read; False when nothing is left."""
        for each in self.passes.values():
            each.next_part()
        self._tally_before = copy.deepcopy(self.tally)
        return not all(each.is_over for each in self.passes.values())

    @property
    def scope(self) -> Scope:
        return Scope(self.recipe, self.plan_id, self.seen, self.last["judgments"], self.filters.protocol)

    @property
    def passed(self) -> int:
        """Comparisons (and, in their own table, judgments) read so far, for progress."""
        return sum(self.passes[name].rows for name in ("judged", "judgments") if name in self.passes)

    def size(self, all_judgments: bool) -> int:
        """What `passed` will reach after a pass over the comparisons, and over all judgments if they are read too."""
        return self.comparisons().count() + (self.judgments().count() if all_judgments else 0)

    def judged(self) -> Iterator[source.Judged]:
        """Every comparison of this part that passes the filters, by id or by prompt; the tally counts it anew."""
        held = self.tally.held  # of a table of its own, which was read before
        self.tally = copy.deepcopy(self._tally_before)
        self.tally.held = held
        if self.by_prompt:
            yield from self._judged_by_prompt()
            return
        for page in self.pages("judged", self.comparisons(), self.last["comparisons"], ()):
            yield from self._page([row["pk"] for row in page])

    def _judged_by_prompt(self) -> Iterator[source.Judged]:
        """All of them in one part. The ids of a million are 8 MB."""
        at = self.passes["judged"]
        at.begin()
        rows = self.comparisons().order_by("prompt_id", "pk").values_list("pk", flat=True)
        ids = array("q", rows.iterator(chunk_size=20 * PAGE))
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE].tolist()
            yield from self._page(page)
            at.rows += len(page)
            self.turned()
        at.is_over = True

    def profiles(self) -> dict[str, dict[str, Any]]:
        """What people agreed to publish of themselves and have not withdrawn until now, by their pseudonym."""
        agreed = Profile.objects.agreed().filter(rater__project=self.project, consented_at__lte=self.seen)
        found = list(agreed.select_related("rater__labeler_version"))
        # The tally begins anew with each pass over the comparisons, this does not.
        for tally in (self.tally, self._tally_before):
            tally.profiles |= {profile.rater_id for profile in found}
        return {pseudonym(profile.rater): profile.about for profile in found}

    def pages(
        self, name: str, rows: QuerySet[Any], last: int | None, columns: Sequence[str]
    ) -> Iterator[list[dict[str, Any]]]:
        """This part of a table: pages of `columns` and pk by pk, up to `last`, each a short indexed read."""
        at = self.passes[name]
        at.begin()
        bounded = rows if last is None else rows.filter(pk__lte=last)
        left = self.part_rows
        while left and not at.is_over:
            size = min(PAGE, left)
            page = list(bounded.filter(pk__gt=at.after).order_by("pk").values(*{"pk", *columns})[:size])
            if page:
                at.after = page[-1]["pk"]
                yield page
            at.rows, at.is_over, left = at.rows + len(page), len(page) < size, left - len(page)
            self.turned()

    def _page(self, ids: list[int]) -> Iterator[source.Judged]:
        """Those of `ids` that have a label: texts are read for no others."""
        labels = {pk: found for pk, found in behind(self.scope, ids).items() if self._passes(found[0])}
        page = judged_rows.comparisons([pk for pk in ids if pk in labels])
        votes = self._votes([judgment for _label, judgments in labels.values() for judgment in judgments])
        further = judged_rows.further_responses([pk for pk, _key, _metadata, candidates, *_texts in page if candidates])
        for pk, key, said, _further, *texts in page:
            label, _judgments = labels[pk]
            metadata = parsed(said)
            turns, context, of_prompt = (parsed(text) for text in texts[1:4])
            # The prompt's first: equal prompts stay together.
            split = source.said_split(of_prompt, metadata)
            judged = source.Judged(
                key=key,
                prompt=source.Prompt(texts[0], turns, context, of_prompt, split),
                response_a=source.Response(*(*texts[4:7], parsed(texts[7]))),
                response_b=source.Response(*(*texts[8:11], parsed(texts[11]))),
                label=source.Label(
                    label.source, label.p_b, label.p_tie, label.strength, label.agreement, label.votes, label.neither
                ),
                votes=tuple(votes[pk]),
                metadata=metadata,
                further=tuple(further[pk]),
            )
            self.tally.comparisons[label.source] += 1
            self.tally.add_texts(judged)
            yield judged

    def _passes(self, label: Counted) -> bool:
        return label.votes >= self.filters.votes and (label.agreement or 0) >= self.filters.agreement

    def _votes(self, judgments: list[int]) -> dict[int, list[source.Vote]]:
        """The counted judgments of a page, as votes by comparison; the tally learns of them."""
        rows = judged_rows.judgments(judgments)
        raters = self.raters({row.rater_id for row in rows})
        votes: dict[int, list[source.Vote]] = defaultdict(list)
        preferences: dict[int, dict[int, float]] = defaultdict(dict)
        for row in rows:
            known = raters[row.rater_id]
            self._note(row, known.rater)
            if known.is_person and row.preference is not None:
                said = preferences[row.comparison_id]
                said.setdefault(identity(known.rater, row.id), row.preference)
            votes[row.comparison_id].append(source.Vote(known.name, known.is_person, known.is_expert, *row.said))
        for said in preferences.values():
            self.tally.add_people(list(said.values()))
        return votes

    def _note(self, row: judged_rows.Given, rater: Rater) -> None:
        tally = self.tally
        version = rater.labeler_version
        tally.votes[whose(rater)] += 1
        tally.cost[whose(rater)] += row.cost
        if version:
            tally.versions.add(version.pk)
        else:
            tally.people.add(rater.pk)
            tally.imported += row.assignment_id is None
        if row.protocol_id:
            tally.protocols.add(row.protocol_id)
        if row.guidelines_version:
            tally.guidelines.add(row.guidelines_version)

    def raters(self, ids: set[int]) -> dict[int, Known]:
        """At least those of `ids`; each is looked up once an export."""
        missing = ids - self._raters.keys()
        for rater in Rater.objects.filter(pk__in=missing).select_related("labeler_version__labeler") if missing else ():
            is_person = rater.kind == Rater.Kind.PERSON
            self._raters[rater.pk] = Known(
                rater, pseudonym(rater), is_person, rater.was_expert or rater.user_id in self.experts
            )
        return self._raters

    def comparisons(self) -> QuerySet[Comparison]:
        """Those that pass the filters, judged or not; but for agreement and votes, which are the label's."""
        filters = self.filters
        rows = Comparison.objects.filter(project=self.project, pk__lte=self.last["comparisons"])
        if filters.plan is not None:
            rows = rows.filter(routes__plan__project=self.project, routes__plan__number=filters.plan)
        if filters.status == "settled":
            rows = rows.filter(self._is_settled())
        for number, (name, value) in enumerate(filters.metadata.items()):
            rows = rows.alias(**{f"said_{number}": _said(name)}).filter(**{f"said_{number}": value})
        return rows

    def _current(self) -> QuerySet[Judgment]:
        """Those of a comparison that were current then; in SQL `votes.STOOD` says the same."""
        stood = Q(is_current=True)
        if self.last["judgments"] != NO_BOUNDARY:
            later = Judgment.objects.alias(revised=KeyTextTransform("revises", "provenance")).filter(
                Q(pk__gt=self.last["judgments"]) | Q(effective_at__gt=self.seen),
                **{name: OuterRef(name) for name in ("comparison", "rater", "round")},
                revised=Cast(OuterRef("pk"), TextField()),
            )
            withdrawn = {"withdrawn__gt": as_text(self.seen), "withdrawn__lt": "A"}
            stood |= Exists(later) | Q(purpose=Purpose.REVIEW, **withdrawn)
        when = Collate(KeyTextTransform("withdrawn", "provenance"), "C")
        return self.judgments().alias(withdrawn=when).filter(stood, comparison=OuterRef("pk"))

    def _is_settled(self) -> Q:
        """A reviewer has spoken, or as many people have judged it as are wanted."""
        settling = (Outcome.LEVEL, Outcome.NEITHER_VALID)
        reviewed = self._current().filter(purpose=Purpose.REVIEW, outcome__in=settling)
        people = self._current().filter(purpose=Purpose.JUDGE, rater__kind=Rater.Kind.PERSON)
        judged = people.order_by().values("comparison").annotate(times=Count("pk")).values("times")
        return Q(Exists(reviewed)) | Q(votes_wanted__lte=Coalesce(Subquery(judged), 0))

    def judgments(self) -> QuerySet[Judgment]:
        """Every revision that was ever seen by labels; an answer undone in time never was (see `judge.undo`)."""
        return Judgment.objects.filter(
            ~Q(provenance__has_key="undone"),
            project=self.project,
            effective_at__lte=self.seen,
            pk__lte=self.last["judgments"],
        )


def whose(rater: Rater) -> str:
    """How the tally calls the source of a judgment."""
    return rater.labeler_version.labeler.name if rater.labeler_version else "people"


def _newest_import(project: Project) -> int:
    """A project's imports wait for each other before their row is made, so none comes later with a lower id."""
    return Import.objects.filter(project=project).aggregate(last=Max("pk"))["last"] or 0


def _said(name: str) -> Coalesce:
    """What a comparison's metadata say under `name`, or its prompt's; a domain may have been found by its words."""
    said: list[Any] = [KeyTextTransform(name, "metadata"), KeyTextTransform(name, "prompt__metadata")]
    found = [F("prompt__domain")] if name == "domain" else []
    return Coalesce(*(NullIf(each, Value("")) for each in said), *found, Value(""), output_field=TextField())
