"""Judges against real models over HTTP: with log-probabilities and structured output (our server), and without.

The first half checks the server itself against the model it serves: what a judge is measured with must be right.
"""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal

import pytest

from labelers.base import LabelerError, Outcome, Prices
from labelers.chat import Chat
from labelers.llm_judge import LLMJudge
from tests.labelers import tiny_server
from tests.labelers.test_labelers import PAIRS, mirrored

pytest.importorskip("transformers", reason="the tiny server needs torch and transformers (MODELS=no)")

HELLO = [{"role": "user", "content": "why is the sky blue"}]


@pytest.fixture
def served():
    return tiny_server.in_thread()


def asked(server, **request):
    body = {"model": server.tiny.name, "messages": HELLO, "max_tokens": 6, "seed": 1, **request}
    sent = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return json.load(answer)


def refusal(server, **request):
    with pytest.raises(urllib.error.HTTPError) as caught:
        asked(server, **request)
    return caught.value.code, json.load(caught.value)["error"]


def softmax_over(server, request, letters):
    """The model's own distribution over single letters as the next token, from one plain forward pass."""
    scores = server.tiny.scores(server.tiny.prompt_ids(request["messages"]))
    ids = [server.tiny.tokenizer.convert_tokens_to_ids(letter) for letter in letters]
    weights = [math.exp(float(scores[i])) for i in ids]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.slow
@pytest.mark.parametrize("tie", [True, False])
def test_a_judges_probability_is_the_models_own_in_both_orders(served, tie):
    labeler = LLMJudge(served.url, served.tiny.name, tie=tie, constrain=True)
    expected = []
    for step in ("ab", "ba"):
        served.requests.clear()
        answer = labeler.ask(PAIRS[1], step, {})
        (request,) = served.requests
        chances = dict(zip("ABC", softmax_over(served, request, "ABC" if tie else "AB"), strict=False))
        second, half = chances["B" if step == "ab" else "A"], chances.get("C", 0.0) / 2
        assert answer.method == "logprobs"
        assert answer.p_b == pytest.approx(second + half, abs=1e-4)
        expected.append(second + half)
    assert abs(expected[0] - (1 - expected[1])) > 1e-3, "this random model prefers a position, so averaging is tested"
    (verdict,) = labeler.judge([PAIRS[1]])
    assert verdict.p_b == pytest.approx(sum(expected) / 2, abs=1e-4)
    (turned,) = labeler.judge([mirrored(PAIRS[1])])
    assert verdict.p_b + turned.p_b == pytest.approx(1, abs=1e-4)


def test_log_probabilities_are_those_of_a_plain_forward_pass(served):
    import torch

    body = asked(served, temperature=0.8, logprobs=True, top_logprobs=5, max_tokens=8)
    ids = served.tiny.prompt_ids(HELLO)
    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == body["usage"]["completion_tokens"]
    by_bytes = {word: token for token, word in served.tiny.words.items()}
    for token in content:
        logprobs = torch.log_softmax(served.tiny.scores(ids), -1)
        chosen = by_bytes[bytes(token["bytes"])]
        assert token["logprob"] == pytest.approx(float(logprobs[chosen]), abs=1e-4)
        best = logprobs.topk(5).values.tolist()
        assert [rival["logprob"] for rival in token["top_logprobs"]] == pytest.approx(best, abs=1e-4)
        ids = [*ids, chosen]


def test_a_seed_repeats_a_text_and_the_n_answers_of_one_call_differ(served):
    first, again, other = (asked(served, seed=seed, n=2)["choices"] for seed in (7, 7, 8))
    assert [choice["message"] for choice in first] == [choice["message"] for choice in again]
    assert first[0]["message"] != first[1]["message"] and first[0]["message"] != other[0]["message"]
    greedy = {asked(served, seed=seed, temperature=0)["choices"][0]["message"]["content"] for seed in (1, 2)}
    assert len(greedy) == 1


def test_tokens_are_counted_and_an_answer_ends_at_its_limit_or_stop(served):
    body = asked(served, temperature=0, max_tokens=5)
    text = body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "length"
    prompt = served.tiny.tokenizer.apply_chat_template(HELLO, add_generation_prompt=True, tokenize=False)
    assert body["usage"]["prompt_tokens"] == len(served.tiny.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    assert body["usage"]["completion_tokens"] == 5
    end = next(letter for letter in text[1:] if letter != "\ufffd")
    cut = asked(served, temperature=0, max_tokens=5, stop=end)["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == (text[: text.index(end)], "stop")


def test_a_choice_is_one_of_the_given_strings_and_ends_by_itself(served):
    choice = ["the first", "the second", "née \u4f60"]
    said = {
        asked(served, seed=seed, max_tokens=40, temperature=1.5, structured_outputs={"choice": choice})["choices"][0][
            "message"
        ]["content"]
        for seed in range(5)
    }
    assert said <= set(choice) and len(said) > 1


@pytest.mark.slow
def test_a_schema_gives_json_that_fits_it(served):
    schema = {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": 12},
            "a": {"type": "integer", "minimum": 0, "maximum": 4},
            "better": {"enum": ["A", "B", "tie"]},
            "sure": {"type": "boolean"},
            "marks": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 3}, "maxItems": 2},
        },
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    seen = set()
    for seed in range(2):
        choice = asked(served, seed=seed, max_tokens=120, response_format=form)["choices"][0]
        said = json.loads(choice["message"]["content"])
        assert list(said) == list(schema["properties"]) and choice["finish_reason"] == "stop"
        assert 0 <= said["a"] <= 4 and said["better"] in ("A", "B", "tie") and len(said["reason"]) <= 12
        seen.add(json.dumps(said))
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"model": "another"}, 404, "model_not_found"),
        ({"max_tokens": 100_000}, 400, None),
        ({"temperature": "hot"}, 400, None),
        ({"messages": []}, 400, None),
        ({"response_format": {"type": "xml"}}, 400, None),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}}, 400, None),
    ],
)
def test_what_cannot_be_served_is_refused_as_openai_does(served, request_, status, code):
    found, error = refusal(served, **request_)
    assert (found, error["code"]) == (status, code) and error["message"]


@pytest.mark.slow  # a process that imports torch takes seconds
def test_in_a_process_of_its_own_it_lists_its_model_asks_for_its_key_and_judges():
    with tiny_server.started(key="sk-right") as url:
        with pytest.raises(LabelerError, match="HTTP 401 Unauthorized .invalid_api_key."):
            Chat(url, "tiny-chatml", api_key="sk-wrong").complete(HELLO, max_tokens=1)
        sent = urllib.request.Request(f"{url}/models", headers={"Authorization": "Bearer sk-right"})
        with urllib.request.urlopen(sent, timeout=10) as answer:
            assert [model["id"] for model in json.load(answer)["data"]] == ["tiny-chatml"]
        there = LLMJudge(url, "tiny-chatml", constrain=True, api_key="sk-right").judge(PAIRS[:3])
    here = tiny_server.in_thread()
    expected = LLMJudge(here.url, here.tiny.name, constrain=True).judge(PAIRS[:3])
    assert [one.p_b for one in there] == pytest.approx([one.p_b for one in expected], abs=1e-4)


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory):
    """`transformers serve` over a saved folder of a tiny model; gives (address, folder)."""
    pytest.importorskip("fastapi", reason="`transformers serve` needs fastapi and uvicorn (requirements-dev.txt)")
    pytest.importorskip("uvicorn", reason="`transformers serve` needs fastapi and uvicorn (requirements-dev.txt)")
    tiny = tiny_server.in_thread().tiny
    folder = tmp_path_factory.mktemp("served") / "tiny"
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--port", str(port)]
    away = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "home")}
    log = (folder.parent / "log").open("w")
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--device", "cpu"], env=away, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder.parent / "log")
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _wait_for(address, process, log, patience=120):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        assert process.poll() is None, f"`transformers serve` ended: {log.read_text()[-2000:]}"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"`transformers serve` did not answer: {log.read_text()[-2000:]}")


@pytest.mark.slow  # a server that imports torch and loads a model
def test_transformers_serve_answers_on_the_plain_path_and_gibberish_is_no_verdict(plain_server):
    url, model = plain_server
    labeler = LLMJudge(url, model, logprobs=False, max_tokens=6, prices=Prices(per_million_output=Decimal(3)))
    (verdict,) = labeler.judge(PAIRS[:1])
    assert verdict.outcome == Outcome.UNPARSED, "a random model says no verdict, and none is made up"
    assert verdict.usage.input_tokens > 100 and 0 < verdict.usage.output_tokens <= 12
    assert verdict.cost == Decimal(verdict.usage.output_tokens) * 3 / 1_000_000


@pytest.mark.slow
def test_transformers_serve_gives_no_log_probabilities_and_the_verdict_is_read_from_the_text(plain_server):
    """It ignores `logprobs`: what a judge asks for and does not get must not make it fail, nor invent a probability."""
    url, model = plain_server
    said = Chat(url, model).complete(HELLO, max_tokens=4, top_logprobs=5)
    assert said.tokens == () and said.usage.output_tokens <= 4
    answer = LLMJudge(url, model, logprobs=True, max_tokens=4).ask(PAIRS[0], "ab", {})
    assert (answer.method, answer.p_b) == ("text", None)


@pytest.mark.slow
def test_transformers_serve_is_asked_without_the_structured_output_it_refuses_and_that_is_told(plain_server):
    url, model = plain_server
    said = Chat(url, model).complete(HELLO, max_tokens=4, extra={"structured_outputs": {"choice": ["A", "B"]}})
    assert said.dropped == ("structured_outputs",)
