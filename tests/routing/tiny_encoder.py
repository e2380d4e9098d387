"""A tiny encoder with random weights and a tokenizer without a chat template, written to a folder. No download."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MARKS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def save(folder: Path, texts: Iterable[str], words: int = 800, seed: int = 0) -> str:
    """The folder, as a name for `Recipe.model`. Its words are those of `texts`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(unk_token=MARKS["unk_token"]))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=words, special_tokens=list(MARKS.values()), show_progress=False)
    inner.train_from_iterator([*texts, "user assistant system :"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **MARKS)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            num_labels=1,
            pad_token_id=0,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
