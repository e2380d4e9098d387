"""Scoring servers: what is sent, how answers are read, what is refused, and that scores are those of the engine here.

The answers in shapes/ come from servers' documentation and printed answers; each file says from where, and what of it
is ours. No real vLLM or SGLang runs here.
"""

import json
import warnings
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the engine needs torch and transformers (MODELS=no)")

from labelers.base import LabelerError  # noqa: E402
from labelers.chat import Retries  # noqa: E402
from labelers.density_ratio import ContrastivePrompts, DensityRatio  # noqa: E402
from labelers.follow_up import FollowUp  # noqa: E402
from labelers.logprobs import Engine, InMemory, Remote, Source, Texts, Tokens, UnfitModel, named, sweep  # noqa: E402
from labelers.logprobs.http import Http, Refused  # noqa: E402
from labelers.logprobs.remote import DIALECTS, OrderMatters  # noqa: E402
from labelers.logprobs.vllm import Unusable  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402
from tests.labelers.scoring_server import WAYS, running  # noqa: E402
from tests.labelers.test_labelers import pair  # noqa: E402
from tests.labelers.test_logprobs import naive, texts_of  # noqa: E402

SHAPES = Path(__file__).parent / "shapes"
NATS = 1e-3


def shape(name):
    return json.loads((SHAPES / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Saved tiny models: their digests name the weights, their tokenizers are read from them."""
    found = {}
    for family, seed in (("llama3", 0), ("llama3", 1), ("chatml", 0)):
        found[family, seed] = tmp_path_factory.mktemp("weights")
        tiny.model(family, seed).save_pretrained(found[family, seed])
        tiny.tokenizer(family).save_pretrained(found[family, seed])
    return {key: str(path) for key, path in found.items()}


def remote(folders, server, backend="vllm", family="llama3", seed=0, **options):
    quick = {"retries": Retries(failures=3, first=0), "sleep": lambda _seconds: None}
    where = {"model": server.served, "limit": 512}
    return Remote.at(Source(folders[family, seed]), backend, server.url, **{**where, **quick, **options})


def flat(scores):
    return [value for score in scores for value in score.per_token]


# What the servers print


@pytest.mark.parametrize("name", ["vllm-prompt-logprobs", "vllm-rows", "sglang-generate"])
def test_recorded_answers_are_read_by_token_id(name):
    recorded = shape(name)
    tokens = Tokens(tuple(recorded["context"]), tuple(recorded["response"]))
    dialect = DIALECTS["sglang" if name.startswith("sglang") else "vllm"]()
    found = dialect.scores(recorded["way"], recorded["answer"], tokens)
    assert found == pytest.approx(recorded["expected"])
    path, body = dialect.request(recorded["way"], "llama-8b", tokens)
    assert path == recorded["request"]["path"]
    assert {key: body[key] for key in recorded["request"]["body"]} == recorded["request"]["body"]
    other = Tokens(tokens.context, (*tokens.response[:-1], 999))
    if recorded["way"] != "rows":
        with pytest.raises(Unusable):
            dialect.scores(recorded["way"], recorded["answer"], other)


def test_the_entry_of_the_place_that_scores_start_from_has_no_value():
    """SGLang's convention that our `logprob_start_len` stands on, as printed by a server."""
    listed = shape("sglang-last-token")["answer"]["meta_info"]["input_token_logprobs"]
    assert len(listed) == 1 and listed[0][0] is None
    with pytest.raises(Unusable, match="no log-probability"):
        DIALECTS["sglang"]().scores("suffix-1", {"meta_info": {"input_token_logprobs": listed}}, Tokens((1,), (220,)))


def test_every_shape_names_its_source_its_version_and_what_of_it_is_ours():
    files = sorted(SHAPES.glob("*.json"))
    assert len(files) >= 7
    for path in files:
        told = json.loads(path.read_text())
        assert {"server", "version", "source", "recorded", "ours"} <= set(told), path.name
        assert "https://github.com/" in told["source"] or told["source"].startswith("https://"), path.name


def fields(value):
    """The shape of JSON: the names of fields, of lists the shapes of their members, of numbers in a key nothing."""
    if isinstance(value, dict):
        return {("#" if key.isdigit() else key): fields(inner) for key, inner in value.items()}
    return sorted({json.dumps(fields(each), sort_keys=True) for each in value}) if isinstance(value, list) else None


@pytest.mark.parametrize(
    ("name", "way"), [("vllm-prompt-logprobs", "top-1"), ("vllm-rows", "rows"), ("sglang-generate", "suffix-1")]
)
def test_our_own_server_answers_with_the_fields_of_the_shapes(name, way):
    tokens = Tokens((5, 6, 7), (8, 9))
    with running("llama3") as server:
        path, body = DIALECTS["sglang" if name.startswith("sglang") else "vllm"]().request(way, "tiny-llama3", tokens)
        answer = Http(server.url).post(path, body)
    assert fields(answer) == fields(shape(name)["answer"])


@pytest.mark.parametrize("name", ["vllm-models", "tokenize"])
def test_lists_of_models_and_tokens_have_the_fields_of_the_shapes(name):
    with running("llama3") as server:
        http = Http(server.url)
        body = {"model": "m", "prompt": "x", "add_special_tokens": False}
        answer = http.get("/v1/models") if name == "vllm-models" else http.post("/tokenize", body)
    assert fields(answer) == fields(shape(name)["answer"])


# The same numbers


@pytest.mark.parametrize(
    ("backend", "knows"),
    [
        ("vllm", WAYS),
        pytest.param("vllm", {"prompt-1"}, marks=pytest.mark.slow),
        pytest.param("vllm", {"top-1"}, marks=pytest.mark.slow),
        ("sglang", WAYS),
        pytest.param("sglang", {"whole-1"}, marks=pytest.mark.slow),
    ],
)
def test_scores_are_the_models_own_whatever_the_server_knows(folders, backend, knows):
    texts = texts_of("llama3", count=2)
    with running("llama3", knows=knows) as server:
        engine = remote(folders, server, backend)
        found = engine.score(texts, per_token=True)
        totals = engine.score(texts)
        assert server.busiest <= engine.concurrency
    expected = [value for tokens in texts for value in naive(tiny.model("llama3"), tokens)]
    assert flat(found) == pytest.approx(expected, abs=NATS)
    assert [score.total for score in totals] == pytest.approx([sum(score.per_token) for score in found], abs=NATS)
    assert engine.cautions == [] and engine._way in knows
    assert (engine.effort.computed, engine.effort.from_cache) == (len(texts), len(texts))
    assert engine.effort.tokens == sum(len(tokens.response) for tokens in texts)


@pytest.mark.slow
def test_nothing_but_token_ids_and_neutral_sampling_is_sent(folders):
    with running("llama3", knows={"prompt-1"}) as server:
        remote(folders, server).score([Tokens((5, 6, 7), (8, 9))])
        body = server.scored[-1]
    assert body["prompt"] == [5, 6, 7, 8, 9] and body["temperature"] == body["top_p"] == 1


@pytest.mark.slow
def test_labelers_take_a_server_as_they_take_an_engine(folders):
    pairs = [pair("because short waves scatter more", "no idea, thanks!"), pair("yes.", "17 plus 25 makes 42")]
    here = [Engine.of(Source(folders[family, 0], device="cpu")) for family in ("llama3", "chatml")]
    # Read back, a tokenizer may cut numbers otherwise than it did before it was saved.
    with running("llama3") as strong, running("chatml", tokenizer=here[1].texts.tokenizer) as weak:
        there = [remote(folders, strong), remote(folders, weak, "sglang", "chatml")]
        for made in (lambda a, b: DensityRatio(a, b), lambda a, _b: FollowUp(a), lambda _a, b: ContrastivePrompts(b)):
            ours, theirs = made(*here).judge(pairs), made(*there).judge(pairs)
            assert [v.scores for v in theirs] == [pytest.approx(v.scores, abs=0.05) for v in ours]
            assert [v.outcome for v in theirs] == [v.outcome for v in ours]
        texts = [texts_of("llama3")[:2], texts_of("chatml")[:2]]
        swept = sweep(there, texts)
    assert [[score.total for score in scores] for scores in swept] == [
        pytest.approx([sum(naive(tiny.model(family), tokens)) for tokens in some], abs=0.05)
        for family, some in zip(("llama3", "chatml"), texts, strict=True)
    ]


@pytest.mark.slow
def test_a_mapping_names_a_server_and_keeps_its_scores_apart_from_ours(folders):
    with running("llama3") as server:
        where = {"backend": "vllm", "base_url": f"{server.url}/v1", "model": server.served, "precision": "bfloat16"}
        engine = named({"name": folders["llama3", 0], **where}, cache=InMemory())
        local = named({"name": folders["llama3", 0], "device": "cpu"})
        assert engine.identity == local.identity
        assert (engine.options, local.options) == ("vllm bfloat16 t=1", "float32 t=1")
        assert engine.score([Tokens((5, 6), (7,))])[0].tokens == 1
    with pytest.raises(ValueError, match="its address"):
        named({"name": folders["llama3", 0], "backend": "sglang"})
    with pytest.raises(ValueError, match="no such backend"):
        named({"name": folders["llama3", 0], "backend": "other", "base_url": "http://127.0.0.1"})
    with pytest.raises(ValueError, match="has no base_url"):
        named({"name": folders["llama3", 0], "base_url": "http://127.0.0.1"})


# What is refused, and warned of


def test_a_tokenizer_folder_does_not_name_weights(folders, tmp_path):
    tiny.tokenizer("llama3").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no weights"):
        Remote.at(Source(str(tmp_path)), "vllm", "http://127.0.0.1:1")
    commit = "a" * 40
    engine = Remote.at(Source("org/model", commit), "vllm", "http://127.0.0.1:1", tokenizer=str(tmp_path))
    assert engine.identity == f"org/model@{commit}"


def test_another_model_or_tokenizer_is_refused(folders):
    texts = [Tokens((5, 6), (7,))]
    with running("llama3", tokenizer=tiny.tokenizer("chatml")) as server:
        with pytest.raises(UnfitModel, match="makes other tokens"):
            remote(folders, server).score(texts)
        with pytest.raises(UnfitModel, match="no model called 'another'"):
            remote(folders, server, model="another").score(texts)
        assert server.scored == [], "nothing was asked of it"


@pytest.mark.slow
def test_a_server_that_tells_little_is_believed_and_said_so(folders):
    with running("llama3") as server:
        server.tokenizes = server.lists = False
        engine = remote(folders, server)
        with pytest.warns(UserWarning, match="tokenizer was not compared"):
            engine.score([Tokens((5, 6), (7,))])
    assert len(engine.cautions) == 1


def test_a_server_without_scores_is_refused_with_each_ways_reason(folders):
    with running("llama3", knows=set()) as server, pytest.raises(UnfitModel) as refusal:
        remote(folders, server).score([Tokens((5, 6), (7,))])
    for way in DIALECTS["vllm"]().ways:
        assert f"{way}: " in str(refusal.value)
    assert shape("vllm-refusals")["status"] == 400 and "HTTP 400" in str(refusal.value)


@pytest.mark.slow
def test_scores_that_depend_on_the_order_are_warned_of(folders):
    with running("llama3") as server:
        server.lies = True
        engine = remote(folders, server, "sglang")
        with pytest.warns(OrderMatters, match="disable-radix-cache"):
            engine.score([Tokens((5, 6), (7,))])
    with running("llama3") as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        remote(folders, server).score([Tokens((5, 6), (7,))])


@pytest.mark.slow
def test_texts_longer_than_the_server_reads_are_refused_before_they_are_sent(folders):
    with running("llama3", limit=400) as server:
        engine = remote(folders, server)
        engine.score([Tokens((5,) * 300, (7,))])
        asked = len(server.scored)
        with pytest.raises(UnfitModel, match="401 tokens is longer than the 399"):
            engine.score([Tokens((5,) * 400, (7,))])
        assert len(server.scored) == asked


def test_a_temperature_is_refused(folders):
    with running("llama3") as server, pytest.raises(UnfitModel, match="temperature 1 only"):
        remote(folders, server, temperature=2.0).score([Tokens((5, 6), (7,))])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["one short", "other ids"])
def test_answers_about_other_tokens_are_no_scores(folders, mode):
    with running("llama3", knows={"prompt-1"}) as server:
        engine = remote(folders, server)
        engine.score([Tokens((5, 6), (7,))])
        server.script.append(mode)
        with pytest.raises(Unusable, match="sent"):
            engine.score([Tokens((5, 6), (8,))])


# The wire


@pytest.mark.slow
def test_what_can_pass_is_asked_again_and_what_was_scored_is_kept(folders):
    texts, cache = texts_of("llama3", count=6), InMemory()
    with running("llama3", knows={"prompt-1"}) as server:
        engine = remote(folders, server, cache=cache, concurrency=1)
        engine.score(texts[:1])
        server.script.extend(["429", "garbage", "ok", "500", "ok", "400"])
        with pytest.raises(Refused, match="400 Bad Request"):
            engine.score(texts)
        assert len(cache.scores) == 3, "the first, and two before the refusal"
        before = len(server.scored)
        engine.score(texts)
        assert len(server.scored) - before == len(texts) - 3
    assert engine.effort.computed == len(texts)


@pytest.mark.slow
def test_a_failure_keeps_what_is_under_way(folders):
    texts, cache = texts_of("llama3", count=8), InMemory()
    with running("llama3", knows={"prompt-1"}) as server:
        engine = remote(folders, server, cache=cache, concurrency=4)
        engine.score(texts[:1])
        server.script.append("400")
        with pytest.raises(Refused):
            engine.score(texts)
        asked = len({tuple(body["prompt"]) for body in server.scored[-4:]})
    assert len(cache.scores) >= asked - 1


@pytest.mark.slow
def test_the_key_is_sent_and_never_told(folders):
    secret = "very-secret-key"
    texts = [Tokens((5, 6), (7,))]
    with running("llama3", key=secret) as server:
        remote(folders, server, api_key=secret).score(texts)
        assert server.headers[-1]["authorization"] == f"Bearer {secret}"
        with pytest.raises(Refused, match="401 Unauthorized") as refusal:
            remote(folders, server, api_key="wrong-key").score(texts)
        server.script.extend(["403"])
        with pytest.raises(LabelerError) as other:
            remote(folders, server, api_key=secret).http.post("/v1/completions", {})
    assert "wrong-key" not in str(refusal.value) and secret not in str(other.value)
    assert secret not in repr(remote(folders, server, api_key=secret))


def test_redirects_are_not_followed():
    with running("llama3") as server:
        server.script.append("redirect")
        with pytest.raises(Refused, match="302"):
            Http(server.url).post("/v1/completions", {})
        assert len(server.requests) == 1


def test_the_checked_address_is_connected_to_and_not_the_name(folders):
    with running("llama3") as server:
        port = server.server_address[1]
        http = Http(f"http://scorer.invalid:{port}/v1/", addresses=("127.0.0.1",))
        assert http.get("/v1/models")["data"][0]["id"] == "tiny-llama3"
        assert server.headers[-1]["host"] == f"scorer.invalid:{port}"
        with pytest.raises(LabelerError, match="no connection"):
            Http(f"http://scorer.invalid:{port}").get("/v1/models")


def test_a_server_that_is_silent_is_given_up():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        http = Http(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        with pytest.raises(LabelerError, match=r"no answer in 0\.1 s") as late:
            http.get("/v1/models")
    assert not late.value.permanent


@pytest.mark.slow
def test_texts_are_cut_and_refused_here_as_for_any_engine(folders):
    with running("llama3") as server:
        engine = remote(folders, server, limit=120)
        verdicts = DensityRatio(engine, engine).judge([pair("yes. " * 60, "no"), pair("yes", "no")])
    assert "more than the 120" in verdicts[0].provenance["error"] and verdicts[1].p_b == 0.5
    assert isinstance(engine.texts, Texts)
