"""Text embeddings by a model of sentences (sentence-transformers): where one is configured, in place of TF-IDF.

What is loaded is pinned (a folder, or a repository at a commit), safetensors only, and brings no code: of a repository
only weights, configuration and vocabulary are fetched, and a model whose parts are not sentence-transformers' own is
refused. Nothing is imported or loaded before the first text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from routing import alignment
from routing.features.registry import SENTENCES
from routing.features.similarity import Nearness

_PARTS = ("*.safetensors", "*.json", "*.txt", "*.model")
_PICKLES = ("*.bin", "*.pt", "*.pkl", "*.ckpt")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Pairs whose token vectors are in memory at once: 64 texts × 512 tokens × 1,024 numbers are 134 MB.
PAIRS = 32


class UnfitSentenceModel(ValueError):
    """The model cannot be used as it is; the message says why, for whoever named it."""


class SentenceEmbedding:
    """`transform(texts) -> (n, width_) float32`, rows of unit length; `triples` as of `TextEmbedding`.

    `name` is a folder, or a repository with `revision`, its commit. `device` "" is the GPU where there is one. Texts
    longer than the model's own limit are cut by its tokenizer. Safe for one thread at a time.
    """

    SOURCE = SENTENCES

    def __init__(self, name: str, revision: str = "", *, device: str = "", batch_size: int = 32) -> None:
        if not Path(name).is_dir() and not _COMMIT.fullmatch(revision):
            raise UnfitSentenceModel(f"{name} needs the commit (40 hexadecimal digits) as its revision.")
        self.name = name
        self.revision = revision
        self.device = device
        self.batch_size = batch_size

    @cached_property
    def identity(self) -> str:
        """Names the weights and not the place they lie in: name@commit, or the digest of the folder's files."""
        folder = Path(self.name)
        return f"sha256:{_digest(folder)}" if folder.is_dir() else f"{self.name}@{self.revision}"

    @property
    def width_(self) -> int:
        return int(self._model.get_embedding_dimension() or 0)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width_) float32, rows of unit length; equal texts are read once."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return np.zeros((0, self.width_), dtype=np.float32)
        place = {text: row for row, text in enumerate(distinct)}
        found = self._model.encode(
            distinct, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)[[place[text] for text in texts]]

    def triples(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> tuple[np.ndarray, Nearness]:
        """([prompt | A | B] (n, 3 width_) float32, how near A and B are)."""
        first, second = np.zeros((2, len(a), self.width_), dtype=np.float32)
        measured = np.full((len(a), 3), np.nan)
        for row, read_a, read_b in self._both(a, b):
            first[row], second[row] = read_a[0], read_b[0]
            measured[row] = alignment.of_tokens(read_a[1], read_b[1]), len(read_a[1]), len(read_b[1])
        cosine = np.einsum("ij,ij->i", first, second).astype(np.float64)
        cosine[~(first.any(axis=1) & second.any(axis=1))] = np.nan
        vectors = np.hstack([self.transform(prompts), first, second])
        return vectors, Nearness(cosine, measured[:, 0], measured[:, 1:])

    def _both(self, a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int, Any, Any]]:
        """(row, what is read of A, of B), PAIRS at a time."""
        for start in range(0, len(a), PAIRS):
            texts = list(dict.fromkeys([*a[start : start + PAIRS], *b[start : start + PAIRS]]))
            read = dict(zip(texts, self._read(texts), strict=True))
            for row in range(start, min(start + PAIRS, len(a))):
                yield row, read[a[row]], read[b[row]]

    def _read(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each text its vector (width,) and its tokens' (t, d), marks such as [CLS] left out; unit length."""
        import torch

        found = self._model.encode(
            list(texts), batch_size=self.batch_size, output_value=None, show_progress_bar=False, convert_to_numpy=False
        )
        with torch.inference_mode():
            return [(_unit(item["sentence_embedding"][None])[0], self._tokens(item)) for item in found]

    def _tokens(self, item: dict[str, Any]) -> np.ndarray:
        import torch

        if "token_embeddings" not in item or "input_ids" not in item:  # a table of word vectors: no token is read
            return np.zeros((0, 1), dtype=np.float32)
        ids = item["input_ids"]
        marks = torch.tensor(self._model.tokenizer.all_special_ids, device=ids.device, dtype=ids.dtype)
        kept = item["attention_mask"].bool() & ~torch.isin(ids, marks)
        return _unit(item["token_embeddings"][kept])

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        folder = self._folder()
        refuse_unsafe(folder)
        return SentenceTransformer(
            str(folder),
            device=self.device or None,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        ).eval()

    def _folder(self) -> Path:
        """Where its files lie; of a repository they are fetched, weights and configuration only."""
        if Path(self.name).is_dir():
            return Path(self.name)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.name, revision=self.revision, allow_patterns=list(_PARTS)))

    def free(self) -> None:
        """Give the weights' memory back; the next text loads them again."""
        if self.__dict__.pop("_model", None) is not None:
            import gc

            import torch

            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def refuse_unsafe(folder: Path) -> None:
    """Raise UnfitSentenceModel for a folder whose loading would run code, unpickle something, or that is no model."""
    listed = folder / "modules.json"
    if not listed.is_file():
        raise UnfitSentenceModel(f"{folder.name} is no model of sentence-transformers: it has no modules.json.")
    try:
        types = [str(module["type"]) for module in json.loads(listed.read_text())]
    except (ValueError, KeyError, TypeError):
        raise UnfitSentenceModel(f"modules.json of {folder.name} cannot be read.") from None
    if foreign := [name for name in types if not name.startswith("sentence_transformers.")]:
        raise UnfitSentenceModel(f"{folder.name} brings code of its own ({foreign[0]}), which is not run here.")
    for pattern in _PICKLES:
        for file in folder.rglob(pattern):
            if not any(file.parent.glob("*.safetensors")):
                raise UnfitSentenceModel(f"{folder.name} has weights as {file.name} only; they must be safetensors.")


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted({path for part in _PARTS for path in folder.rglob(part)}):
        with path.open("rb") as file:
            told = f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0"
        whole.update(told.encode())
    return whole.hexdigest()


def _unit(vectors: Any) -> np.ndarray:
    """Rows of unit length as float32; a zero row stays one."""
    import torch

    return np.asarray(torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)
