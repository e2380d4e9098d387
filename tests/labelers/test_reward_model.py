"""Reward models: the number at the right token, in fp32, with attributes where the head has several."""

import pytest

pytest.importorskip("transformers", reason="reward models need torch and transformers (MODELS=no)")

import torch  # noqa: E402
import transformers  # noqa: E402

from labelers.base import Outcome  # noqa: E402
from labelers.logprobs import SQLite  # noqa: E402
from labelers.pointwise import Case  # noqa: E402
from labelers.reward_model import RewardModel  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402
from tests.labelers.test_labelers import Prompt, mirrored, pair  # noqa: E402

TEXTS = ("because short waves scatter", "yes.", "no, thanks! " * 20, "42")


def saved(folder, labels, precision=torch.float32):
    """A tiny Qwen2 whose pad token is the token that every response ends in: what made others read the wrong one."""
    torch.manual_seed(3)
    tokenizer = tiny.tokenizer("chatml")
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=tokenizer("\n").input_ids[-1],
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = transformers.Qwen2ForSequenceClassification(config).eval()
    model.to(precision).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.saved_in = folder
    return model.float()


@torch.inference_mode()
def direct(model, text, turns):
    """The head at the last token of the template's whole text, by the tokenizer as transformers reads it back."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.saved_in)
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": text}], tokenize=False)
    ids = torch.tensor([tokenizer(whole, add_special_tokens=False).input_ids])
    return model.score(model.model(input_ids=ids).last_hidden_state[0, -1]).tolist()


@pytest.fixture(scope="module")
def scalar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scalar")
    return folder, saved(folder, ["reward"])


@pytest.mark.parametrize("layout", ["packed", "alone"])
def test_the_score_is_the_heads_at_the_last_token(scalar, layout):
    folder, model = scalar
    cases = [Case(Prompt(), TEXTS), Case(Prompt(turns=[{"role": "user", "content": "hello"}]), TEXTS[:2])]
    labeler = RewardModel({"name": str(folder), "device": "cpu"}, layout=layout, budget=120)
    found = [[scored.value for scored in each] for each in labeler.score(cases)]
    for case, values in zip(cases, found, strict=True):
        assert values == pytest.approx([direct(model, text, case.turns)[0] for text in case.responses], abs=1e-3)
    assert labeler._packs(labeler._ready()) == (layout == "packed")


def test_equal_scores_are_a_tie_and_the_verdict_mirrors(scalar):
    labeler = RewardModel({"name": str(scalar[0]), "device": "cpu"})
    pairs = [pair("yes.", "yes."), pair(TEXTS[0], TEXTS[2]), pair("yes.", "yes.<|im_end|>")]
    straight, turned = labeler.judge(pairs), labeler.judge([mirrored(one) for one in pairs])
    assert [v.outcome for v in (straight[0], turned[0], straight[2])] == [Outcome.TIE] * 3
    assert straight[1].p_b == pytest.approx(1 - turned[1].p_b)
    assert straight[1].outcome != Outcome.TIE


@pytest.mark.slow
def test_nothing_is_scored_twice(scalar, tmp_path):
    source = {"name": str(scalar[0]), "device": "cpu"}
    first = RewardModel(source, cache=SQLite(tmp_path / "scores.sqlite"))
    verdicts = first.judge([pair("yes.", "42"), pair("42", "yes.")])
    again = RewardModel(source, cache=SQLite(tmp_path / "scores.sqlite"))
    assert again.judge([pair("yes.", "42")]) == verdicts[:1]
    assert (first.computed, again.computed, again.model) == (2, 0, None)


@pytest.mark.slow
def test_several_numbers_are_attributes(tmp_path):
    model = saved(tmp_path, ["helpfulness", "verbosity"])
    with pytest.raises(ValueError, match="weights are needed for some of helpfulness, verbosity"):
        RewardModel({"name": str(tmp_path)})
    labeler = RewardModel({"name": str(tmp_path), "device": "cpu"}, weights={"helpfulness": 0.65, "verbosity": -0.4})
    (verdict,) = labeler.judge([pair("yes.", "42")])
    (a, b), turns = [direct(model, text, Prompt().turns) for text in ("yes.", "42")], Prompt().turns
    assert turns and verdict.scores == pytest.approx([0.65 * each[0] - 0.4 * each[1] for each in (a, b)], abs=1e-3)
    assert verdict.attributes["verbosity"] == pytest.approx({"a": a[1], "b": b[1]}, abs=1e-3)


def test_the_head_computes_in_fp32(tmp_path):
    saved(tmp_path, ["reward"], torch.bfloat16)
    labeler = RewardModel({"name": str(tmp_path), "device": "cpu", "precision": "bfloat16"}, resident=True)
    (scored,) = labeler.score([Case(Prompt(), TEXTS)])
    assert labeler.model.dtype == torch.bfloat16
    values = torch.tensor([each.value for each in scored])
    assert not torch.equal(values, values.bfloat16().float()), "scores that bf16 can hold were computed in bf16"


@pytest.mark.slow
def test_an_encoder_is_run_by_its_own_forward_pass(tmp_path):
    torch.manual_seed(3)
    tokenizer = tiny.tokenizer("chatml")
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        initializer_range=0.3, num_labels=1,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (scored,) = RewardModel({"name": str(tmp_path), "device": "cpu"}).score([Case(Prompt(), TEXTS[:2])])
    for text, each in zip(TEXTS, scored, strict=False):
        turns = [*Prompt().turns, {"role": "assistant", "content": text}]
        ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False).input_ids
        with torch.inference_mode():
            assert each.value == pytest.approx(model(input_ids=torch.tensor([ids])).logits[0, 0].item(), abs=1e-4)


@pytest.mark.slow
def test_a_text_that_is_too_long_fails_alone(scalar):
    labeler = RewardModel({"name": str(scalar[0]), "device": "cpu"})
    verdicts = labeler.judge([pair("yes. " * 300, "no"), pair("yes.", "no")])
    assert [v.outcome == Outcome.ERROR for v in verdicts] == [True, False]
