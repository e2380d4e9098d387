"""The engine for log-probabilities: whatever way a text is computed, it gets the score of the naive way."""

import random

import pytest

pytest.importorskip("transformers", reason="the engine needs torch and transformers (MODELS=no)")

import torch  # noqa: E402

from labelers.logprobs import Engine, InMemory, SQLite, Texts, Tokens, UnfitModel, head, models, sweep  # noqa: E402
from labelers.logprobs import engine as engines  # noqa: E402
from labelers.logprobs.packing import alone, pack  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402

NATS = 1e-3


def texts_of(family, count=4, seed=0):
    """Prompts of 5 to 60 tokens with 1 to 3 responses of 1 to 50: some longer than the windows of 24."""
    rng = random.Random(seed)
    size = len(tiny.tokenizer(family))
    some = []
    for _prompt in range(count):
        context = tuple(rng.choices(range(5, size), k=rng.randint(5, 60)))
        for _response in range(rng.randint(1, 3)):
            some.append(Tokens(context, tuple(rng.choices(range(5, size), k=rng.randint(1, 50)))))
    return some


def engine_of(family, **options):
    return Engine.around(tiny.model(family), Texts(tiny.tokenizer(family), limit=512), f"tiny-{family}", **options)


@torch.inference_mode()
def naive(model, tokens):
    """One text, the model's own logits, fp32."""
    logits = model(input_ids=torch.tensor([tokens.context + tokens.response])).logits[0].float().log_softmax(-1)
    first = len(tokens.context) - 1
    return [logits[first + place, token].item() for place, token in enumerate(tokens.response)]


@torch.inference_mode()
def padded(model, texts, pad):
    longest = max(len(tokens.context) + len(tokens.response) for tokens in texts)
    ids = torch.full((len(texts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(texts):
        whole = torch.tensor(tokens.context + tokens.response)
        ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
    logits = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    return [
        [logits[row, len(tokens.context) - 1 + place, token].item() for place, token in enumerate(tokens.response)]
        for row, tokens in enumerate(texts)
    ]


def flat(lists):
    return [value for values in lists for value in values]


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_packed_padded_one_by_one_and_naive_agree(family):
    texts, model = texts_of(family), tiny.model(family)
    expected = flat(naive(model, tokens) for tokens in texts)
    ways = {"padded": flat(padded(model, texts, tiny.tokenizer(family).pad_token_id))}
    for layout, budget in (("packed", 4096), ("packed", 90), ("packed", 1), ("alone", 0)):
        scores = engine_of(family, layout=layout, budget=budget).score(texts, per_token=True)
        ways[f"{layout} {budget}"] = flat(score.per_token for score in scores)
        assert [score.total for score in scores] == pytest.approx([sum(score.per_token) for score in scores], abs=1e-3)
        assert [score.tokens for score in scores] == [len(tokens.response) for tokens in texts]
    for way, found in ways.items():
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < NATS, way
    assert max(expected) - min(expected) > 1, "a model that gives every token the same chance would prove nothing"


def test_the_packed_layout_is_what_these_models_get():
    for family in tiny.FAMILIES:
        engine = engine_of(family)
        assert engine._packs(tiny.model(family)), family


def test_chunks_of_the_head_change_nothing(monkeypatch):
    texts, model = texts_of("gemma2"), tiny.model("gemma2")
    expected = flat(naive(model, tokens) for tokens in texts)
    monkeypatch.setattr(head, "CHUNK_BYTES", {"cpu": 1})
    monkeypatch.setattr(head, "FEWEST_ROWS", 7)
    found = flat(score.per_token for score in engine_of("gemma2").score(texts, per_token=True))
    assert found == pytest.approx(expected, abs=NATS)


def test_scaled_logits_are_honoured_and_unknown_ones_refused(monkeypatch):
    model, tokens = tiny.cohere(), Tokens((3, 4, 5), (6, 7, 8))
    engine = Engine.around(model, None, "cohere")
    assert engine.score([tokens], per_token=True)[0].per_token == pytest.approx(naive(model, tokens), abs=NATS)
    monkeypatch.setattr(head, "_finished", lambda logits, config: logits)
    with pytest.raises(UnfitModel, match="does something to its logits"):
        Engine.around(model, None, "cohere").score([tokens])


def test_a_model_that_cannot_be_packed_is_scored_one_by_one():
    model = tiny.bloom()
    texts = [Tokens((3, 4, 5, 9), (6, 7, 8)), Tokens((3, 4, 5, 9), (60, 7)), Tokens((30, 40), (6, 7, 8))]
    found = Engine.around(model, None, "bloom").score(texts, per_token=True)
    assert flat(score.per_token for score in found) == pytest.approx(flat(naive(model, t) for t in texts), abs=NATS)
    with pytest.raises(UnfitModel, match="cannot be packed"):
        Engine.around(model, None, "bloom", layout="packed").score(texts)


def test_temperature_divides_the_logits():
    model, tokens = tiny.model("llama3"), texts_of("llama3")[0]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens.context + tokens.response])).logits[0].float()
    expected = (logits / 2).log_softmax(-1)[range(len(tokens.context) - 1, len(logits) - 1), list(tokens.response)]
    score = engine_of("llama3", temperature=2.0).score([tokens])[0]
    assert score.total == pytest.approx(expected.sum().item(), abs=1e-2)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_order_of_the_texts_changes_nothing(family):
    texts = texts_of(family, count=5)
    places = list(range(len(texts)))
    random.Random(1).shuffle(places)
    straight = [score.total for score in engine_of(family, budget=150).score(texts)]
    shuffled = engine_of(family, budget=150).score([texts[place] for place in places])
    assert [score.total for score in shuffled] == pytest.approx([straight[place] for place in places], abs=1e-3)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_templated_texts_are_scored_with_bos_once_and_their_end_once(family):
    """What the template writes, packed, against the naive pass; data that carry the end's mark change nothing."""
    bos, eos, _pad, _others = tiny.MARKS[family]
    end = {"gemma2": "<end_of_turn>"}.get(family, eos)
    texts = Texts(tiny.tokenizer(family), limit=512)
    ask = [{"role": "user", "content": "why is the sky blue"}]
    said = ["because short waves", f"because short waves{end}", " yes.\n\nno", "17"]
    some = [texts.tokens(ask, text) for text in said]
    assert some[0] == some[1]
    for tokens in some:
        if bos:
            assert (
                tokens.context.count(texts.tokenizer.bos_token_id) == 1
                and tokens.context[0] == texts.tokenizer.bos_token_id
            )
        assert tokens.response.count(texts.tokenizer.convert_tokens_to_ids(end)) == 1
    found = flat(score.per_token for score in engine_of(family).score(some, per_token=True))
    assert found == pytest.approx(flat(naive(tiny.model(family), tokens) for tokens in some), abs=NATS)


# The cache


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path):
    return InMemory() if request.param == "memory" else SQLite(tmp_path / "scores.sqlite")


def test_nothing_is_scored_twice(cache):
    texts = texts_of("llama3")
    first = engine_of("llama3", cache=cache)
    scores = first.score([*texts, texts[0]])
    assert (first.effort.computed, first.effort.from_cache) == (len(texts), 1)
    again = engine_of("llama3", cache=cache)
    assert again.score(texts[::-1]) == scores[-2::-1]
    assert again.effort.computed == 0


def test_scores_per_token_are_computed_once_when_first_asked_for(cache):
    texts = texts_of("llama3")[:2]
    engine = engine_of("llama3", cache=cache)
    engine.score(texts)
    with_tokens = engine.score(texts, per_token=True)
    assert engine.effort.computed == 4
    assert engine.score(texts, per_token=True) == with_tokens
    assert [len(score.per_token) for score in with_tokens] == [len(tokens.response) for tokens in texts]
    assert engine.effort.computed == 4


def test_another_model_context_or_temperature_is_another_score(cache):
    tokens = Tokens((5, 6, 7), (8, 9))
    engines_ = [
        engine_of("llama3", cache=cache),
        engine_of("llama3", cache=cache, temperature=0.5),
        Engine.around(tiny.model("llama3", seed=1), None, "other", cache=cache),
    ]
    totals = {engine.score([tokens])[0].total for engine in engines_}
    totals.add(engines_[0].score([Tokens((5, 6, 8), (8, 9))])[0].total)
    totals.add(engines_[0].score([Tokens((5, 6), (7, 8, 9))])[0].total)
    assert len(totals) == 5


def test_what_was_computed_before_a_crash_is_kept(cache):
    texts = texts_of("llama3", count=6)
    engine = engine_of("llama3", cache=cache, budget=100)
    run, batches = engine._run, []

    def failing(model, batch, **options):
        batches.append(len(batch.owners))
        if len(batches) == 3:
            raise MemoryError
        return run(model, batch, **options)

    engine._run = failing
    with pytest.raises(MemoryError):
        engine.score(texts)
    resumed = engine_of("llama3", cache=cache, budget=100)
    resumed.score(texts)
    assert resumed.effort.from_cache == sum(batches[:2]) > 0


# Weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny.model("llama3").save_pretrained(path)
    tiny.tokenizer("llama3").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A saved LoRA over the base in `folder`, with weights that are not zero, and the two merged into one model."""
    import copy

    from peft import LoraConfig, get_peft_model

    path = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    adapted = get_peft_model(copy.deepcopy(tiny.model("llama3")), config)
    adapted.save_pretrained(path)
    return path, adapted.merge_and_unload().eval()


@pytest.mark.slow
def test_a_lora_and_its_base_are_scored_on_one_set_of_weights(folder, adapter):
    path, merged = adapter
    texts = texts_of("llama3")[:3]
    strong = Engine.of(models.Source(str(folder), adapter=str(path), device="cpu"))
    weak = strong.base()
    found = flat(score.per_token for scores in sweep([strong, weak], [texts] * 2, per_token=True) for score in scores)
    expected = flat(naive(model, tokens) for model in (merged, tiny.model("llama3")) for tokens in texts)
    assert found == pytest.approx(expected, abs=NATS)
    half = len(expected) // 2
    assert max(abs(a - b) for a, b in zip(expected[:half], expected[half:], strict=True)) > 0.1
    assert strong.loaded.loads == 1 and weak.loaded is strong.loaded
    plain = Engine.of(models.Source(str(folder), device="cpu"))
    assert (weak.identity, weak.options) == (plain.identity, plain.options), "their scores are found in one cache"
    assert strong.identity not in (weak.identity, "")


@pytest.mark.slow
def test_a_ratio_of_two_names_reads_a_base_and_its_adapter_once(folder, adapter):
    from labelers.density_ratio import DensityRatio
    from tests.labelers.test_labelers import pair

    path, merged = adapter
    base = {"name": str(folder), "device": "cpu"}
    labeler = DensityRatio({**base, "adapter": str(path)}, base)
    pairs = [pair("because short waves scatter more", "no idea, thanks!"), pair("yes.", "17 plus 25 makes 42")]
    apart = DensityRatio(
        Engine.around(merged, labeler.above.texts, "merged"),
        Engine.around(tiny.model("llama3"), labeler.above.texts, "base"),
    )
    assert [v.scores for v in labeler.judge(pairs)] == [pytest.approx(v.scores, abs=0.02) for v in apart.judge(pairs)]
    assert labeler.below.loaded is labeler.above.loaded and labeler.above.loaded.loads == 1
    assert labeler.below.identity == models.exact(str(folder), "")


@pytest.mark.slow
def test_only_the_base_of_an_adapter_shares_its_weights(folder, adapter, tmp_path):
    path, _merged = adapter
    tiny.model("llama3", seed=1).save_pretrained(tmp_path)
    tiny.tokenizer("llama3").save_pretrained(tmp_path)
    adapted = Engine.of(models.Source(str(folder), adapter=str(path), device="cpu"))
    for other in (
        Engine.of(models.Source(str(tmp_path), device="cpu")),
        Engine.of(models.Source(str(folder), device="cpu", precision="bfloat16")),
        engine_of("llama3"),
    ):
        assert other.sharing(adapted) is other


@pytest.mark.slow
def test_models_are_swept_one_after_the_other_and_read_only_when_needed(folder):
    cache, texts = InMemory(), texts_of("llama3")[:3]
    source = models.Source(str(folder), device="cpu")
    engine = Engine.of(source, cache=cache)
    assert engine.loaded.loads == 0 and engine.texts.limit == 512
    scores, others = sweep([engine, engine_of("chatml")], [texts, texts_of("chatml")[:2]])
    assert [score.total for score in scores] == pytest.approx(
        [sum(naive(tiny.model("llama3"), t)) for t in texts], abs=0.01
    )
    assert len(others) == 2 and engine.loaded.model is None
    again = Engine.of(source, cache=cache)
    assert again.score(texts) == scores and again.loaded.loads == 0


def test_a_model_is_named_by_its_files_or_its_commit(folder, tmp_path):
    import shutil

    copied = shutil.copytree(folder, tmp_path / "copy")
    assert models.exact(str(copied), "") == models.exact(str(folder), "")
    (copied / "config.json").write_text("{}")
    assert models.exact(str(copied), "") != models.exact(str(folder), "")
    assert models.exact("some/model", "a" * 40) == "some/model@" + "a" * 40
    with pytest.raises(ValueError, match="needs the commit"):
        models.exact("some/model", "main")


def test_pickled_weights_are_not_read(folder, tmp_path):
    import shutil

    copied = shutil.copytree(folder, tmp_path / "copy")
    (copied / "model.safetensors").unlink()
    torch.save(tiny.model("llama3").state_dict(), copied / "pytorch_model.bin")
    with pytest.raises(UnfitModel, match="safetensors"):
        models.weights(models.Source(str(copied)))


# Packing


def test_a_context_is_laid_once_for_its_responses_and_budgets_are_kept():
    context = tuple(range(100, 140))
    texts = list(
        enumerate([Tokens(context, tuple(range(10))), Tokens(context, tuple(range(20))), Tokens((1, 2), (3,))])
    )
    (batch,) = pack(texts, 1000)
    assert len(batch.ids) == 40 + 9 + 19 + 2
    assert sorted(batch.owners) == [(0, 10), (1, 20), (2, 1)]
    for budget in (50, 62, 70):
        batches = list(pack(texts, budget))
        assert all(len(each.ids) <= max(budget, 59) for each in batches)
        assert sorted(owner for each in batches for owner, _count in each.owners) == [0, 1, 2]
    assert sum(len(each.ids) for each in alone(texts)) == 49 + 59 + 2


def test_the_probe_sees_a_model_that_ignores_the_spans(monkeypatch):
    """The guard of the guard: packed texts that see each other do not pass."""
    monkeypatch.setattr(engines.attention, "Spans", lambda spans: _OneSpan(spans))
    with pytest.raises(UnfitModel, match="cannot be packed"):
        engine_of("llama3", layout="packed").score(texts_of("llama3")[:2])


class _OneSpan(engines.attention.Spans):
    def __init__(self, spans):
        super().__init__([type(spans[0])(0, spans[-1].stop)])
