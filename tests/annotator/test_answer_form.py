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


def test_no_reason_takes_a_key_that_means_something_else():
    commands = set("xdspgukm/[]?0123456789")
    assert not commands & set(answer.REASON_KEYS)
    assert len(set(answer.REASON_KEYS)) == len(answer.REASON_KEYS)
