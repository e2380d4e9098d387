"""The protocols that come with the product, as stored: a project starts from one and revises it in the editor."""

from __future__ import annotations

from typing import Any

# How sure somebody is that a response is better, strongest first.
_SURE = [(4, "definitely"), (3, "very likely"), (2, "likely"), (1, "possibly")]
_FIVE = [
    [-2, "A is clearly better"],
    [-1, "A is slightly better"],
    [0, "Tie"],
    [1, "B is slightly better"],
    [2, "B is clearly better"],
]
_SIX = [
    [-3, "A is much better"],
    [-2, "A is better"],
    [-1, "A is slightly better"],
    [1, "B is slightly better"],
    [2, "B is better"],
    [3, "B is much better"],
]

_SEVEN = [
    [-3, "A is much better"],
    [-2, "A is better"],
    [-1, "A is slightly better"],
    [0, "About the same"],
    [1, "B is slightly better"],
    [2, "B is better"],
    [3, "B is much better"],
]
_NINE = [
    *([-value, f"A is {words} better"] for value, words in _SURE),
    [0, "Toss-up"],
    *([value, f"B is {words} better"] for value, words in reversed(_SURE)),
]
_THREE = [[-1, "A is better"], [0, "Tie"], [1, "B is better"]]

# What may be wrong with a comparison whatever the question is; HelpSteer2's annotators report the first four too.
FLAGS = [
    ["pii", "Personal data"],
    ["language", "Wrong language"],
    ["unsafe", "Unsafe"],
    ["identity", "Says which model it is"],
    ["expert", "Needs an expert"],
]

PRESETS: dict[str, dict[str, Any]] = {
    # One question: A, tie, B, with reasons.
    "plain": {
        "question": "Which response is better?",
        "levels": [[-1, "A is better"], [0, "Tie"], [1, "B is better"]],
        "reasons": [["correct", "Correct"], ["complete", "Complete"], ["clear", "Easier to follow"], ["safe", "Safer"]],
    },
    # Hybrid Preferences (arXiv 2410.19133), Fig. 7: three aspects and overall on five levels, each with confidence.
    "multipref": {
        "question": "Overall, which response is better?",
        "levels": _FIVE,
        "confidence": True,
        "aspects": [
            {
                "key": "helpful",
                "label": "Helpfulness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["follows", "Follows instructions"],
                    ["complete", "More complete"],
                    ["clear", "Clearer"],
                    ["concise", "More concise"],
                    ["relevant", "More relevant"],
                    ["creative", "More creative"],
                ],
            },
            {
                "key": "truthful",
                "label": "Truthfulness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["correct", "More correct"],
                    ["fewer_errors", "Fewer errors"],
                    ["honest", "Honest about doubt"],
                ],
            },
            {
                "key": "harmless",
                "label": "Harmlessness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["declines", "Rightly declines"],
                    ["respectful", "More respectful"],
                    ["careful", "More careful"],
                ],
            },
        ],
    },
    # HelpSteer2 (arXiv 2406.08673) attributes 0-4 and HelpSteer2-Preference (arXiv 2410.01257): ±3 without a tie.
    "helpsteer2": {
        "question": "Which response is better overall?",
        "levels": _SIX,
        "justification": "optional",
        "attributes": [
            {"key": key, "label": label, "minimum": 0, "maximum": 4, "anchors": anchors}
            for key, label, anchors in (
                ("helpfulness", "Helpfulness", ["not helpful", "barely", "partly", "mostly", "fully helpful"]),
                ("correctness", "Correctness", ["wrong", "mostly wrong", "mixed", "mostly right", "right"]),
                ("coherence", "Coherence", ["incoherent", "hard to follow", "a little unclear", "clear", "very clear"]),
                ("complexity", "Complexity", ["basic", "simple", "intermediate", "advanced", "expert"]),
                ("verbosity", "Verbosity", ["succinct", "short", "average", "long", "verbose"]),
            )
        ],
    },
    # Chatbot Arena (arXiv 2403.04132): one question, four answers, nothing else in the way.
    "arena": {
        "question": "Which response is better?",
        "levels": _THREE,
        "neither_words": "Both are bad",
        "cannot_judge": False,
        "justification": "none",
    },
    # Learning to summarize (arXiv 2009.01325), appendix C.5: nine points from sure of A to sure of B.
    "summarize9": {
        "question": "Which summary is better?",
        "help": "A good summary is short and says what the text says: what matters most, nothing wrong, nothing added.",
        "levels": _NINE,
        "neither_valid": False,
    },
    # HelpSteer3 (arXiv 2503.04378, 2505.11475): ±3 with a reason of 10 to 50 words; feedback of 50 to 250 words on each
    # response (50 are about 250 characters) that opens with how helpful it is; an edit by those who have one to make.
    "helpsteer3": {
        "question": "Which response is better overall?",
        "levels": _SEVEN,
        "justification": "required",
        "justification_min": 50,
        "feedback": "required",
        "feedback_min": 250,
        "edit": "optional",
        "flags": FLAGS,
    },
    # Fine-Grained RLHF (arXiv 2306.01693), its long-form answers: errors are marked where they stand, in the paper's
    # three categories (form, facts, completeness); what is missing has no place, so completeness is a rating.
    "fine-grained": {
        "question": "Which response is better overall?",
        "levels": _THREE,
        "spans": {
            "types": [
                ["irrelevant", "Irrelevant"],
                ["repetitive", "Repetitive"],
                ["incoherent", "Incoherent"],
                ["wrong_fact", "Wrong fact"],
                ["unverifiable", "Unverifiable"],
            ],
            "severities": [["minor", "Minor"], ["major", "Major"]],
            "comment": True,
        },
        "attributes": [
            {
                "key": "completeness",
                "label": "Completeness",
                "minimum": 0,
                "maximum": 3,
                "help": "What is missing cannot be marked in the text.",
                "anchors": [
                    {"label": "no answer", "meaning": "What was asked is not answered at all."},
                    {"label": "major gap", "meaning": "Something that one needs to use the answer is missing."},
                    {"label": "minor gap", "meaning": "Something that would help is missing."},
                    {"label": "complete", "meaning": "Everything that was asked is answered."},
                ],
            }
        ],
        "flags": FLAGS,
    },
    # RAG-RewardBench (arXiv 2412.13746): answers from documents, by citation, abstention, conflict and completeness.
    "rag": {
        "question": "Which answer serves the person better, given these documents?",
        "levels": _FIVE,
        "aspects": [
            {
                "key": "citation",
                "label": "Citation",
                "help": "Every claim names the document that it rests on, and the document says so.",
                "levels": _FIVE,
                "required": True,
                "reasons": [
                    ["supported", "Citations support the claims"],
                    ["every_claim", "More claims cited"],
                    ["precise", "Cites the right passage"],
                ],
            },
            {
                "key": "abstention",
                "label": "Abstention",
                "help": "Where the documents do not hold the answer, the better response says so and invents nothing.",
                "levels": _FIVE,
                "required": True,
                "reasons": [
                    ["rightly", "Rightly says it is not there"],
                    ["invented", "The other invents"],
                    ["refused", "The other refuses without need"],
                ],
            },
            {
                "key": "conflict",
                "label": "Conflict",
                "help": "Where documents contradict each other, the better response says so and weighs them.",
                "levels": _FIVE,
                "required": True,
                "reasons": [
                    ["names_it", "Names the contradiction"],
                    ["weighs", "Weighs the sources"],
                    ["misled", "The other is misled"],
                ],
            },
            {
                "key": "completeness",
                "label": "Completeness",
                "help": "All that the documents say about the question is there.",
                "levels": _FIVE,
                "required": True,
            },
        ],
        "flags": FLAGS,
    },
    # Context-aware preference modelling (arXiv 2407.14916): what is better depends on a criterion of the comparison.
    "criterion": {
        "question": "Which response meets this better?",
        "help": "Judge by the criterion alone, even where you would prefer the other response for another reason.",
        "levels": _FIVE,
        "criterion": True,
        "confidence": True,
    },
    # InstructGPT (arXiv 2203.02155): all responses to a prompt ranked at once, ties allowed.
    "ranking": {
        "question": "Rank the responses, the best first.",
        "levels": _THREE,
        "ranking": "full",
    },
    # Best-worst scaling (Louviere; arXiv 1712.01765): two choices among several order most of their pairs.
    "best-worst": {
        "question": "Which response is the best, which the worst?",
        "levels": _THREE,
        "ranking": "best_worst",
    },
}
