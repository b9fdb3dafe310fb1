"""What Prometheus reads: traffic, queue, batches, and how the traffic differs from what the model was trained on."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_serving.engine.running import Batch
from ftx_serving.profile import LENGTH_BOUNDS, Profile
from ftx_serving.server.answering import Answered
from ftx_serving.server.models import Models

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SCORES = tuple(round(0.1 * n, 1) for n in range(1, 11))


class Metrics:
    """One registry for each server, so that two in one process do not mix."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        model = ("model",)
        # Finding a series by its labels takes longer than counting.
        self._of: Any = lru_cache(maxsize=4096)(lambda metric, *labels: metric.labels(*labels))
        self.requests = counter("ftx_requests", "Requests by path and status", ("path", "status"))
        self.errors = counter("ftx_errors", "Errors by kind", ("error_type",))
        self.seconds = histogram(
            "ftx_request_seconds", "Time of a request, as the server sees it", ("path",), buckets=SECONDS
        )
        self.queue_seconds = histogram("ftx_queue_seconds", "Wait of a text", model, buckets=SECONDS)
        self.compute_seconds = histogram("ftx_compute_seconds", "Time of a batch", model, buckets=SECONDS)
        self.batch_size = histogram("ftx_batch_size", "Texts of a batch", model, buckets=SIZES)
        self.batch_tokens = histogram("ftx_batch_tokens", "Padded tokens of a batch", model, buckets=TOKENS)
        self.tokens = counter("ftx_tokens", "Tokens computed, padding not counted", model)
        self.padding = counter("ftx_padding_tokens", "Tokens computed that were padding", model)
        self.cache_hits = counter("ftx_cache_hits", "Texts that were answered from the cache", model)
        self.truncated = counter("ftx_truncated_texts", "Texts that were cut", model)
        self.abstained = counter("ftx_abstained_texts", "Texts whose best score was below the bundle's bound", model)
        self.labels = counter("ftx_predictions", "Labels predicted", ("model", "label"))
        self.scores = histogram("ftx_best_score", "Score of the best label", model, buckets=SCORES)
        self.lengths = histogram("ftx_text_tokens", "Length of a text", model, buckets=LENGTH_BOUNDS)
        self.unknown = counter("ftx_unknown_tokens", "Tokens that are not in the vocabulary", model)
        self.answered_tokens = counter("ftx_answered_tokens", "Tokens of the texts answered", model)

    def watch(self, models: Models) -> None:
        """Report, whenever asked, what waits, and what the bundles say of their training data."""
        self.registry.register(_State(models))

    def count_batch(self, model: str, batch: Batch) -> None:
        """A batch was computed; called by the worker's thread."""
        tokens = sum(item.length for item in batch.items)
        self._of(self.compute_seconds, model).observe(batch.compute)
        self._of(self.batch_size, model).observe(len(batch.items))
        self._of(self.batch_tokens, model).observe(batch.padded_tokens)
        self._of(self.tokens, model).inc(tokens)
        self._of(self.padding, model).inc(batch.padded_tokens - tokens)

    def count_request(self, path: str, status: str, seconds: float) -> None:
        """A request was answered; `status` is HTTP's number, or the name of gRPC's code."""
        self._of(self.requests, path, status).inc()
        self._of(self.seconds, path).observe(seconds)

    def count_answers(self, answered: Answered) -> None:
        of, model, answers = self._of, answered.deployment.name, answered.answers
        for label, count in _predicted(answered).items():
            of(self.labels, model, label).inc(count)
        _observe(of(self.scores, model), _scores(answered))
        if abstained := sum(answered.abstained):
            of(self.abstained, model).inc(abstained)
        _observe(of(self.lengths, model), [answer.tokens for answer in answers])
        of(self.unknown, model).inc(sum(answer.unknown for answer in answers))
        of(self.answered_tokens, model).inc(sum(answer.tokens for answer in answers))
        of(self.truncated, model).inc(sum(answer.truncated for answer in answers))
        if waits := [answer.timing.queue for answer in answers if not answer.cached]:
            _observe(of(self.queue_seconds, model), waits)
        if cached := len(answers) - len(waits):
            of(self.cache_hits, model).inc(cached)

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _predicted(answered: Answered) -> Mapping[str, int]:
    """How often each label, or each type of entity, was predicted; numbers are no labels."""
    task, labels = answered.deployment.contract.task, answered.deployment.contract.labels
    if task == REGRESSION:
        return {}
    if task == TOKEN_CLASSIFICATION:
        return collections.Counter(entity["label"] for entities in answered.entities for entity in entities)
    if task == MULTI_LABEL:
        return dict(zip(labels, answered.decoder.decide(answered.logits).sum(axis=0).tolist(), strict=True))
    return collections.Counter(labels[place] for place in answered.best.tolist())


def _scores(answered: Answered) -> list[float]:
    """The score of each text's best label, or of each entity; numbers are no scores."""
    task = answered.deployment.contract.task
    if task == REGRESSION:
        return []
    if task == TOKEN_CLASSIFICATION:
        return [entity["score"] for entities in answered.entities for entity in entities]
    best: list[float] = answered.scores.max(axis=1).tolist()
    return best


def _observe(series: Histogram, values: Sequence[float]) -> None:
    for value in values:
        series.observe(value)


class _State(Collector):
    """Gauges that are read when they are asked for."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterable[GaugeMetricFamily]:
        depth = GaugeMetricFamily("ftx_queue_items", "Texts let in and not answered", labels=["model"])
        drain = GaugeMetricFamily("ftx_queue_drain_seconds", "Predicted time to answer them", labels=["model"])
        shares = GaugeMetricFamily("ftx_training_label_share", "In the training data", labels=["model", "label"])
        lengths = GaugeMetricFamily(
            "ftx_training_text_tokens_share",
            "Share of training texts of at most so many tokens",
            labels=["model", "le"],
        )
        unknown = GaugeMetricFamily("ftx_training_unknown_token_rate", "In the training data", labels=["model"])
        for deployment in self._models.serving():
            items, seconds = deployment.engine.queued()
            depth.add_metric([deployment.name], items)
            drain.add_metric([deployment.name], seconds)
            profile = Profile.from_meta(deployment.bundle.meta)
            if profile is None:
                continue
            for label, share in profile.label_shares.items():
                shares.add_metric([deployment.name, label], share)
            for bound, share in zip(LENGTH_BOUNDS, profile.length_shares, strict=True):
                lengths.add_metric([deployment.name, str(bound)], share)
            unknown.add_metric([deployment.name], profile.unknown_token_rate)
        return [depth, drain, shares, lengths, unknown]
