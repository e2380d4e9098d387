"""What the policy and the translators ask of every template."""

import html
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "templates"
TEMPLATES = sorted(ROOT.rglob("*.html"))
# Names that are the same in every language.
# Names: of the product and of file formats.
SAME_EVERYWHERE = {"Switchyard", "CSV", "JSON", "Lines"}
SPOKEN = ("aria-label", "title", "placeholder", "alt", "aria-description")


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def markup(source: str) -> str:
    """The template without what the template language says itself."""
    source = re.sub(r"{% comment %}.*?{% endcomment %}", "", source, flags=re.S)
    source = re.sub(r"{% (blocktranslate|blocktrans)\b.*?{% end\1 %}", "", source, flags=re.S)
    return re.sub(r"{{.*?}}|{%.*?%}|{#.*?#}", "", source, flags=re.S)


@pytest.mark.parametrize("path", TEMPLATES, ids=names)
def test_it_holds_nothing_that_the_policy_forbids(path):
    source = path.read_text()
    tags = " ".join(re.findall(r"<[a-zA-Z][^>]*>", source))
    assert not re.search(r"\sstyle\s*=", tags), "an inline style"
    assert not re.search(r"\son[a-z]+\s*=", tags), "an inline handler"
    assert "hx-on" not in source and "javascript:" not in source and "<style" not in source
    for script in re.findall(r"<script[^>]*>", source):
        assert "src=" in script or 'type="application/json"' in script, "an inline script"


@pytest.mark.parametrize("path", TEMPLATES, ids=names)
def test_its_words_are_marked_for_translation(path):
    bare = markup(path.read_text())
    words = html.unescape(
        re.sub(r"<script.*?</script>|<code>.*?</code>|<kbd.*?</kbd>|<svg.*?</svg>|<[^>]*>", " ", bare, flags=re.S)
    )
    said = set(re.findall(r"[^\W\d_]{2,}", words)) - SAME_EVERYWHERE
    for attribute in SPOKEN:
        for value in re.findall(rf'\s{attribute}="([^"]*)"', bare):
            said |= set(re.findall(r"[^\W\d_]{2,}", value))
    assert not said, f"not marked: {sorted(said)}"


def test_the_checks_can_fail():
    assert set(re.findall(r"[^\W\d_]{2,}", markup("<p>Hello {% translate 'you' %}</p>"))) >= {"Hello"}
