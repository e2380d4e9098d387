"""Text embeddings and the files that fitted objects are kept in."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from routing import artifact
from routing.embeddings import TextEmbedding

TEXTS = [f"{subject} {verb} the {thing}" for subject in ("cats", "dogs") for verb in ("see", "eat") for thing in "xyz"]


def test_similar_texts_are_near_and_vectors_have_unit_length():
    cats, more_cats, tax = (
        TextEmbedding().fit([*TEXTS, "tax law is dull"]).transform(["cats see x", "cats eat x", "tax law"])
    )
    assert cats @ more_cats > cats @ tax
    assert cats.dtype == np.float32
    assert np.linalg.norm(cats) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("texts", [["a"], ["...", "!"], ["same", "same"], ["", "x y z", "漢字 かな"]])
def test_tiny_corpora_give_narrow_vectors(texts):
    embedding = TextEmbedding(width=64).fit(texts)
    vectors = embedding.transform([*texts, "never seen"])
    assert vectors.shape == (len(texts) + 1, embedding.width_)
    assert embedding.width_ <= 64 and np.isfinite(vectors).all()
    assert not vectors[-1].any()


def test_width_is_kept_and_the_seed_decides_everything():
    texts = [f"w{number} w{number * 7 % 31} w{number * 3 % 17}" for number in range(150)]
    one, two = (TextEmbedding(width=16, seed=3).fit(texts).transform(texts) for _ in range(2))
    assert one.shape == (150, 16)
    np.testing.assert_array_equal(one, two)


def test_a_saved_embedding_reads_back_equal_and_refuses_another_checksum(tmp_path):
    embedding = TextEmbedding().fit(TEXTS)
    sha256 = embedding.save(tmp_path / "e")
    again = TextEmbedding.load(tmp_path / "e", sha256=sha256)
    np.testing.assert_allclose(again.transform(TEXTS), embedding.transform(TEXTS), atol=1e-6)
    with pytest.raises(artifact.ArtifactMismatch, match="SHA-256"):
        TextEmbedding.load(tmp_path / "e", sha256="0" * 64)


def test_a_pickled_estimator_is_read_only_against_its_checksum(tmp_path):
    path = tmp_path / "model"
    sha256 = artifact.save(
        path, LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), kind="line", version="3", digest="d"
    )
    assert artifact.load(path, kind="line", sha256=sha256).coef_[0] == pytest.approx(2)
    for wrong in (
        {"kind": "line"},
        {"kind": "curve", "sha256": sha256},
        {"kind": "line", "version": "4", "sha256": sha256},
    ):
        with pytest.raises(artifact.ArtifactMismatch):
            artifact.load(path, **wrong)
    with pytest.raises(artifact.ArtifactMismatch, match="version"):
        artifact.load(path, kind="line", version="4", sha256=sha256)
    with pytest.raises(artifact.ArtifactMismatch, match="digest"):
        artifact.load(path, kind="line", digest="other", sha256=sha256)


def test_a_file_that_is_no_artifact_or_damaged_is_refused(tmp_path):
    path = tmp_path / "e"
    TextEmbedding().fit(TEXTS).save(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(artifact.ArtifactMismatch, match="damaged"):
        TextEmbedding.load(path)
    path.write_bytes(b"hello")
    with pytest.raises(artifact.ArtifactMismatch, match="not an artifact"):
        TextEmbedding.load(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "model"
    artifact.save(path, LinearRegression(), kind="line")
    before = path.read_bytes()
    with pytest.raises(Exception):  # noqa: B017 - whatever pickle raises
        artifact.save(path, lambda: None, kind="line")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
