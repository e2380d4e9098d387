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

# What may be wrong with a comparison whatever the question is.
FLAGS = [
    ["pii", "Personal data"],
    ["language", "Wrong language"],
    ["unsafe", "Unsafe"],
    ["identity", "Says which model it is"],
    ["expert", "Needs an expert"],
]

# The attributes of HelpSteer2 (arXiv 2406.08673, appendix on guidelines), its definitions in our words and examples.
_HELPSTEER2: list[dict[str, Any]] = [
    {
        "key": "helpfulness",
        "label": "Helpfulness",
        "help": "How far it gives the person what they came for.",
        "minimum": 0,
        "maximum": 4,
        "anchors": [
            {"label": "not helpful", "meaning": "Misses what was asked; nothing in it is of use."},
            {
                "label": "barely",
                "meaning": "Mostly beside the point; a small part is of use.",
                "example": "*How do I get red wine out of wool?* It explains tannins and ends: “Rinse early.”",
            },
            {"label": "partly", "meaning": "Helps in part and misses the goal in some respect."},
            {
                "label": "mostly",
                "meaning": "Does what was asked; it could be done better.",
                "example": "It names cold water and vinegar and does not say that wool must not be rubbed.",
            },
            {"label": "fully helpful", "meaning": "Does what was asked, as it was meant; nothing is left to wish for."},
        ],
    },
    {
        "key": "correctness",
        "label": "Correctness",
        "help": "Right facts, and everything that was asked for.",
        "minimum": 0,
        "maximum": 4,
        "anchors": [
            {"label": "wrong", "meaning": "All of it is wrong, made up, or no answer."},
            {"label": "mostly wrong", "meaning": "Something is right; most is wrong or missing."},
            {
                "label": "mixed",
                "meaning": "Right and wrong side by side, or a key part is missing.",
                "example": "*Which moons has Mars, and when were they found?* “Phobos, Deimos; in 1977.” It was 1877.",
            },
            {
                "label": "mostly right",
                "meaning": "Right but for a slip or a small gap.",
                "example": "“Phobos and Deimos, in August 1877, on one night.” Six days lay between them.",
            },
            {"label": "right", "meaning": "Right throughout, and nothing asked for is missing."},
        ],
    },
    {
        "key": "coherence",
        "label": "Coherence",
        "help": "How well it hangs together, right or wrong.",
        "minimum": 0,
        "maximum": 4,
        "anchors": [
            {"label": "incoherent", "meaning": "Cannot be understood."},
            {
                "label": "hard to follow",
                "meaning": "Jumps or contradicts itself; only parts are clear.",
                "example": "“First soak the beans. Beans need no soaking. Soak them, as said, after cooking.”",
            },
            {"label": "a little unclear", "meaning": "Can be followed, with some effort in places."},
            {
                "label": "clear",
                "meaning": "Clear but for a detail.",
                "example": "Seven steps in order; the fifth uses a pan that no step has taken out.",
            },
            {"label": "very clear", "meaning": "Clear throughout; nothing contradicts itself."},
        ],
    },
    {
        "key": "complexity",
        "label": "Complexity",
        "help": "What a reader must know. More is not better.",
        "minimum": 0,
        "maximum": 4,
        "anchors": [
            {"label": "basic", "meaning": "Children understand it.", "example": "“Plants make food from light.”"},
            {"label": "simple", "meaning": "Takes a few years of school."},
            {
                "label": "intermediate",
                "meaning": "Takes a finished school education.",
                "example": "“With light, chlorophyll turns water and carbon dioxide into sugar.”",
            },
            {"label": "advanced", "meaning": "Takes some study of the field."},
            {
                "label": "expert",
                "meaning": "Written as professionals write to each other.",
                "example": "“The proton gradient across the thylakoid membrane drives ATP synthase.”",
            },
        ],
    },
    {
        "key": "verbosity",
        "label": "Verbosity",
        "help": "How long it is for what was asked. More is not better.",
        "minimum": 0,
        "maximum": 4,
        "anchors": [
            {
                "label": "succinct",
                "meaning": "As short as can be.",
                "example": "*What is the capital of Mali?* “Bamako.”",
            },
            {"label": "short", "meaning": "Rather short; detail is left out."},
            {"label": "average", "meaning": "Neither short nor long for the question."},
            {"label": "long", "meaning": "On the long side, not yet rambling."},
            {
                "label": "verbose",
                "meaning": "Far longer than needed: wordy, repeated, full of asides.",
                "example": "*What is the capital of Mali?* Three paragraphs on the Niger; Bamako comes last.",
            },
        ],
    },
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
        "help": "Clearly: most would agree. Slightly: one may differ.",
        "levels": _FIVE,
        "confidence": True,
        "aspects": [
            {
                "key": "helpful",
                "label": "Helpfulness",
                "help": "It does what was asked, as it was meant.",
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
                "help": "What it claims is right, and it does not sound surer than it can be.",
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
                "help": "It harms nobody, and does not refuse where there is no harm.",
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
        "attributes": _HELPSTEER2,
        "flags": FLAGS,
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
        "help": "Much: no contest. Slightly: both would do, one a little better.",
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
        "neither_words": "None is valid",
        "ranking": "full",
    },
    # Best-worst scaling (Louviere; arXiv 1712.01765): two choices among several order most of their pairs.
    "best-worst": {
        "question": "Which response is the best, which the worst?",
        "levels": _THREE,
        "neither_words": "None is valid",
        "ranking": "best_worst",
    },
}
