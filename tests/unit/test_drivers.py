"""Generators and coroutines hold the plan's contexts only while their own code runs."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from contextlib import aclosing, contextmanager, suppress

import numpy as np
import pytest
import torch
from torch import nn

from tests.modules import Normed
from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    inference,
    options,
    returns,
)

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def state(module):
    """What the contexts of a plan change."""
    return (
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        module.training,
        torch.is_inference_mode_enabled(),
    )


INSIDE = (False, True, False, False)
OUTSIDE = (True, False, True, False)


class Streaming(Normed):
    """Decorated generators and coroutines that write down their state."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def see(self):
        self.seen.append(state(self))

    @inference
    @auto_device
    @autocast_policy("bf16")
    def stream(self, x, n=3):
        """Yield some."""
        self.see()
        try:
            for _ in range(n):
                sent = yield self(x)
                self.see()
                if sent is not None:
                    x = sent
        except ValueError as error:
            self.see()
            yield f"caught {error}"
        finally:
            self.see()
        return "done"

    @inference
    @auto_device
    @autocast_policy("bf16")
    async def embed(self, x, pause=0.0):
        self.see()
        try:
            await asyncio.sleep(pause)
        finally:
            self.see()
        return self(x)

    @inference
    @auto_device
    @autocast_policy("bf16")
    async def flow(self, x, n=3):
        self.see()
        try:
            for _ in range(n):
                await asyncio.sleep(0)
                sent = yield self(x)
                self.see()
                if sent is not None:
                    x = sent
        except ValueError as error:
            self.see()
            yield f"caught {error}"
        finally:
            await asyncio.sleep(0)
            self.see()


@pytest.fixture
def model():
    made = Streaming()
    yield made
    assert all(seen == INSIDE for seen in made.seen)
    assert state(made) == OUTSIDE
    assert all(part.training for part in made.modules())


# --- kinds -------------------------------------------------------------------------


def test_decorated_functions_are_of_the_kind_that_they_were():
    assert inspect.isgeneratorfunction(Streaming.stream)
    assert inspect.isgeneratorfunction(Streaming().stream)
    assert inspect.iscoroutinefunction(Streaming.embed)
    assert inspect.isasyncgenfunction(Streaming.flow)
    assert inspect.isfunction(Streaming.flow)
    assert not inspect.iscoroutinefunction(Streaming.stream)


def test_what_they_make_is_of_that_kind_and_bears_the_authors_names(model):
    made = [model.stream(X), model.embed(X), model.flow(X)]

    assert inspect.isgenerator(made[0])
    assert inspect.iscoroutine(made[1])
    assert inspect.isasyncgen(made[2])
    names = [(each.__name__, each.__qualname__) for each in made]
    assert names == [
        ("stream", "Streaming.stream"),
        ("embed", "Streaming.embed"),
        ("flow", "Streaming.flow"),
    ]
    made[1].close()


def test_nothing_runs_before_the_first_step(model):
    model.stream(X)

    assert model.seen == []


def test_a_coroutine_that_nobody_awaits_is_told_of_under_the_authors_name(model):
    with pytest.warns(RuntimeWarning, match=r"Streaming\.embed' was never awaited"):
        model.embed(X)


@pytest.mark.parametrize("name", ["stream", "embed", "flow"])
def test_they_cannot_be_batched(name):
    with pytest.raises(TypeError, match=f"{name}.* cannot be @batched"):
        batched(getattr(Streaming, name))
    with pytest.raises(TypeError, match=f"{name}.* cannot be @batched"):
        configure(getattr(Streaming(), name), batch_size=2)


# --- generators --------------------------------------------------------------------


def test_a_generator_yields_inside_its_contexts_and_hands_out_outside(model):
    values = []
    for value in model.stream(X):
        values.append(value)
        assert state(model) == OUTSIDE

    assert len(values) == 3
    assert len(model.seen) == 5
    assert all(value.dtype is torch.float32 for value in values)
    assert not any(value.requires_grad for value in values)


def test_values_are_sent_in(model):
    stream = model.stream(X)
    first = next(stream)

    second = stream.send(X + 1)

    assert not torch.equal(first, second)


def test_errors_are_thrown_in(model):
    stream = model.stream(X)
    next(stream)

    assert stream.throw(ValueError("it")) == "caught it"
    with pytest.raises(StopIteration):
        next(stream)


def test_errors_that_it_does_not_catch_come_out(model):
    stream = model.stream(X)
    next(stream)

    with pytest.raises(KeyError, match="k"):
        stream.throw(KeyError("k"))
    with pytest.raises(StopIteration):
        next(stream)


def test_a_generator_is_closed_inside_its_contexts(model):
    stream = model.stream(X)
    next(stream)

    stream.close()

    assert len(model.seen) == 2


def test_a_generator_that_is_dropped_half_way_is_closed(model):
    stream = model.stream(X)
    next(stream)

    del stream
    gc.collect()

    assert len(model.seen) == 2


def test_a_generator_that_yields_when_it_is_closed_is_told_of():
    @inference
    def stubborn(module):
        try:
            yield 1
        except GeneratorExit:
            yield 2

    stream = stubborn(nn.Dropout())
    next(stream)

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        stream.close()


def test_the_return_value_is_handed_on(model):
    def outer():
        return (yield from model.stream(X, n=1))

    stream = outer()
    next(stream)

    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == "done"


def test_stop_iteration_raised_or_thrown_in_becomes_a_runtime_error():
    @inference
    def stopping(module):
        yield 1
        raise StopIteration  # noqa: PLR1708

    stream = stopping(nn.Dropout())
    next(stream)
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(stream)
    stream = stopping(nn.Dropout())
    next(stream)
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        stream.throw(StopIteration())


def test_a_users_train_and_eval_between_steps_are_respected():
    model = Streaming()
    stream = model.stream(X)
    next(stream)
    model.eval()
    next(stream)
    assert not model.training

    model.train()
    next(stream)

    assert model.training
    assert model.drop.training


def test_a_module_that_moves_before_the_first_step_is_found_where_it_is():
    model = Streaming()
    stream = model.stream(X.double().numpy())

    model.double()

    assert next(stream).dtype is torch.float64


def test_a_training_step_between_steps_is_like_any_other(model):
    loss = sum(model.net(y).sum() for y in model.stream(X))

    loss.backward()

    assert model.net.weight.grad is not None


def test_a_value_is_not_held_after_it_was_handed_out():
    class Thing:
        pass

    @inference
    def things(module):
        yield Thing()
        yield None

    stream = things(nn.Dropout())
    thing = weakref.ref(next(stream))
    gc.collect()

    assert thing() is None
    stream.close()


def test_an_error_that_was_thrown_in_is_not_held():
    @inference
    def patient(module):
        with suppress(ValueError):
            yield
        yield

    class Marked(ValueError):  # noqa: N818
        pass

    stream = patient(nn.Dropout())
    next(stream)
    error = Marked()
    stream.throw(error)
    reference = weakref.ref(error)
    del error
    gc.collect()

    assert reference() is None
    stream.close()


def test_every_value_takes_the_form_that_is_asked_for():
    @returns("numpy")
    @inference(mode="inference")
    @autocast_policy("bf16")
    def stream(module, x):
        yield module(x)
        return [module(x)]

    def outer():
        results.extend((yield from stream(nn.Linear(3, 3), X)))

    results = []
    results.extend(outer())

    assert [type(value) for value in results] == [np.ndarray] * 2
    assert [value.dtype for value in results] == [np.float32] * 2


def test_values_made_in_inference_mode_are_handed_out_as_normal_ones():
    @inference(mode="inference")
    def stream(module, x):
        y = module(x)
        yield {"a": y, "b": [y]}

    (result,) = stream(nn.Linear(3, 3), X)

    assert not result["a"].is_inference()
    assert result["a"] is result["b"][0]


def test_a_value_without_such_a_form_ends_the_generator_inside_its_contexts():
    closed = []

    @returns("numpy")
    @inference
    def stream(module):
        try:
            yield torch.zeros(2, device="meta")
        finally:
            closed.append(torch.is_grad_enabled())

    with pytest.raises(TypeError, match="stream.*result"):
        next(stream(nn.Dropout()))
    assert closed == [False]


def test_a_context_that_cannot_be_entered_leaves_nothing_behind():
    @autocast_policy("bf16", keep_fp32="missing")
    def stream(module):
        yield 1

    @autocast_policy("bf16", keep_fp32="missing")
    async def embed(module):
        return 1

    module = nn.Linear(3, 3)

    with pytest.raises(TypeError, match="missing"):
        next(stream(module))
    with pytest.raises(TypeError, match="missing"):
        asyncio.run(embed(module))
    gc.collect()


def test_a_context_manager_can_be_made_of_a_decorated_generator(model):
    @contextmanager
    @inference
    def session(module):
        yield state(module)

    with session(model) as seen:
        assert seen == (False, False, False, False)
        assert state(model) == OUTSIDE


def test_decorated_calls_inside_a_generator_follow_their_own_plan(model):
    @autocast_policy("fp32")
    def single(module, x):
        return module.net(x).dtype

    @autocast_policy("bf16", outputs="keep")
    def stream(module, x):
        yield module.net(x).dtype, single(module, x)

    with options(precision="bf16"):
        (dtypes,) = stream(model, X)

    assert dtypes == (torch.bfloat16, torch.float32)


# --- options -----------------------------------------------------------------------


def dtype_of(module, x):
    return module.net(x).dtype


@autocast_policy("fp32")
def stream_dtypes(module, x):
    yield dtype_of(module, x)
    yield dtype_of(module, x)


@autocast_policy("fp32")
async def await_dtype(module, x):
    await asyncio.sleep(0)
    return dtype_of(module, x)


@autocast_policy("fp32")
async def flow_dtypes(module, x):
    yield dtype_of(module, x)


def test_a_generator_keeps_the_options_that_surround_its_call(model):
    with options(precision="bf16"):
        stream = stream_dtypes(model, X)

    assert list(stream) == [torch.bfloat16] * 2
    assert list(stream_dtypes(model, X)) == [torch.float32] * 2


def test_options_that_surround_its_steps_do_not_reach_a_generator(model):
    stream = stream_dtypes(model, X)

    with options(precision="bf16"):
        assert list(stream) == [torch.float32] * 2


def test_a_coroutine_keeps_the_options_that_surround_its_call(model):
    with options(precision="bf16"):
        waiting = await_dtype(model, X)

    assert asyncio.run(waiting) is torch.bfloat16


def test_an_asynchronous_generator_keeps_the_options_that_surround_its_call(model):
    async def main():
        with options(precision="bf16"):
            flow = flow_dtypes(model, X)
        return [dtype async for dtype in flow]

    assert asyncio.run(main()) == [torch.bfloat16]


def test_a_configured_generator_follows_its_settings(model):
    configured = configure(stream_dtypes, precision="bf16")

    assert list(configured(model, X)) == [torch.bfloat16] * 2


# --- coroutines --------------------------------------------------------------------


def test_a_coroutine_waits_outside_its_contexts(model):
    async def watch():
        await asyncio.sleep(0)
        return state(model)

    async def main():
        return await asyncio.gather(model.embed(X, 0.01), watch())

    result, seen = asyncio.run(main())

    assert seen == OUTSIDE
    assert not result.requires_grad
    assert result.dtype is torch.float32


def test_interleaved_tasks_do_not_see_each_others_modes(model):
    async def train():
        await asyncio.sleep(0)
        loss = model.net(X).sum()
        await asyncio.sleep(0)
        loss.backward()
        return torch.is_grad_enabled()

    async def main():
        tasks = [f(*a) for _ in range(3) for f, a in ((model.embed, (X,)), (train, ()))]
        return await asyncio.gather(*tasks)

    results = asyncio.run(main())

    assert results[1::2] == [True] * 3
    assert not any(result.requires_grad for result in results[::2])


def test_a_cancelled_coroutine_cleans_up_inside_its_contexts(model):
    async def main():
        task = asyncio.ensure_future(model.embed(X, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert len(model.seen) == 2


def test_a_coroutine_that_is_closed_cleans_up_inside_its_contexts(model):
    waiting = model.embed(X, 60)

    async def main():
        waiting.send(None)
        waiting.close()

    asyncio.run(main())

    assert len(model.seen) == 2


def test_an_error_in_a_coroutine_comes_out(model):
    with pytest.raises(RuntimeError, match="shapes"):
        asyncio.run(model.embed(torch.ones(2, 5)))


def test_a_timeout_reaches_a_coroutine(model):
    async def main():
        async with asyncio.timeout(0.01):
            await model.embed(X, 60)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


# --- asynchronous generators -------------------------------------------------------


def test_an_asynchronous_generator_waits_and_hands_out_outside(model):
    async def main():
        values = []
        async for value in model.flow(X):
            assert state(model) == OUTSIDE
            values.append(value)
        return values

    values = asyncio.run(main())

    assert [value.dtype for value in values] == [torch.float32] * 3
    assert len(model.seen) == 5


def test_values_and_errors_reach_an_asynchronous_generator(model):
    async def main():
        flow = model.flow(X)
        first = await anext(flow)
        second = await flow.asend(X + 1)
        caught = await flow.athrow(ValueError("it"))
        with pytest.raises(StopAsyncIteration):
            await anext(flow)
        return first, second, caught

    first, second, caught = asyncio.run(main())

    assert not torch.equal(first, second)
    assert caught == "caught it"


def test_an_asynchronous_generator_is_closed_inside_its_contexts(model):
    async def main():
        async with aclosing(model.flow(X)) as flow:
            await anext(flow)

    asyncio.run(main())

    assert len(model.seen) == 2


def test_an_asynchronous_generator_left_half_way_is_closed_by_the_loop(model):
    async def main():
        async for _ in model.flow(X):
            break
        gc.collect()
        await asyncio.sleep(0.01)

    asyncio.run(main())

    assert len(model.seen) == 2


def test_a_task_cancelled_inside_an_asynchronous_generator_cleans_up(model):
    async def consume():
        async for _ in model.flow(X, n=1000):
            pass

    async def main():
        task = asyncio.ensure_future(consume())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_value_of_an_asynchronous_generator_is_not_held():
    class Thing:
        pass

    @inference
    async def things(module):
        yield Thing()
        yield None

    async def main():
        flow = things(nn.Dropout())
        thing = weakref.ref(await anext(flow))
        gc.collect()
        assert thing() is None
        await flow.aclose()

    asyncio.run(main())


def test_an_error_of_ours_between_steps_closes_an_asynchronous_generator():
    closed = []

    @returns("numpy")
    @inference
    async def flow(module):
        try:
            yield torch.zeros(2, device="meta")
        finally:
            closed.append(torch.is_grad_enabled())

    async def main():
        await anext(flow(nn.Dropout()))

    with pytest.raises(TypeError, match="flow.*result"):
        asyncio.run(main())
    assert closed == [False]
