"""The interface in every language of the settings: complete, chosen by each person, mirrored where it must be."""

import importlib.util
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import translation

from tests.builders import make_project, make_user

ROOT = Path(__file__).parents[2]
PLACEHOLDERS = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}|%%")
CODES = [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]


def tool():
    spec = importlib.util.spec_from_file_location("locale_make", ROOT / "locale" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = tool()


@pytest.fixture(scope="module")
def source():
    found = make.template()
    assert len(found) > 500, "the words of the source are not found: has the way of marking them changed?"
    return found


@pytest.fixture(params=CODES)
def path(request):
    return ROOT / "locale" / request.param / "LC_MESSAGES" / "django.po"


def test_every_language_of_the_settings_has_a_catalogue():
    assert CODES and sorted(CODES) == [file.parts[-3] for file in make.files()]


def test_every_word_of_the_source_is_in_the_catalogue(path, source):
    known = {(message.id, message.context) for message in make.read(path)}
    missing = [message.id for message in source if (message.id, message.context) not in known]
    assert not missing, f"run .venv/bin/python locale/make.py and translate what {path} does not know: {missing}"


def test_every_word_is_translated_with_all_its_plural_forms(path):
    catalog = make.read(path)
    assert catalog.num_plurals == {"ar": 6}[path.parts[-3]]
    assert [message.id for message in make.todo(catalog)] == []
    assert [message.id for message in catalog if message.id and message.fuzzy] == []


def test_placeholders_are_those_of_the_source(path):
    """The form for one, or for two, may leave out the number, which its word says; the form for none may be shorter."""
    for message in make.read(path):
        if not message.id:
            continue
        ids = message.id if message.pluralizable else (message.id,)
        strings = message.string if message.pluralizable else (message.string,)
        wanted = sorted(set(PLACEHOLDERS.findall(ids[-1])))
        for form, string in enumerate(strings):
            if not string:
                continue  # the test above names it
            found = sorted(set(PLACEHOLDERS.findall(string)))
            may_lack = {0: len(wanted), 1: 1, 2: 1}.get(form, 0) if message.pluralizable else 0
            assert set(found) <= set(wanted), (message.id, string)
            assert len(wanted) - len(found) <= may_lack, (message.id, string)


def test_line_ends_and_outer_spaces_are_those_of_the_source(path):
    for message in make.read(path):
        if message.id and not message.pluralizable and message.string:
            assert message.id[0].isspace() == message.string[0].isspace(), message.id
            assert message.id[-1].isspace() == message.string[-1].isspace(), message.id


def test_what_is_served_is_what_is_written(path):
    assert path.with_suffix(".mo").read_bytes() == make.as_mo(make.read(path)), "run .venv/bin/python locale/make.py"


def test_figures_in_every_language_can_stand_in_drawings():
    from django.utils.formats import localize

    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            assert localize(1234.5) == "1234.5"


@pytest.mark.django_db
class TestChoosing:
    def test_a_choice_holds_in_this_browser_and_in_the_persons_next_one(self):
        user, first = make_user("amal"), Client()
        first.force_login(user)
        reply = first.post(reverse("language"), {"language": "ar", "next": reverse("projects")})
        assert reply.headers["Location"] == reverse("projects")
        assert b'<html lang="ar" dir="rtl"' in first.get(reverse("projects")).content
        second = Client()
        assert b'<html lang="en" dir="ltr"' in second.get(reverse("account_login")).content
        second.post(reverse("account_login"), {"login": "amal", "password": "correct horse"})
        assert b'<html lang="ar" dir="rtl"' in second.get(reverse("projects")).content

    def test_the_login_page_can_be_had_in_every_language_before_logging_in(self):
        client = Client()
        page = client.get(reverse("account_login")).content.decode()
        for code, name in settings.LANGUAGES:
            assert f'value="{code}"' in page and name in page
        client.post(reverse("language"), {"language": "ar", "next": reverse("account_login")})
        assert b'dir="rtl"' in client.get(reverse("account_login")).content

    def test_the_browsers_wish_counts_until_somebody_chooses(self):
        assert b'lang="ar"' in Client(HTTP_ACCEPT_LANGUAGE="ar-EG,ar;q=0.9").get(reverse("account_login")).content

    def test_an_unknown_language_changes_nothing_and_no_foreign_page_is_led_to(self):
        user, client = make_user(), Client()
        client.force_login(user)
        reply = client.post(reverse("language"), {"language": "tlh", "next": "https://evil.org/"})
        assert reply.headers["Location"] == "/" and "django_language" not in reply.cookies
        user.refresh_from_db()
        assert user.language == ""

    def test_everybodys_own_words_stay_as_they_are(self):
        user, client = make_user(), Client()
        project = make_project(name="Low and high")
        project.memberships.create(user=user, role="lead")
        client.force_login(user)
        client.post(reverse("language"), {"language": "ar"})
        assert "Low and high" in client.get(reverse("board", args=[project.pk])).content.decode()
