import gc

from annotator.pipeline import heap


def test_what_was_there_before_is_not_looked_through_and_what_is_made_inside_is_collected(monkeypatch):
    monkeypatch.setattr(heap, "gc", gc)
    monkeypatch.setattr(gc, "collect", collect := Collected())
    try:
        before = []
        with heap.spared():
            assert collect.calls == 1  # rubbish of before is not kept for as long as the step runs
            assert gc.get_freeze_count() > 0
            assert not any(kept is before for kept in gc.get_objects())
            inside = []
            assert any(made is inside for made in gc.get_objects())
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()  # as tests/conftest.py left it


class Collected:
    """gc.collect, which takes a second on the heap of all tests: counted and not done."""

    calls = 0

    def __call__(self):
        self.calls += 1
