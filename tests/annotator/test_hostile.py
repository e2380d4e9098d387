"""The corpus of hostile texts on the server: what comes out is a closed list of tags, nested, stable and in bounds."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest

from annotator import rendering
from annotator.formats import rows
from tests.annotator.hostile import CASES, REFUSED

VOID = {"br", "hr", "mspace", "mprescripts", "none"}
TAGS = rendering._TAGS | {"bdi"}
ATTRIBUTES = {name for names in rendering._ATTRIBUTES.values() for name in names} | {"class", "rel", "target", "title"}
CLASSES = {name for names in rendering._CLASSES.values() for name in names} | {"plain", "turning"}
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Reader(HTMLParser):
    """What is in a piece of HTML, and whether every element ends inside the one it began in."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.classes: set[str] = set()
        self.links: list[str] = []
        self.loose: list[str] = []
        self.crossed: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name == "class":
                self.classes.update((value or "").split())
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        if TURNING.search(data) and not (len(data) == 1 and self.open[-1:] == ["bdi"]):
            self.loose.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def rendered():
    return {name: str(rendering.to_html(text)) for name, text in CASES.items()}


each = pytest.mark.parametrize("name", CASES)


def test_the_corpus_is_large_and_no_case_is_there_twice():
    assert len(CASES) >= 110
    assert len(set(CASES.values())) == len(CASES)


@each
def test_only_known_tags_attributes_and_classes_come_out(rendered, name):
    found = read(rendered[name])
    assert found.tags <= TAGS
    assert found.attributes <= ATTRIBUTES
    assert found.classes <= CLASSES


@each
def test_links_lead_to_the_web_or_to_mail_and_nothing_is_fetched(rendered, name):
    found = read(rendered[name])
    assert not {"src", "srcset", "style", "poster", "data", "background", "ping"} & found.attributes
    assert [link for link in found.links if not link.lower().startswith(("http://", "https://", "mailto:"))] == []


@each
def test_what_comes_out_is_nested_and_ends_where_it_began(rendered, name):
    found = read(rendered[name])
    assert found.crossed == [] and found.open == []


@each
def test_a_browser_reads_what_was_written(rendered, name):
    """Sanitised text that another parsing would change is how scripts come back: parsed once more it is the same."""
    html = re.sub(r'<bdi class="turning">(.)</bdi>', r"\1", rendered[name]).replace(' class="plain"', "")
    html = html.replace("<pre dir", "<pre tabindex")
    once = rendering._clean(html)
    assert rendering._clean(once) == once
    assert read(once).tags == read(html).tags


@each
def test_characters_that_turn_text_stand_alone_in_an_isolate(rendered, name):
    assert read(rendered[name]).loose == []


@pytest.mark.slow
@each
def test_the_work_grows_with_the_length_of_the_text(name):
    """Calls of functions, not seconds: a case that costs more for each character than these do is one to look at."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        html = rendering.to_html(CASES[name])
    finally:
        sys.setprofile(None)
    length = len(CASES[name])
    assert calls <= 3_000 + 400 * length
    assert len(html) <= 1_000 + 120 * length


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_is_refused_with_its_field_named(name):
    with pytest.raises(rows.RowInvalid, match="response_a"):
        rows.text(json.loads(REFUSED[name]), "response_a")
