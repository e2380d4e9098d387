"""What each labeler with models of one's own is told: the parameters of its versions, as data for forms.

`FIELDS[kind]` are the parameters in the order in which they are asked. A form hands the values over as JSON, without
those that are left at their default if it likes, and `models.parameters(project, kind, chosen)` makes a version's
parameters of them or raises StepRefused in words for the lead. The types of `Field.type`:

model     {"name": a folder below one of MODEL_FOLDERS, or a repository (owner/name),
           "revision": its commit, 40 hexadecimal digits; required for a repository, "" for a folder,
           "adapter", "adapter_revision": the same for a LoRA, "" for none,
           "template": a chat template (Jinja) in place of the tokenizer's own, "" for its own,
           "precision": "" (bf16 on a GPU, fp32 on a CPU), "float32", "bfloat16" or "float16",
           "backend": "transformers" (default), or "vllm" or "sglang" with "base_url", "api_key_env", "model" (what the
           server calls it) and "tokenizer" (a folder)};
           parts that are empty may be left out. `MODEL_PARTS` has the labels.
text      a str; `rows` > 1 asks for a larger box
lines     a list of str, one a line
number    a float; `least` and `most` are allowed
whole     an int; likewise
choice    one of the keys of `choices`
choices   a list of keys of `choices`
yes       a bool
weights   {name: float}, written one a line as name = 0.65
gold      an int: so many exemplars are taken from the project's gold. Stored as [{"gold": id, "digest": …}, …]
router    {} for words, or {"base_url", "model"}: a model that says what a prompt is about. It is asked once a prompt,
          outside the call ledger, so it takes no key and stands on this machine or in the site's own network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise


# A model's name on the hub: owner/name, or an old one without owner.
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,95})?")


@dataclass(frozen=True)
class Field:
    """One parameter. A `required` one has no default; `advanced` ones may be folded away."""

    name: str
    type: str
    label: StrPromise
    help: StrPromise | str = ""
    default: Any = None
    required: bool = False
    choices: tuple[tuple[str, StrPromise | str], ...] = ()
    least: float | None = None
    most: float | None = None
    rows: int = 1
    advanced: bool = False


DOMAINS = (("safety", _("safety")), ("reasoning", _("reasoning")), ("chat", _("chat")))
_PRECISIONS = (
    ("", _("as the machine does best")),
    ("float32", "float32"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
)

# The parts of a value of type "model".
MODEL_PARTS: tuple[Field, ...] = (
    Field(
        "name",
        "text",
        _("Model"),
        _("A folder of the server that its operator allows, or a repository as in Qwen/Qwen2.5-0.5B-Instruct."),
        required=True,
    ),
    Field(
        "revision",
        "text",
        _("Commit"),
        _("40 hexadecimal digits; needed for a repository, because a branch may change."),
        default="",
    ),
    Field(
        "adapter", "text", _("LoRA"), _("A folder or repository with an adapter over it."), default="", advanced=True
    ),
    Field("adapter_revision", "text", _("Commit of the LoRA"), default="", advanced=True),
    Field(
        "template",
        "text",
        _("Chat template"),
        _("Jinja; only for models that bring none, or the wrong one."),
        default="",
        rows=6,
        advanced=True,
    ),
    Field(
        "model", "text", _("Its name at the server"), _("Where a server calls it otherwise."), default="", advanced=True
    ),
    Field(
        "tokenizer",
        "text",
        _("Folder of its tokenizer"),
        _("Only for a server, where the repository cannot be read from here."),
        default="",
        advanced=True,
    ),
    Field("precision", "choice", _("Precision"), default="", choices=_PRECISIONS, advanced=True),
)

_SLOPE_HELP = _("How a margin becomes a probability: σ(slope × margin). A guess until the labeler is calibrated.")
_CUT = Field(
    "cut",
    "choice",
    _("Texts too long for the model"),
    _("A response is never cut."),
    default="refuse",
    choices=(("refuse", _("are left out, and counted")), ("context", _("lose the start of their prompt"))),
    advanced=True,
)
_TIE = Field(
    "tie",
    "number",
    _("Margin up to which it is a tie"),
    default=1e-6,
    least=0.0,
    advanced=True,
)


def _slope(default: float) -> Field:
    return Field("slope", "number", _("Slope"), _SLOPE_HELP, default=default, least=0.0, advanced=True)


# What every difference of two log-probabilities is told.
_RATIO = (
    Field(
        "reduction",
        "choice",
        _("Length"),
        _("Long responses have larger sums. Look at the labeler beside “longest” and “shortest”."),
        default="sum",
        choices=(
            ("sum", _("sum over the tokens")),
            ("mean", _("per token")),
            ("bytes", _("per byte of text")),
            ("power", _("per token to a power")),
        ),
    ),
    Field("alpha", "number", _("The power"), default=0.5, least=0.0, most=1.0, advanced=True),
    Field("score_end", "yes", _("The end of the turn counts as a token"), default=True, advanced=True),
    Field("temperature", "number", _("Temperature of the logits"), default=1.0, least=0.01, most=100.0, advanced=True),
    Field(
        "per_token",
        "yes",
        _("Keep a heat map"),
        _("Which tokens made the verdict, for leads and reviewers. Needs two models with the same tokens."),
        default=True,
    ),
    _CUT,
    _TIE,
)

FIELDS: dict[str, tuple[Field, ...]] = {
    "density_ratio": (
        Field(
            "strong", "model", _("Strong model"), _("The better one, such as after preference tuning."), required=True
        ),
        Field("weak", "model", _("Weak model"), _("What it is compared with, such as before that."), required=True),
        Field(
            "preset",
            "choice",
            _("What both models read"),
            default="plain",
            choices=(
                ("plain", _("the conversation as it is")),
                ("cdr", _("also an instruction for what the prompt is about")),
            ),
        ),
        Field(
            "instructed",
            "choices",
            _("Prompts that get an instruction"),
            default=["safety", "reasoning"],
            choices=DOMAINS,
            advanced=True,
        ),
        Field(
            "exemplars",
            "gold",
            _("Exemplars from gold"),
            _("So many known answers are kept with the version; one of the same domain opens each such prompt."),
            default=0,
            least=0,
            most=500,
            advanced=True,
        ),
        Field(
            "exemplar_choice",
            "choice",
            _("Which exemplar"),
            default="nearest",
            choices=(("nearest", _("the nearest in words")), ("drawn", _("drawn by seed and prompt"))),
            advanced=True,
        ),
        Field("seed", "whole", _("Seed"), default=0, least=0, most=2**31 - 1, advanced=True),
        Field(
            "router",
            "router",
            _("Who says what a prompt is about"),
            _("Words of the prompt, or a model on a server of your own network, which takes no key."),
            default={},
            advanced=True,
        ),
        Field("system", "text", _("System turn for both"), default="", rows=3, advanced=True),
        *_RATIO,
        _slope(0.1),
    ),
    "implicit_reward": (
        Field("policy", "model", _("Policy"), _("The model after DPO or a relative of it."), required=True),
        Field("reference", "model", _("Reference"), _("The model it started from."), required=True),
        Field("beta", "number", _("β of its training"), default=0.1, least=0.0, most=100.0),
        *_RATIO,
    ),
    "contrastive_prompts": (
        Field("model", "model", _("Model"), required=True),
        Field("good", "text", _("Told to answer well"), _("Empty: ours."), default="", rows=3, advanced=True),
        Field("bad", "text", _("Told to answer badly"), _("Empty: ours."), default="", rows=3, advanced=True),
        *_RATIO,
        _slope(0.1),
    ),
    "follow_up": (
        Field("model", "model", _("Model"), required=True),
        Field(
            "good", "lines", _("What a satisfied user says next"), _("Empty: ours."), default=[], rows=5, advanced=True
        ),
        Field(
            "bad",
            "lines",
            _("What a dissatisfied user says next"),
            _("Empty: ours."),
            default=[],
            rows=5,
            advanced=True,
        ),
        _CUT,
        _TIE,
        _slope(1.0),
    ),
    "reward_model": (
        Field("model", "model", _("Reward model"), _("A sequence classifier, safetensors only."), required=True),
        Field(
            "weights",
            "weights",
            _("Weights of its attributes"),
            _("One a line, as in helpfulness = 0.65. A model with one number needs none."),
            default={},
            rows=5,
        ),
        _CUT,
        Field("tie", "number", _("Margin up to which it is a tie"), default=0.0, least=0.0, advanced=True),
        _slope(1.0),
    ),
}
