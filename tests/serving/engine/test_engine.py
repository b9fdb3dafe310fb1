"""Requests in, answers out, whatever happens in between."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from tests.serving.engine.conftest import MakeEngine, Watched, sources

from ftx.testing.tiny import sentences
from ftx_serving.engine.admission import Limits
from ftx_serving.engine.items import Source, TokenIds
from ftx_serving.engine.pending import BatchRule
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.predictor import Predictor

WAIT = 20
TEXTS = [text for text, _ in sentences(60, seed=9)] + ["", "中文 good", "love " * 300]


def test_each_texts_logits_are_the_predictors_in_whatever_batch(make_engine: MakeEngine, predictor: Predictor) -> None:
    engine = make_engine()
    together = engine.submit(sources(*TEXTS)).future.result(WAIT)
    expected = predictor.logits(TEXTS, alone=True)
    assert np.abs(np.array([answer.logits for answer in together]) - expected).max() < 1e-5
    assert [answer.truncated for answer in together] == [False] * (len(TEXTS) - 1) + [True]
    assert max(answer.timing.batch_size for answer in together) > 1


def test_a_free_worker_takes_what_is_there_and_a_busy_one_gathers_company(
    make_engine: MakeEngine, watched: Watched
) -> None:
    engine = make_engine(rule=BatchRule(budget=1000))
    watched.hold()
    first = engine.submit(sources("good"))
    watched.wait_until_busy()
    others = [engine.submit(sources(f"bad {n}")) for n in range(5)]
    deadline = time.monotonic() + WAIT
    while len(engine._pending) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    watched.free.set()
    for request in [first, *others]:
        request.future.result(WAIT)
    assert [rows for rows, _ in watched.shapes] == [1, 5]


def test_identical_texts_in_flight_are_computed_once(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine()
    watched.hold()
    engine.submit(sources("table"))
    watched.wait_until_busy()
    requests = [engine.submit(sources("good", "good")) for _ in range(3)]
    watched.free.set()
    answers = [request.future.result(WAIT) for request in requests]
    assert {len(each) for each in answers} == {2}
    assert sum(rows for rows, _ in watched.shapes) == 2
    assert engine.queued()[0] == 0


def test_a_cached_answer_needs_no_computing(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine(cache=1)
    [first] = engine.submit(sources("good")).future.result(WAIT)
    [again] = engine.submit(sources("good")).future.result(WAIT)
    assert (again.logits == first.logits).all() and again.cached and not first.cached
    engine.submit(sources("bad")).future.result(WAIT)
    [dropped] = engine.submit(sources("good")).future.result(WAIT)
    assert not dropped.cached
    assert len(watched.shapes) == 3


def test_token_ids_go_straight_to_the_model(make_engine: MakeEngine, predictor: Predictor) -> None:
    encoding = predictor.encoder.encode(["the car was good"])[0]
    tokens = TokenIds(tuple(encoding.ids), tuple(encoding.attention_mask), tuple(encoding.type_ids))
    [answer] = make_engine().submit([Source("", tokens=tokens)]).future.result(WAIT)
    assert np.abs(answer.logits - predictor.logits(["the car was good"])[0]).max() < 1e-5


def test_a_text_cut_at_its_beginning_is_another_one(make_engine: MakeEngine, predictor: Predictor) -> None:
    text = "hate " * 300 + "love " * 100
    right, left = make_engine().submit([Source(text), Source(text, side="left")]).future.result(WAIT)
    expected = predictor.logits(["hate " * 62, "love " * 62])
    assert np.abs(np.array([right.logits, left.logits]) - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    assert right.truncated and left.truncated


def test_only_the_poison_item_fails(make_engine: MakeEngine, watched: Watched, predictor: Predictor) -> None:
    poison = predictor.encoder.encode(["awful"])[0].ids[1]
    watched.poison = lambda ids: ValueError("no such token") if (ids == poison).any() else None
    engine = make_engine(rule=BatchRule(budget=1000))
    watched.hold()
    engine.submit(sources("table"))
    watched.wait_until_busy()
    requests = [engine.submit(sources(text)) for text in ("good", "bad", "awful", "love", "hate")]
    watched.free.set()
    with pytest.raises(Refused) as refused:
        requests[2].future.result(WAIT)
    assert refused.value.reason == Reason.BACKEND
    for request in requests[:2] + requests[3:]:
        assert np.isfinite(request.future.result(WAIT)[0].logits).all()
    assert engine.death is None
    assert engine.queued()[0] == 0


def test_logits_that_are_not_finite_are_a_failure(make_engine: MakeEngine) -> None:
    engine = make_engine([lambda **inputs: np.full((len(inputs["input_ids"]), 3), np.nan, dtype=np.float32)])
    with pytest.raises(Refused, match="the model failed on this text"):
        engine.submit(sources("good")).future.result(WAIT)


def test_a_dead_worker_is_told_to_everybody_at_once(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine(rule=BatchRule(budget=1))
    watched.poison = lambda ids: SystemExit("killed")
    watched.hold()
    requests = [engine.submit(sources(f"good {n}")) for n in range(4)]
    watched.wait_until_busy()
    watched.free.set()
    for request in requests:
        with pytest.raises(Refused, match="worker 0 died: SystemExit") as refused:
            request.future.result(WAIT)
        assert refused.value.reason == Reason.UNHEALTHY
    assert engine.death is not None
    with pytest.raises(Refused, match="worker 0 died"):
        engine.submit(sources("good"))
    assert engine.wait_until_empty(WAIT)


def test_more_than_can_be_computed_in_time_is_refused_with_the_time_that_it_takes(
    make_engine: MakeEngine, watched: Watched
) -> None:
    engine = make_engine(tokens_per_second=10.0, limits=Limits(queue_seconds=1.0))
    watched.hold()
    waiting = engine.submit(sources(*(f"good {n}" for n in range(8))))  # an idle server takes any size
    watched.wait_until_busy()
    ahead = engine.queued()[1]
    with pytest.raises(Refused) as refused:
        engine.submit(sources("bad", "awful"))
    assert refused.value.reason == Reason.OVERLOADED
    assert refused.value.retry_after == pytest.approx(ahead - 1.0, rel=0.2)
    engine.submit(sources("good 0"))  # computed anyway
    watched.free.set()
    assert len(waiting.future.result(WAIT)) == 8


def test_a_request_that_cannot_meet_its_deadline_is_refused_at_once(make_engine: MakeEngine) -> None:
    engine = make_engine(tokens_per_second=1.0)
    with pytest.raises(Refused, match="after the request's deadline") as refused:
        engine.submit(sources("good"), deadline=time.monotonic() + 0.5)
    assert refused.value.reason == Reason.OVERLOADED
    assert engine.queued()[0] == 0


def test_a_deadline_that_passes_while_waiting_is_an_answer(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine(tokens_per_second=1e9)
    watched.hold()
    engine.submit(sources("table"))
    watched.wait_until_busy()
    late = engine.submit(sources("good"), deadline=time.monotonic() + 0.02)
    time.sleep(0.05)
    watched.free.set()
    with pytest.raises(Refused) as refused:
        late.future.result(WAIT)
    assert refused.value.reason == Reason.DEADLINE
    assert len(watched.shapes) == 1


def test_what_nobody_waits_for_is_not_computed(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine()
    watched.hold()
    kept = engine.submit(sources("table"))
    watched.wait_until_busy()
    gone = engine.submit(sources("good"))
    gone.cancel()
    watched.free.set()
    kept.future.result(WAIT)
    assert engine.wait_until_empty(WAIT)
    with pytest.raises(CancelledError):
        gone.future.result(WAIT)
    assert len(watched.shapes) == 1


def test_too_many_texts_or_characters_are_refused_whatever_the_load(make_engine: MakeEngine) -> None:
    engine = make_engine(limits=Limits(items=2, characters=10))
    for texts in (["a", "b", "c"], ["x" * 11]):
        with pytest.raises(Refused) as refused:
            engine.submit(sources(*texts))
        assert refused.value.reason == Reason.TOO_LARGE
        assert refused.value.retry_after is None


def test_draining_answers_what_was_let_in_and_lets_nothing_more_in(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine()
    watched.hold()
    requests = [engine.submit(sources(text)) for text in ("good", "bad", "table")]
    engine.refuse_new("going")
    with pytest.raises(Refused, match="going"):
        engine.submit(sources("late"))
    assert not engine.wait_until_empty(0.02)
    watched.free.set()
    assert engine.wait_until_empty(WAIT)
    assert [len(request.future.result(WAIT)) for request in requests] == [1, 1, 1]


def test_stopping_refuses_what_still_waits(make_engine: MakeEngine, watched: Watched) -> None:
    engine = make_engine(rule=BatchRule(budget=1))
    watched.hold()
    requests = [engine.submit(sources(f"good {n}")) for n in range(3)]
    watched.wait_until_busy()
    watched.free.set()
    engine.stop()
    for request in requests:
        assert request.future.done()
        assert request.future.exception() is None or isinstance(request.future.exception(), Refused)
