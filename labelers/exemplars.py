"""Examples of a good and a bad response, chosen from gold: drawn by seed, or the nearest to the prompt in words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from labelers.domains import Keywords, last_asked

Turns = Sequence[dict[str, str]]
Choose = Callable[[Turns, str], "Exemplar | None"]


@dataclass(frozen=True)
class Exemplar:
    """A prompt whose better response is known. Without a `domain`, keywords say which it is."""

    prompt: str
    good: str
    bad: str
    domain: str = ""

    @property
    def about(self) -> str:
        return self.domain or Keywords()([{"role": "user", "content": self.prompt}])

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def before(self, asked: str, template: str) -> str:
        """The exemplar and then what is really asked, in the words of `template`; each {name} once, in one pass."""
        values = {"prompt": self.prompt, "good": self.good, "bad": self.bad, "asked": asked}
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template).strip()


def chooser(
    gold: Sequence[Exemplar | Mapping[str, str]], how: Literal["drawn", "nearest"] = "drawn", seed: int = 0
) -> Choose:
    """Turns and their domain → an exemplar of that domain, or None. The prompt itself is never its own exemplar."""
    exemplars = [each if isinstance(each, Exemplar) else Exemplar(**each) for each in gold]
    if how not in ("drawn", "nearest"):
        raise ValueError(f"exemplars are drawn or nearest, not {how!r}")
    by_domain: dict[str, list[Exemplar]] = {}
    for each in sorted(exemplars, key=lambda one: one.digest):  # the order of a file means nothing
        by_domain.setdefault(each.about, []).append(each)
    choose = {
        domain: (_nearest(some) if how == "nearest" else _drawn(some, seed)) for domain, some in by_domain.items()
    }
    return lambda turns, domain: choose[domain](last_asked(turns)) if domain in choose else None


def _drawn(exemplars: Sequence[Exemplar], seed: int) -> Callable[[str], Exemplar | None]:
    def draw(asked: str) -> Exemplar | None:
        others = [each for each in exemplars if each.prompt != asked]
        drawn = int.from_bytes(hashlib.sha256(f"{seed}\0{asked}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
        return others[drawn % len(others)] if others else None

    return draw


def _nearest(exemplars: Sequence[Exemplar]) -> Callable[[str], Exemplar | None]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    known = vectorizer.fit_transform([each.prompt for each in exemplars])

    def find(asked: str) -> Exemplar | None:
        likeness = (known @ vectorizer.transform([asked]).T).toarray()[:, 0]
        ranked = sorted(zip(-likeness, range(len(exemplars)), strict=True))
        return next((exemplars[place] for _far, place in ranked if exemplars[place].prompt != asked), None)

    return find
