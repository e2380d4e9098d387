"""Model output, which is hostile text, as HTML that may stand in a page; stored once for each renderer version.

Markdown in (CommonMark with tables and strikethrough, raw HTML shown as text), sanitised HTML out: code gets
Pygments' classes, formulas become MathML, images become links, every block finds its own text direction, and
characters that turn the direction of what follows them are shut in.
Raising `VERSION` renders everything anew, in the background or at first sight.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.texmath import texmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from annotator.models import Prompt, Response

VERSION = 2

# Longer texts are shown as they are: parsing them would cost seconds. Characters.
LONGEST_MARKDOWN = 60_000
LONGEST_CODE = 20_000
LONGEST_FORMULA = 2_000
MOST_FORMULAS = 400
# Browsers measure what is inside a fraction again for each fraction around it: 250 of them freeze a page. Elements.
DEEPEST_FORMULA = 40
# Brackets and stars that never close make parsers slow long before they make prose.
MOST_OPENERS = 4_000
# Deeper quotes and lists are shown as they are: the parser would leave their text out.
DEEPEST = 40
_OPENERS = re.compile(r"[\[*_~`!$]")
# A page lays out and paints only the pieces of a long text that are in view; a piece is about this long. Characters.
PIECE = 4_000
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)
# Turns before the last question that are folded away: so many at least.
FEWEST_EARLIER = 2
# Embeddings, overrides and isolates, opening and closing. Each stands in an isolate of its own and so ends there.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# A whole tag of nh3's output, which writes every value in double quotes; or one turning character.
_TAG_OR_TURNING = re.compile('(<(?:[^<>"]|"[^"]*")*>)|([\u202a-\u202e\u2066-\u2069])')

# fmt: off
# A closed list: some of Pygments' 500 lexers take minutes on text made for them.
LANGUAGES = frozenset((
    "bash", "c", "c++", "cpp", "cs", "csharp", "css", "dart", "diff", "dockerfile", "go", "haskell", "html", "http",
    "ini", "java", "javascript", "js", "json", "jsx", "julia", "kotlin", "latex", "lua", "make", "makefile",
    "matlab", "nix", "objective-c", "perl", "php", "powershell", "ps1", "py", "python", "python3", "r", "rb", "rs",
    "ruby", "rust", "scala", "sh", "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "xml", "yaml",
    "yml", "zsh",
))

_BLOCKS = frozenset((
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ul", "ol", "blockquote", "td", "th", "table",
))
_HOLDERS = frozenset(("li", "ul", "ol", "blockquote", "table"))
_MATHML = frozenset((
    "math", "semantics", "mrow", "mi", "mn", "mo", "mtext", "mspace", "ms", "mfrac", "msqrt", "mroot", "mstyle",
    "merror", "mpadded", "mphantom", "menclose", "msub", "msup", "msubsup", "munder", "mover", "munderover",
    "mmultiscripts", "mprescripts", "none", "mtable", "mtr", "mtd",
))
_PLAIN = frozenset((
    "a", "strong", "em", "s", "code", "pre", "br", "hr", "thead", "tbody", "tr", "div", "span",
))
_TAGS = _BLOCKS | _MATHML | _PLAIN
# fmt: on
_ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href"},
    "ol": {"start"},
    "pre": {"tabindex"},
    "math": {"display"},
    "mo": {"stretchy", "fence", "separator", "form", "lspace", "rspace", "minsize", "maxsize", "movablelimits"},
    "mi": {"mathvariant"},
    "mspace": {"width"},
    "mfrac": {"linethickness"},
    "mtable": {"columnalign", "rowspacing", "columnspacing"},
    "mtd": {"columnalign"},
    "mover": {"accent"},
    "munder": {"accentunder"},
    "menclose": {"notation"},
    "mstyle": {"displaystyle", "scriptlevel"},
    **{
        tag: {"dir"} for tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ul", "blockquote", "td", "th", "table")
    },
}
_ATTRIBUTES["ol"].add("dir")
_CLASSES: dict[str, set[str]] = {
    "span": {name for name in STANDARD_TYPES.values() if name},
    "div": {"code", "formula"},
    "p": {"code-name"},
    "code": {"formula-source"},
    "a": {"image"},
}
_formatter = HtmlFormatter(nowrap=True)


def to_html(text: str) -> SafeString:
    """`text` as harmless HTML. Never raises on what the text says."""
    if len(text) > LONGEST_MARKDOWN or len(_OPENERS.findall(text)) > MOST_OPENERS:
        return as_it_is(text)
    environment: dict[str, Any] = {"formulas": 0, "links": 0}
    try:
        tokens = _markdown.parse(text, environment)
        if max((token.level for token in tokens), default=0) > DEEPEST - 3:
            return as_it_is(text)
        html = _markdown.renderer.render(tokens, _markdown.options, environment)
    except Exception:  # a parser's bug on some text must not take the comparison from the annotator
        return as_it_is(text)
    return mark_safe(_shut_in(_clean(html)))  # noqa: S308 - nh3 has just made it so


def as_it_is(text: str) -> SafeString:
    """`text` without Markdown, in pieces that end where its lines do; fenced code stays code."""
    html = "".join(
        _code(body, info, coloured=False) if fenced else _plain(body) for fenced, info, body in _fenced(text)
    )
    return mark_safe(_shut_in(html))  # noqa: S308 - each part is escaped


def _plain(text: str) -> str:
    # A browser drops a line break that comes first in a `pre`; the text's own must stay.
    return "".join(f'<pre class="plain" dir="auto">\n{escape(piece)}</pre>' for piece in _pieces(text))


def _fenced(text: str) -> Iterator[tuple[bool, str, str]]:
    """The text in order: whether a part is fenced code, its language, the part. Line breaks at cuts are left out."""
    begin, opening = 0, None
    for fence in _FENCE.finditer(text):
        if opening is None:
            if fence.start() > begin:
                yield False, "", text[begin : fence.start() - 1]
            opening, begin = fence, fence.end() + 1
        elif fence[1].startswith(opening[1]) and not fence[2].strip():
            yield True, opening[2], text[begin : fence.start()]
            opening, begin = None, fence.end() + 1
    if begin < len(text) or opening is not None:
        yield opening is not None, opening[2] if opening else "", text[begin:]


def _pieces(text: str) -> Iterator[str]:
    """`text` cut behind line breaks, which the cut stands for; a single line longer than a piece stays whole."""
    begin = 0
    while len(text) - begin > PIECE:
        end = text.find("\n", begin + PIECE)
        if end < 0:
            break
        yield text[begin:end]
        begin = end + 1
    yield text[begin:]


def _shut_in(html: str) -> str:
    """Characters that turn the direction of text must not reorder their neighbours, nor name a link backwards."""
    if not _TURNING.search(html):
        return html
    return _TAG_OR_TURNING.sub(lambda found: found[1] or f'<bdi class="turning">{found[2]}</bdi>', html)


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        attribute_filter=_absolute_links_only,
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _absolute_links_only(tag: str, attribute: str, value: str) -> str | None:
    """A relative link in a response would lead into this site, with the annotator's rights."""
    if attribute == "href" and not value.lower().startswith(("http://", "https://", "mailto:")):
        return None
    return value


def _code(text: str, info: str, *, coloured: bool = True) -> str:
    words = info.split()
    name = words[0].lower() if words else ""
    body = escape(text)
    if coloured and name in LANGUAGES and len(text) <= LONGEST_CODE:
        body = highlight(text, get_lexer_by_name(name, stripnl=False), _formatter)
    return (
        f'<div class="code"><p class="code-name">{escape(name[:30]) or "&nbsp;"}</p>'
        f'<pre tabindex="0"><code>{body}</code></pre></div>\n'
    )


def _formula(source: str, display: str, env: dict[str, Any]) -> str:
    """MathML, or the source where it cannot be made: broken formulas are part of what is judged."""
    env["formulas"] = env.get("formulas", 0) + 1
    if len(source) > LONGEST_FORMULA or env["formulas"] > MOST_FORMULAS:
        return f'<code class="formula-source">{escape(source)}</code>'
    try:
        made = convert(source, display=display)
    except Exception:  # latex2mathml raises whatever its stacks run into, IndexError and RecursionError included
        made = ""
    return made if made and _depth(made) <= DEEPEST_FORMULA else f'<code class="formula-source">{escape(source)}</code>'


def _depth(markup: str) -> int:
    """How many elements stand in each other at most."""
    steps = (-1 if tag[1] == "/" else 0 if tag[-2] == "/" else 1 for tag in re.findall(r"<[^>]*>", markup))
    return max(itertools.accumulate(steps), default=0)


# Render rules below are bound to the renderer by `add_render_rule`.
def _fence(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    return _code(tokens[index].content, tokens[index].info)


def _inline_formula(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    return _formula(tokens[index].content, "inline", env)


def _block_formula(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    return f'<div class="formula">{_formula(tokens[index].content, "block", env)}</div>\n'


def _link_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    env["links"] += 1
    return self.renderToken(tokens, index, options, env)


def _link_close(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    env["links"] -= 1
    return self.renderToken(tokens, index, options, env)


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    """Nothing is fetched from elsewhere, so an image is its words, and its address to follow."""
    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    words = escape(self.renderInlineAsText(token.children or [], options, env) or source)
    return words if env["links"] else f'<a class="image" href="{escape(source)}">{words}</a>'


def _find_direction(state: StateCore) -> None:
    """Text finds its own (`auto`); what holds blocks takes that of its first words, which `auto` would pass over."""
    undecided: list[Token] = []
    for token in state.tokens:
        if token.nesting == 1 and token.tag in _BLOCKS:
            token.attrSet("dir", "auto")
            # Column alignment comes as a style attribute, which the content security policy forbids.
            token.attrs.pop("style", None)
            if token.tag in _HOLDERS:
                undecided.append(token)
        elif token.nesting == -1 and token.tag in _HOLDERS and undecided:
            undecided.pop()
        elif token.type == "inline" and undecided and (direction := _direction(token.content)):
            for holder in undecided:
                holder.attrSet("dir", direction)
            undecided.clear()


def _unhead_empty_cells(state: StateCore) -> None:
    """A header cell without words heads nothing, and a screen reader would announce it over every cell below."""
    for opening, inside, closing in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if opening.type == "th_open" and inside.type == "inline" and not inside.content.strip():
            opening.tag = closing.tag = "td"


def _direction(text: str) -> str:
    """Of the first character that has one."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in {"L", "R", "AL"}:
            return "ltr" if kind == "L" else "rtl"
    return ""


def _make_markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": DEEPEST}).enable(
        ["table", "strikethrough"]
    )
    markdown.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    markdown.use(texmath_plugin, delimiters="brackets")
    markdown.core.ruler.push("headings", _unhead_empty_cells)
    markdown.core.ruler.push("direction", _find_direction)
    for name in ("fence", "code_block"):
        markdown.add_render_rule(name, _fence)
    markdown.add_render_rule("math_inline", _inline_formula)
    for name in ("math_inline_double", "math_block", "math_block_label", "math_block_eqno"):
        markdown.add_render_rule(name, _block_formula)
    markdown.add_render_rule("link_open", _link_open)
    markdown.add_render_rule("link_close", _link_close)
    markdown.add_render_rule("image", _image)
    return markdown


_markdown = _make_markdown()


# Where a role's name goes; written in the reader's language when the page is made. Sanitised text cannot forge it,
# because nothing in it keeps the class "by".
def _place(role: str) -> str:
    return f'<b class="by" data-role="{role}"></b>'


_DOCUMENTS = f'<div class="turn documents">{_place("documents")}'
_EARLIER = re.compile(r'<summary data-earlier="(\d+)"></summary>')


def prompt_to_html(turns: Sequence[Mapping[str, str]], context: Sequence[Mapping[str, str]]) -> SafeString:
    """All turns with places for the roles' names, then the documents the answer should rest on."""
    html = _folded([_turn(turn) for turn in turns], _earlier(turns))
    if context:
        documents = "".join(
            f'<details class="document"><summary dir="auto">{_shut_in(escape(document.get("title") or "–"))}</summary>'
            f"<div>{to_html(document.get('text', ''))}</div></details>"
            for document in context
        )
        html += f'{_DOCUMENTS}<div class="said">{documents}</div></div>'
    return mark_safe(html)  # noqa: S308 - each part is sanitised or escaped


def _turn(turn: Mapping[str, str]) -> str:
    role = _role(turn)
    return f'<div class="turn {role}">{_place(role)}<div class="said">{to_html(turn["content"])}</div></div>'


def _earlier(turns: Sequence[Mapping[str, str]]) -> slice:
    """The turns before the last question; what the system was told stays in view, as it holds for the answer too."""
    roles = [_role(turn) for turn in turns]
    first = 1 if roles[:1] == ["system"] else 0
    last = max((place for place, role in enumerate(roles) if role == "user"), default=first)
    return slice(first, last) if last - first >= FEWEST_EARLIER else slice(0, 0)


def _folded(parts: list[str], earlier: slice) -> str:
    if earlier.stop:
        history = "".join(parts[earlier])
        count = earlier.stop - earlier.start
        parts[earlier] = [f'<details class="earlier"><summary data-earlier="{count}"></summary>{history}</details>']
    return "".join(parts)


def _role(turn: Mapping[str, str]) -> str:
    role = turn.get("role", "user")
    return role if role in {"system", "user", "assistant"} else "user"


def _in_words(html: str) -> SafeString:
    words = {
        "system": gettext("System"),
        "user": gettext("User"),
        "assistant": gettext("Assistant"),
        "documents": gettext("Documents"),
    }
    for role, word in words.items():
        html = html.replace(_place(role), f'<b class="by">{escape(word)}</b>')
    return mark_safe(_EARLIER.sub(_earlier_in_words, html))  # noqa: S308


def _earlier_in_words(found: re.Match[str]) -> str:
    count = int(found[1])
    words = ngettext("%(count)d earlier turn", "%(count)d earlier turns", count) % {"count": count}
    return f"<summary>{escape(words)}</summary>"


def rendered(response: Response) -> SafeString:
    """The response's HTML, rendered and stored when this version of the renderer has not seen it yet."""
    if response.html_version != VERSION:
        response.html, response.html_version = to_html(response.text), VERSION
        response.save(update_fields=["html", "html_version"])
    return mark_safe(response.html)  # noqa: S308


def rendered_prompt(prompt: Prompt) -> SafeString:
    """The prompt's HTML with the roles named in the language of the request."""
    return _in_words(_stored(prompt))


def rendered_parts(prompt: Prompt) -> tuple[SafeString, SafeString]:
    """As `rendered_prompt`, for a page that shows the documents elsewhere: the turns, and the documents (may be "")."""
    turns, _between, documents = _stored(prompt).partition(_DOCUMENTS)
    return _in_words(turns), mark_safe(documents.removesuffix("</div>"))  # noqa: S308


def _stored(prompt: Prompt) -> str:
    if prompt.html_version != VERSION:
        prompt.html, prompt.html_version = prompt_to_html(prompt.turns, prompt.context), VERSION
        prompt.save(update_fields=["html", "html_version"])
    return prompt.html


def render_missing(project_id: int, batch: int = 500) -> Iterator[int]:
    """Render a project's texts before anybody reads them, `batch` at a time; gives how many after each batch.

    Nothing is rendered that is not asked for: run through what this gives. Stopped, it goes on where texts are missing.
    """
    # By key from one batch to the next: looking from the start each time would read every rendered row again.
    last = 0
    while responses := list(
        Response.objects.filter(prompt__project_id=project_id, pk__gt=last)
        .exclude(html_version=VERSION)
        .only("id", "text")
        .order_by("id")[:batch]
    ):
        for response in responses:
            response.html, response.html_version = to_html(response.text), VERSION
        Response.objects.bulk_update(responses, ["html", "html_version"], batch_size=200)
        last = responses[-1].pk
        yield len(responses)
    last = 0
    while prompts := list(
        Prompt.objects.filter(project_id=project_id, pk__gt=last)
        .exclude(html_version=VERSION)
        .only("id", "turns", "context")
        .order_by("id")[:batch]
    ):
        for prompt in prompts:
            prompt.html, prompt.html_version = prompt_to_html(prompt.turns, prompt.context), VERSION
        Prompt.objects.bulk_update(prompts, ["html", "html_version"], batch_size=200)
        last = prompts[-1].pk
        yield len(prompts)
