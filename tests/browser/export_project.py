"""A judged project without exports, and a lead's session."""

from __future__ import annotations

from typing import Any

ADDRESSES = {"exports": "exports", "imports": "import_upload"}


def build() -> dict[str, Any]:
    """{"exports": address, "imports": address, "session": key}"""
    from django.urls import reverse

    from annotator.pipeline import aggregate
    from tests.browser import inside
    from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

    project = make_project(name="Exported")
    lead = make_member(project, "lead")
    aggregate.default_recipe(project)
    for language in ("de", "en"):
        comparison = make_comparison(project, f"In {language}?", metadata={"language": language})
        make_judgment(comparison, make_person(project), 1)
    aggregate.aggregate()
    addresses = {name: reverse(view, args=[project.pk]) for name, view in ADDRESSES.items()}
    return {**addresses, "session": inside.sessions([lead.username])[0]}
