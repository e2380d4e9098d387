"""Out, in and out again: what a project writes, another with the same protocol reads, and writes the same rows.

Through the database, every writer that has a reader, each of its tables by itself. What a layout cannot say stands in
`CANNOT` and `ALONE` with the reason; nothing else may differ.
"""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils.module_loading import import_string
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from annotator import protocols
from annotator.formats import READERS, WRITERS
from annotator.formats.source import Filters, Options
from annotator.models import Comparison
from annotator.pipeline import aggregate, ingest
from annotator.readings.snapshot import Snapshot
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# Writer and table: the reader, the preset of both projects, and the options of both exports.
TABLES = {
    ("helpsteer2", "default"): ("helpsteer2", "helpsteer2", {"single": "keep"}),
    ("helpsteer2", "preference"): ("helpsteer2_preference", "helpsteer2", {"single": "keep"}),
    ("helpsteer2", "disagreements"): ("helpsteer2_disagreements", "helpsteer2", {"single": "keep"}),
    ("helpsteer3", "preference"): ("helpsteer3", "helpsteer3", {"single": "keep"}),
    ("helpsteer3", "feedback"): ("helpsteer3", "helpsteer3", {"single": "keep"}),
    ("helpsteer3", "edit"): ("helpsteer3", "helpsteer3", {"single": "keep"}),
    ("helpsteer3", "edit_quality"): ("helpsteer3", "helpsteer3", {"single": "keep"}),
    ("multipref", "default"): ("multipref", "multipref", {}),
    ("multipref", "human_overall_binarized"): ("trl_rows", "multipref", {}),
    ("fine_grained", "default"): ("fine_grained", "fine-grained", {}),
    ("ultrafeedback", "default"): ("ultrafeedback", "helpsteer2", {}),
    ("ultrafeedback_binarized", "default"): ("ultrafeedback_binarized", "plain", {}),
    ("hh_rlhf", "default"): ("hh_rlhf", "plain", {}),
    ("rewardbench", "default"): ("rewardbench", "plain", {}),
    ("rewardbench2", "default"): ("rewardbench2", "plain", {}),
    ("shp", "default"): ("shp", "plain", {}),
    ("arena", "default"): ("arena", "arena", {}),
    ("summarize", "comparisons"): ("summarize", "summarize9", {}),
    ("trl_reward", "default"): ("trl_rows", "plain", {}),
    ("trl_preference", "default"): ("trl_rows", "plain", {}),
}
# Writers whose rows no reader of ours takes.
NO_READER = {
    "trl_kto": "single responses are no comparisons",
    "trl_stepwise": "single responses are no comparisons",
    "openrlhf": "the rows of trl_reward",
    "llamafactory": "for its trainer alone; trl_preference holds the same",
    "nemo_rl": "for its trainer alone; trl_preference holds the same",
    "nemo_aligner": "for its trainer alone, in its models' template",
    "axolotl": "for its trainer alone; trl_preference holds the same",
    "reward_conditioned": "every pair stands in it twice, with a goal as part of the prompt",
    "per_rater": "for research; people are told apart by it, and told of",
    "judgments": "restored as a whole, byte for byte: test_restore.py",
}
VOTES = "several votes behind a label come in as one"
NAMED = "the layout has no place for the id: readers make one of the content"
IDS = {"meta_comparison_id": NAMED, "meta_prompt_id": NAMED}
# Of a table, what does not come back, and why.
CANNOT = {
    ("ultrafeedback_binarized", "default"): {"meta_comparison_id": NAMED, "meta_votes": VOTES},
    ("hh_rlhf", "default"): {**IDS, "meta_votes": VOTES},
    ("rewardbench", "default"): {"id": "a number; the comparison gets it as its own id", **IDS, "meta_votes": VOTES},
    ("rewardbench2", "default"): {"id": NAMED, "meta_comparison_ids": "a row is of several; their ids are made anew"},
    ("shp", "default"): {
        **dict.fromkeys(("post_id", "c_root_id_A", "c_root_id_B"), "ids of a forum, drawn from ours"),
        "meta_prompt_id": NAMED,
        "meta_votes": VOTES,
    },
    ("multipref", "human_overall_binarized"): {
        **{"comparison_id": NAMED, "prompt_id": NAMED},
        **dict.fromkeys(("chosen_model", "rejected_model"), "read as TRL's rows, which name no models"),
        "meta_judges": "several people's mean comes in as one anonymous vote",
    },
    ("trl_reward", "default"): {**IDS, "meta_votes": VOTES},
    ("trl_preference", "default"): {**IDS, "meta_votes": VOTES},
}
# Tables from which no judgment comes, so nothing of them goes out before somebody has judged.
ALONE = {
    ("ultrafeedback", "default"): "ratings from 1 to 5 come in as votes by their means, for nobody says who gave which",
    ("helpsteer2", "disagreements"): "nobody stands at a fixed place of the lists",
    ("helpsteer3", "feedback"): "words about one response say nothing of the other",
    ("helpsteer3", "edit"): "an edit waits to be judged beside what it was made of",
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD = st.sampled_from(
    ["naïve\u2028Ω", "𝄞\t“x”\r\n\n  e\u0301", "שלום \u200f", "a\x01b", "<extra_id_1>User", "{}", "🙂"]
)
TEXT = st.tuples(ODD, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12))

# As the guidelines of HelpSteer3 have feedback begin, or not.
OPENING = st.sampled_from(["The response is mostly helpful. ", "The response is not helpful. ", ""])


def writing(project, format, options):
    """The writer of a format and what it writes of the project, rows by table."""
    definition = protocols.read(project.protocol.definition)
    writer = import_string(WRITERS[format])(definition, Options(**options))
    snapshot = Snapshot.take(project, aggregate.default_recipe(project), Filters())
    tables = {config.name: [] for config in writer.configs}
    for row in writer.rows(snapshot):
        tables[row.config].append(json.loads(json.dumps(row.values, default=str)))
    return tables


def said_of(definition, level, draw):
    """An answer with all that the protocol asks for; ratings follow the level."""
    better, worse = ("a", "b") if level < 0 else ("b", "a")
    said = {"level": level}
    for each in definition.attributes:
        middle = (each.minimum + each.maximum) // 2
        ratings = {better: draw(st.integers(middle + 1, each.maximum)), worse: draw(st.integers(each.minimum, middle))}
        said.setdefault("attributes", {})[each.key] = ratings
    for each in definition.aspects:
        answer = {
            "level": draw(st.sampled_from([one.value for one in each.levels])),
            "confidence": draw(st.integers(1, 3)),
        }
        answer["reasons"] = [one.key for one in each.reasons if draw(st.booleans())]
        answer["own"] = draw(st.sampled_from(["", "own 𝄞\u2028"]))
        said.setdefault("aspects", {})[each.key] = {name: one for name, one in answer.items() if one != ""}
    if definition.justification != "none":
        said["justification"] = "".join(draw(TEXT)).strip()
    if definition.feedback != "none":
        said["feedback"] = {
            side: "".join((draw(OPENING), *draw(TEXT))).strip() for side in draw(st.sampled_from(["a", "b", "ab"]))
        }
    if definition.edit != "none" and draw(st.booleans()):
        said["edit"] = {"side": worse, "text": "".join(draw(TEXT))}
    if definition.spans:
        kind, bad = definition.spans.types[0].key, [one.key for one in definition.spans.severities][:1]
        said["spans"] = [
            {"side": worse, "start": 1, "end": 3, "type": kind, "severity": bad[0] if bad else "", "comment": "𝄞"}
        ]
    return said


def judged(preset, draw, are_edits=False):
    """A project of a preset with comparisons that two to four people, a reviewer and an expert among them, judged.

    `are_edits`: each is of two edits of one text.
    """
    project = make_project(preset)
    definition = protocols.read(project.protocol.definition)
    people = [make_person(project, make_member(project, "reviewer")), *(make_person(project) for _person in range(3))]
    people[1].was_expert = True
    people[1].save()
    for number in range(draw(st.integers(1, 2))):
        # Whoever judges says the same of who is better, so that there is a label in every layout.
        sign = draw(st.sampled_from([-1, 1]))
        levels = [one.value for one in definition.levels if one.value * sign > 0]
        a, b, prompt = (f"{kind}{number} {''.join(draw(TEXT))}." for kind in ("left", "right", "Why "))
        edits = {"original_response": "".join(draw(TEXT)), "feedback": ["".join(draw(TEXT)) for _one in range(2)]}
        comparison = make_comparison(project, prompt=prompt, a=a, b=b, metadata=edits if are_edits else {})
        for place, person in enumerate(people[: draw(st.integers(2, 4))]):
            said = said_of(definition, draw(st.sampled_from(levels)), draw)
            when = NOON + timedelta(minutes=10 * number + place)
            make_judgment(comparison, person, created_at=when, active_ms=4000, **said)
    return project


def unnamed(rows):
    """Rows in which people are numbered as they appear: pseudonyms are of one project."""
    names = {}
    return json.loads(
        re.sub(r"person-[0-9a-f]{12}", lambda found: names.setdefault(found[0], f"#{len(names)}"), json.dumps(rows))
    )


def differing(one, other, path=""):
    """The columns in which two values differ, inner ones with a dot; places of a list are one column."""
    if isinstance(one, dict) and isinstance(other, dict):
        inner = (differing(one.get(name), other.get(name), f"{path}.{name}".lstrip(".")) for name in one | other)
        return set().union(*inner)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return set().union(*(differing(*each, path) for each in zip(one, other, strict=True)))
    return set() if one == other else {path}


@pytest.mark.parametrize(("format", "table"), TABLES)
@settings(
    max_examples=4,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_what_went_out_and_in_goes_out_again_as_it_was(format, table, tmp_path, data):
    reader, preset, options = TABLES[format, table]
    first = judged(preset, data.draw, are_edits=table == "edit_quality")
    rows = writing(first, format, options)[table]
    if not rows:
        return
    path = tmp_path / f"{table}.jsonl"
    path.write_text(
        "".join(json.dumps({name: one for name, one in row.items() if one is not None}) + "\n" for row in rows)
    )
    assert import_string(f"{READERS[reader]}.claims")(json.loads(path.read_text().split("\n")[0]))
    second = make_project(preset)
    ingest.ingest_file(second, path)
    if (format, table) in ALONE:
        assert not writing(second, format, options)[table]
        assert Comparison.objects.filter(project=second).count() > 0
        return
    again = writing(second, format, options)[table]
    assert differing(unnamed(again), unnamed(rows)) <= CANNOT.get((format, table), {}).keys()


def test_every_writer_has_its_way_back_or_a_reason_for_none():
    assert {format for format, _table in TABLES} | set(NO_READER) == set(WRITERS)
    assert not {format for format, _table in TABLES} & set(NO_READER)
