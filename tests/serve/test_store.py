import types

import pytest

from colorjax.serve.limits import Limits, Refusal
from colorjax.serve.store import RECENT, Store


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def picture(size=10):
    return types.SimpleNamespace(num_bytes=size)


def test_a_picture_is_forgotten_a_time_after_its_last_use(clock):
    store = Store(Limits(session_seconds=100), clock)
    first, second = store.add(picture()), store.add(picture())
    assert first != second
    assert min(len(first), len(second)) >= 22  # 128 bits
    clock.now = 90
    store.get(first)
    clock.now = 150
    store.forget_old()
    assert store.num_bytes == 10
    store.get(first)
    with pytest.raises(Refusal) as refused:
        store.get(second)
    assert refused.value.status == 404


def test_the_one_used_longest_ago_makes_room_but_not_a_recent_one(clock):
    store = Store(Limits(pictures=2), clock)
    first, second = store.add(picture()), store.add(picture())
    store.get(first)
    with pytest.raises(Refusal) as refused:
        store.add(picture())
    assert refused.value.status == 503
    clock.now = RECENT + 1
    store.get(first)
    third = store.add(picture())
    assert store.get(first)
    assert store.get(third)
    with pytest.raises(Refusal):
        store.get(second)


def test_pictures_that_grow_while_they_are_looked_at_make_room(clock):
    store = Store(Limits(memory=100), clock)
    first, second, third = (picture(30) for _ in range(3))
    names = [store.add(one) for one in (first, second, third)]
    store.get(names[1])
    second.num_bytes = 60
    store.fit()
    assert store.missing(names) == names[:1]
    second.num_bytes = 1000
    store.fit()
    assert store.missing(names) == [names[0], names[2]]


def test_what_is_kept_and_what_arrives_share_the_memory(clock):
    store = Store(Limits(memory=100), clock)
    with store.arriving() as count:
        count(40)
        count(20)
        with pytest.raises(Refusal) as refused, store.arriving() as other:
            other(50)
        assert refused.value.status == 503
        name = store.add(picture(40))
        with pytest.raises(Refusal):
            count(1)
        clock.now = RECENT + 1
        count(1)  # the picture has made room
        with pytest.raises(Refusal):
            store.get(name)
    assert store.num_bytes == 0
