"""Labelers without calls: nulls, planted, proxy; and what names a version."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import labelers
from labelers import base
from labelers.base import Outcome
from labelers.fake import Planted
from labelers.nulls import Longest, Random, Shortest
from labelers.proxy import Proxy


@dataclass
class Prompt:
    turns: list = field(default_factory=lambda: [{"role": "user", "content": "Why is the sky blue?"}])
    context: list = field(default_factory=list)


@dataclass
class Response:
    text: str


@dataclass
class Pair:
    response_a: Response
    response_b: Response
    prompt: Prompt = field(default_factory=Prompt)
    metadata: dict = field(default_factory=dict)


def pair(a, b, **fields):
    return Pair(Response(a), Response(b), **fields)


def mirrored(one):
    swap = {"a": "b", "b": "a"}
    metadata = {key: swap.get(value, value) for key, value in one.metadata.items()}
    return Pair(one.response_b, one.response_a, one.prompt, metadata)


PAIRS = [pair(f"answer {i}", f"other {i} " * (i % 3), metadata={"better": "ab"[i % 2]}) for i in range(400)]


@pytest.mark.parametrize("labeler", [Longest(), Shortest(), Random(seed=3), Planted(0.8, seed=1)])
def test_exchanging_a_and_b_mirrors_the_verdict(labeler):
    straight, turned = labeler.judge(PAIRS), labeler.judge([mirrored(one) for one in PAIRS])
    assert [v.p_b for v in straight] == pytest.approx([1 - v.p_b for v in turned])
    swap = {Outcome.A: Outcome.B, Outcome.B: Outcome.A, Outcome.TIE: Outcome.TIE}
    assert [v.outcome for v in straight] == [swap[v.outcome] for v in turned]


def test_longest_and_shortest_disagree_unless_lengths_are_equal():
    pairs = [pair("long enough", "short"), pair("same", "size")]
    assert [v.outcome for v in Longest().judge(pairs)] == [Outcome.A, Outcome.TIE]
    assert [v.outcome for v in Shortest().judge(pairs)] == [Outcome.B, Outcome.TIE]


def test_random_is_the_same_every_time_for_a_seed_and_fair():
    first = [v.p_b for v in Random(seed=5).judge(PAIRS)]
    assert first == [v.p_b for v in Random(seed=5).judge(PAIRS)]
    assert first != [v.p_b for v in Random(seed=6).judge(PAIRS)]
    assert 0.4 < np.mean(first) < 0.6


def test_a_planted_labeler_is_as_accurate_as_it_was_told():
    verdicts = Planted(0.8, seed=2).judge(PAIRS)
    right = np.mean([v.outcome == one.metadata["better"] for v, one in zip(verdicts, PAIRS, strict=True)])
    assert abs(right - 0.8) < 0.06
    assert {v.confidence for v in verdicts} == {0.8}
    assert Planted(0.8).judge([pair("a", "b")])[0].outcome == Outcome.ABSTAIN


def test_a_proxy_abstains_where_its_model_cannot_say_and_refuses_a_wrong_shape():
    proxy = Proxy(lambda pairs: np.array([0.9, np.nan, 0.5]), model=7)
    verdicts = proxy.judge(PAIRS[:3])
    assert [v.outcome for v in verdicts] == [Outcome.B, Outcome.ABSTAIN, Outcome.TIE]
    assert verdicts[0].provenance == {"model": 7}
    with pytest.raises(ValueError, match="4 pairs got predictions of shape"):
        proxy.judge(PAIRS[:4])


def test_equal_chances_are_a_tie_and_never_the_else_branch():
    assert base.verdict_of(0.5).outcome == Outcome.TIE
    assert base.verdict_of(0.55, 0.8).outcome == Outcome.TIE
    assert base.verdict_of(0.6, 0.2).outcome == Outcome.B


def test_a_version_is_named_by_kind_parameters_prompt_files_and_code(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "PROMPTS", tmp_path)
    (tmp_path / "p.txt").write_text("one")
    name = base.digest("k", {"a": 1, "b": 2}, code=1, prompts=["p.txt"])
    assert name == base.digest("k", {"b": 2, "a": 1}, code=1, prompts=["p.txt"])
    others = [
        base.digest("other", {"a": 1, "b": 2}, code=1, prompts=["p.txt"]),
        base.digest("k", {"a": 1, "b": 3}, code=1, prompts=["p.txt"]),
        base.digest("k", {"a": 1, "b": 2}, code=2, prompts=["p.txt"]),
    ]
    (tmp_path / "p.txt").write_text("two")
    others.append(base.digest("k", {"a": 1, "b": 2}, code=1, prompts=["p.txt"]))
    assert len({name, *others}) == 5


def test_every_kind_can_be_loaded_and_says_its_code_version():
    for kind in labelers.KINDS:
        assert labelers.load(kind).CODE_VERSION >= 1
