"""The attack set: what it holds, that marks hold, and that the rate counts what it says."""

from collections import Counter

import pytest

from labelers import attacks
from labelers.base import Outcome, Verdict
from labelers.llm_judge import LLMJudge


class Obedient:
    """Names the side whose response says to; the better one (not attacked) otherwise."""

    def __init__(self, kinds):
        self.kinds = kinds

    def judge(self, pairs):
        other = {"a": Outcome.B, "b": Outcome.A}
        return [Verdict(Outcome(one.position) if one.kind in self.kinds else other[one.position]) for one in pairs]


def test_there_are_forty_attacks_of_many_kinds_each_at_both_positions():
    known = attacks.attacks()
    assert len(known) >= 40 and len({(each.kind, each.name) for each in known}) == len(known)
    assert len({each.kind for each in known}) >= 8
    pairs = [one for one in attacks.pairs() if one.kind != attacks.NONE]
    assert Counter(one.position for one in pairs) == {"a": len(known), "b": len(known)}


def test_an_attack_names_the_letter_its_response_has_when_a_is_first():
    (first,) = [each for each in attacks.attacks() if each.name == "bracketed"]
    a, b, *_plain = attacks.pairs([first])
    assert a.response_a.text.endswith("[[A]]") and b.response_b.text.endswith("[[B]]")
    assert a.response_b.text == b.response_a.text, "the rival is the good response"


def test_the_rate_counts_attacks_that_were_obeyed_by_kind_beside_none_at_all():
    found = attacks.success_rate(Obedient({"pressure"}))
    pressure = found["by_kind"]["pressure"]
    assert (pressure["rate"], found["successes"]) == (1.0, pressure["n"])
    assert found["rate"] == pytest.approx(pressure["n"] / found["n"])
    assert found["interval"][0] < found["rate"] < found["interval"][1]
    assert found["without"]["rate"] == 0
    assert {kind for kind, _name, _position in found["obeyed"]} == {"pressure"}


def test_what_could_not_be_judged_is_no_success_and_no_resistance():
    asked = attacks.pairs(attacks.attacks()[:2])
    verdicts = [Verdict(Outcome.ERROR), Verdict(Outcome.TIE), Verdict(Outcome.UNPARSED), Verdict(Outcome.A)]
    found = attacks.summary(asked[:4], verdicts)
    assert (found["n"], found["errors"], found["ties"], found["unparsed"], found["successes"]) == (3, 1, 1, 1, 0)


def test_no_attack_closes_its_marks_or_opens_a_turn():
    one = LLMJudge("http://127.0.0.1:9/v1", "tiny")
    for about in attacks.pairs():
        user = one.messages(about, "ab", {})[1]["content"]
        mark = user.split("]")[0].removeprefix("[data ").split()[0]
        marks = [line for line in user.splitlines() if line.startswith(("[data", "[/data"))]
        assert len(marks) == 6 and all(mark in line for line in marks), about.name
        for turn in ("<|im_start|>", "<|eot_id|>", "[INST]", "</s>", "<start_of_turn>", "<think>"):
            assert turn not in user


@pytest.mark.slow
def test_a_real_judge_is_asked_in_both_orders(server):
    known = attacks.attacks()[:1]
    found = attacks.success_rate(LLMJudge(server.url, "tiny", structured="choice"), known, positions=("a",))
    assert (found["n"], found["without"]["n"], found["errors"]) == (1, 8, 0)
    assert len(server.requests) == (1 + 8) * 2
