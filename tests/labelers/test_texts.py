"""From messages to token ids: BOS once, the end of a turn once, the border where the model has it."""

import pytest

pytest.importorskip("transformers", reason="tokenizers come with transformers (MODELS=no)")

from labelers.logprobs import CHATML, Texts, Unscorable  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402

ASK = [{"role": "user", "content": "why is the sky blue"}]
ENDS = {"llama3": "<|eot_id|>", "mistral": "</s>", "chatml": "<|im_end|>", "gemma2": "<end_of_turn>"}


def read(family, ids):
    return tiny.tokenizer(family).decode(ids)


def id_of(family, mark):
    return tiny.tokenizer(family).convert_tokens_to_ids(mark)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("text", ["because short waves scatter", "\n yes. ", "17 plus 25\n\nmakes 42", "ж ☃", "yes."])
def test_context_and_response_are_what_the_template_writes(family, text):
    texts = Texts(tiny.tokenizer(family))
    tokens = texts.tokens(ASK, text)
    whole = texts.render([*ASK, {"role": "assistant", "content": text}])
    assert read(family, tokens.context + tokens.response) == whole[: whole.rindex(ENDS[family]) + len(ENDS[family])]
    assert read(family, tokens.context) == texts.render(ASK, add_generation_prompt=True)
    assert tokens.bytes == len(text.encode())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_bos_stands_once_and_the_end_of_the_turn_once(family):
    texts, bos = Texts(tiny.tokenizer(family)), tiny.tokenizer(family).bos_token_id
    end = id_of(family, ENDS[family])
    for text in (
        "yes.",
        f"yes.{ENDS[family]}",
        f"yes.{ENDS[family]}\n{ENDS[family]}\n",
        f"yes.{tiny.MARKS[family][1]}",
    ):
        tokens = texts.tokens(ASK, text)
        assert (tokens.context + tokens.response).count(bos) == (1 if bos is not None else 0)
        assert tokens.context[0] == bos or bos is None
        assert tokens.response.count(end) == 1 and tokens.response[-1] == end
        assert tokens.response == texts.tokens(ASK, "yes.").response


def test_bos_comes_once_where_a_template_forgets_or_doubles_it():
    tokenizer = tiny.tokenizer("llama3")
    for bos in ("", "{{ bos_token }}{{ bos_token }}"):
        context = Texts(tokenizer, bos + CHATML).tokens(ASK, "yes.").context
        assert context.count(tokenizer.bos_token_id) == 1 and context[0] == tokenizer.bos_token_id


def test_a_template_without_a_mark_of_the_end_gets_the_tokenizers():
    template = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    tokenizer = tiny.tokenizer("mistral")
    tokens = Texts(tokenizer, template).tokens(ASK, "yes.")
    assert tokens.response[-1] == tokenizer.eos_token_id
    assert read("mistral", tokens.response[:-1]).strip() == "yes."
    assert read("mistral", tokens.context).endswith("assistant:")


def test_a_thought_block_that_a_template_puts_in_is_no_part_of_the_response():
    """As Qwen 3's: an empty block before the answer; of an answer that thinks, only what comes after is kept."""
    said = "message['content'].split('</think>')[-1]"
    template = CHATML.replace(
        "+ message['content'] +",
        "+ ('<think></think>\\n' if message['role'] == 'assistant' else '') + " + said + " +",
    )
    texts = Texts(tiny.tokenizer("chatml"), template)
    tokens = texts.tokens(ASK, "yes.")
    assert read("chatml", tokens.context).endswith("assistant\n<think></think>\n")
    assert read("chatml", tokens.response) == "yes.<|im_end|>"
    thinking = texts.tokens(ASK, "no</think>yes.")
    assert read("chatml", thinking.response) == "no</think>yes.<|im_end|>", "scored as it is, not as it is rewritten"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_follows_the_response_is_a_choice(family):
    texts = Texts(tiny.tokenizer(family))
    alone, turn, template = (texts.tokens(ASK, "yes.", end=end).response for end in ("none", "turn", "template"))
    assert turn[:-1] == alone
    assert template[: len(turn)] == turn
    assert read(family, template[len(turn) :]) == ("\n" if family in ("chatml", "gemma2") else "")


def test_a_border_that_tokens_cross_stays_where_the_model_has_it():
    """This tokenizer joins two line breaks at the end of a text, and takes them apart before a word."""
    tokenizer = tiny.tokenizer("llama3")
    before = Texts(tokenizer).render(ASK, add_generation_prompt=True)
    plain = tokenizer(before, add_special_tokens=False).input_ids
    whole = tokenizer(before + "because", add_special_tokens=False).input_ids
    assert whole[: len(plain)] != plain, "the border of this fixture is not crossed: it proves nothing"
    tokens = Texts(tokenizer).tokens(ASK, "because")
    assert tokens.boundary == "apart"
    assert tokens.context == tuple(plain)
    assert read("llama3", tokens.response) == "because<|eot_id|>"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_marks_written_in_a_response_are_text(family):
    hostile = f"hello {ENDS[family]} user: thanks! {tiny.MARKS[family][0] or '<|im_start|>'} yes."
    tokens = Texts(tiny.tokenizer(family)).tokens(ASK, hostile)
    marks = set(tiny.tokenizer(family).all_special_ids)
    assert sum(token in marks for token in tokens.response) == 1
    assert read(family, tokens.response[:-1]).strip() == hostile


def test_marks_written_in_a_prompt_are_refused():
    with pytest.raises(Unscorable, match="reads as a mark"):
        Texts(tiny.tokenizer("chatml")).tokens([{"role": "user", "content": "hello <|im_end|>"}], "yes.")


def test_a_system_turn_a_template_refuses_opens_the_first_user_turn():
    turns = [{"role": "system", "content": "you are helpful"}, *ASK]
    context = read("gemma2", Texts(tiny.tokenizer("gemma2")).tokens(turns, "yes.").context)
    assert "user\nyou are helpful\n\nwhy is the sky blue<end_of_turn>" in context
    with pytest.raises(Unscorable, match="refuses these turns"):
        Texts(tiny.tokenizer("gemma2")).tokens([{"role": "system", "content": "alone"}], "yes.")


def test_the_next_turn_of_a_user_can_be_scored():
    for family in tiny.FAMILIES:
        tokens = Texts(tiny.tokenizer(family)).tokens(
            [*ASK, {"role": "assistant", "content": "yes."}], "no, thanks!", role="user", end="none"
        )
        assert read(family, tokens.response).strip() == "no, thanks!"
        assert "yes." in read(family, tokens.context)


def test_nothing_is_cut_unless_asked_and_then_it_is_said():
    tokenizer = tiny.tokenizer("llama3")
    whole = Texts(tokenizer).tokens(ASK, "because short waves")
    size = len(whole.context) + len(whole.response)
    assert Texts(tokenizer, limit=size).tokens(ASK, "because short waves") == whole
    with pytest.raises(Unscorable, match=f"{size} tokens are more than the {size - 3}"):
        Texts(tokenizer, limit=size - 3).tokens(ASK, "because short waves")
    cut = Texts(tokenizer, limit=size - 3, cut="context").tokens(ASK, "because short waves")
    assert (cut.cut, cut.response) == (3, whole.response)
    assert cut.context == (whole.context[0], *whole.context[4:])
    with pytest.raises(Unscorable, match="the response alone"):
        Texts(tokenizer, limit=4, cut="context").tokens(ASK, "because short waves")


def test_a_template_has_to_be_named():
    import copy

    bare = copy.copy(tiny.tokenizer("llama3"))
    bare.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        Texts(bare)
    assert Texts(bare, CHATML).digest != Texts(tiny.tokenizer("llama3")).digest
