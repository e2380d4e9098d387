"""Tiny random models and tokenizers in the manner of Llama 3, Mistral, Qwen (ChatML) and Gemma 2. No download.

Small, but with what matters: grouped heads, windows shorter than the texts, soft caps that bite, templates that trim,
put a default system turn in or refuse one, tokenizers with and without BOS, with spaces before words or bytes.
"""

from __future__ import annotations

import functools

TEMPLATES = {
    "llama3": (
        "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim"
        " + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ raise_exception('no system turns') }}{% elif message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
        "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
    "chatml": (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "gemma2": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
}
# bos, eos, pad, other marks
MARKS = {
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "<|pad|>", ["<|start_header_id|>", "<|end_header_id|>"]),
    "mistral": ("<s>", "</s>", "</s>", []),
    "chatml": (None, "<|im_end|>", "<|endoftext|>", ["<|im_start|>"]),
    "gemma2": ("<bos>", "<eos>", "<pad>", ["<start_of_turn>", "<end_of_turn>"]),
}
FAMILIES = tuple(TEMPLATES)
WORDS = (
    "why is the sky blue because short waves scatter more than long ones in air 17 plus 25 makes 42 def f x return x "
    "assistant user model system hello world you are helpful\n\n yes. no, thanks! "
) * 3


@functools.cache
def tokenizer(family: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bos, eos, pad, others = MARKS[family]
    marks = list(dict.fromkeys(mark for mark in (pad, bos, eos, *others) if mark))
    inner = Tokenizer(models.BPE(byte_fallback=family in ("mistral", "gemma2"), unk_token=None))
    if family in ("mistral", "gemma2"):
        scheme = "first" if family == "mistral" else "never"
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        marks += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet: list[str] = []
    else:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        inner.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = len(marks) + len(alphabet) + 120
    inner.train_from_iterator(
        [WORDS],
        trainers.BpeTrainer(vocab_size=size, special_tokens=marks, initial_alphabet=alphabet, show_progress=False),
    )
    if family in ("mistral", "gemma2"):
        inner = _with_plain_bytes(inner, [mark for mark in marks if not mark.startswith("<0x")])
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, inner.token_to_id(bos))]
        )
    named = {"bos_token": bos, "eos_token": eos, "pad_token": pad, "additional_special_tokens": others}
    made = PreTrainedTokenizerFast(tokenizer_object=inner, **{name: mark for name, mark in named.items() if mark})
    made.chat_template = TEMPLATES[family]
    return made


def _with_plain_bytes(inner, marks):
    """Byte tokens in the vocabulary but not among the special ones, as sentencepiece has them."""
    import json

    from tokenizers import Tokenizer

    made = json.loads(inner.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] in marks]
    return Tokenizer.from_str(json.dumps(made))


@functools.cache
def model(family: str, seed: int = 0):
    """Weights wide enough that tokens differ by nats, and what is masked wrongly shows."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    shape = dict(
        vocab_size=len(tokenizer(family)),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=tokenizer(family).pad_token_id,
    )
    name, more = {
        "llama3": ("Llama", {}),
        "mistral": ("Mistral", {"sliding_window": 24}),
        "chatml": ("Qwen2", {"tie_word_embeddings": True}),
        "gemma2": (
            "Gemma2",
            {
                "head_dim": 8,
                "query_pre_attn_scalar": 8,
                "sliding_window": 24,
                "attn_logit_softcapping": 2.0,
                "final_logit_softcapping": 3.0,
            },
        ),
    }[family]
    config = getattr(transformers, f"{name}Config")(**shape, **more, attn_implementation="eager")
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def cohere():
    """Scales its logits."""
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.CohereConfig(
        vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, logit_scale=0.3, initializer_range=0.3, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return transformers.CohereForCausalLM(config).eval()


def bloom():
    """Knows places by ALiBi, outside the attention interface: cannot be packed."""
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.BloomConfig(vocab_size=200, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    return transformers.BloomForCausalLM(config).eval()
