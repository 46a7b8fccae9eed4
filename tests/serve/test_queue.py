import asyncio
import threading

import pytest

from colorjax.serve.limits import Refusal
from colorjax.serve.queue import Cancelled, Queue


def run(test):
    """Runs a coroutine function that is given a queue with two places."""

    async def body():
        queue = Queue(2)
        try:
            await test(queue)
        finally:
            queue.close()
            queue.join()

    asyncio.run(asyncio.wait_for(body(), 60))


def held():
    """A function that waits, and what lets it go on."""
    release = threading.Event()

    def hold(ticket):
        assert release.wait(60)
        return "held"

    return hold, release


async def settled(queue, **state):
    while not state.items() <= queue.state(()).items():
        await asyncio.sleep(0.001)


def test_functions_run_one_after_the_other_in_their_order():
    async def test(queue):
        order = []
        hold, release = held()
        tasks = [asyncio.create_task(queue.run(hold, seconds=60, names=["a"]))]
        await settled(queue, running=1, waiting=0)
        for name in "bc":
            function = lambda ticket, name=name: order.append(name)  # noqa: E731
            tasks.append(asyncio.create_task(queue.run(function, seconds=60, names=[name])))
        await settled(queue, waiting=2)
        assert queue.state(["c", "a", "x"])["places"] == {"a": 0, "c": 2}
        release.set()
        assert [(await task)[0] for task in tasks] == ["held", None, None]
        assert order == ["b", "c"]
        assert queue.state(["a"]) == {"waiting": 0, "running": 0, "places": {}}

    run(test)


def test_a_full_queue_refuses_but_what_is_admitted_waits():
    async def test(queue):
        hold, release = held()
        tasks = [asyncio.create_task(queue.run(hold, seconds=60)) for _ in range(3)]
        await settled(queue, running=1, waiting=2)
        with pytest.raises(Refusal) as refused:
            await queue.run(hold, seconds=60)
        assert refused.value.status == 503
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
        admitted = asyncio.create_task(queue.run(hold, seconds=60, admitted=True))
        release.set()
        assert [(await task)[0] for task in (*tasks, admitted)] == 4 * ["held"]

    run(test)


def test_a_cancelled_caller_gives_up_its_place():
    async def test(queue):
        hold, release = held()
        ran = []
        first = asyncio.create_task(queue.run(hold, seconds=60))
        await settled(queue, running=1, waiting=0)
        second = asyncio.create_task(queue.run(ran.append, seconds=60))
        await settled(queue, waiting=1)
        second.cancel()
        await settled(queue, waiting=0)
        release.set()
        await first
        assert (await queue.run(lambda ticket: "next", seconds=60))[0] == "next"
        assert not ran

    run(test)


def test_cancelled_work_ends_at_its_next_step_and_then_the_next_one_starts():
    async def test(queue):
        started, ended = threading.Event(), []

        def steps(ticket):
            started.set()
            try:
                while True:
                    ticket.check()
            except Cancelled:
                ended.append("first")
                raise

        first = asyncio.create_task(queue.run(steps, seconds=60))
        await asyncio.to_thread(started.wait)
        first.cancel()
        await queue.run(lambda ticket: ended.append("second"), seconds=60)
        assert ended == ["first", "second"]

    run(test)


def test_work_that_takes_too_long_is_given_up():
    async def test(queue):
        hold, release = held()
        with pytest.raises(Refusal, match="took more than 0 s") as refused:
            await queue.run(hold, seconds=0.01)
        assert refused.value.status == 504
        assert queue.state(())["running"] == 1  # it holds the model still
        release.set()
        assert (await queue.run(lambda ticket: 1, seconds=60))[0] == 1

    run(test)


def test_errors_are_those_of_the_function_and_end_nothing():
    def fail(ticket):
        raise TimeoutError("its own")

    async def test(queue):
        with pytest.raises(TimeoutError, match="its own"):
            await queue.run(fail, seconds=60)
        assert (await queue.run(lambda ticket: 1, seconds=60))[0] == 1

    run(test)


def test_what_waits_when_the_queue_is_closed_is_refused():
    async def test(queue):
        hold, release = held()
        ran = []
        first = asyncio.create_task(queue.run(hold, seconds=60))
        await settled(queue, running=1, waiting=0)
        second = asyncio.create_task(queue.run(ran.append, seconds=60))
        await settled(queue, waiting=1)
        queue.close()
        release.set()
        assert (await first)[0] == "held"
        with pytest.raises(Refusal, match="the server is shutting down"):
            await second
        assert not ran

    run(test)


def test_states_end_when_the_queue_is_closed():
    async def test(queue):
        states = queue.states([])
        assert (await anext(states))["waiting"] == 0
        queue.close()
        assert [state async for state in states] == []
        with pytest.raises(Refusal, match="the server is shutting down"):
            queue.check_room()
        with pytest.raises(Refusal, match="is shutting down"):  # as the next file of a zip
            await queue.run(lambda ticket: 1, seconds=60, admitted=True)

    run(test)
