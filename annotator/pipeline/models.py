"""Labelers with models of one's own: from a version's parameters to weights in a worker's memory.

What each kind is told stands in `model_fields.FIELDS`. A lead names models, so what is named is checked here: folders
only below those that the operator allows, repositories only with the commit they are pinned to; the loader reads
safetensors only and runs no code that comes with a model. Nothing of this happens in a web process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

import labelers
from annotator.models import Gold, Judgment, LabelerVersion, Project
from annotator.pipeline import disclosures, keys, model_fields, scores, versions, work
from annotator.pipeline.model_fields import FIELDS
from annotator.pipeline.work import StepRefused
from labelers import endpoint
from labelers.base import LabelerError
from labelers.chat import Chat
from labelers.domains import ByModel
from labelers.exemplars import Exemplar
from labelers.logprobs import UnfitModel
from labelers.logprobs.models import COMMIT
from labelers.pointwise import Pointwise

# Comparisons of one batch: each model is read once for all of them, so weights that do not fit beside each other in
# memory are read as rarely as can be; what a crash loses is judged from stored scores.
SHARD = 4096
# Models are kept in memory between batches when twice their files fit: room for activations and for fp32.
ROOM = 2.0
# What a lead may say of a model.
PARTS = {part.name for part in model_fields.MODEL_PARTS} | {"backend", "base_url", "api_key_env"}
# How many engines ask the cache one after the other in one call.
_SWEEPS = {"density_ratio": 2, "implicit_reward": 2, "contrastive_prompts": 2, "follow_up": 1, "reward_model": 1}


def is_model(kind: str) -> bool:
    """Whether a labeler of `kind` loads models, and so runs where they may be loaded."""
    return kind in FIELDS


def queue(kind: str) -> str:
    """Where jobs of such a labeler go. With MODELS=no any worker takes them, to say why they cannot run."""
    return work.GPU if is_model(kind) and settings.MODELS else ""


# What a lead chose


def parameters(project: Project, kind: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A version's parameters from what a form gives (`model_fields`), defaults filled in, gold by reference.

    Nothing is loaded. Raises StepRefused for a model that may not be named so, in words for the lead.
    """
    made: dict[str, Any] = {}
    for field in FIELDS[kind]:
        value = chosen.get(field.name, field.default)
        if value is None and field.required:
            raise StepRefused(_("%(name)s is missing.") % {"name": field.label})
        made[field.name] = _frozen(project, field, value, chosen)
    return made


def _frozen(project: Project, field: model_fields.Field, value: Any, chosen: Mapping[str, Any]) -> Any:
    if field.type == "model":
        return checked(value)
    if field.type == "gold" and isinstance(value, int):
        return gold_references(project, value, int(chosen.get("seed") or 0))
    if field.type == "router" and value:
        _free_addresses(value)
    return value


def checked(model: Mapping[str, Any]) -> dict[str, Any]:
    """`model` without its empty parts. Raises StepRefused where it names what may not be loaded."""
    made = {part: value for part, value in model.items() if value not in ("", None)}
    if unknown := set(made) - PARTS:
        raise StepRefused(_("A model has no part named %(names)s.") % {"names": ", ".join(sorted(unknown))})
    if is_served(made):
        versions.check_endpoint(str(made.get("base_url", "")))
    # Of a model that a server has, the tokenizer is read here.
    _check_name(str(made.get("name", "")), str(made.get("revision", "")))
    if adapter := made.get("adapter"):
        _check_name(str(adapter), str(made.get("adapter_revision", "")))
    if folder := made.get("tokenizer"):
        _check_folder(str(folder))
    return made


def is_served(model: Mapping[str, Any]) -> bool:
    """Whether a server computes, and not a worker of ours."""
    return bool(model.get("backend", "transformers") != "transformers")


def _check_name(name: str, revision: str) -> None:
    if name.startswith(("/", "~", ".")):
        return _check_folder(name)
    # A name such as docs/models would be read as a folder where one lies below the working directory.
    if not model_fields.REPOSITORY.fullmatch(name) or ".." in name or Path(name).exists():
        raise StepRefused(
            _("“%(name)s” names no model: give a folder from its root on, as in /srv/models/small, or owner/name.")
            % {"name": name}
        )
    if not COMMIT.fullmatch(revision):
        raise StepRefused(
            _("%(name)s needs its commit, 40 hexadecimal digits: what a branch means can change.") % {"name": name}
        )
    return None


def _check_folder(name: str) -> None:
    """By its real path, so that neither dots nor links lead out. It may lie on a worker's machine only."""
    path = Path(name).resolve()
    if not any(path.is_relative_to(folder) and path != folder for folder in settings.MODEL_FOLDERS):
        raise StepRefused(
            _("%(name)s lies in no folder that models may be read from. They are: %(folders)s (MODEL_FOLDERS).")
            % {"name": name, "folders": ", ".join(str(each) for each in settings.MODEL_FOLDERS) or _("none")}
        )


def folders() -> list[str]:
    """Folders with a model that a lead may name, as this machine sees them: for suggestions."""
    found = [
        file.parent for top in settings.MODEL_FOLDERS if top.is_dir() for file in sorted(top.glob("**/config.json"))
    ]
    return [str(folder) for folder in found if any(folder.glob("*.safetensors"))]


# Exemplars


def gold_references(project: Project, number: int, seed: int = 0) -> list[dict[str, Any]]:
    """`number` known answers with a better side, drawn by `seed`: their ids, and digests of what they say.

    Only those that may be shown (`Gold.objects.examples`).
    """
    golds = Gold.objects.filter(project=project).examples().exclude(better=[Gold.Better.TIE])
    golds = golds.select_related("comparison__prompt", "comparison__response_a", "comparison__response_b")
    drawn = sorted(golds, key=lambda gold: _draw(seed, gold.pk))
    return [{"gold": gold.pk, "digest": exemplar_of(gold).digest} for gold in drawn[:number]]


def _draw(seed: int, number: int) -> str:
    import hashlib

    return hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()


def exemplar_of(gold: Gold) -> Exemplar:
    """Raises StepRefused when it names no better side any more."""
    better = [each for each in gold.better if each in (Gold.Better.A, Gold.Better.B)]
    if len(gold.better) != 1 or not better:
        raise StepRefused(_changed(gold.pk))
    compared = gold.comparison
    good, bad = compared.response_a.text, compared.response_b.text
    asked = next((str(turn["content"]) for turn in reversed(compared.prompt.turns) if turn["role"] == "user"), "")
    return Exemplar(asked, *((good, bad) if better[0] == Gold.Better.A else (bad, good)))


def exemplars(project: Project, references: Sequence[Mapping[str, Any]]) -> list[Exemplar]:
    """What the references stood for when the version was made. Raises StepRefused when gold has changed since."""
    golds = Gold.objects.filter(project=project, pk__in=[each["gold"] for each in references])
    golds = golds.exclude(use=Gold.Use.HIDDEN)  # such as was mixed in since is not sent any more
    known = golds.select_related("comparison__prompt", "comparison__response_a", "comparison__response_b").in_bulk()
    found = []
    for each in references:
        exemplar = exemplar_of(known[each["gold"]]) if each["gold"] in known else None
        if exemplar is None or exemplar.digest != each["digest"]:
            raise StepRefused(_changed(each["gold"]))
        found.append(exemplar)
    return found


def _changed(gold_id: int) -> str:
    words = _("Known answer %(id)s, an exemplar of this labeler, has changed. Edit the labeler to take today's gold.")
    return words % {"id": gold_id}


# Building


def build(version: LabelerVersion, beat: Callable[[float], None] = lambda _share: None) -> Pointwise:
    """The labeler with its models, scores in the database. For workers; `free` it when the run is over.

    `beat` is called between batches of an engine with the share of the present call that is done, and may raise to
    stop. Raises StepRefused when it cannot be built here, in words for the lead.
    """
    kind, chosen = version.labeler.kind, dict(version.parameters)
    refuse_without_models()
    for field in FIELDS[kind]:
        if field.type == "model":
            chosen[field.name] = _reachable(version, checked(chosen[field.name]))
    if "exemplars" in chosen:
        chosen["exemplars"] = exemplars(version.labeler.project, chosen["exemplars"])
    if "router" in chosen:
        chosen["router"] = _router(chosen["router"])
    named = [chosen[field.name] for field in FIELDS[kind] if field.type == "model"]
    cache = scores.Stored(_listening(beat, disclosures.Word(version)), _SWEEPS[kind])
    try:
        built: Pointwise = labelers.load(kind)(**chosen, cache=cache, resident=_fit_together(named))
    except (OSError, ValueError, ImportError) as error:
        raise StepRefused(
            _("The models of %(name)s cannot be read: %(reason)s") % {"name": version.labeler, "reason": _first(error)}
        ) from error
    _refuse_changed(version, built)
    return InProject(version, built, cache)


def _listening(beat: Callable[[float], None], word: disclosures.Word) -> Callable[[float], None]:
    """`beat`, and a refusal once a lead has taken the word back: an engine scores thousands of texts in one call."""

    def both(share: float) -> None:
        beat(share)
        word.refuse_unless_it_stands()

    return both


class InProject(Pointwise):
    """A labeler of a project: nothing leaves without a lead's word, asked for anew at each call and between batches of
    an engine; a failure of a server or a model is a refusal in words; and the cache hears that a call begins.
    """

    def __init__(self, version: LabelerVersion, built: Pointwise, cache: scores.Stored) -> None:
        self.version, self.built, self.cache = version, built, cache
        self.slope, self.tie = built.slope, built.tie

    @property
    def provenance(self) -> dict[str, Any]:
        return self.built.provenance

    def score(self, cases: Any) -> Any:
        disclosures.refuse_unless_allowed(self.version)
        self.cache.begin()
        try:
            return self.built.score(cases)
        except (LabelerError, UnfitModel) as error:
            words = _("The models of %(name)s cannot score: %(reason)s")
            raise StepRefused(words % {"name": self.version.labeler, "reason": _first(error)}) from error

    def free(self) -> None:
        self.built.free()


def refuse_without_models() -> None:
    if not settings.MODELS:
        raise StepRefused(
            _("This site was started without models (MODELS=no), so labelers that load one cannot run on it.")
        )


def _reachable(version: LabelerVersion, model: dict[str, Any]) -> dict[str, Any]:
    """With the addresses and the key of its server, where it is behind one."""
    if not is_served(model):
        return model
    base_url = model["base_url"]
    known = {part: value for part, value in model.items() if part != "api_key_env"}
    return {**known, "addresses": versions.check_endpoint(base_url), "api_key": _key(version, model)}


def _key(version: LabelerVersion, of: Mapping[str, Any]) -> str:
    base_url = of["base_url"]
    return keys.key_for(version, base_url) or versions.api_key(of.get("api_key_env", ""), base_url)


def _router(router: Mapping[str, Any]) -> ByModel | None:
    if not router:
        return None
    chat = Chat(router["base_url"], router["model"], timeout=30.0, addresses=_free_addresses(router))
    return ByModel(lambda messages: chat.complete(messages, max_tokens=8).text)


def _free_addresses(router: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a router is. Nobody reserves or records what it costs, so it must be where nobody asks for money or a key.

    Raises StepRefused for any other place.
    """
    addresses = versions.check_endpoint(router["base_url"])
    if router.get("api_key_env") or not endpoint.is_own(addresses):
        raise StepRefused(
            _(
                "%(place)s may not say what prompts are about: it is asked outside the budget, so it has to be a "
                "server on this machine or in its own network, and takes no key. Leave it empty and words decide."
            )
            % {"place": endpoint.place(router["base_url"])}
        )
    return addresses


def _refuse_changed(version: LabelerVersion, built: Pointwise) -> None:
    """A folder's files may have been exchanged under a version that has judged: it would be two labelers in one."""
    earlier = Judgment.objects.filter(rater__labeler_version=version, provenance__has_key="models")
    then = earlier.values_list("provenance__models", flat=True).first()
    if then is not None and then != built.provenance.get("models"):
        raise StepRefused(
            _(
                "The files of a model of %(name)s are not those that this version judged with. Edit the labeler and "
                "write another word as the folder's commit to make a new version."
            )
            % {"name": version.labeler}
        )


# Memory


def _fit_together(named: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all its models may stay in memory between two batches. What cannot be told is read anew for each."""
    names = {str(model["name"]): model for model in named if not is_served(model)}
    if len(names) < 2:
        return True
    sizes = [_size(model) for model in names.values()]
    return all(sizes) and ROOM * sum(sizes) < _free_memory()


def _size(model: Mapping[str, Any]) -> int:
    """Bytes of its weights on this disk, 0 where they are not there."""
    folder = Path(model["name"])
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(model["name"], revision=model["revision"], local_files_only=True))
        except LocalEntryNotFoundError:
            return 0
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _free_memory() -> int:
    """Bytes free on the GPU, or in this machine without one."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _first(error: Exception) -> str:
    """The first line of what a library says at length."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
