"""Every address × every role × own and foreign projects, and the policy headers on every answer.

An address that is not in the matrix fails the first test: whoever adds one says here who may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils.timezone import now

from annotator.models import (
    Attempt,
    BatchFile,
    Concern,
    Contest,
    Credential,
    Dataset,
    Export,
    FeatureSet,
    Flag,
    Gold,
    Job,
    Labeler,
    Membership,
    PerformanceModel,
    Plan,
    Project,
    Return,
    Review,
    User,
    Webhook,
)
from annotator.pipeline import aggregate, combine, links, tokens, versions, webhooks
from tests.annotator.backtest_outcomes import finished
from tests.builders import (
    make_comparison,
    make_generator,
    make_judgment,
    make_labeler,
    make_member,
    make_mixtures,
    make_person,
    make_plan,
    make_project,
    make_user,
)
from tests.plan_samples import METRICS, SUMMARY

pytestmark = pytest.mark.django_db

LEAD, REVIEWER, ANNOTATOR, VIEWER = "lead", "reviewer", "annotator", "viewer"
# The manifest of an empty export.
FACTS: dict[str, Any] = {
    "format": "judgments",
    "project": {"name": "Own", "provenance": "", "currency": "USD"},
    "counted": {"comparisons_by_source": {}, "judgments_by_source": {}, "cost_by_source": {}, "people": 0},
    **{"protocols": [], "labelers": [], "plan": None, "options": {}, "configs": ["labels"], "files": []},
    **{"guidelines": {"version": 1}, "filters": {"left_out": {}}},
    "prices": {"person_judgment": "0", "currency": "USD"},
    "software": {"name": "Switchyard", "version": "0"},
}
MEMBERS = {LEAD, REVIEWER, ANNOTATOR, VIEWER}
READERS = {LEAD, REVIEWER, VIEWER}
SEATED = {LEAD, REVIEWER, ANNOTATOR}
REVIEWERS = {LEAD, REVIEWER}
# A stranger leads another project; staff may enter the site's administration and has no role here.
LOGGED_IN = (LEAD, REVIEWER, ANNOTATOR, VIEWER, "stranger", "staff")
# What an address answers to those who may use it: a page, a redirect, a form with what is wrong, "too late".
DONE = {200, 204, 302, 409, 422}


@dataclass
class World:
    """A project with somebody of every role, one object of every kind; and another project with the same."""

    project: Project = field(default_factory=lambda: make_project(name="Own"))
    users: dict[str, User] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in (LEAD, REVIEWER, ANNOTATOR, VIEWER):
            self.users[role] = make_member(self.project, role)
        self.comparison = make_comparison(self.project, votes_wanted=1, places_open=1)
        self.labeler: Labeler = make_labeler(self.project).labeler_version.labeler
        self.generator = make_generator(self.project)
        self.judge = Labeler.objects.create(project=self.project, name="judge", kind="llm_judge")
        self.batch_file = BatchFile.objects.create(
            labeler_version=versions.new_version(self.judge, {"base_url": "http://127.0.0.1:9/v1", "model": "m"}),
            scope="everything",
            asked_for=1,
            factor=1,
            most=0,
        )
        other = make_labeler(self.project).labeler_version.labeler
        self.ensemble = combine.add(
            self.project, "together", combine.setup(self.project, [self.labeler, other], combine.EQUAL, {})
        )
        self.performance_model = self._performance_model()
        make_plan(self.project, {self.comparison: None}, status="superseded")
        self.plan = make_plan(self.project, {self.comparison: None}, status="draft")
        Plan.objects.filter(pk=self.plan.pk).update(
            summary={**SUMMARY, "samples": {"responses 40% alike": [self.comparison.pk]}},
            predicted=0.71, low=0.69, high=0.73, budget=15, performance_model=self.performance_model,
        )  # fmt: skip
        self.job = Job.objects.create(project=self.project, kind="route")
        self.backtest = finished(self.project)
        self.mixture = make_mixtures(self.project, self.performance_model.feature_set)[0]
        asked = {"mixtures": [], "seeds": 1, "recipe": {"model": "owner/encoder"}}
        self.measuring = Job.objects.create(project=self.project, kind="measure", parameters=asked)
        asked = {"labeler": self.labeler.pk}
        self.run = Job.objects.create(project=self.project, kind="label", parameters=asked)
        self.flag = Flag.objects.create(comparison=self.comparison, rater=make_person(self.project), reason="odd")
        self.membership = Membership.objects.get(project=self.project, user=self.users[VIEWER])
        self.recipe = aggregate.default_recipe(self.project)
        self.export = Export.objects.create(
            project=self.project, number=1, format="judgments", recipe=self.recipe, completed_at=now(), manifest=FACTS
        )
        self.link = links.make(self.export, "", self.users[LEAD]).link
        self.dataset = Dataset.objects.create(project=self.project, name="kept", format="judgments", recipe=self.recipe)
        for version in (1, 2):
            Export.objects.create(
                project=self.project, number=1 + version, format="judgments", recipe=self.recipe, completed_at=now(),
                dataset=self.dataset, version=version, sha256=f"{version:064}", manifest=FACTS,
            )  # fmt: skip
        self.credential = Credential.objects.create(project=self.project, name="hub 1", place="hub.example", sealed=b"")
        stored = {"name": "uploads/gone.jsonl", "filename": "gone.jsonl", "source": ""}
        self.upload = signing.dumps(stored, salt=f"annotator.imports.{self.project.pk}")
        self.assignment = self._assignment()
        self.token = tokens.make(self.users[LEAD], "a script", ["read"])[0]
        self.webhook = webhooks.add(self.project, "https://hooks.example/rain", Webhook.Event.values, None)[0]
        self.delivery = webhooks.send_test(self.webhook)
        self._reviewed()

    def _performance_model(self) -> PerformanceModel:
        features = FeatureSet.objects.create(project=self.project, version=1, state="ready", names=["x"], digest="x")
        common = {"project": self.project, "kind": "ridge", "metrics": METRICS, "feature_set": features}
        PerformanceModel.objects.create(**common, version=1, artifact="older")
        return PerformanceModel.objects.create(**common, version=2, artifact="newer")

    def _reviewed(self) -> None:
        """A comparison that the annotator has judged, with all that can come of it."""
        self.judged = make_comparison(self.project)
        final = now() - timedelta(minutes=1)
        self.judgment = make_judgment(
            self.judged, self.assignment.rater, 1, assignment=self.assignment, effective_at=final
        )
        reviewer = make_person(self.project, self.users[REVIEWER])
        common = {"project": self.project, "comparison": self.judged}
        self.review = Review.objects.create(**common, reviewer=reviewer, a_first=True, revealed_at=now())
        self.settled = Review.objects.create(**common, reviewer=reviewer, a_first=True, state="settled")
        self.gold = Gold.objects.create(**common, better=["a"])
        rater, project = self.assignment.rater, self.project
        self.concern = Concern.objects.create(project=project, rater=rater, kind="fast", resolved_at=now())
        self.attempt, self.one = self._attempt(), 1
        self.returned = Return.objects.create(judgment=self.judgment, rater=self.assignment.rater, comment="Look.")
        self.contest = Contest.objects.create(**common, rater=self.assignment.rater, gold=self.gold, reason="No.")

    def _attempt(self) -> Attempt:
        drawn = {"gold": self.gold.pk, "a_first": True, "given": None, "right": None}
        return Attempt.objects.create(
            rater=self.assignment.rater,
            use="tutorial",
            number=1,
            protocol=self.project.protocol,
            guidelines_version=1,
            answers=[drawn],
        )

    def _assignment(self) -> Any:
        from annotator.models import Assignment

        rater = make_person(self.project, self.users[ANNOTATOR])
        return Assignment.objects.create(
            project=self.project, comparison=self.comparison, rater=rater, leased_until=now(), a_first=True
        )


@dataclass(frozen=True)
class Url:
    """Who may GET and who may POST; None: nobody, the method is refused. `args` finds the address in a world."""

    args: Callable[[World], list[Any]] = lambda world: []
    get: set[str] | None = None
    post: set[str] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    # What the others are told: 404 where the address must not show that something exists.
    refusal: int = 404
    # False for addresses that lie outside any project.
    in_project: bool = True


def own(*names: str) -> Callable[[World], list[Any]]:
    """The project's id, then what the dotted names lead to."""

    def find(world: World) -> list[Any]:
        found = [world.project.pk]
        for name in names:
            value: Any = world
            for part in name.split("."):
                value = getattr(value, part)
            found.append(value)
        return found

    return find


def anywhere(name: str) -> Callable[[World], list[Any]]:
    """An address that names its object alone."""
    return lambda world: own(name)(world)[1:]


EVERYBODY = set(LOGGED_IN)
# Leads of some project, and staff.
FOUNDERS = {LEAD, "stranger", "staff"}

MATRIX: dict[str, Url] = {
    "projects": Url(get=EVERYBODY, in_project=False),
    "theme": Url(post=EVERYBODY, in_project=False),
    "tokens": Url(get=EVERYBODY, post=EVERYBODY, in_project=False),
    # A token is its person's alone.
    "token_revoke": Url(anywhere("token.pk"), post={LEAD}, in_project=False),
    "api_reference": Url(get=EVERYBODY, in_project=False),
    "webhooks": Url(own(), get={LEAD}, post={LEAD}),
    "webhook": Url(own("webhook.pk"), get={LEAD}),
    "webhook_test": Url(own("webhook.pk"), post={LEAD}),
    "webhook_switch": Url(own("webhook.pk"), post={LEAD}),
    "webhook_remove": Url(own("webhook.pk"), post={LEAD}),
    "delivery_again": Url(own("webhook.pk", "delivery.pk"), post={LEAD}),
    "board": Url(own(), get=READERS),
    "comparisons": Url(own(), get=READERS),
    "comparison": Url(own("comparison.pk"), get=READERS),
    "flag_resolve": Url(own("flag.pk"), post={LEAD}),
    "reviews": Url(own(), get=REVIEWERS),
    "review_next": Url(own(), post=REVIEWERS),
    "review_open": Url(own("comparison.pk"), post=REVIEWERS),
    "review": Url(own("review.pk"), get=REVIEWERS),
    "review_answer": Url(own("review.pk"), post={REVIEWER}),
    "review_raw": Url(own("review.pk"), get=REVIEWERS),
    "review_reopen": Url(own("review.pk"), post=REVIEWERS),
    "review_send_back": Url(own("review.pk", "judgment.pk"), post={REVIEWER}),
    # An annotator finds the thread of what they have judged.
    "thread": Url(own("judged.pk"), get=SEATED, post=SEATED),
    "return_stand": Url(own("returned.pk"), post={ANNOTATOR}),
    "contest_gold": Url(own("gold.pk"), get={ANNOTATOR}, post={ANNOTATOR}),
    "contest_review": Url(own("settled.pk"), post={ANNOTATOR}),
    "contest_decide": Url(own("contest.pk"), post=REVIEWERS),
    "plans": Url(own(), get=READERS, post={LEAD}),
    "train": Url(own(), post={LEAD}),
    "plan": Url(own("plan.number"), get=READERS),
    "plan_sheet": Url(lambda world: [*own("plan.number")(world), "curve"], get=READERS),
    "plans_compare": Url(own(), get=READERS),
    "plans_compare_sheet": Url(own(), get=READERS),
    "plan_approve": Url(own("plan.number"), post={LEAD}),
    **{f"plan_{act}": Url(own("plan.number"), post={LEAD}) for act in ("measure", "revise", "restore")},
    "loop": Url(own(), get=READERS),
    "loop_sheet": Url(own(), get=READERS),
    "loop_settings": Url(own(), post={LEAD}),
    "seed_set": Url(own(), post={LEAD}),
    "backtests": Url(own(), get=READERS, post={LEAD}),
    "backtest": Url(own("backtest.number"), get=READERS),
    "backtest_sheet": Url(own("backtest.number"), get=READERS),
    **{f"backtest_{act}": Url(own("backtest.number"), post={LEAD}) for act in ("pause", "go_on")},
    "performance_models": Url(own(), get=READERS),
    "performance_model": Url(own("performance_model.version"), get=READERS),
    "performance_sheet": Url(lambda world: [*own("performance_model.version")(world), "observed"], get=READERS),
    "performance_model_restore": Url(own("performance_model.version"), post={LEAD}),
    "people": Url(own(), get={LEAD}),
    "member_add": Url(own(), post={LEAD}),
    "member_invite": Url(own(), post={LEAD}),
    "member_role": Url(own("membership.pk"), post={LEAD}, data={"role": "viewer"}),
    "member_link": Url(own("membership.pk"), post={LEAD}),
    "member_remove": Url(own("membership.pk"), post={LEAD}),
    "job": Url(own("job.pk"), get=READERS),
    "job_progress": Url(own("job.pk"), get=READERS),
    "job_cancel": Url(own("job.pk"), post={LEAD}),
    "project_settings": Url(own(), get={LEAD}),
    "settings_general": Url(own(), post={LEAD}),
    "settings_work": Url(own(), post={LEAD}),
    "settings_cap": Url(own(), post={LEAD}),
    "protocol": Url(own(), get=READERS),
    "protocol_edit": Url(own(), get={LEAD}, post={LEAD}),
    "protocol_preview": Url(own(), post={LEAD}),
    "settings_status": Url(own(), post={LEAD}),
    "new_project": Url(get=FOUNDERS, post=FOUNDERS, refusal=403, in_project=False),
    "import_upload": Url(own(), get={LEAD}, post={LEAD}),
    "import_fetch": Url(own(), get={LEAD}, post={LEAD}),
    "import_preview": Url(own("upload"), get={LEAD}, post={LEAD}),
    "run": Url(own("run.pk"), get=READERS),
    "run_progress": Url(own("run.pk"), get=READERS),
    "run_pause": Url(own("run.pk"), post={LEAD}),
    "run_resume": Url(own("run.pk"), post={LEAD}),
    "run_retry": Url(own("run.pk"), post={LEAD}),
    "labelers": Url(own(), get=READERS),
    "pairs": Url(own(), get={LEAD}, post={LEAD}),
    "labeler_add": Url(own(), get={LEAD}),
    "labeler_new": Url(lambda world: [*own()(world), "llm_judge"], get={LEAD}, post={LEAD}),
    "labeler_asked": Url(own("labeler.pk"), get=READERS),
    "labeler_batches": Url(own("judge.pk"), get={LEAD}, post={LEAD}),
    "batch_download": Url(own("judge.pk", "batch_file.pk"), get={LEAD}),
    "batch_results": Url(own("judge.pk", "batch_file.pk"), post={LEAD}),
    "batch_close": Url(own("judge.pk", "batch_file.pk"), post={LEAD}),
    "labeler_edit": Url(own("labeler.pk"), get={LEAD}, post={LEAD}),
    "labeler_disclosure": Url(own("labeler.pk"), get={LEAD}, post={LEAD}),
    "disclosure_withdraw": Url(own("labeler.pk"), post={LEAD}),
    "labeler_add_proxy": Url(own(), post={LEAD}),
    "labeler": Url(own("labeler.pk"), get=READERS),
    "labeler_run": Url(own("labeler.pk"), get={LEAD}, post={LEAD}),
    "labeler_prices": Url(own("labeler.pk"), post={LEAD}),
    "labeler_report": Url(own("labeler.pk"), get=READERS),
    "labeler_report_csv": Url(own("labeler.pk"), get=READERS),
    "labeler_check": Url(own("labeler.pk"), post={LEAD}),
    "labeler_decide": Url(own("labeler.pk"), post={LEAD}),
    # A recorded labeler cannot be asked about made pairs: back to its report.
    "labeler_measure": Url(own("labeler.pk"), get={LEAD}, post={LEAD}, data={"what": "checks"}),
    "ensemble_add": Url(own(), get={LEAD}, post={LEAD}),
    "ensemble_edit": Url(own("ensemble.pk"), get={LEAD}, post={LEAD}),
    "ensemble_fill": Url(own("ensemble.pk"), get={LEAD}, post={LEAD}, data={"on": "people", "most": "0"}),
    "suspect_raise": Url(own("comparison.pk"), post={LEAD}),
    "labeler_toggle": Url(own("labeler.pk"), post={LEAD}),
    "labeler_renew": Url(own("labeler.pk"), post={LEAD}),
    "responses": Url(own(), get=READERS),
    "responses_compare": Url(own(), post={LEAD}),
    "prompt": Url(own("comparison.prompt_id"), get=READERS),
    "features": Url(own(), get=READERS),
    **{f"features_{act}": Url(own(), post={LEAD}) for act in ("settings", "run", "disclosure")},
    "tagger_add": Url(own(), get={LEAD}, post={LEAD}),
    "generator_add": Url(own(), get={LEAD}, post={LEAD}),
    "generator": Url(own("generator.pk"), get=READERS),
    "generator_run": Url(own("generator.pk"), get={LEAD}, post={LEAD}),
    **{f"generator_{act}": Url(own("generator.pk"), post={LEAD}) for act in ("disclosure", "prices", "toggle")},
    "mixtures": Url(own(), get=READERS, post={LEAD}),
    "mixtures_sheet": Url(own("mixture.mixture_set.number"), get=READERS),
    "mixture_rows": Url(own("mixture.mixture_set.number", "mixture.number"), get=READERS),
    **{f"measure_{act}": Url(own("measuring.pk"), post={LEAD}) for act in ("pause", "resume")},
    "exports": Url(own(), get=READERS, post={LEAD}),
    "export_options": Url(own(), get={LEAD}),
    "export_count": Url(own(), get={LEAD}),
    "export_download": Url(own("export.number"), get=READERS),
    "export_link": Url(own("export.number"), post=READERS),
    "export_links": Url(own("export.number"), get=READERS),
    "export_link_take_back": Url(own("export.number", "link.pk"), post={LEAD}),  # and whoever made it
    "export_keep": Url(own("export.number"), get={LEAD}, post={LEAD}),
    "export_push": Url(own("export.number"), get={LEAD}, post={LEAD}),
    "token_forget": Url(own("credential.pk"), post={LEAD}),
    "datasets": Url(own(), get=READERS),
    "dataset": Url(own("dataset.pk"), get=READERS),
    "dataset_version": Url(own("dataset.pk"), post={LEAD}),
    # Without two versions to compare: back to the data set.
    "dataset_changes": Url(own("dataset.pk"), get=READERS, post=READERS),
    "guidelines": Url(own(), get=MEMBERS),
    "guidelines_edit": Url(own(), get={LEAD}, post={LEAD}),
    "guidelines_preview": Url(own(), post={LEAD}),
    "guidelines_read": Url(own(), get=SEATED, post=SEATED),
    "guidelines_drawer": Url(own(), get=SEATED),
    "onboarding": Url(own(), get=SEATED),
    "onboarding_start": Url(own(), post=SEATED),
    # An attempt is its annotator's; leads see how it went.
    "onboarding_result": Url(own("attempt.pk"), get={ANNOTATOR, LEAD}),
    "onboarding_step": Url(own("attempt.pk", "one"), get={ANNOTATOR}, post={ANNOTATOR}),
    "onboarding_raw": Url(own("attempt.pk", "one"), get={ANNOTATOR}),
    "onboarding_admit": Url(own("membership.pk"), post={LEAD}),
    "annotate": Url(own(), get=SEATED),
    "my_statistics": Url(own(), get=SEATED),
    "my_opt_outs": Url(own(), post=SEATED),
    "my_profile": Url(own(), get=SEATED, post=SEATED),
    "my_profile_withdraw": Url(own(), post=SEATED),
    "quality": Url(own(), get={LEAD}),
    "quality_standards": Url(own(), get={LEAD}, post={LEAD}),
    "quality_person": Url(own("assignment.rater.pk"), get={LEAD}),
    **{
        f"quality_{act}": Url(own("assignment.rater.pk"), post={LEAD})
        for act in ("pause", "resume", "requalify", "certify")
    },
    "concern_settle": Url(lambda world: [*own("assignment.rater.pk")(world), "fast"], post={LEAD}),
    "concern_reopen": Url(own("concern.pk"), post={LEAD}),
    "golds": Url(own(), get={LEAD}),
    "gold": Url(own("comparison.pk"), get={LEAD}, post={LEAD}),
    "gold_retire": Url(own("gold.pk"), post={LEAD}),
    # An assignment is its annotator's alone.
    **{
        name: Url(anywhere("assignment.pk"), post={ANNOTATOR}, in_project=False)
        for name in ("judgment", "draft", "skip", "opt_out", "flag", "undo", "open")
    },
    "prefetch": Url(anywhere("assignment.pk"), get={ANNOTATOR}, in_project=False),
    "history": Url(own(), get=SEATED),
    "revise": Url(own("judgment.pk"), get={ANNOTATOR}, post={ANNOTATOR}),
    "raw": Url(anywhere("assignment.pk"), get={ANNOTATOR}, in_project=False),
}

# Addresses for people who are not logged in, with what they answer them to a GET.
PUBLIC = {
    "health": 200,
    "language": 405,
    # A link that was never signed by us.
    "linked_download": 404,
    "account_login": 200,
    "account_logout": 302,
    "account_inactive": 200,
    "account_signup": 200,
    "account_reauthenticate": 302,
    "account_email": 302,
    "account_email_verification_sent": 200,
    "account_change_password": 302,
    "account_set_password": 302,
    "account_reset_password": 200,
    "account_confirm_login_code": 302,
    "account_confirm_email": 200,
    "account_reset_password_from_key_done": 200,
    "account_reset_password_from_key": 200,
    "account_reset_password_done": 200,
}
PUBLIC_ARGS = {
    "linked_download": ["x"],
    "account_confirm_email": ["some-key"],
    "account_reset_password_from_key": ["1", "some-key"],
}


def addresses(patterns: Any = None) -> Iterator[str]:
    """Names of every address of the site but the administration's, which Django guards itself."""
    for pattern in patterns or get_resolver().url_patterns:
        if isinstance(pattern, URLResolver):
            # tests/api has a matrix of its own, of tokens and scopes.
            if pattern.namespace not in ("admin", "api"):
                yield from addresses(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.name or str(pattern.pattern)


class Inhabited:
    """A world, another one, and a session of everybody for each method: made once, for every test sees it anew."""

    def __init__(self) -> None:
        self.world, self.other = World(), World(project=make_project(name="Other"))
        people = {role: self.world.users.get(role) or make_user(is_staff=role == "staff") for role in LOGGED_IN}
        Membership.objects.create(user=people["stranger"], project=make_project(name="Foreign"), role=LEAD)
        self.sessions = {
            (role, method): self._session(user) for role, user in people.items() for method in ("get", "post")
        }
        # One for all: each client puts the site's middleware together anew.
        self.visitor = Client()

    def _session(self, user: User) -> str:
        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value

    def client(self, role: str, method: str = "get") -> Client:
        """The visitor, with nothing but this person's session; to be used before the next is asked for."""
        self.visitor.cookies.clear()
        self.visitor.cookies["sessionid"] = self.sessions[role, method]
        return self.visitor

    def ask(self, role: str, method: str, address: str, data: dict[str, Any]) -> Any:
        return getattr(self.client(role, method), method)(address, data if method == "post" else {})


@pytest.fixture(scope="module")
def inhabited(django_db_setup, django_db_blocker) -> Iterator[Inhabited]:
    """In a transaction around those of the tests, each of which ends where this began."""
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        made = Inhabited()
    yield made
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


def strict(response: Any) -> None:
    """The enforcing policy, on every answer, without a way around it."""
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "script-src 'self'" in policy
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_every_address_is_in_the_matrix():
    missing = sorted(set(addresses()) - set(MATRIX) - set(PUBLIC))
    assert not missing, f"say in tests/annotator/test_access.py who may use {missing}"


def permitted(allowed: set[str]) -> list[str]:
    """In the order of LOGGED_IN."""
    return [role for role in LOGGED_IN if role in allowed]


def answers_as_said(inhabited: Inhabited, name: str, whom: Callable[[set[str]], list[str]]) -> None:
    """`whom`: those to ask, from those who may."""
    url = MATRIX[name]
    address = reverse(name, args=url.args(inhabited.world))
    for method, allowed in (("get", url.get), ("post", url.post)):
        for role in whom(allowed or set()):
            response = inhabited.ask(role, method, address, url.data)
            expected = {405} if allowed is None else DONE if role in allowed else {url.refusal}
            assert response.status_code in expected, f"{role} {method} {address}: {response.status_code}"
            strict(response)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MATRIX if name in set(addresses())])
def test_only_the_roles_named_may_use_it(inhabited, name):
    """Everybody who may not, and the first of those who may."""
    answers_as_said(inhabited, name, lambda allowed: [*permitted(set(LOGGED_IN) - allowed), *permitted(allowed)[:1]])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MATRIX if name in set(addresses())])
def test_every_role_named_may_use_it(inhabited, name):
    answers_as_said(inhabited, name, permitted)


@pytest.mark.parametrize("name", [name for name in MATRIX if name in set(addresses())])
def test_somebody_not_logged_in_is_sent_to_log_in(inhabited, name):
    visitor = inhabited.visitor
    for method in ("get", "post"):
        visitor.cookies.clear()
        response = getattr(visitor, method)(reverse(name, args=MATRIX[name].args(inhabited.world)))
        assert response.status_code == 302
        assert response.headers["Location"].startswith(reverse("account_login"))
        strict(response)


@pytest.mark.parametrize("name", [name for name in MATRIX if name in set(addresses())])
def test_a_lead_reaches_nothing_of_another_project_through_the_own_one(inhabited, name):
    """The own project's id with another project's object: it does not exist."""
    own_world, other = inhabited.world, inhabited.other
    theirs = MATRIX[name].args(other)
    if not MATRIX[name].in_project or len(theirs) < 2:
        return
    address = reverse(name, args=[own_world.project.pk, *theirs[1:]])
    for method, allowed in (("get", MATRIX[name].get), ("post", MATRIX[name].post)):
        if allowed is not None:
            numbered = theirs[1:] == MATRIX[name].args(own_world)[1:]
            found = inhabited.ask(LEAD, method, address, MATRIX[name].data)
            assert numbered or found.status_code == 404


@pytest.mark.parametrize("name", PUBLIC)
def test_public_pages_answer_people_who_are_not_logged_in(name):
    response = Client().get(reverse(name, args=PUBLIC_ARGS.get(name, [])))
    assert response.status_code == PUBLIC[name]
    strict(response)


def test_nobody_signs_up():
    Client().post(reverse("account_signup"), {"username": "eve", "password1": "correct horse", "email": "e@x.org"})
    assert not User.objects.filter(username="eve").exists()


def test_the_administration_is_for_staff_and_staff_alone_sees_no_table(inhabited):
    tables = [reverse(f"admin:annotator_{model}_changelist") for model in ("project", "user", "job")]
    for role in (LEAD, REVIEWER, ANNOTATOR, VIEWER, "stranger"):
        assert inhabited.client(role).get(reverse("admin:index")).status_code == 302
    staff = inhabited.client("staff")
    assert staff.get(reverse("admin:index")).status_code == 200
    assert {staff.get(table).status_code for table in tables} == {403}


def test_a_missing_page_has_our_look_and_the_policy():
    response = Client().get("/no/such/page")
    assert response.status_code == 404
    assert b'class="top"' in response.content
    strict(response)


def test_a_form_without_its_token_is_refused_in_words():
    client = Client(enforce_csrf_checks=True)
    response = client.post(reverse("account_login"), {"login": "a", "password": "b"})
    assert response.status_code == 403
    assert b"nothing was changed" in response.content
    strict(response)


def test_a_broken_page_says_what_to_do(inhabited, monkeypatch):
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("annotator.readings.board.stages", broken)
    client = inhabited.client(LEAD)
    monkeypatch.setattr(client, "raise_request_exception", False)
    response = client.get(reverse("board", args=[inhabited.world.project.pk]))
    assert response.status_code == 500
    assert b"administrator" in response.content
    strict(response)


def test_health_tells_when_the_database_is_away(monkeypatch):
    from django.db import OperationalError

    from annotator.views import health

    def away() -> None:
        raise OperationalError("away")

    monkeypatch.setattr(health.connection, "cursor", away)
    assert Client().get(reverse("health")).status_code == 503
