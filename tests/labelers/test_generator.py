"""A generator against a real tiny model: N responses of each model and temperature, each with what made it."""

import hashlib
import re
from decimal import Decimal

import pytest

from labelers.base import Answer, LabelerError, Prices
from labelers.chat import Retries
from labelers.generator import Generator, fault_of
from tests.labelers import tiny_server
from tests.labelers.conftest import one_server, server  # noqa: F401
from tests.labelers.test_labelers import Prompt

pytest.importorskip("transformers", reason="the tiny server needs torch and transformers (MODELS=no)")
SKY = Prompt()


@pytest.fixture
def served():
    return tiny_server.in_thread()


def writer(url="http://127.0.0.1:9/v1", models=("tiny-chatml",), **more):
    return Generator(url, models, **{"max_tokens": 6, "timeout": 20.0, "retries": Retries(failures=1), **more})


def test_each_model_and_temperature_is_asked_n_times_and_greedy_once():
    generator = writer(models=["m", "n"], temperatures=[0.0, 0.7], number=2)
    assert generator.steps(SKY) == ("1:0#1", "1:0.7#1", "1:0.7#2", "2:0#1", "2:0.7#1", "2:0.7#2")


def test_a_real_models_responses_repeat_by_seed_and_say_where_they_come_from(served):
    one, two, three = writer(served.url, temperatures=[1.0], number=3, seed=4, system="Be brief.").generate([SKY])[0]
    again = writer(served.url, temperatures=[1.0], number=3, seed=4, system="Be brief.").generate([SKY, SKY])
    assert [[each.text for each in both] for both in again] == [[one.text, two.text, three.text]] * 2
    assert len({one.text, two.text, three.text}) == 3
    made = two.provenance
    assert (made["model"], made["answered_by"], made["seed"]) == ("tiny-chatml", "tiny-chatml fp_tiny", 5)
    assert made["system_sha256"] == hashlib.sha256(b"Be brief.").hexdigest()
    assert made["place"] == served.url.split("/")[2]
    prompt = served.tiny.prompt_ids(served.requests[-1]["messages"])
    assert (made["input_tokens"], made["output_tokens"]) == (len(prompt), 6)


def test_a_response_that_ended_at_the_most_tokens_is_marked(served):
    ((cut,),) = writer(served.url, temperatures=[0.0], max_tokens=3).generate([SKY])
    assert cut.is_cut and cut.provenance["is_cut"] and cut.provenance["finish_reason"] == "length"


@pytest.mark.slow
def test_the_highest_price_bounds_what_the_servers_tokens_cost(served):
    prices = Prices(Decimal("0.01"), Decimal(3), Decimal(15))
    generator = writer(served.url, prices=prices, system="grüße 你好 " * 9)
    for prompt in (SKY, Prompt([{"role": "user", "content": "你好 😀 " * 30}] * 5)):
        answer = generator.ask(prompt, "1:0.7#1", {})
        assert Decimal("0.01") < answer.cost <= generator.highest_price(prompt, "1:0.7#1")


def test_one_calls_failure_stays_its_own(served):
    fine, refused = writer(served.url, models=["tiny-chatml", "absent"]).generate([SKY])[0]
    assert fine.text
    assert isinstance(refused, LabelerError) and "HTTP 404" in str(refused)


def test_there_is_one_system_turn_and_documents_stand_before_the_last_question():
    turns = [
        {"role": "system", "content": "Own."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Second?"},
    ]
    prompt = Prompt(turns, [{"title": "Manual", "text": "page 1"}])
    system, first, answer, last = writer(system="Ours.").messages(prompt)
    assert system == {"role": "system", "content": "Ours.\n\nOwn."}
    assert (first["content"], answer["content"]) == ("First?", "Yes.")
    assert last["content"] == "[document]\nManual\npage 1\n[/document]\n\nSecond?"
    assert turns[3]["content"] == "Second?", "the prompt itself stays as it is"
    assert writer().messages(SKY) == SKY.turns


@pytest.mark.parametrize(
    ("text", "why"), [("", "empty"), (" \n", "empty"), ("a\0", "NUL"), ("\udcff", "Unicode"), (" fine\r\n", "")]
)
def test_a_text_that_cannot_be_kept_as_it_came_says_why(text, why):
    assert re.search(why, fault_of(text)) if why else fault_of(text) == ""


def test_a_paid_answer_that_is_no_response_keeps_its_cost_and_survives_storing(server):  # noqa: F811
    server.script.append("text:a\0b")
    generator = writer(server.url, prices=Prices(per_call=Decimal(2)))
    answer = generator.ask(SKY, "1:0.7#1", {})
    assert (answer.text, answer.is_understood, answer.cost) == ("", False, 2)
    assert Answer(**answer.stored()).finish_reason == generator.refusal(answer) != ""
