import gc

import pytest

from annotator.pipeline import heap


@pytest.fixture
def collect(monkeypatch):
    """gc.collect, which takes a second on the heap of all tests: counted and not done."""
    monkeypatch.setattr(gc, "collect", collect := Collected())
    yield collect
    gc.freeze()  # as tests/conftest.py left it


class Collected:
    calls = 0

    def __call__(self):
        self.calls += 1


def test_what_was_there_before_is_not_looked_through_and_what_is_made_inside_is_collected(collect):
    gc.unfreeze()
    before = []
    with heap.spared():
        assert collect.calls == 1  # rubbish of before is not kept for as long as the step runs
        assert gc.get_freeze_count() > 0
        assert not any(kept is before for kept in gc.get_objects())
        inside = []
        assert any(made is inside for made in gc.get_objects())
    assert gc.get_freeze_count() == 0


@pytest.mark.slow
def test_what_somebody_else_froze_stays_frozen(collect):
    mine = []
    gc.freeze()
    with heap.spared(), heap.spared():
        assert collect.calls == 0
    assert not any(kept is mine for kept in gc.get_objects())
