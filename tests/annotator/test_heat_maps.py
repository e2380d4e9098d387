"""Heat maps: all of the text, escaped, readable without colour, for leads and reviewers and nobody else."""

from html import unescape

import pytest
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import HeatMap, Review
from annotator.readings import heat_maps
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

HOSTILE = '</mark><script>alert(1)</script> & "quoted" \u202egnp.exe\u202c\n\nend'


@pytest.fixture
def mapped():
    """A comparison whose A is hostile text, with a map of three tokens of each response."""
    comparison = make_comparison(make_project(), a=HOSTILE, b="plain words here")
    judgment = make_judgment(comparison, make_labeler(comparison.project, "ratio"), p_b=0.8)
    stored = HeatMap.objects.create(
        judgment=judgment, side_a=[[0, 7, -2.0], [7, 15, 0.01], [15, 30, 0.9]], side_b=[[0, 5, 2.1], [5, 11, -0.5]]
    )
    return comparison, stored


def page(client, comparison, role):
    client.force_login(make_member(comparison.project, role))
    return client.get(reverse("comparison", args=[comparison.project_id, comparison.pk]))


@pytest.mark.django_db
def test_the_pieces_are_the_text_and_levels_go_by_the_maps_own_scale(mapped):
    (found,) = heat_maps.of(mapped[0])
    texts = ["".join(piece.text for piece in side.pieces) for side in found.sides]
    assert texts == [HOSTILE, "plain words here"]
    assert [(piece.text, piece.css) for piece in found.sides[0].pieces] == [
        ("</mark>", "against-3"),
        (HOSTILE[7:15], ""),
        (HOSTILE[15:30], "for-2"),
        (HOSTILE[30:], ""),
    ]
    assert [(token.side, token.value) for token in found.strongest_for] == [("B", 2.1), ("A", 0.9), ("A", 0.01)]
    assert [(token.side, token.value) for token in found.strongest_against] == [("A", -2.0), ("B", -0.5)]


@pytest.mark.django_db
def test_in_another_order_the_letters_are_those_of_the_screen(mapped):
    (found,) = heat_maps.of(mapped[0], (1, 0))
    assert ["".join(piece.text for piece in side.pieces)[:5] for side in found.sides] == ["plain", "</mar"]
    assert [side.letter for side in found.sides] == ["A", "B"]
    assert found.strongest_for[0].side == "A"


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [[], [[5, 2, 1.0], [-4, 3, 1.0], [2, 900, -1.0]], [[0, 5, 0.0], [5, 9, 0.0]]])
def test_what_does_not_fit_the_text_loses_none_of_it(mapped, rows):
    HeatMap.objects.filter(pk=mapped[1].pk).update(side_a=rows, side_b=[])
    (found,) = heat_maps.of(mapped[0])
    assert "".join(piece.text for piece in found.sides[0].pieces) == HOSTILE


def test_tokens_without_a_look_of_their_own_are_named():
    assert [heat_maps.visible(text) for text in (" word", "\n\n", "  ", "a\u202eb", "")] == [
        "word", "⏎⏎", "␣␣", "aU+202Eb", "",
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("role", "sees"), [("lead", True), ("reviewer", True), ("viewer", False)])
def test_leads_and_reviewers_see_it_on_the_comparisons_page(client, mapped, role, sees):
    html = page(client, mapped[0], role).content.decode()
    assert ("heat-map" in html, "heat_maps.css" in html, 'class="against-3"' in html) == (sees, sees, sees)
    assert "<script>alert" not in html
    assert not sees or '<mark class="against-3">&lt;/mark&gt;</mark>' in html
    assert not sees or unescape(html).count("strongly against the response") == 1


@pytest.mark.django_db
def test_annotators_do_not(client, mapped):
    assert page(client, mapped[0], "annotator").status_code == 404


@pytest.mark.django_db
def test_a_reviewer_sees_it_once_they_have_answered(client, mapped):
    comparison = mapped[0]
    user = make_member(comparison.project, "reviewer")
    review = Review.objects.create(
        project=comparison.project, comparison=comparison, reviewer=make_person(comparison.project, user), a_first=False
    )
    client.force_login(user)
    address = reverse("review", args=[comparison.project_id, review.pk])
    assert "heat-map" not in client.get(address).content.decode()
    Review.objects.filter(pk=review.pk).update(revealed_at=now())
    html = client.get(address).content.decode()
    marked = html[html.index('class="heat-map"') :]
    assert marked.index("plain") < marked.index("&lt;/mark&gt;")
