"""The cache of scores in the database: what one worker stored every other finds, and nothing better is lost."""

import threading

import pytest
from django.db import connections

from annotator.models import CachedScore
from annotator.pipeline.scores import PART, Stored
from labelers.logprobs.cache import InMemory, Key, Score


def key(number, model="sha256:weights", options="float32 t=1"):
    return Key(model, f"{number:032x}", f"{number + 1:032x}", options)


PLAIN, WHOLE, OTHER = Score(-3.5, 2), Score(-3.5, 2, (-1.25, -2.25)), Score(-3.4, 2, (-1.5, -1.9))


@pytest.mark.django_db
@pytest.mark.parametrize("make", [Stored, InMemory])
def test_it_is_a_cache_as_any_other(make):
    cache = make()
    assert cache.get([key(1)]) == {}
    cache.put({key(1): PLAIN, key(2): WHOLE})
    assert cache.get([key(1), key(2), key(3), key(1)]) == {key(1): PLAIN, key(2): WHOLE}
    assert cache.get([key(1, options="bfloat16 t=1"), key(1, model="sha256:other")]) == {}
    assert cache.get([]) == {}
    cache.put({})


@pytest.mark.django_db
def test_a_score_with_tokens_replaces_one_without_and_never_the_other_way():
    cache = Stored()
    cache.put({key(1): PLAIN, key(2): WHOLE, key(3): WHOLE})
    cache.put({key(1): WHOLE, key(2): PLAIN, key(3): OTHER})
    assert cache.get([key(1), key(2), key(3)]) == {key(1): WHOLE, key(2): WHOLE, key(3): WHOLE}
    assert CachedScore.objects.count() == 3


@pytest.mark.django_db
def test_a_shard_is_looked_up_in_few_statements(django_assert_num_queries):
    cache, keys = Stored(), [key(number) for number in range(PART + 10)]
    with django_assert_num_queries(1):
        cache.put(dict.fromkeys(keys, PLAIN))
    with django_assert_num_queries(2):
        assert len(cache.get(keys)) == len(keys)


@pytest.mark.django_db
def test_it_tells_how_much_of_a_call_is_done():
    told = []
    cache = Stored(told.append, sweeps=2)
    cache.put({key(0): PLAIN})
    cache.begin()
    cache.get([key(number) for number in range(4)])
    cache.put({key(1): PLAIN})
    cache.put({key(2): PLAIN, key(3): PLAIN})
    cache.get([key(10)])
    cache.put({key(10): PLAIN})
    assert told == [0.0, 0.125, 0.25, 0.5, 0.5, 1.0]


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_store_the_same_at_once_neither_wait_for_ever_nor_lose_anything():
    """In opposite orders, which would be a deadlock if rows were not locked in one order."""
    numbers, errors = range(400), []

    def work(order, score):
        try:
            cache = Stored()
            for start in range(0, 400, 100):
                cache.put({key(number): score for number in order[start : start + 100]})
                cache.put({key(number): score for number in order})
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=work, args=(order, score))
        for order, score in ((list(numbers), PLAIN), (list(reversed(numbers)), WHOLE), (list(numbers), WHOLE))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    found = Stored().get([key(number) for number in numbers])
    assert (CachedScore.objects.count(), set(found.values())) == (400, {WHOLE})
