"""What a lead reads and changes: board, comparisons, people, settings, jobs."""

from __future__ import annotations

import re
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from annotator.forms.plans import PlanForm
from annotator.forms.settings import CapForm, WorkForm
from annotator.models import Account, Features, FeatureSet, Flag, Job, Membership, Route, User
from annotator.pipeline import aggregate, ledger
from tests.builders import (
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project("multipref", provenance="generated", price_per_judgment=Decimal("0.5"))


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead", "lena")
    client.force_login(user)
    return user


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def page(client: Client, name: str, *args: object, **query: object):
    return client.get(reverse(name, args=args), query)


def test_the_board_begins_with_one_sentence_of_what_was_measured(project, lead, client):
    comparisons = [make_comparison(project) for _ in range(4)]
    first, second = make_person(project, make_member(project, "annotator", "ada")), make_person(project)
    make_plan(project, dict.fromkeys(comparisons))
    make_judgment(comparisons[0], first, 1, active_ms=60_000)
    make_judgment(comparisons[0], second, 2, active_ms=120_000)
    make_judgment(comparisons[1], first, -1, active_ms=90_000)
    aggregate.default_recipe(project)
    aggregate.aggregate()
    ledger.set_cap(project, Decimal(10))
    said = text(page(client, "board", project.pk))
    assert "2 of 4 comparisons have a label" in said
    assert "0.00 of 10.00 USD spent" in said
    assert "agreement 1.00" in said
    assert "generated" in said
    assert "ada 2 2 1:15" in said, "judgments today, in total, and their median time"
    assert f"{second} imported 0 1 2:00" in said


def test_the_board_tells_what_is_judged_and_has_no_label_and_leads_there(project, lead, client):
    chosen, stuck, open_one, abstained = (make_comparison(project) for _ in range(4))
    person, judge = make_person(project), make_labeler(project)
    make_plan(project, {chosen: None, stuck: None, open_one: None, abstained: judge})
    project.comparisons.filter(pk=open_one.pk).update(places_open=1)
    make_judgment(chosen, person, 1)
    for comparison in (stuck, open_one):
        make_judgment(comparison, person, outcome="cannot_judge", justification="Both in a language I do not read.")
    make_judgment(abstained, judge, outcome="abstain")
    aggregate.default_recipe(project)
    aggregate.aggregate()
    board = page(client, "board", project.pk)
    assert "2 comparisons are judged and have no label" in text(board)
    assert "?judged=stuck" in board.content.decode()
    listed = page(client, "comparisons", project.pk, judged="stuck").context["rows"]
    assert [row["comparison"] for row in listed] == [stuck, abstained]


def test_a_chosen_theme_is_kept_and_leads_back_to_our_own_pages_only(project, lead, client):
    address = reverse("board", args=[project.pk])
    assert client.post(reverse("theme"), {"theme": "dark", "next": address}).headers["Location"] == address
    assert b'data-theme="dark"' in client.get(address).content
    assert client.post(reverse("theme"), {"theme": "x", "next": "https://evil.org/"}).headers["Location"] == "/"
    assert b"data-theme" not in client.get(address).content


def test_an_empty_project_says_how_to_begin(project, lead, client):
    assert "There are no comparisons yet. Upload a file to begin." in text(page(client, "board", project.pk))


def test_the_board_needs_the_same_queries_however_much_there_is(project, lead, client, django_assert_max_num_queries):
    person = make_person(project)
    for _ in range(10):
        make_judgment(make_comparison(project), person, 1)
    with django_assert_max_num_queries(30):
        page(client, "board", project.pk)


def test_an_annotator_sees_where_to_annotate_and_no_board(project, client):
    client.force_login(make_member(project, "annotator"))
    home = page(client, "projects").content.decode()
    assert reverse("board", args=[project.pk]) + '"' not in home
    assert "generated" in home


def test_the_list_goes_on_after_the_last_one_shown(project, lead, client):
    comparisons = [make_comparison(project) for _ in range(53)]
    first = page(client, "comparisons", project.pk)
    following = re.search(r'rel="next" href="([^"]*)"', first.content.decode())
    assert following
    second = client.get(reverse("comparisons", args=[project.pk]) + following[1].replace("&amp;", "&"))
    assert comparisons[49].external_id in text(first) and comparisons[50].external_id not in text(first).split()
    assert comparisons[52].external_id in text(second) and comparisons[49].external_id not in text(second).split()
    assert b'rel="next"' not in second.content


def test_the_list_asks_the_same_number_of_queries_for_two_and_for_fifty(
    project, lead, client, django_assert_max_num_queries
):
    for _ in range(50):
        make_comparison(project)
    with django_assert_max_num_queries(14):
        page(client, "comparisons", project.pk)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"source": "people"}, {"people"}),
        ({"source": "judge"}, {"judge"}),
        ({"judged": "yes"}, {"split", "people"}),
        ({"judged": "no"}, {"judge", "flagged"}),
        ({"votes": "disagree"}, {"split"}),
        ({"votes": "waiting"}, {"flagged"}),
        ({"flagged": "on"}, {"flagged"}),
        ({"control": "on"}, {"judge"}),
        ({"q": "thermostat"}, {"people"}),
        ({"q": "split"}, {"split"}),
        ({"source": "nonsense", "after": "x"}, {"people", "judge", "split", "flagged"}),
    ],
)
def test_the_list_shows_what_the_filter_asks_for(project, lead, client, query, expected):
    judge, one, other = make_labeler(project, "judge"), make_person(project), make_person(project)
    made = {name: make_comparison(project, external_id=name) for name in ("judge", "split")}
    made["people"] = make_comparison(project, "Reset the thermostat?", external_id="people")
    made["flagged"] = make_comparison(project, external_id="flagged", votes_wanted=1, places_open=1)
    plan = make_plan(project, {made["people"]: None, made["judge"]: judge})
    Route.objects.filter(plan=plan, comparison=made["judge"]).update(is_control=True)
    Flag.objects.create(comparison=made["flagged"], rater=one, reason="odd")
    make_judgment(made["people"], one, 1)
    make_judgment(made["split"], one, 2)
    make_judgment(made["split"], other, -2)
    # Without a route every person counts.
    aggregate.default_recipe(project)
    aggregate.aggregate()
    body = page(client, "comparisons", project.pk, **query).content.decode()
    shown = {name for name in made if f">{name}</a>" in body}
    assert shown == expected


def test_the_board_leads_to_what_one_rater_judged(project, lead, client):
    person, other = make_person(project), make_person(project)
    theirs, others = make_comparison(project, external_id="theirs"), make_comparison(project, external_id="others")
    make_judgment(theirs, person, 1)
    make_judgment(others, other, 1)
    board = page(client, "board", project.pk).content.decode()
    assert f'?rater={person.pk}">' in board
    body = page(client, "comparisons", project.pk, rater=person.pk).content.decode()
    assert ">theirs</a>" in body and ">others</a>" not in body and f"Only those that {person} judged." in body


def test_a_comparison_shows_who_said_what_and_why_it_went_there(project, lead, client):
    comparison = make_comparison(project, "Why is the sky blue?", a="Rayleigh <script>alert(1)</script>", b="Paint.")
    judge, person = make_labeler(project, "Judge R4", price_per_call=Decimal("0.03")), make_person(project)
    make_judgment(comparison, person, -2, justification="B is made up.", aspects={"truthful": {"level": -2}})
    make_judgment(comparison, judge, p_b=0.25)
    make_plan(project, {comparison: judge})
    Route.objects.update(reason="the judge is sure", propensity=0.8, price=Decimal("0.03"))
    response = page(client, "comparison", project.pk, comparison.pk)
    said = text(response)
    assert "A is clearly better" in said and "B is made up." in said and "Truthfulness: A is clearly better" in said
    assert "A, with a chance of 0.75" in said
    assert "the judge is sure" in said and "0.8" in said and "0.0300 USD" in said
    assert "Prices now people: 0.5000 USD Judge R4: 0.0300 USD" in said
    assert b"<script>alert" not in response.content


def test_a_comparison_shows_its_features_in_words(project, lead, client):
    from routing import features

    comparison = make_comparison(project)
    names = list(features.NAMES)[:3]
    feature_set = FeatureSet.objects.create(project=project, version=1, state="ready", names=names, digest="x")
    values = [float("nan"), 0.5, 1.0]
    Features.objects.create(feature_set=feature_set, comparison=comparison, values=values, embedding=b"")
    said = text(page(client, "comparison", project.pk, comparison.pk))
    assert f"{names[0]} – not defined for this comparison" in said
    assert f"{names[1]} 0.5 {features.describe(names[1], 0.5)}" in said


def test_a_flag_stays_until_the_lead_settles_it(project, lead, client):
    flag = Flag.objects.create(comparison=make_comparison(project), rater=make_person(project), reason="names a person")
    address = reverse("comparison", args=[project.pk, flag.comparison_id])
    assert "names a person" in text(client.get(address))
    client.post(reverse("flag_resolve", args=[project.pk, flag.pk]))
    assert "names a person" not in text(client.get(address))


# People


def test_somebody_with_an_account_is_added_by_name_or_address(project, lead, client):
    make_user("mia", email="Mia@example.org")
    make_user("tom", email="tom@example.org")
    for name in ("mia", "TOM@example.org"):
        client.post(reverse("member_add", args=[project.pk]), {"name": name, "role": "reviewer"})
    assert set(project.memberships.filter(role="reviewer").values_list("user__username", flat=True)) == {"mia", "tom"}


def test_an_unknown_name_is_not_added_and_says_what_to_do(project, lead, client):
    response = client.post(reverse("member_add", args=[project.pk]), {"name": "nobody", "role": "annotator"})
    assert response.status_code == 422 and "Invite them below instead" in text(response)


def test_an_invited_person_chooses_a_password_with_the_link_and_logs_in(project, lead, client):
    response = client.post(
        reverse("member_invite", args=[project.pk]), {"name": "new@example.org", "role": "annotator"}
    )
    link = re.search(r'value="(http://testserver[^"]*)"', response.content.decode())[1]
    theirs = Client()
    form = theirs.get(link, follow=True)
    sent = theirs.post(form.request["PATH_INFO"], {"password1": "quiet-harbour-7", "password2": "quiet-harbour-7"})
    assert sent.status_code == 302
    assert theirs.login(username="new@example.org", password="quiet-harbour-7")
    assert Client().get(link, follow=True).context["token_fail"], "the link works once"


def test_no_link_is_given_for_an_account_that_works_elsewhere(project, lead, client):
    user = make_user("shared")
    user.set_unusable_password()
    user.save()
    membership = Membership.objects.create(project=project, user=user, role="annotator")
    Membership.objects.create(project=make_project(), user=user, role="annotator")
    response = client.post(reverse("member_link", args=[project.pk, membership.pk]), follow=True)
    assert "password/reset/key" not in response.content.decode()
    Membership.objects.exclude(project=project).filter(user=user).delete()
    assert (
        "password/reset/key" in client.post(reverse("member_link", args=[project.pk, membership.pk])).content.decode()
    )


def test_an_invitation_does_not_take_over_an_account(project, lead, client):
    make_user("mia", email="mia@example.org")
    for name in ("mia", "MIA@example.org"):
        response = client.post(reverse("member_invite", args=[project.pk]), {"name": name, "role": "annotator"})
        assert response.status_code == 422
    assert User.objects.filter(username__iexact="mia@example.org").count() == 0


def test_a_project_keeps_a_lead(project, lead, client):
    membership = Membership.objects.get(project=project, user=lead)
    client.post(reverse("member_role", args=[project.pk, membership.pk]), {"role": "viewer"})
    client.post(reverse("member_remove", args=[project.pk, membership.pk]))
    membership.refresh_from_db()
    assert membership.role == "lead"
    second = make_member(project, "lead")
    with CaptureQueriesContext(connection) as asked:
        assert client.post(reverse("member_remove", args=[project.pk, membership.pk])).status_code == 302
    [locks] = [each["sql"] for each in asked if 'FROM "annotator_project"' in each["sql"] and "FOR " in each["sql"]]
    assert locks.endswith("FOR NO KEY UPDATE"), "rows that point at the project are written meanwhile"
    assert list(project.memberships.values_list("user", flat=True)) == [second.pk]


# Settings


def test_a_changed_name_is_stored_and_leaves_the_guidelines_alone(project, lead, client):
    given = {"name": "New name", "description": "", "guidelines": "Not written here."}
    client.post(reverse("settings_general", args=[project.pk]), given)
    project.refresh_from_db()
    assert (project.name, project.guidelines, project.guidelines_version) == ("New name", "", 1)


def test_prices_and_votes_are_stored_and_nonsense_is_refused(project, lead, client):
    address = reverse("settings_work", args=[project.pk])
    good = {"price_per_judgment": "0.45", "currency": "eur", "votes": 3, "control": "10", "lease_minutes": 20}
    assert client.post(address, good).status_code == 302
    project.refresh_from_db()
    assert (project.price_per_judgment, project.currency, project.votes) == (Decimal("0.45"), "EUR", 3)
    assert (project.control_share, project.lease_seconds) == (0.1, 1200)
    for field, value in (("price_per_judgment", "-1"), ("currency", "E1"), ("votes", 0), ("control", 90)):
        assert client.post(address, {**good, field: value}).status_code == 422, field
    project.refresh_from_db()
    assert project.votes == 3


def test_the_hard_budget_cannot_go_under_what_is_set_aside(project, lead, client):
    ledger.set_cap(project, Decimal(100))
    ledger.reserve(project, "a test", Decimal(60), source="people")
    response = client.post(reverse("settings_cap", args=[project.pk]), {"cap": "50"})
    assert response.status_code == 422 and "60" in text(response)
    client.post(reverse("settings_cap", args=[project.pk]), {"cap": "70"})
    assert Account.objects.get(project=project).cap == 70


def test_the_settings_lead_to_the_protocol(project, lead, client):
    page = client.get(reverse("project_settings", args=[project.pk])).content.decode()
    assert reverse("protocol", args=[project.pk]) in page and reverse("protocol_edit", args=[project.pk]) in page


def test_a_project_is_paused_and_started_again(project, lead, client):
    for status in ("paused", "active", "closed"):
        client.post(reverse("settings_status", args=[project.pk]), {"status": status})
        project.refresh_from_db()
        assert project.status == status


# Jobs


def test_a_running_job_asks_for_itself_and_an_ended_one_no_longer(project, lead, client):
    job = Job.objects.create(project=project, kind="retrain", state="running", progress=3, total=9)
    address = reverse("job_progress", args=[project.pk, job.pk])
    running = client.get(address)
    assert "3 of 9" in text(running) and b'hx-trigger="every 2s"' in running.content
    Job.objects.filter(pk=job.pk).update(state="done", ended_at=now())
    assert b"hx-trigger" not in client.get(address).content


def test_a_followed_plan_job_leads_to_its_plan(project, lead, client):
    plan = make_plan(project, {}, status="draft")
    make_plan(project, {}, status="draft")  # somebody else's
    job = Job.objects.create(project=project, kind="route", state="done", result={"plan": plan.number})
    response = client.get(reverse("job_progress", args=[project.pk, job.pk]), {"follow": "1"})
    assert response.headers["HX-Redirect"] == reverse("plan", args=[project.pk, plan.number])


def test_a_failed_job_names_line_field_and_reason(project, lead, client):
    errors = [{"line": 12, "field": "responses", "reason": "needs two or more"}]
    result = {"errors": errors, "more": 4}
    job = Job.objects.create(project=project, kind="ingest", state="failed", message="5 bad rows", result=result)
    said = text(page(client, "job", project.pk, job.pk))
    assert "5 bad rows" in said and "12 responses needs two or more" in said and "4 more" in said


def test_a_waiting_job_is_cancelled_at_once_and_an_ended_one_left_alone(project, lead, client):
    waiting = Job.objects.create(project=project, kind="retrain")
    done = Job.objects.create(project=project, kind="route", state="done")
    for job in (waiting, done):
        client.post(reverse("job_cancel", args=[project.pk, job.pk]))
        job.refresh_from_db()
    assert (waiting.state, done.state) == ("cancelled", "done")


# The same from the shell


def test_the_shell_invites_and_adds(project):
    out = StringIO()
    call_command("invite", project.pk, "new@example.org", "--role", "reviewer", "--site", "https://x.org", stdout=out)
    assert "https://x.org/accounts/password/reset/key/" in out.getvalue()
    call_command("invite", project.pk, "new@example.org", "--role", "viewer", stdout=StringIO())
    assert project.memberships.get(user__username="new@example.org").role == "viewer"
    with pytest.raises(CommandError, match="There is no project 0"):
        call_command("invite", 0, "x")


def test_the_shell_sets_the_hard_budget(project):
    call_command("set_budget", project.pk, "12.50", stdout=StringIO())
    assert Account.objects.get(project=project).cap == Decimal("12.50")
    for nonsense in ("-1", "much", "nan"):
        with pytest.raises(CommandError, match="not an amount"):
            call_command("set_budget", "--", project.pk, nonsense)


def invited(project, client) -> tuple[User, str]:
    page = client.post(reverse("member_invite", args=[project.pk]), {"name": "new@example.org", "role": "annotator"})
    link = re.search(r'value="(http://testserver[^"]*)"', page.content.decode())[1]
    return User.objects.get(username="new@example.org"), link


def is_dead(link: str) -> bool:
    return bool(Client().get(link, follow=True).context.get("token_fail"))


def test_a_link_dies_when_its_unclaimed_account_joins_a_project_of_somebody_else(project, lead, client):
    user, link = invited(project, client)
    other = make_project()
    client.force_login(make_member(other, "lead"))
    assert not is_dead(link)
    client.post(reverse("member_add", args=[other.pk]), {"name": user.username, "role": "annotator"})
    assert other.memberships.filter(user=user).exists()
    assert is_dead(link)


@pytest.mark.parametrize("ending", ["member_role", "member_remove"])
def test_a_link_dies_when_who_holds_it_is_no_longer_lead(project, lead, client, ending):
    _user, link = invited(project, client)
    client.force_login(make_member(project, "lead"))
    membership = project.memberships.get(user=lead)
    client.post(reverse(ending, args=[project.pk, membership.pk]), {"role": "viewer"})
    assert not project.memberships.filter(user=lead, role="lead").exists()
    assert is_dead(link)


def test_joining_a_project_leaves_a_chosen_password_alone(project, lead, client):
    user = make_user("somebody")
    user.set_password("of their own choice")
    user.save()
    client.post(reverse("member_add", args=[project.pk]), {"name": "somebody", "role": "annotator"})
    user.refresh_from_db()
    assert user.check_password("of their own choice")


def test_money_that_no_column_holds_is_refused_in_the_form(project):
    cap = CapForm({"cap": "100000000.00"})
    assert "cap" in cap.errors and CapForm({"cap": "99999999.99"}).is_valid()
    planned = PlanForm({"budget": "999999999999", "cap": "999999999999"}, project, None, {})
    assert {"budget", "cap"} <= set(planned.errors)
    given = {"price_per_judgment": "999999", "currency": "USD", "votes": 25, "control": 0, "lease_minutes": 5}
    assert "price_per_judgment" in WorkForm(given, instance=project).errors
    assert WorkForm(given | {"votes": 1}, instance=project).is_valid()


@pytest.mark.parametrize("amount", ["100000000", "1e30", "NaN", "-1", "much"])
def test_the_shell_refuses_money_that_no_column_holds(project, amount):
    for command in ("set_budget", "plan"):
        with pytest.raises(CommandError, match="amount of money|at most"):
            call_command(command, str(project.pk), "--", amount)
