"""Which model, exactly, and its weights in memory: pinned, safetensors only, no code of its own."""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMIT = re.compile(r"[0-9a-f]{40}")
_PARTS = ("*.safetensors", "*.json", "*.model", "*.jinja")


class UnfitModel(ValueError):
    """This model cannot be scored by this engine as asked."""


@dataclass(frozen=True)
class Source:
    """A model by name: a folder, or a repository with the commit it is pinned to.

    `adapter` (with its own commit): a LoRA over it, which needs `peft`; the scores of the base are the base's own.
    `template`: a chat template's text instead of the tokenizer's. `precision`: "" is bf16 on a GPU and fp32 on a CPU.
    """

    name: str
    revision: str = ""
    adapter: str = ""
    adapter_revision: str = ""
    template: str = ""
    precision: str = ""
    device: str = ""

    def identity(self) -> str:
        """Names the weights, not the place they lie in."""
        whole = exact(self.name, self.revision)
        return f"{whole}+{exact(self.adapter, self.adapter_revision)}" if self.adapter else whole


def exact(name: str, revision: str) -> str:
    """A commit, or for a folder the digest of its files. Raises ValueError for what can change under its name."""
    if (folder := Path(name)).is_dir():
        return f"sha256:{_digest(folder)}"
    if not COMMIT.fullmatch(revision):
        raise ValueError(f"{name} needs the commit (40 hexadecimal digits) as its revision, not {revision!r}")
    return f"{name}@{revision}"


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted({path for part in _PARTS for path in folder.glob(part)}):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()


def place(source: Source) -> tuple[str, str]:
    """(device, precision) a model will run in."""
    import torch

    device = source.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return device, source.precision or ("bfloat16" if device.startswith("cuda") else "float32")


def tokenizer(source: Source) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source.name, revision=source.revision or None, trust_remote_code=False)


def weights(source: Source, kind: str = "AutoModelForCausalLM", **options: Any) -> Any:
    """The model, ready to be asked. `kind`: the transformers class that loads it.

    Raises UnfitModel where there are no weights that can be read: pickles are not, they run what code they hold.
    """
    try:
        return _weights(source, kind, options)
    except (OSError, ValueError, ImportError) as error:
        raise UnfitModel(str(error)) from error


def _weights(source: Source, kind: str, options: dict[str, Any]) -> Any:
    import torch
    import transformers

    device, precision = place(source)
    model = getattr(transformers, kind).from_pretrained(
        source.name,
        revision=source.revision or None,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=getattr(torch, precision),
        **options,
    )
    if source.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(
            model, source.adapter, revision=source.adapter_revision or None, use_safetensors=True
        )
    return model.to(device).eval()


@dataclass
class Loaded:
    """One set of weights, brought into memory when first asked for and given back with `free`.

    A LoRA and its base are two models in one set: `base_identity` names the weights without the adapter.
    """

    source: Source | None
    identity: str
    model: Any = None
    base_identity: str = ""
    # Counted for whoever wants to know how often weights really were read.
    loads: int = field(default=0)

    @classmethod
    def of(cls, source: Source) -> Loaded:
        base = exact(source.name, source.revision) if source.adapter else ""
        return cls(source, source.identity(), base_identity=base)

    def get(self) -> Any:
        if self.model is None:
            if self.source is None:
                raise ValueError(f"the weights of {self.identity} were given from outside and have been freed")
            self.model = weights(self.source)
            self.loads += 1
        return self.model

    def free(self) -> None:
        """Make room for the next model. Weights that were given from outside stay with whoever gave them."""
        if self.source is None or self.model is None:
            return
        self.model = None
        make_room()


def make_room() -> None:
    """Hand the memory of what nobody holds any more back to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def plain(model: Any) -> Any:
    """The transformers model inside a PEFT model: its layers, adapters included."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def without_adapter(model: Any) -> AbstractContextManager[Any]:
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()


@contextmanager
def implementation(model: Any, name: str) -> Iterator[None]:
    """The model with another attention implementation for a while."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
