"""Tags without a model: by words of the prompt, by its shape, by py3langid. Crude, free, and the same every time.

It knows English: of a prompt in another language only the language, the material and the format's digits are told, all
else is null. Counts of how often it agrees with people are not known; it is there so that routing has columns at all
where no model may be asked. Its version stands with every feature set made with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from routing.tags import Tags
from routing.text import read

# Bump when a list of words or a rule changes.
VERSION = "keywords-1"
# Characters of a prompt that are read: what it asks is said by then.
SHOWN = 6000
_MOST_SUBJECTS = 3

_WORDS_OF: dict[str, str] = {
    "performing_arts": "music song songs lyrics melody guitar piano opera theatre theater dance movie movies film",
    "visual_arts": "painting paint drawing sculpture photography photo sketch watercolor watercolour artwork pottery",
    "history": "history historical century empire medieval ancient revolution dynasty king queen renaissance wwii",
    "languages_and_literature": "grammar translate translation poem poetry novel essay sentence haiku literature story "
    "rewrite paraphrase proofread synonym metaphor sonnet author",
    "law": "law legal lawyer court contract lawsuit attorney statute copyright patent liability judge plaintiff",
    "philosophy": "philosophy philosophical ethics ethical moral morality kant plato nietzsche existential metaphysics",
    "religion": "religion religious bible god quran church prayer buddhism islam christian christianity hindu torah",
    "anthropology": "anthropology tribe tribes ritual rituals indigenous kinship ethnography",
    "archaeology": "archaeology archaeologist excavation artifacts artefacts fossil ruins",
    "area_studies": "european asian african latin-american middle-eastern scandinavian balkan",
    "cultural_studies": "culture cultural ethnic ethnicity tradition traditions celebrity anime meme folklore",
    "economics": "economics economy inflation gdp investment stocks stock bond tax taxes mortgage interest loan",
    "gender_studies": "gender feminism feminist transgender lgbt lgbtq sexuality",
    "geography": "country countries capital city map river mountain continent travel itinerary tourist island",
    "political_science": "politics political government election president democracy parliament policy senate vote",
    "psychology": "psychology feel feeling feelings anxiety depression relationship girlfriend boyfriend therapy "
    "mental emotion personality",
    "sociology": "society social inequality class race racism poverty immigration urbanization",
    "biology": "biology cell cells dna gene genes species evolution protein animal animals plant bacteria",
    "chemistry": "chemistry chemical molecule reaction acid compound atom periodic solvent oxidation",
    "earth_sciences": "earthquake volcano geology weather climate ocean rock mineral atmosphere glacier",
    "physics": "physics quantum gravity velocity force energy relativity particle thermodynamics momentum",
    "astronomy": "planet planets star stars galaxy moon mars nasa telescope orbit astronaut universe",
    "computer_science": "python javascript java code program programming function algorithm software database sql "
    "html css api linux docker server computer debug regex react excel",
    "logic": "logic riddle puzzle paradox syllogism deduce premises",
    "mathematics": "math maths equation integral derivative theorem prove proof algebra geometry matrix polynomial "
    "solve calculate triangle sum fraction",
    "statistics": "statistics probability regression variance distribution hypothesis p-value bayesian median",
    "systems_science": "optimization feedback cybernetics queueing simulation scheduling",
    "agriculture": "farm farming garden gardening crop crops soil livestock cattle harvest tomato fertilizer",
    "architecture": "architecture architect building interior floorplan furniture room kitchen layout",
    "business": "business company marketing startup customer customers sales manager resume interview product email "
    "strategy brand linkedin employee",
    "education": "teacher student students school lesson curriculum homework exam university classroom college",
    "chemical_engineering": "distillation reactor catalyst refinery petrochemical",
    "civil_engineering": "bridge concrete beam road construction sewer foundation dam",
    "electrical_engineering": "circuit voltage resistor transistor arduino capacitor antenna battery amplifier",
    "materials_science": "alloy polymer ceramic steel tensile composite nanomaterial",
    "mechanical_engineering": "engine motor gear torque turbine mechanical piston cad",
    "environmental_studies": "environment environmental pollution recycling forest deforestation sustainability "
    "carbon biodiversity conservation",
    "family_and_consumer_science": "recipe cook cooking bake food dinner meal laundry clean cleaning family "
    "baby wedding clothes outfit ingredients",
    "sport_and_recreation": "sport sports football soccer basketball workout exercise gym chess game games hobby "
    "player team marathon",
    "journalism_and_media": "news newspaper journalist media twitter youtube podcast blog headline advertising video",
    "library_and_museum_studies": "library museum archive catalog librarian curator",
    "medicine": "medicine medical doctor disease symptom symptoms treatment patient drug vaccine cancer diet "
    "pain blood health hospital vitamin pregnancy",
    "military_sciences": "military army navy soldier war weapon weapons missile tank battle sniper",
    "public_administration": "municipal bureaucracy visa passport license permit census",
    "social_work": "homeless charity refugee foster caregiver welfare volunteer",
    "transport": "transport traffic airline airplane flight train railway shipping logistics truck bus",
}
_SUBJECT_OF: dict[str, list[str]] = {}
for _subject, _words in _WORDS_OF.items():
    for _word in _words.split():
        _SUBJECT_OF.setdefault(_word, []).append(_subject)

_EXPERT = re.compile(
    r"\b(?:theorem|lemma|proof|prove|differential|eigen\w+|pharmaco\w+|pathophysiolog\w+|differential diagnosis|statute"
    r"|jurisprudence|stochastic|asymptotic|hamiltonian|lagrangian|spectroscop\w+|kernel|concurren\w+|thermodynamic\w*"
    r"|epistemolog\w+|econometric\w*|backpropagation|compiler|topolog\w+|bayesian|quantum|kubernetes|cuda)\b",
    re.IGNORECASE,
)
_TECHNICAL = {
    "law", "medicine", "physics", "chemistry", "mathematics", "statistics", "computer_science", "biology", "astronomy",
    "electrical_engineering", "mechanical_engineering", "chemical_engineering", "civil_engineering",
    "materials_science", "systems_science", "economics", "earth_sciences",
}  # fmt: skip
_CLOSED = re.compile(
    r"\b(?:who|when|where|which|how (?:many|much|old|far|tall)|what (?:is|was|are|were) the (?:name|capital|year|value"
    r"|result|answer|date|number)|calculate|compute|solve|translate|convert|true or false|is it true)\b",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\b(?:poem|story|song|lyrics|joke|jokes|imagine|brainstorm|invent|creative|fiction|roleplay|role-play|pretend"
    r"|haiku|rap|script|dialogue|slogan|opinion|what do you think|ideas?)\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"\b(?:explain|discuss|describe|advice|advise|recommend|suggest|how (?:can|do|should|would|to)|should i|best way"
    r"|tips|plan|essay|compare|why|write|pros and cons)\b",
    re.IGNORECASE,
)
_HARMFUL = re.compile(
    r"\b(?:bombs?|explosives?|ransomware|malware|phishing|meth|heroin|cocaine|launder\w*|counterfeit\w*|child porn\w*"
    r"|kill (?:him|her|them|someone|somebody|people|myself)|murder (?:him|her|someone|somebody)|suicide|shoplift\w*"
    r"|steal|hack into|stalk|rape|genocide|racial slurs?|nerve agent|poison (?:someone|somebody|him|her))\b",
    re.IGNORECASE,
)
_RISKY = re.compile(
    r"\b(?:drugs?|weapons?|guns?|hack\w*|overdose|dosage|self[- ]harm|abus\w*|illegal\w*|nsfw|sexual\w*|nude|racist"
    r"|violen\w*|conspiracy|terroris\w*|torture|blackmail|weed|marijuana|fight)\b",
    re.IGNORECASE,
)
_DELICATE = re.compile(
    r"\b(?:doctor|medication|medicine|symptoms?|depress\w*|anxiety|lawsuit|divorce|religio\w*|politic\w*|abortion"
    r"|alcohol|drunk|diet|invest\w*|gambling|death|died|war)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"(?:^|[.!?;\n]\s*|\b(?:and|then|also)\s+)(?:please\s+)?(?:write|explain|give|list|tell|describe|make|create"
    r"|translate|summari[sz]e|compare|find|show|generate|suggest|provide|rewrite|add|include|calculate|solve|convert"
    r"|analy[sz]e|discuss|design|fix|implement)\b",
    re.IGNORECASE,
)
_MATERIAL = re.compile(
    r"```|[\"“][^\"”]{200,}[\"”]|\b(?:(?:the )?following (?:text|passage|article|code|paragraph|email|table|data|story"
    r"|document|sentence)|(?:text|passage|article|context|document|code|input|email|paragraph)\s*:)",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"\b(?:\d+|one|two|three|five|ten)[- ](?:words?|sentences?|paragraphs?|lines?|pages?|bullet\w*|points?|items?"
    r"|characters?|examples?|ideas|tips|steps|stanzas?|minutes?)\b|\b(?:bullet points?|as a table|in a table|json"
    r"|markdown|csv|yaml|xml|haiku|limerick|sonnet|in the style of|step[- ]by[- ]step|one word|short answer"
    r"|briefly|concise\w*|in the (?:form|format) of|no more than|at least|at most|maximum of|all caps|rhym\w+"
    r"|without using)\b",
    re.IGNORECASE,
)


def tag(turns: Sequence[Mapping[str, Any]], context: Sequence[Any] | None = None) -> Tags:
    """The tags of a prompt: its turns without the system's, and the documents that came with it."""
    text = "\n\n".join(str(turn["content"]) for turn in turns if turn["role"] != "system")[-SHOWN:]
    reading = read(text)
    language = reading.language
    material = bool(context) or bool(_MATERIAL.search(text))
    tags: Tags = dict.fromkeys(("subject", "expertise", "openness", "safety", "complexity", "format"))
    tags["language"] = None if language is None else ["english" if language == "en" else "other"]
    tags["material"] = "yes" if material else "no"
    if language is not None and language != "en":
        return tags
    subjects = _subjects(reading.words)
    return tags | {
        "subject": subjects,
        "expertise": _expertise(text, subjects),
        "openness": _openness(text),
        "safety": _safety(text),
        "complexity": _complexity(text),
        "format": "yes" if _FORMAT.search(text) else "no",
    }


def _subjects(words: Sequence[str]) -> list[str]:
    """Those with most distinct words in the prompt, at most three; a lone word counts only where no subject has two."""
    hits: dict[str, int] = {}
    for word in dict.fromkeys(words):
        for subject in _SUBJECT_OF.get(word, ()):
            hits[subject] = hits.get(subject, 0) + 1
    ranked = sorted(hits, key=lambda subject: -hits[subject])
    strong = [subject for subject in ranked if hits[subject] > 1]
    return (strong or ranked[:1])[:_MOST_SUBJECTS]


def _expertise(text: str, subjects: Sequence[str]) -> str:
    if len(set(_EXPERT.findall(text.lower()))) > 1:
        return "expert"
    return "basic" if _TECHNICAL & set(subjects) or _EXPERT.search(text) else "general"


def _openness(text: str) -> str:
    if _OPEN.search(text):
        return "high"
    if _SEVERAL.search(text):
        return "moderate"
    return "no" if _CLOSED.search(text) else "low"


def _safety(text: str) -> str:
    for level, pattern in (("high", _HARMFUL), ("moderate", _RISKY), ("low", _DELICATE)):
        if pattern.search(text):
            return level
    return "safe"


def _complexity(text: str) -> str:
    asked = len(_REQUEST.findall(text)) + text.count("?")
    return "simple" if asked <= 1 else "moderate" if asked <= 3 else "complex"
