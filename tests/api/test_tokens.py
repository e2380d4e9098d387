"""Tokens: made once, shown once, stored as a digest, and never more than their person."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import Membership, Token
from annotator.pipeline import tokens
from tests.api.program import Program, assert_problem, lead_program
from tests.builders import make_member, make_project, make_user

pytestmark = pytest.mark.django_db


def test_only_a_digest_is_stored():
    token, text = tokens.make(make_user(), "x", ["read"])
    stored = " ".join(str(value) for value in Token.objects.filter(pk=token.pk).values().get().values())
    assert text.startswith("sw_") and len(text) == 46
    assert text not in stored and text[len(token.start) :] not in stored
    assert tokens.find(text) == token


def test_without_a_token_one_is_told_what_to_send():
    for header in (
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer sw_x\ud800"},
    ):
        response = Client().get("/api/v1/projects", headers=header)
        assert_problem(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_session_is_no_token():
    client = Client()
    client.force_login(make_member(make_project(), "lead"))
    assert_problem(client.get("/api/v1/projects"), 401)


def test_a_revoked_and_a_past_token_and_one_of_a_closed_account_are_refused():
    program = lead_program(make_project())
    assert program.get("/projects").status_code == 200
    Token.objects.filter(pk=program.token.pk).update(expires_at=now() - timedelta(seconds=1))
    assert_problem(program.get("/projects"), 401)
    Token.objects.filter(pk=program.token.pk).update(expires_at=None)
    program.token.user.is_active = False
    program.token.user.save()
    assert_problem(program.get("/projects"), 401)
    program.token.user.is_active = True
    program.token.user.save()
    assert program.get("/projects").status_code == 200
    tokens.revoke(program.token, program.token.user)
    assert_problem(program.get("/projects"), 401)


def test_a_token_loses_what_its_person_loses():
    project = make_project()
    program = lead_program(project)
    address = f"/projects/{project.pk}/exports"
    Membership.objects.filter(user=program.token.user).update(role="viewer")
    assert program.get(address).status_code == 200
    assert "Viewer" in assert_problem(program.post(address, {"format": "judgments"}), 403)["detail"]
    Membership.objects.filter(user=program.token.user).delete()
    assert_problem(program.get(address), 404)


def test_a_token_of_one_project_reaches_no_other():
    one, other = make_project(), make_project()
    user = make_member(one, "lead")
    Membership.objects.create(user=user, project=other, role="lead")
    program = Program(user, project=one)
    assert [item["id"] for item in program.get("/projects").json()["items"]] == [one.pk]
    assert program.get(f"/projects/{one.pk}").status_code == 200
    assert_problem(program.get(f"/projects/{other.pk}"), 404)
    assert len(Program(user).get("/projects").json()["items"]) == 2


def test_the_last_use_is_written_once_a_minute(django_assert_num_queries):
    program = lead_program(make_project())
    tokens.find(program.text)
    first = Token.objects.get(pk=program.token.pk).last_used_at
    with django_assert_num_queries(1):
        tokens.find(program.text)
    Token.objects.filter(pk=program.token.pk).update(last_used_at=first - timedelta(minutes=2))
    tokens.find(program.text)
    assert Token.objects.get(pk=program.token.pk).last_used_at > first


# The page


@pytest.fixture
def member(client):
    user = make_member(make_project(name="Rain"), "annotator")
    client.force_login(user)
    return user


def test_a_token_is_shown_once(client, member):
    asked = {"name": "nightly", "scopes": ["read", "export"], "lasts": "30"}
    page = client.post(reverse("tokens"), asked)
    text = page.context["text"]
    token = Token.objects.get(user=member)
    assert f'value="{text}"' in page.content.decode() and tokens.find(text) == token
    assert "no-store" in page.headers["Cache-Control"]
    assert timedelta(days=29) < token.expires_at - now() < timedelta(days=30)
    again = client.get(reverse("tokens")).content.decode()
    assert text not in again and token.start in again and "nightly" in again


def test_what_is_wrong_is_said_and_no_token_is_made(client, member):
    theirs = make_project()
    for asked in (
        {"name": "x"},
        {"name": "x", "scopes": ["all"]},
        {"name": "x", "scopes": ["read"], "project": theirs.pk},
    ):
        assert client.post(reverse("tokens"), asked).status_code == 422
    assert not Token.objects.exists()


def test_one_revokes_ones_own_and_no_other(client, member):
    own, _text = tokens.make(member, "mine", ["read"])
    theirs, _text = tokens.make(make_user(), "theirs", ["read"])
    assert client.post(reverse("token_revoke", args=[own.pk])).status_code == 302
    assert client.post(reverse("token_revoke", args=[theirs.pk])).status_code == 404
    assert Token.objects.get(revoked_at__isnull=False) == own
    assert b"Revoked" in client.get(reverse("tokens")).content
