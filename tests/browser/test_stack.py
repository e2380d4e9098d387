import re

import pytest

pytestmark = pytest.mark.browser


def test_a_lead_logs_in_and_sees_the_demo_projects(page, login):
    login(page, "lead")
    page.goto("/")
    assert page.get_by_role("link", name="Written for the demo", exact=True).is_visible()
    assert page.get_by_text(re.compile("Generated: routing practice")).first.is_visible()


def test_a_stranger_is_asked_to_log_in(page, stack):
    page.goto(f"{stack.url}/")
    assert "/accounts/login/" in page.url
