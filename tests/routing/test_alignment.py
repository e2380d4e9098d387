"""Nearness in meaning: alignment of words and tokens, by TF-IDF and by a tiny model of sentences."""

import json
import math

import numpy as np
import pytest

from routing import alignment
from routing.embeddings import TextEmbedding
from routing.sentences import SentenceEmbedding, UnfitSentenceModel, refuse_unsafe
from tests.routing import tiny_sentences

LEXICON = alignment.Lexicon(
    {"cat": 0, "dog": 1, "tax": 2}, np.array([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]]), np.array([1.0, 1.0, 2.0])
)


def test_f1_of_words_by_hand():
    """A: cat, tax; B: dog, tax. cat and dog are 0.6 alike, tax weighs 2 and stands in both."""
    found, words_a, words_b = alignment.of_words(LEXICON, "cat tax", "dog tax")
    assert found == pytest.approx((0.6 + 2) / 3) and (words_a, words_b) == (2, 2)
    assert alignment.of_words(LEXICON, "cat", "tax")[0] == 0, "likeness below 0 counts 0"
    assert alignment.of_words(LEXICON, "unicorn", "unicorn")[0] == 1, "an unknown word aligns with itself"
    assert alignment.of_words(LEXICON, "unicorn", "cat")[0] == 0
    assert math.isnan(alignment.of_words(LEXICON, "", "cat")[0])


def test_bertscore_is_the_f1_of_greedy_matches():
    a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8]])
    precision, recall = 0.8, (0.6 + 0.8) / 2
    assert alignment.of_tokens(a, b) == pytest.approx(2 * precision * recall / (precision + recall))
    assert alignment.of_tokens(a, b) == pytest.approx(alignment.of_tokens(b, a))
    assert math.isnan(alignment.of_tokens(a, b[:0]))


def test_tfidf_measures_pairs_as_it_embeds_texts(tmp_path):
    texts = ["the cat sat on the mat", "a dog sat on the rug", "tax law is dull", "cats and dogs sat there"]
    embedding = TextEmbedding(width=8).fit(texts)
    a, b = [texts[0], texts[0], "", "never seen"], [texts[0], texts[2], texts[0], texts[1]]
    vectors, near = embedding.triples(["why"] * 4, a, b)
    np.testing.assert_allclose(
        vectors, np.hstack([embedding.transform(side) for side in (["why"] * 4, a, b)]), atol=1e-6
    )
    assert near.cosine[0] == pytest.approx(1) and near.cosine[1] == pytest.approx(0, abs=1e-6)
    assert np.isnan(near.cosine[2:]).all() and near.alignment[0] == pytest.approx(1)
    assert near.alignment[1] < 0.7 and math.isnan(near.alignment[2]) and near.lengths[1].tolist() == [6, 4]
    _vectors, exchanged = embedding.triples(["why"] * 4, b, a)
    np.testing.assert_allclose(exchanged.alignment, near.alignment)
    embedding.save(tmp_path / "e")
    _vectors, again = TextEmbedding.load(tmp_path / "e").triples(["why"] * 4, a, b)
    np.testing.assert_allclose(again.alignment, near.alignment, atol=1e-6)


@pytest.mark.slow
def test_a_model_of_sentences_reads_texts_and_tokens_without_its_marks(tmp_path):
    model = SentenceEmbedding(str(tiny_sentences.save(tmp_path / "m")))
    texts = ["the cat sat on the mat", "a dog sat . yes", "the cat sat on the mat"]
    vectors, near = model.triples(["why"] * 3, texts, [texts[0], texts[0], ""])
    assert vectors.shape == (3, 48) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:, 16:32], model.transform(texts), atol=1e-5)
    assert near.lengths.tolist() == [[6, 6], [5, 6], [6, 0]], "no [CLS], no [SEP]"
    assert near.cosine[0] == pytest.approx(1, abs=1e-5) and near.alignment[0] == pytest.approx(1, abs=1e-5)
    assert near.alignment[1] < 1 and math.isnan(near.alignment[2])
    _again, alone = model.triples(["why"], [texts[1]], [texts[0]])
    assert alone.alignment[0] == pytest.approx(near.alignment[1], abs=1e-5), "the others of a batch change nothing"
    assert model.identity == SentenceEmbedding(model.name).identity
    model.free()
    assert model.transform([]).shape == (0, 16)


def test_only_pinned_models_without_code_or_pickles_are_read(tmp_path):
    with pytest.raises(UnfitSentenceModel, match="needs the commit"):
        SentenceEmbedding("owner/name", "main")
    assert SentenceEmbedding("owner/name", "a" * 40).identity == f"owner/name@{'a' * 40}"
    with pytest.raises(UnfitSentenceModel, match="no modules.json"):
        refuse_unsafe(tmp_path)
    listed = tmp_path / "modules.json"
    listed.write_text(json.dumps([{"type": "modeling_evil.Evil"}]))
    with pytest.raises(UnfitSentenceModel, match="code of its own"):
        refuse_unsafe(tmp_path)
    listed.write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnfitSentenceModel, match="must be safetensors"):
        refuse_unsafe(tmp_path)
    (tmp_path / "2_Dense" / "model.safetensors").write_bytes(b"x")
    refuse_unsafe(tmp_path)
