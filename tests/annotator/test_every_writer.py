"""What holds for every writer: it is a `Writer`, says nothing that nobody asks it, and reads its own words."""

import pytest
from django.utils.module_loading import import_string

from annotator.formats import WRITERS
from annotator.formats.pairs import PairWriter
from annotator.formats.source import GROUPS, Writer
from annotator.formats.tables import CONTAINERS
from tests.annotator.public_rows import judged, vote, written

# Each makes rows of several comparisons of which a part may hold only some.
WHOLE = {"per_rater", "rewardbench2", "ultrafeedback"}


def declared(kind):
    return {name for each in kind.__mro__ for name in [*vars(each), *each.__dict__.get("__annotations__", {})]}


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_says_nothing_of_itself_that_the_export_would_not_ask(name):
    writer = import_string(WRITERS[name])
    assert issubclass(writer, Writer)
    said = {
        each
        for kind in writer.__mro__
        if kind not in PairWriter.__mro__
        for each, value in vars(kind).items()
        if not (each.startswith("_") or callable(value) or isinstance(value, property))
    }
    assert said <= declared(PairWriter), "the export looks for no such name: is it misspelt?"
    assert writer.group in GROUPS and set(writer.containers) <= set(CONTAINERS)


def test_formats_whose_rows_join_comparisons_are_written_in_one_part():
    assert {name for name, path in WRITERS.items() if import_string(path).is_whole} == WHOLE
    assert Writer.containers == tuple(CONTAINERS)


@pytest.mark.parametrize("margin", ["strength", "llama2", "soft"])
def test_a_tie_both_ways_round_has_no_margin_however_strongly_some_said_it(margin):
    tie = judged(vote(-1 / 3), vote(1.0, 2))
    rows, _left = written("trl_reward", tie, ties="both", margin=margin)
    assert [row["margin"] for row in rows] == [0.0, 0.0]
