"""From messages to token ids: one explicit chat template, BOS once, the end of the turn once, the border checked.

Everything that published code gets wrong here is wrong silently, so what cannot be done right raises `Unscorable`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from labelers.base import LabelerError
from labelers.logprobs.packing import Tokens

Turns = Sequence[dict[str, str]]
End = Literal["turn", "template", "none"]
Cut = Literal["refuse", "context"]

# Stands for a response while we look at what a template writes around one.
STAND_IN = "Stand1n4response"


class Unscorable(LabelerError):
    """This text cannot be scored by this model; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, permanent=True)


@dataclass(frozen=True)
class Frame:
    """What a template writes before and after a response."""

    before: str
    after: str


class Texts:
    """A tokenizer with the chat template it is used with.

    `template`: Jinja text, for models that bring none or should be given another's. `limit`: tokens the model can
    read at most. `cut`: what happens to a longer text: "refuse" raises Unscorable, "context" leaves out the start of
    the context and says how much in `Tokens.cut`; a response is never cut.
    """

    def __init__(self, tokenizer: Any, template: str | None = None, *, limit: int = 0, cut: Cut = "refuse") -> None:
        own = tokenizer.chat_template
        self.template = template or (own.get("default") if isinstance(own, dict) else own)
        if not self.template:
            raise ValueError(f"{tokenizer.name_or_path} has no chat template: name one, for example {CHATML!r}")
        self.tokenizer, self.limit, self.cut = tokenizer, limit, cut
        added = tokenizer.added_tokens_decoder
        self._marks = {id for id, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self._mark_texts = {
            added[id].content if id in added else tokenizer.convert_ids_to_tokens(id) for id in self._marks
        }
        self._adds_bos = tokenizer.bos_token_id is not None and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]

    @property
    def digest(self) -> str:
        """Names the template and the tokenizer; what they do to a text is part of a labeler's provenance."""
        whole = self.tokenizer.backend_tokenizer.to_str() if self.tokenizer.is_fast else repr(self.tokenizer)
        return hashlib.sha256(f"{self.template}\0{whole}".encode()).hexdigest()[:16]

    def tokens(self, turns: Turns, text: str, *, role: str = "assistant", end: End = "turn") -> Tokens:
        """`text` as the next turn, of `role`.

        `end`: "turn" scores the mark that ends the turn, once; "template" everything the template writes after a
        response (what reward models were trained on); "none" the text alone.
        """
        for turn in turns:
            self._refuse_marks(turn["content"])
        text = self._without_end(text)
        frame = self._frame(turns, role)
        body = self._body(turns, text, role, frame)
        context = self._context(frame.before)
        response, boundary = self._response(frame.before, body, context)
        response += self._end(frame.after, end)
        if not response:
            raise Unscorable("an empty response without a mark of its end has nothing to score")
        kept = self._fitting(context, len(response))
        count = len(text.encode("utf-8", "surrogatepass"))
        return Tokens(tuple(kept), tuple(response), count, len(context) - len(kept), boundary)

    # What the template writes

    def render(self, turns: Turns, **options: Any) -> str:
        """The template's text. Where it refuses a system turn, that turn opens the first user turn instead."""
        from jinja2.exceptions import TemplateError

        try:
            return self._rendered(turns, **options)
        except TemplateError as refusal:
            if len(turns) < 2 or turns[0]["role"] != "system" or turns[1]["role"] != "user":
                raise Unscorable(f"the chat template refuses these turns: {refusal}") from refusal
            first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            return self.render([first, *turns[2:]], **options)

    def _rendered(self, turns: Turns, **options: Any) -> str:
        return self.tokenizer.apply_chat_template(list(turns), chat_template=self.template, tokenize=False, **options)

    def _frame(self, turns: Turns, role: str) -> Frame:
        """Where a response of `role` stands. A space before it is its own (Mistral), an empty thought block is not."""
        whole = self.render([*turns, {"role": role, "content": STAND_IN}])
        before, found, after = whole.rpartition(STAND_IN)
        if not found:
            raise Unscorable(f"the chat template leaves out the turn of {role}")
        asked = self.render(turns, add_generation_prompt=True) if role == "assistant" else ""
        if asked and before.startswith(asked) and not before[len(asked) :].strip():
            return Frame(asked, after)
        # A space at the end of a context belongs to the word after it.
        before = before.rstrip(" ")
        return Frame(before, after)

    def _body(self, turns: Turns, text: str, role: str, frame: Frame) -> str:
        """The response as the template writes it, trimmed or with a space before; as it is where it rewrites it."""
        whole = self.render([*turns, {"role": role, "content": text}])
        body = whole[len(frame.before) : len(whole) - len(frame.after)]
        intact = whole == frame.before + body + frame.after and body.strip() == text.strip()
        return body if intact else text

    # Token ids

    def _ids(self, text: str, **options: Any) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, **options).input_ids)

    def _context(self, before: str) -> list[int]:
        """With BOS once where the tokenizer wants one, whether the template writes it or not."""
        ids, bos = self._ids(before), self.tokenizer.bos_token_id
        while ids[:2] == [bos, bos] and bos is not None:
            ids = ids[1:]
        if self._adds_bos and ids[:1] != [bos]:
            ids = [bos, *ids]
        if not ids:
            raise Unscorable("there is no context, so nothing predicts the first token")
        return ids

    def _response(self, before: str, body: str, context: list[int]) -> tuple[list[int], str]:
        """The response's ids, after ids of the context that do not depend on it.

        A tokenizer may join the last characters before the border with the first after it. A model that answers reads
        the context's own tokens, so these stay and the response is tokenised by itself.
        """
        if not body:
            return [], "whole"
        literal = any(mark in body for mark in self._mark_texts)
        if not literal:
            plain = self._ids(before)
            whole = self._ids(before + body)
            if whole[: len(plain)] == plain:
                return whole[len(plain) :], "whole"
        return self._apart(body, literal), "apart"

    def _apart(self, body: str, literal: bool) -> list[int]:
        """The response after a line break that is taken off again: at the start of a text, some put a space before it.

        `literal`: marks in the text of a response are text. Whoever wrote it does not get to end the turn.
        """
        options = {"split_special_tokens": True} if literal else {}
        anchor, anchored = self._ids("\n", **options), self._ids("\n" + body, **options)
        return anchored[len(anchor) :] if anchored[: len(anchor)] == anchor else self._ids(body, **options)

    def _read(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _end(self, after: str, end: End) -> list[int]:
        if end == "none":
            return []
        ids = self._ids(after) if after else []
        if end == "template":
            return ids
        for number, id in enumerate(ids):
            if id in self._marks:
                return ids[: number + 1] if not self._read(ids[:number]).strip() else [id]
        eos = self.tokenizer.eos_token_id
        if eos is None:
            raise Unscorable("neither the template nor the tokenizer has a mark for the end of a turn")
        return [eos]

    def _without_end(self, text: str) -> str:
        """Data often carry the mark that ended a generation; it is put there by us, once."""
        while text.rstrip().endswith(self._end_marks):
            text = text.rstrip()
            text = text.removesuffix(next(mark for mark in self._end_marks if text.endswith(mark)))
        return text

    @cached_property
    def _end_marks(self) -> tuple[str, ...]:
        """The texts that end a turn, as the template and the tokenizer have it."""
        after = self._frame([{"role": "user", "content": "x"}], "assistant").after
        found = {mark for mark in self._mark_texts if mark and mark in after} | {self.tokenizer.eos_token}
        return tuple(sorted((mark for mark in found if mark), key=len, reverse=True))

    def _refuse_marks(self, content: str) -> None:
        for mark in self._mark_texts:
            if mark and mark in content:
                raise Unscorable(f"the context contains {mark!r}, which this tokenizer reads as a mark of its own")

    def _fitting(self, context: list[int], response: int) -> list[int]:
        excess = len(context) + response - self.limit
        if not self.limit or excess <= 0:
            return context
        if self.cut == "refuse":
            raise Unscorable(f"{len(context) + response} tokens are more than the {self.limit} this model can read")
        keep_bos = context[:1] == [self.tokenizer.bos_token_id]
        kept = context[keep_bos:][excess:]
        if not kept:
            raise Unscorable(f"the response alone has {response} tokens of the {self.limit} this model can read")
        return context[:keep_bos] + kept


# For base models that bring no template.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
