"""Brings the catalogues of locale/ up to date with the words in the source, without gettext's programs.

    .venv/bin/python locale/make.py            new words are added, words no longer used are dropped, .mo compiled
    .venv/bin/python locale/make.py --todo     what is not translated yet

A translation is never guessed from a similar one: a new word is empty until somebody has written it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "locale"
SOURCES = (("annotator", "*.py"), ("templates", "*.html"))
LAZY = {f"{name}_lazy": spec for name, spec in DEFAULT_KEYWORDS.items() if name.endswith("gettext")}
KEYWORDS = {**DEFAULT_KEYWORDS, **LAZY}
# A catalogue changes with its words alone.
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)


def template() -> Catalog:
    """Every word of the source that is marked for translation, in the order of the files."""
    catalog = Catalog(charset="utf-8")
    for folder, pattern in SOURCES:
        for path in sorted((ROOT / folder).rglob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            for line, message, comments, context in _marked(path):
                catalog.add(message, None, [(name, line)], auto_comments=comments, context=context)
    return catalog


def _marked(path: Path) -> Iterator[tuple]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = _as_python(text, path)
    yield from extract("python", BytesIO(text.encode()), KEYWORDS, ["Translators:"], {"encoding": "utf-8"})


def _as_python(text: str, path: Path) -> str:
    """Django's own reading of a template: marked words as calls, all else crossed out."""
    from django.utils.translation.template import templatize

    # The indentation of a template is none of Python.
    return "\n".join(line.lstrip() for line in templatize(text, origin=str(path)).splitlines()) + "\n"


def files() -> list[Path]:
    return sorted(LOCALE.glob("*/LC_MESSAGES/django.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def updated(path: Path, source: Catalog) -> Catalog:
    catalog = read(path)
    catalog.update(source, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.creation_date = catalog.revision_date = ALWAYS
    catalog.project, catalog.version, catalog.msgid_bugs_address = "Switchyard", "", ""
    catalog.last_translator = catalog.language_team = ""
    return catalog


def as_po(catalog: Catalog) -> bytes:
    out = BytesIO()
    write_po(out, catalog, width=100, include_lineno=False)
    return out.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """What is not translated is left out: pages then say it in English."""
    for message in todo(catalog):
        catalog.delete(message.id, message.context)
    out = BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def todo(catalog: Catalog) -> list[Message]:
    """Messages without a translation, or without one of their plural forms."""
    return [message for message in catalog if message.id and not _is_complete(message, catalog)]


def _is_complete(message: Message, catalog: Catalog) -> bool:
    if not message.pluralizable:
        return bool(message.string)
    return len(message.string) == catalog.num_plurals and all(message.string)


def main() -> None:
    import django
    from django.conf import settings

    settings.configure(USE_I18N=True)
    django.setup()
    source = template()
    for path in files():
        catalog = updated(path, source)
        left = todo(catalog)
        if "--todo" in sys.argv:
            print("\n".join(repr(message.id) for message in left))
        else:
            path.write_bytes(as_po(catalog))
            path.with_suffix(".mo").write_bytes(as_mo(read(path)))
        print(f"{os.path.relpath(path)}: {len(catalog)} messages, {len(left)} not translated", file=sys.stderr)


if __name__ == "__main__":
    main()
