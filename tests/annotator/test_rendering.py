import re
import time

import pytest

from annotator import rendering
from annotator.management.commands import prepare
from annotator.models import Job, Prompt, Response
from tests import builders

HOSTILE = {
    "a script element": "<script>alert(1)</script>",
    "an event handler": '<img src=x onerror="alert(1)">',
    "a handler in a link": '[x](https://e.org "\\" onmouseover=\\"alert(1)")',
    "a javascript address": "[x](javascript:alert(1)) [y](JaVaScRiPt&#58;alert(1)) <javascript:alert(1)>",
    "a data address": "[x](data:text/html;base64,PHNjcmlwdD4=) ![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "an SVG with a script": "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "MathML that holds HTML": "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "a formula with a link": r"$\href{javascript:alert(1)}{x}$ $$\href{javascript:alert(1)}{y}$$",
    "a formula with a style and a class": r"$\style{position:fixed}{x} \class{btn}{x}$",
    "a formula that holds HTML": r"$\text{<img src=x onerror=alert(1)>}$",
    "a broken formula": r"$\frac{1$ $$\begin{matrix} \left( $$ \[ \sqrt[ \]",
    "a language name that breaks out": '```"><script>alert(1)</script>\nx\n```',
    "an iframe, a form, a style": "<iframe src=//e.org></iframe><form action=/><style>*{display:none}</style>",
    "a class of ours": '<b class="by" data-role="user"></b><div class="toast" id="toast">',
    "a comment that swallows": "<!-- <p> --> --!> <![CDATA[ x",
    "null and control characters": "a\x00b\x08c\u202ed\u2066e",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_becomes_harmless_html(text):
    html = rendering.to_html(text)
    tree = parse(html)
    assert tree["tags"] <= rendering._TAGS | {"bdi"}
    assert not [
        name for name in tree["attributes"] if name.startswith("on") or name in {"style", "id", "src", "data-role"}
    ]
    assert not [link for link in tree["links"] if not link.startswith(("http://", "https://", "mailto:"))]


def parse(html):
    """What a browser's parser finds in the page: names of elements and attributes, and addresses."""
    from html.parser import HTMLParser

    found = {"tags": set(), "attributes": set(), "links": []}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found["tags"].add(tag)
            found["attributes"].update(name for name, _value in attributes)
            found["links"] += [value for name, value in attributes if name in {"href", "src", "action"}]

    Reader(convert_charrefs=True).feed(html)
    return found


def test_code_is_highlighted_by_classes_and_never_by_style():
    html = rendering.to_html("```python\ndef f():\n    return '1'\n```")
    assert '<span class="k">def</span>' in html
    assert "style=" not in html


def test_formulas_become_mathml_and_money_does_not():
    html = rendering.to_html(r"Since $x^2$ and \(y\), it costs $5 or $10." + "\n\n$$\\sum_i i$$")
    assert html.count("<math") == 3
    assert "costs $5 or $10." in html


def test_a_broken_formula_shows_its_source():
    assert r"\left( a" in rendering.to_html(r"So $\left( a$ holds.")


def test_an_image_is_a_link_and_is_not_fetched():
    html = rendering.to_html("![A red fox](https://e.org/fox.png)")
    assert "<img" not in html
    assert 'href="https://e.org/fox.png"' in html and "A red fox" in html


def test_links_open_elsewhere_and_never_lead_into_this_site():
    html = rendering.to_html("[a](https://e.org) [b](/accounts/logout/)")
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in html
    assert "/accounts/logout" not in html


def test_tables_keep_no_style_and_every_block_finds_its_direction():
    html = rendering.to_html("| a | b |\n| :- | -: |\n| 1 | 2 |\n\nمرحبا\n\n1. x")
    assert "<td" in html and "style=" not in html
    assert html.count('dir="auto"') == 5
    assert '<table dir="ltr">' in html and '<ol dir="ltr">' in html


def test_lists_quotes_and_tables_take_the_direction_of_their_first_words():
    """A browser asked to find it (`auto`) passes over children that find their own."""
    html = rendering.to_html("> 1) مطر\n\n1. مطر\n   - rain\n\n| مطر |\n|---|\n| x |")
    assert re.findall(r'<(blockquote|ol|ul|table) dir="(\w+)"', html) == [
        ("blockquote", "rtl"), ("ol", "rtl"), ("ol", "rtl"), ("ul", "ltr"), ("table", "rtl")
    ]  # fmt: skip


def test_a_character_that_turns_the_direction_of_text_stands_in_an_isolate():
    html = rendering.to_html("a\u202eb [c\u2066d](https://e.org/\u202e) `e\u202d`")
    assert html.count('<bdi class="turning">') == 3
    assert 'href="https://e.org/%E2%80%AE"' in html


def test_code_in_a_text_too_long_for_markdown_is_still_code():
    code = "x < 1\n" * 12_000
    html = rendering.to_html(f"First.\n```python\n{code}```\nLast.")
    assert re.findall(r'<pre class="plain" dir="auto">\n(.*?)</pre>', html) == ["First.", "Last."]
    assert html.count("<code>") == 1 and html.count("x &lt; 1") == 12_000


def test_a_long_plain_text_is_cut_where_its_lines_end_and_nothing_is_lost():
    text = "\n\n".join(f"{number} " + "x" * 1500 for number in range(100))
    pieces = re.findall(r"<pre[^>]*>\n([^<]*)</pre>", rendering.to_html(text))
    assert len(pieces) > 20 and "\n".join(pieces) == text


def test_text_nested_deeper_than_the_parser_goes_is_shown_as_it_is():
    deep = "> " * 60 + "the point"
    assert "the point" in rendering.to_html(deep)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "x " * 500_000,
        "[" * 59_000,
        "*a " * 19_000,
        "> " * 29_000,
        "`" * 59_000,
        "$x$ " * 14_000,
        "$" + "{" * 1_900 + "$",
        "```html\n" + "<" * 19_000,
        "|" * 20_000 + "\n" + "|-" * 19_000,
        "<http://a.b> " * 4_500,
    ],
    ids=["1 MB", "brackets", "stars", "quotes", "backticks", "formulas", "braces", "code", "table", "links"],
)
def test_giant_and_pathological_texts_do_not_hang_a_worker(text):
    """A guard against exponential parsing, not a claim of speed: CPU time, and far above what any of them takes."""
    started = time.process_time()
    assert rendering.to_html(text)
    assert time.process_time() - started < 30


@pytest.mark.django_db
def test_a_response_is_rendered_once_a_version(monkeypatch):
    response = builders.make_comparison(builders.make_project(), a="**Rain**").response_a
    assert "<strong>Rain</strong>" in rendering.rendered(response)
    monkeypatch.setattr(rendering, "to_html", lambda text: pytest.fail("rendered again"))
    assert "<strong>Rain</strong>" in rendering.rendered(Response.objects.get(pk=response.pk))


@pytest.mark.django_db
def test_a_new_renderer_version_renders_anew(monkeypatch):
    response = builders.make_comparison(builders.make_project(), a="**Rain**").response_a
    rendering.rendered(response)
    Response.objects.filter(pk=response.pk).update(html="old")
    monkeypatch.setattr(rendering, "VERSION", rendering.VERSION + 1)
    assert "old" not in rendering.rendered(Response.objects.get(pk=response.pk))


@pytest.mark.django_db
def test_a_prompt_shows_all_turns_with_roles_and_its_documents():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b>Why?</b>"}]
    prompt = builders.make_comparison(builders.make_project(), turns).prompt
    prompt.context = [{"title": "A <i>title</i>", "text": "A *source*."}]
    html = rendering.rendered_prompt(prompt)
    assert html.index("System") < html.index("Be brief.") < html.index("User") < html.index("Documents")
    assert "&lt;b&gt;Why?" in html and "A &lt;i&gt;title" in html and "<em>source</em>" in html


def chat(*contents):
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("turns", "folded"),
    [
        (chat("Q"), None),
        (chat("Q", "A", "R"), "2 earlier turns"),
        ([{"role": "system", "content": "Be brief."}, *chat("Q", "A", "R", "B", "S")], "4 earlier turns"),
    ],
)
def test_turns_before_the_last_question_are_folded_and_what_the_system_was_told_is_not(turns, folded):
    prompt = builders.make_comparison(builders.make_project(), turns).prompt
    html = rendering.rendered_prompt(prompt)
    assert re.findall(r"<summary>(.*?)</summary>", html) == ([folded] if folded else [])
    history = html.partition('<details class="earlier">')[2].partition("</details>")[0]
    assert history.count('class="turn ') == (int(folded[0]) if folded else 0)
    assert "Be brief." not in history


@pytest.mark.django_db
def test_documents_can_be_shown_apart_from_the_turns():
    prompt = builders.make_comparison(builders.make_project(), "Why?").prompt
    prompt.context = [{"title": "T", "text": "A *source*."}]
    turns, documents = rendering.rendered_parts(prompt)
    assert "Why?" in turns and "source" not in turns
    assert "<em>source</em>" in documents and documents.count("<div") == documents.count("</div>")
    prompt.context, prompt.html_version = [], 0
    assert rendering.rendered_parts(prompt)[1] == ""


@pytest.mark.django_db
def test_rendering_ahead_covers_a_project_in_batches_and_then_finds_nothing():
    project = builders.make_project()
    for _ in range(3):
        builders.make_comparison(project)
    assert list(rendering.render_missing(project.pk, 4)) == [4, 2, 3]
    assert list(rendering.render_missing(project.pk, 4)) == []
    assert not Response.objects.exclude(html_version=rendering.VERSION).exists()
    assert not Prompt.objects.exclude(html_version=rendering.VERSION).exists()


@pytest.mark.django_db
def test_each_batch_of_rendering_ahead_begins_behind_the_one_before():
    """Otherwise each would read all rows that are rendered already, and a large project would never be done."""
    project = builders.make_project()
    for _ in range(2):
        builders.make_comparison(project)
    keys = list(Response.objects.order_by("pk").values_list("pk", flat=True))
    rendered = rendering.render_missing(project.pk, 2)
    next(rendered)
    # A new version of the renderer meanwhile: what lies behind is the next job's, not this one's once more.
    Response.objects.filter(pk__in=keys[:2]).update(html_version=0)
    assert list(rendered) == [2, 2]
    assert set(Response.objects.filter(html_version=0).values_list("pk", flat=True)) == set(keys[:2])


@pytest.mark.django_db
def test_an_upgrade_asks_for_texts_to_be_rendered_anew_and_only_where_they_are_outdated():
    outdated, current = (builders.make_comparison(builders.make_project()) for _ in range(2))
    Response.objects.filter(pk=outdated.response_b_id).update(html_version=rendering.VERSION - 1)
    Response.objects.filter(pk=current.response_b_id).update(html_version=rendering.VERSION)
    builders.make_project()
    for _again in range(2):
        prepare.render_anew()
    assert [job.project for job in Job.objects.filter(kind="featurise")] == [outdated.project]


def test_a_header_cell_without_words_is_no_header():
    html = rendering.to_html("| | Cost |\n|---|---|\n| Tea | 2 |\n")
    assert html.count("<th ") == 1
    assert html.count("<td ") == 3
