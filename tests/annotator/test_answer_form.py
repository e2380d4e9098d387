import json

import pytest

from annotator import protocols
from annotator.forms import answer


def form_of(preset, given=None):
    return answer.build(protocols.read(protocols.PRESETS[preset]), given or {})


@pytest.mark.parametrize("preset", protocols.PRESETS)
def test_an_untouched_form_has_a_number_key_for_every_level_and_nothing_chosen(preset):
    form = form_of(preset)
    levels = protocols.read(protocols.PRESETS[preset]).levels
    assert [(option.value, option.key) for option in form.overall.options] == [
        (level.value, str(number)) for number, level in enumerate(levels, 1)
    ]
    scales = [form.overall, *form.aspects, *(scale for ratings in form.attributes for scale in ratings.sides)]
    assert all(scale.chosen is None for scale in scales)


def test_a_draft_is_back_in_its_controls():
    given = {
        "level": 0,
        "confidence": 3,
        "aspects": {"truthful": {"level": -2, "confidence": 1, "reasons": ["honest"]}},
        "justification": "why",
    }
    form = form_of("multipref", given)
    truthful = next(scale for scale in form.aspects if scale.key == "truthful")
    assert form.overall.chosen.label == "Tie"
    assert [value for value, _words, checked in form.overall.confidence if checked] == [3]
    assert truthful.chosen.value == -2
    assert [chip.value for chip in truthful.reasons if chip.checked] == ["honest"]
    assert form.justification == "why"


def test_ratings_take_their_own_numbers_as_keys_and_say_what_they_mean():
    ratings = form_of("helpsteer2", {"attributes": {"verbosity": {"a": 0}}}).attributes[-1]
    assert [option.key for option in ratings.sides[0].options] == ["0", "1", "2", "3", "4"]
    assert ratings.sides[0].chosen.label == "succinct" and ratings.sides[1].chosen is None


def test_a_level_is_short_beside_its_letter_and_whole_for_screen_readers():
    clearly, slightly, tie, *_rest = form_of("multipref").overall.options
    assert (clearly.letter, clearly.short, clearly.label) == ("A", "clearly", "A is clearly better")
    assert (tie.letter, tie.short) == ("", "Tie")
    assert len(clearly.marks) == 2 and len(slightly.marks) == 1


def chips_of(form):
    """Chips that are on screen together: one panel of reasons, and the flags."""
    panels = [scale.reasons for scale in (form.overall, *form.aspects)]
    return [[*panel, *form.flags] for panel in panels]


@pytest.mark.parametrize("preset", protocols.PRESETS)
def test_every_control_of_a_preset_has_a_key_and_no_two_at_once_have_the_same(preset):
    form = form_of(preset)
    for chips in chips_of(form):
        keys = [chip.key for chip in chips]
        assert all(keys) and len(set(keys)) == len(keys)
    jumps = [box.key for box in form.feedback] + [box.key for box in (form.edit, form.spans) if box]
    assert all(jumps) and len(set(jumps)) == len(jumps)
    assert not set(jumps) & (set(answer.REASON_KEYS) | set("[]/?0123456789"))
    if form.spans:
        keys = [chip.key for chip in (*form.spans.types, *form.spans.severities)]
        assert all(keys) and len(set(keys)) == len(keys)


def test_a_ranking_asks_for_the_rank_of_every_response_on_screen():
    definition = protocols.read(protocols.PRESETS["ranking"])
    form = answer.build(definition, {"ranking": {"ranks": [2, 1, None, 4]}}, sides=4)
    assert not form.overall.required and form.ranking.ties
    assert [row.letter for row in form.ranking.rows] == list("ABCD")
    assert [row.scale.name for row in form.ranking.rows][0] == "ranking.rank.a"
    assert [row.scale.chosen and row.scale.chosen.value for row in form.ranking.rows] == [2, 1, None, 4]
    assert [option.key for option in form.ranking.rows[0].scale.options] == ["1", "2", "3", "4"]


def test_best_and_worst_are_two_questions_whose_answers_are_the_responses():
    definition = protocols.read(protocols.PRESETS["best-worst"])
    form = answer.build(definition, {"ranking": {"best": 0, "worst": 4}}, sides=5)
    best, worst = (row.scale for row in form.ranking.rows)
    assert (best.name, best.chosen.label, best.chosen.key) == ("ranking.best", "A", "1")
    assert (worst.name, worst.chosen.label, worst.chosen.value) == ("ranking.worst", "E", 4)


def test_a_pair_has_two_of_everything_however_many_responses_the_comparison_has():
    form = answer.build(protocols.read(protocols.PRESETS["helpsteer3"]), {}, sides=6)
    assert [box.name for box in form.feedback] == ["feedback.a", "feedback.b"]
    assert form.ranking is None and form.overall.required


def test_what_is_written_and_marked_is_back_in_a_draft():
    form = form_of("helpsteer3", {"feedback": {"b": "dull"}, "edit": {"side": "a", "text": "x"}, "flags": ["pii"]})
    assert [box.text for box in form.feedback] == ["", "dull"] and form.feedback[0].minimum == 250
    assert (form.edit.side, form.edit.text, form.edit.required) == ("a", "x", False)
    assert [chip.value for chip in form.flags if chip.checked] == ["pii"]
    assert form.justification_min == 50
    spans = [{"side": "a", "start": 0, "end": 3, "type": "x", "severity": "minor", "comment": "“no”"}]
    assert json.loads(form_of("fine-grained", {"spans": spans}).spans.marks) == spans


def test_a_question_says_whether_there_is_more_to_read_about_it():
    citation = form_of("rag").aspects[0]
    assert citation.explained and citation.help and not form_of("plain").overall.explained
    (completeness,) = form_of("fine-grained").attributes
    assert completeness.explained and completeness.levels[3].meaning
    assert completeness.anchors[3] == (3, "complete")


def test_no_reason_takes_a_key_that_means_something_else():
    commands = set("xudspgkmvcfh/[]?0123456789")
    assert not commands & set(answer.REASON_KEYS)
    assert len(set(answer.REASON_KEYS)) == len(answer.REASON_KEYS)
