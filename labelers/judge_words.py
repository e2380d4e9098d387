"""What a judge is told: the messages of each of its steps.

Everything that people, models or documents wrote is data: it stands between marks that contain a digest of the texts,
which none of the texts can contain, and whatever in it looks like such a mark, or like a turn of a chat template, is
broken up. The static rubric comes first, so that servers can keep it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from labelers.base import PROMPTS, Pair, texts_digest
from labelers.chat import Message
from labelers.parsing import TIE

FILES = (
    "judge_system.txt",
    "judge_user.txt",
    "judge_notes.txt",
    "judge_letter.txt",
    "judge_letter_json.txt",
    "judge_critique.txt",
    "judge_critique_json.txt",
    "judge_final.txt",
    "judge_final_scores.txt",
    "judge_reference.txt",
    "judge_questions.txt",
    "judge_scores.txt",
    "judge_score_user.txt",
    "judge_example.txt",
)
# Bytes of findings about one response that a judge is shown at most.
MOST_FINDINGS = 2000
# What opens or closes our data, and what tokenizers of chat models may take for a turn of its own.
_MARKS = re.compile(
    r"\[/?(?:data|INST)\b|<\|[\w /-]{1,40}\|>|<｜[^<>｜]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|<</?SYS>>|</?think>",
    re.IGNORECASE,
)
# Keeps the two halves of a mark apart without showing.
_JOINER = "\u2060"


def defused(text: str) -> str:
    """`text` with marks broken up, so that it can close nothing and open nothing."""
    return _MARKS.sub(lambda match: match[0][0] + _JOINER + match[0][1:], text)


def cut(text: str, most: int) -> str:
    """`text` defused, at most `most` bytes of it."""
    return defused(text).encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


class Words:
    """The messages of a judge, from the parts of its version that say what is asked (see `LLMJudge`)."""

    def __init__(
        self,
        *,
        question: str,
        guidelines: str,
        tie: bool,
        critique: bool,
        as_json: bool,
        by_criterion: bool,
        attributes: Sequence[Mapping[str, Any]],
        exemplars: Sequence[Mapping[str, str]],
        exemplar_count: int,
        aids: Sequence[str],
    ) -> None:
        self.tie = tie
        self.by_criterion = by_criterion
        self._texts = {name: (PROMPTS / name).read_text().removesuffix("\n") for name in FILES}
        self._exemplars = Nearest(exemplars, exemplar_count) if exemplars and exemplar_count else None
        known = dict(line.split(": ", 1) for line in self._texts["judge_notes.txt"].splitlines())
        used = [*(["criterion"] if by_criterion else []), *(["examples"] if self._exemplars else [])]
        notes = ["".join(f"- {known[name]}\n" for name in names) for names in ([*used, *aids], aids)]
        rubric = {"question": question, "guidelines": guidelines.strip() or "(none)", "mark": "data", "notes": notes[0]}
        answer = f"judge_{'critique' if critique else 'letter'}{'_json' if as_json else ''}.txt"
        self._system = self._fill("judge_system.txt", **rubric, answer=self._fill(answer, **self._ties))
        # Attributes are rated as they are defined, whatever the criterion, and examples have no ratings.
        self._rubric, self._attributes = {**rubric, "notes": notes[1]}, attributes
        self._ask = "Your critique, then your verdict:" if critique else "Which response is better? One letter:"
        if as_json:
            self._ask = "Which response is better? The JSON object:"

    def verdict(self, pair: Pair, order: str, aids: Mapping[str, str]) -> list[Message]:
        """`order` "ab" shows response A first. `aids`: questions, reference, tools (JSON, see `tools.findings`)."""
        shown = {"examples": self._examples(pair), "aids": self._criterion(pair) + self._aids(pair, aids)}
        return self._both(self._system, pair, order, aids, self._ask, shown)

    def scores(self, pair: Pair, order: str, aids: Mapping[str, str]) -> list[Message]:
        """Ratings of both responses in an order, or of one of them alone ("a", "b")."""
        both = order in ("ab", "ba")
        one = '{"A": …, "B": …}' if both else "…"
        shape = "{" + ", ".join(f"{json.dumps(each['key'])}: {one}" for each in self._attributes) + "}"
        system = self._fill("judge_scores.txt", **self._rubric, attributes=self._meanings(), shape=shape)
        if both:
            shown = {"examples": "", "aids": self._aids(pair, aids)}
            return self._both(system, pair, order, aids, "The ratings of response A and response B:", shown)
        response = pair.response_a if order == "a" else pair.response_b
        parts = {"first": defused(response.text), "aids": self._aids(pair, aids)}
        findings = self._findings(pair, [("The response", order)], aids)
        return self._messages(system, "judge_score_user.txt", pair, **parts, ask=findings + "The ratings:")

    def reference(self, pair: Pair) -> list[Message]:
        return self._alone("judge_reference.txt", pair)

    def questions(self, pair: Pair) -> list[Message]:
        return self._alone("judge_questions.txt", pair)

    def final(self, asked: Sequence[Message], said: str, *, scores: bool) -> list[Message]:
        """What was asked, what was said to it, and the request to say the end of it alone."""
        name = "judge_final_scores.txt" if scores else "judge_final.txt"
        request = self._fill(name, **self._ties)
        if said.strip():
            return [*asked, {"role": "assistant", "content": said}, {"role": "user", "content": request}]
        # Chat templates refuse an empty turn, and two turns of one role.
        *before, last = asked
        return [*before, {**last, "content": f"{last['content']}\n\n{request}"}]

    @property
    def _ties(self) -> dict[str, str]:
        return {
            "tie": f"\n{TIE} if neither is better" if self.tie else "",
            "verdict_tie": f"\nVerdict: {TIE} if neither is better" if self.tie else "",
            "final_tie": f", {TIE} if neither is better" if self.tie else "",
        }

    def _meanings(self) -> str:
        """Each attribute with its help and what its levels mean."""
        return "\n\n".join(
            "\n".join(
                [
                    f"{each['key']} ({each.get('label') or each['key']}), from {each['levels'][0][0]} to "
                    f"{each['levels'][-1][0]}. {each.get('help', '')}".strip(),
                    *(f"  {value}: {label}" for value, label in each["levels"] if label),
                ]
            )
            for each in self._attributes
        )

    def _both(
        self, system: str, pair: Pair, order: str, aids: Mapping[str, str], ask: str, shown: Mapping[str, str]
    ) -> list[Message]:
        first, second = (pair.response_a, pair.response_b) if order == "ab" else (pair.response_b, pair.response_a)
        ask = self._findings(pair, [("Response A", order[0]), ("Response B", order[1])], aids) + ask
        texts = {"first": defused(first.text), "second": defused(second.text)}
        return self._messages(system, "judge_user.txt", pair, **texts, **shown, ask=ask)

    def _alone(self, name: str, pair: Pair) -> list[Message]:
        user = _context(pair, _mark(pair)) + _block(f"data {_mark(pair)} conversation", _conversation(pair))
        return [
            {"role": "system", "content": self._fill(name, mark="data")},
            {"role": "user", "content": user.strip()},
        ]

    def _messages(self, system: str, template: str, pair: Pair, **parts: str) -> list[Message]:
        mark = _mark(pair)
        known = {"mark": f"data {mark}", "context": _context(pair, mark), "conversation": _conversation(pair)}
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": self._fill(template, **known, **parts)},
        ]

    def _criterion(self, pair: Pair) -> str:
        criterion = str(getattr(pair, "criterion", "")) if self.by_criterion else ""
        return _block(f"data {_mark(pair)} criterion", defused(criterion)) if criterion else ""

    def _aids(self, pair: Pair, aids: Mapping[str, str]) -> str:
        known = [name for name in ("questions", "reference") if aids.get(name)]
        return "".join(_block(f"data {_mark(pair)} {name}", aids[name]) for name in known)

    def _findings(self, pair: Pair, sides: Sequence[tuple[str, str]], aids: Mapping[str, str]) -> str:
        """What programs found in the responses, under the names by which they are shown."""
        if not aids.get("tools"):
            return ""
        known = json.loads(aids["tools"])
        lines = [f"{name}:\n{cut(known.get(side, ''), MOST_FINDINGS) or '(nothing to check)'}" for name, side in sides]
        return _block(f"data {_mark(pair)} findings", "\n".join(lines))

    def _examples(self, pair: Pair) -> str:
        if self._exemplars is None:
            return ""
        mark = f"data {_mark(pair)}"
        return "".join(
            self._fill("judge_example.txt", mark=mark, **{name: defused(text) for name, text in shown.items()}) + "\n\n"
            for shown in self._exemplars.shown(_asked(pair))
        )

    def _fill(self, template: str, **values: str) -> str:
        """Each {name} we know once, in one pass: a value that contains {another} stays as it is."""
        return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), self._texts[template])


class Nearest:
    """The exemplars whose prompts are nearest in words, shown in one fixed order, with A and B right equally often."""

    def __init__(self, exemplars: Sequence[Mapping[str, str]], count: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # The order in which they were given means nothing.
        self.exemplars = sorted(exemplars, key=lambda each: json.dumps(dict(each), sort_keys=True))
        self.count = count
        self._vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        self._known = self._vectorizer.fit_transform([each["prompt"] for each in self.exemplars])

    def shown(self, asked: str) -> list[dict[str, str]]:
        """The exemplars for a prompt, never the prompt itself: {"conversation", "first", "second", "verdict",
        "reason"}. Both orders of a pair are shown the same, or their mean would not mirror."""
        likeness = (self._known @ self._vectorizer.transform([asked]).T).toarray()[:, 0]
        ranked = sorted(range(len(self.exemplars)), key=lambda place: (-likeness[place], place))
        others = [place for place in ranked if self.exemplars[place]["prompt"].strip() != asked.strip()]
        turn = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()[0] % 2
        shown = []
        for place in sorted(others[: self.count]):
            each = self.exemplars[place]
            sided = each["verdict"] in ("A", "B")
            shown.append(_exemplar(each, "AB"[turn] if sided else each["verdict"]))
            turn = 1 - turn if sided else turn
        return shown


def _exemplar(each: Mapping[str, str], verdict: str) -> dict[str, str]:
    """An exemplar turned so that its verdict is `verdict`. A reason names sides, so a turned one goes without."""
    turned = verdict in ("A", "B") and verdict != each["verdict"]
    first, second = (each["b"], each["a"]) if turned else (each["a"], each["b"])
    reason = each.get("reason", "").strip()
    return {
        "conversation": each["prompt"],
        "first": first,
        "second": second,
        "verdict": verdict if verdict in ("A", "B") else TIE,
        "reason": f"\nWhy: {reason}" if reason and not turned else "",
    }


def _mark(pair: Pair) -> str:
    return texts_digest(pair, "mark").hex()[:12]


def _block(name: str, inside: str) -> str:
    return f"[{name}]\n{inside}\n[/{name}]\n\n"


def _conversation(pair: Pair) -> str:
    return defused("\n\n".join(f"{turn['role']}: {turn['content']}" for turn in pair.prompt.turns))


def _asked(pair: Pair) -> str:
    return next((turn["content"] for turn in reversed(pair.prompt.turns) if turn["role"] == "user"), "")


def _context(pair: Pair, mark: str) -> str:
    documents = [f"{document.get('title', '')}\n{document['text']}".strip() for document in pair.prompt.context or ()]
    return _block(f"data {mark} documents", defused("\n\n".join(documents))) if documents else ""
