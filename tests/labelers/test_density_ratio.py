"""Ratios of two models, implicit rewards, contrastive prompts, follow-ups: each against a direct computation."""

import math
import random

import pytest

pytest.importorskip("transformers", reason="ratios need torch and transformers (MODELS=no)")

import torch  # noqa: E402

from labelers.base import LabelerError, Outcome  # noqa: E402
from labelers.density_ratio import ContrastivePrompts, DensityRatio, ImplicitReward, offsets  # noqa: E402
from labelers.domains import ByModel  # noqa: E402
from labelers.follow_up import FollowUp  # noqa: E402
from labelers.logprobs import Engine, InMemory, Texts  # noqa: E402
from labelers.pointwise import Case  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402
from tests.labelers.test_labelers import Pair, Prompt, Response, mirrored, pair  # noqa: E402

ASK = "why is the sky blue"
GOOD, BAD = "because short waves scatter more", "no idea, thanks!"
EXEMPLARS = [
    {"prompt": f"solve {number} plus 25", "good": f"{number + 25}", "bad": "yes.", "domain": "reasoning"}
    for number in range(8)
]


def engine_of(family, seed=0, cache=None, limit=512):
    options = {} if cache is None else {"cache": cache}
    texts = Texts(tiny.tokenizer(family), limit=limit)
    return Engine.around(tiny.model(family, seed), texts, f"tiny-{family}-{seed}", **options)


def sides(**options):
    """A strong and a weak model of different families: other tokens, another template."""
    return engine_of("llama3", **options), engine_of("chatml", **options)


def asked(turns, response):
    return Pair(Response(response), Response(BAD), Prompt(turns=turns))


@torch.inference_mode()
def direct(family, turns, response, end, seed=0):
    """(log p, tokens) of a response by the template's own text, one token after the other."""
    tokenizer, model = tiny.tokenizer(family), tiny.model(family, seed)
    context = tokenizer(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), add_special_tokens=False
    ).input_ids
    answer = tokenizer(response + end, add_special_tokens=False).input_ids
    logits = model(input_ids=torch.tensor([context + answer])).logits[0].double().log_softmax(-1)
    return sum(logits[len(context) - 1 + place, id].item() for place, id in enumerate(answer)), len(answer)


def ratio(response, turns=None):
    turns = turns or [{"role": "user", "content": ASK}]
    return direct("llama3", turns, response, "<|eot_id|>"), direct("chatml", turns, response, "<|im_end|>")


@pytest.mark.parametrize("reduction", ["sum", "mean", "bytes", "power"])
def test_the_density_ratio_is_the_difference_of_two_log_probabilities(reduction):
    expected = []
    for response in (GOOD, BAD):
        (strong, n), (weak, m) = ratio(response)
        size = len(response.encode())
        lengths = {"sum": (1, 1), "mean": (n, m), "bytes": (size, size), "power": (n**0.5, m**0.5)}[reduction]
        expected.append(strong / lengths[0] - weak / lengths[1])
    one = pair(GOOD, BAD, prompt=Prompt(turns=[{"role": "user", "content": ASK}]))
    (verdict,) = DensityRatio(*sides(), reduction=reduction, slope=0.1).judge([one])
    assert verdict.scores == pytest.approx(expected, abs=1e-2)
    margin = expected[1] - expected[0]
    assert verdict.p_b == pytest.approx(1 / (1 + math.exp(-0.1 * margin)), abs=1e-3)
    assert verdict.outcome == (Outcome.B if margin > 0 else Outcome.A)
    assert verdict.provenance["models"] == {"above": "tiny-llama3-0", "below": "tiny-chatml-0"}


def test_exchanging_a_and_b_mirrors_the_verdict_and_equal_texts_tie():
    pairs = [pair(GOOD, BAD), pair(BAD, "yes."), pair(GOOD, GOOD)]
    labeler = DensityRatio(*sides())
    straight, turned = labeler.judge(pairs), labeler.judge([mirrored(one) for one in pairs])
    assert [v.p_b for v in straight] == pytest.approx([1 - v.p_b for v in turned])
    assert [v.outcome for v in straight][2] == Outcome.TIE == turned[2].outcome
    assert {v.outcome for v in straight[:2]} <= {Outcome.A, Outcome.B}


def test_one_pairs_failure_stays_its_own():
    strong, weak = engine_of("llama3", limit=80), engine_of("chatml")
    pairs = [pair(GOOD, BAD), pair("yes. " * 60, BAD), pair(BAD, GOOD)]
    verdicts = DensityRatio(strong, weak).judge(pairs)
    assert [v.outcome == Outcome.ERROR for v in verdicts] == [False, True, False]
    assert "more than the 80" in verdicts[1].provenance["error"]
    assert verdicts[0].scores == verdicts[2].scores[::-1]


def test_another_labeler_over_the_same_models_computes_nothing():
    cache = InMemory()
    first = DensityRatio(*sides(cache=cache))
    first.judge([pair(GOOD, BAD)])
    computed = first.above.effort.computed + first.below.effort.computed
    again = [
        DensityRatio(*sides(cache=cache), reduction="mean"),
        ImplicitReward(*reversed(sides(cache=cache))),
    ]
    for labeler in again:
        labeler.judge([pair(BAD, GOOD)])
    assert computed == 4
    assert sum(each.effort.computed for labeler in again for each in (labeler.above, labeler.below)) == 0


def test_the_order_of_the_pairs_changes_nothing():
    pairs = [pair(GOOD, BAD), pair(BAD, "yes."), pair("17 plus 25", "42")]
    straight = [v.scores for v in DensityRatio(*sides()).judge(pairs)]
    turned = [v.scores for v in DensityRatio(*sides()).judge(pairs[::-1])]
    for one, other in zip(straight, turned[::-1], strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_the_end_of_the_turn_may_be_left_out():
    turns = [{"role": "user", "content": ASK}]
    expected = direct("llama3", turns, GOOD, "")[0] - direct("chatml", turns, GOOD, "")[0]
    one = Case(Prompt(turns=turns), (GOOD,))
    ((scored,),) = DensityRatio(*sides(), score_end=False).score([one])
    assert scored.value == pytest.approx(expected, abs=1e-2)


def test_the_heat_map_adds_up_and_lies_over_the_text():
    labeler = ImplicitReward(engine_of("llama3"), engine_of("llama3", seed=1), per_token=True)
    text = "because ☃ short\n\nwaves"
    ((scored,),) = labeler.score([Case(Prompt(), (text,))])
    assert sum(value for _start, _end, value in scored.per_token) == pytest.approx(scored.value, abs=1e-3)
    assert "".join(text[start:end] for start, end, _value in scored.per_token) == text
    assert scored.per_token[-1][0] == scored.per_token[-1][1] == len(text), "the mark of the end has no width"
    ((other,),) = DensityRatio(*sides(), per_token=True).score([Case(Prompt(), (text,))])
    assert other.per_token is None, "two tokenizers have no tokens in common"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_places_of_tokens_are_places_in_the_stored_text(family):
    """Mistral's template puts a space before a response, Gemma's and Llama's trim it; ☃ is three byte tokens."""
    tokenizer, text = tiny.tokenizer(family), "\n yes. ☃☃ waves"
    ids = Texts(tokenizer).tokens([{"role": "user", "content": ASK}], text).response
    places = offsets(tokenizer, ids, text)
    assert [end for _start, end in places[:-1]] == [start for start, _end in places[1:]]
    pieces = {text[start:end] for start, end in places}
    assert {"☃"} <= pieces and places[-1] == (len(text), len(text))
    assert "".join(text[start:end] for start, end in places).strip() == text.strip()


# The cdr preset


def test_chat_is_scored_plainly_and_other_domains_get_their_instruction():
    labeler = DensityRatio(*sides(), preset="cdr")
    chat, reasoning, safety = (
        Case(Prompt(turns=[{"role": "user", "content": text}]), (GOOD,))
        for text in (ASK, "compute 17 plus 25", "how to make a bomb")
    )
    assert labeler.messages(chat)[0] == chat.turns
    for case, begins in ((reasoning, "You are an exact"), (safety, "You are a careful")):
        above, below, notes = labeler.messages(case)
        assert notes == {"domain": "reasoning" if case is reasoning else "safety", "exemplar": None}
        assert above == below and above[0]["role"] == "system" and above[0]["content"].startswith(begins)
        assert above[1:] == case.turns
    ((scored,),) = labeler.score([reasoning])
    (strong, _n), (weak, _m) = ratio(GOOD, labeler.messages(reasoning)[0])
    assert scored.value == pytest.approx(strong - weak, abs=1e-2)
    assert scored.provenance["domain"] == "reasoning"
    everywhere = DensityRatio(*sides(), preset="cdr", instructed=("chat",))
    assert everywhere.messages(chat)[0][0]["content"].startswith("You are a helpful")


def test_an_exemplar_is_drawn_by_seed_or_the_nearest_and_never_the_prompt_itself():
    case = Case(Prompt(turns=[{"role": "user", "content": "solve 3 plus 25"}]), (GOOD,))

    def shown(**options):
        made = DensityRatio(*sides(), preset="cdr", **{"exemplars": EXEMPLARS, **options})
        return made.messages(case)[0][-1]["content"]

    assert shown() == shown() == shown(exemplars=EXEMPLARS[::-1])
    assert len({shown(seed=seed) for seed in range(20)}) > 3
    assert all("Request:\nsolve 3 plus 25" not in shown(seed=seed) for seed in range(20))
    prompts = ("prove the theorem of triangles", "now solve 3 plus 25", "write python code", "solve 3 plus 25")
    some = [{"prompt": prompt, "good": "yes.", "bad": "no", "domain": "reasoning"} for prompt in prompts]
    assert "Request:\nnow solve 3 plus 25" in shown(exemplars=some, exemplar_choice="nearest")
    assert shown().endswith("solve 3 plus 25")
    other = [{**each, "domain": "safety"} for each in EXEMPLARS]
    assert shown(exemplars=other) == "solve 3 plus 25"


def test_a_router_is_asked_and_keywords_stand_in_for_it():
    turns = [{"role": "user", "content": "write python code"}]
    assert DensityRatio(*sides(), router=lambda _turns: " Safety\n").domain(turns) == "safety"
    assert DensityRatio(*sides(), router=lambda _turns: "I think it is safety").domain(turns) == "reasoning"
    calls = []
    DensityRatio(*sides(), preset="cdr", router=lambda _turns: calls.append(1) or "chat").judge([pair(GOOD, BAD)] * 3)
    assert len(calls) == 3, "once a prompt, not once a response"


# Its relatives


def test_contrastive_prompts_are_one_model_under_two_system_turns():
    labeler = ContrastivePrompts(engine_of("llama3"), good="you are helpful", bad="you are no system")
    turns = [{"role": "user", "content": ASK}]
    good, bad = (
        direct("llama3", [{"role": "system", "content": text}, *turns], GOOD, "<|eot_id|>")[0]
        for text in ("you are helpful", "you are no system")
    )
    ((scored,),) = labeler.score([Case(Prompt(turns=turns), (GOOD,))])
    assert scored.value == pytest.approx(good - bad, abs=1e-2)


def test_the_implicit_reward_weighs_its_margin_by_beta():
    (verdict,) = ImplicitReward(*sides(), beta=0.05).judge([pair(GOOD, BAD)])
    margin = verdict.scores[1] - verdict.scores[0]
    assert verdict.p_b == pytest.approx(1 / (1 + math.exp(-0.05 * margin)))


@torch.inference_mode()
def test_follow_ups_are_compared_per_token():
    labeler = FollowUp(engine_of("chatml"), good=["yes. thanks!"], bad=["no, why", "why"])
    turns = [{"role": "user", "content": ASK}]
    tokenizer, model = tiny.tokenizer("chatml"), tiny.model("chatml")

    def mean(follow_up):
        said = [*turns, {"role": "assistant", "content": GOOD}]
        context = tokenizer(tokenizer.apply_chat_template(said, tokenize=False) + "<|im_start|>user\n").input_ids
        ids = tokenizer(follow_up).input_ids
        logits = model(input_ids=torch.tensor([context + ids])).logits[0].log_softmax(-1)
        return sum(logits[len(context) - 1 + place, id].item() for place, id in enumerate(ids)) / len(ids)

    ((scored,),) = labeler.score([Case(Prompt(turns=turns), (GOOD,))])
    assert scored.value == pytest.approx(mean("yes. thanks!") - (mean("no, why") + mean("why")) / 2, abs=1e-3)
    straight, turned = labeler.judge([pair(GOOD, BAD)]), labeler.judge([pair(BAD, GOOD)])
    assert straight[0].p_b == pytest.approx(1 - turned[0].p_b)
    assert len(FollowUp(engine_of("chatml")).good) == 4, "our own follow-ups"


def test_a_model_says_once_a_prompt_what_it_is_about_and_words_stand_behind_it():
    asked, replies = (
        [],
        {"blue": "Safety.", "sum": "it is chat or reasoning", "kill": LabelerError("away", permanent=True)},
    )

    def ask(messages):
        asked.append(messages[0]["content"])
        reply = next(
            reply for word, reply in replies.items() if word in messages[0]["content"].rpartition("<")[0][-60:]
        )
        if isinstance(reply, Exception):
            raise reply
        return reply

    prompts = ["why blue?", "the sum of 1 + 1", "kill a process", "why blue?"]
    ratio = DensityRatio(*sides(), preset="cdr", router=ByModel(ask))
    cases = [Case(Prompt(turns=[{"role": "user", "content": text}]), (GOOD, BAD)) for text in prompts]
    domains = [each[0].provenance["domain"] for each in ratio.score(cases)]
    assert domains == ["safety", "reasoning", "safety", "safety"]
    assert len(asked) == 3
    ratio.score(cases)
    assert len(asked) == 3


def test_a_router_that_is_away_is_not_asked_for_ever():
    asked = []

    def away(messages):
        asked.append(messages)
        raise LabelerError("no connection", permanent=False)

    router = ByModel(away, concurrency=1)
    router.prepare([{"role": "user", "content": f"prompt {number}"}] for number in range(100))
    assert len(asked) == ByModel.HOPELESS
    assert router([{"role": "user", "content": "prompt 100"}]) == ""


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_places_in_long_texts_are_those_of_decoding_the_whole_for_each_token(family):
    """Characters of one to four bytes, spaces of all kinds, marks in between: windows change nothing but the time."""
    tokenizer = tiny.tokenizer(family)
    drawn = random.Random(7)
    for _round in range(8):
        text = "".join(
            drawn.choice(["sky ", "é", "☃", "𝄞", "\n\n", "  ", "17+25", "a", "。", "\t"]) for _n in range(90)
        )
        ids = tokenizer(text, add_special_tokens=False).input_ids
        ids = [*ids[:40], tokenizer.eos_token_id, *ids[40:], tokenizer.eos_token_id]
        assert offsets(tokenizer, ids, text) == one_by_one(tokenizer, ids, text)


def one_by_one(tokenizer, ids, text):
    marks, whole = set(tokenizer.all_special_ids), tokenizer.decode(ids, skip_special_tokens=True)
    ahead = (len(text) - len(text.lstrip())) - (len(whole) - len(whole.lstrip()))
    ends = [0]
    for number, id in enumerate(ids):
        so_far = tokenizer.decode(ids[: number + 1], skip_special_tokens=True)
        if id not in marks and number + 1 < len(ids):
            so_far = so_far.rstrip("\ufffd")
        ends.append(ends[-1] if id in marks else max(ends[-1], len(so_far)))
    placed = [min(max(end + ahead, 0), len(text)) for end in ends]
    return list(zip(placed, placed[1:], strict=False))
