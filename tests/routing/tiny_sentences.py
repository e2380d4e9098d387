"""A tiny random model of sentence-transformers, saved to a folder: two layers of BERT over a few words. No download."""

from __future__ import annotations

from pathlib import Path

WORDS = (
    "the a cat dog sat on mat rug tax law is dull sky blue why because of waves rome paris capital france one two "
    "three four hello world question answer yes no . , ? !"
)


def save(folder: Path, seed: int = 0) -> Path:
    """The folder with the model in it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    inner = folder.parent / f"{folder.name}-bert"
    inner.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split())]
    (inner / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(inner / "vocab.txt")).save_pretrained(inner)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).eval().save_pretrained(inner)
    body = Transformer(str(inner), max_seq_length=32)
    pooling = Pooling(body.get_embedding_dimension())
    SentenceTransformer(modules=[body, pooling], device="cpu").save(str(folder))
    return folder
