"""The application: routes of text-embeddings-inference's form, of the Open Inference Protocol, and a page."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from ftx.errors import FtxError
from ftx.plugins import own_version
from ftx_serving.engine.deployment import Deployment
from ftx_serving.engine.items import Source
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server import docs_page, forms, open_inference
from ftx_serving.server.answering import Answered, answer
from ftx_serving.server.body import decode, read_body
from ftx_serving.server.direct import Direct, Endpoint, OnError
from ftx_serving.server.documentation import INFER, PREDICT, PREDICT_NESTED
from ftx_serving.server.errors import HttpError, describe_bug, error_response, respond
from ftx_serving.server.gate import Gate
from ftx_serving.server.metrics import Metrics
from ftx_serving.server.models import Models
from ftx_serving.server.settings import ServerSettings
from ftx_serving.server.siblings import LOAD_SECONDS, METRICS_SECONDS, Ask, Siblings, merge

if TYPE_CHECKING:
    from ftx_serving.server.tracing import Tracing

_log = logging.getLogger("ftx_serving.server")
VERSION = "1"
"""Of a model, as the protocol wants one; a bundle that takes another's place keeps it."""
CONTENT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"


@dataclass
class Service:
    """What the routes share."""

    models: Models
    settings: ServerSettings
    metrics: Metrics
    stopping: bool = False
    siblings: Siblings | None = None
    """The other processes that serve on this port; None: there are none."""
    tracing: Tracing | None = None
    """None: no spans are made."""

    @property
    def ready(self) -> bool:
        return not self.stopping and self.models.ready

    def find(self, name: str, version: str = VERSION) -> Deployment:
        """Raises as `Models.find` does, and `HttpError` 404 for a version that is not there."""
        open_inference.check_version(version, VERSION)
        return self.models.find(name)

    async def ask(
        self, request: Request, name: str | None, understand: Callable[[Deployment], Sequence[Source]]
    ) -> Answered:
        route = request.scope["route"].path
        with self.traced(f"{request.method} {route}", request.headers) as trace:
            answered = await answer(request, self.models, name, understand, self.settings.answer_seconds)
            self.metrics.count_answers(answered)
            trace(answered)
        return answered

    @contextlib.contextmanager
    def traced(self, name: str, headers: Mapping[str, str]) -> Iterator[Callable[[Answered], None]]:
        """Around one request: yields what is to be called with its answer; a refusal is noticed here."""
        if self.tracing is None:
            yield lambda answered: None
            return
        started = time.monotonic()
        try:
            yield partial(self.tracing.answered, name, headers, started)
        except Refused as refused:
            self.tracing.failed(name, headers, started, refused.reason.value)
            raise
        except HttpError as error:
            self.tracing.failed(name, headers, started, error.error_type)
            raise

    def stop(self) -> None:
        """End the models' threads, and send the last spans."""
        self.models.stop()
        if self.tracing is not None:
            self.tracing.close()

    async def render_metrics(self) -> bytes:
        """Of all replicas, where there are several."""
        if self.siblings is None:
            return self.metrics.render()
        rendered = await self.siblings.ask(Ask(), METRICS_SECONDS)
        return merge({self.siblings.number: self.metrics.render(), **rendered})

    async def load(self, name: str) -> Deployment:
        """Load a model anew, in every replica. Raises as `Models.load` does."""
        loaded = await asyncio.to_thread(self.models.load, name)
        if self.siblings is None:
            return loaded
        answers = await self.siblings.ask(Ask(load=name), LOAD_SECONDS)
        if failed := [
            number for number in self.siblings.others if answers.get(number) != loaded.bundle.digest.encode()
        ]:
            raise Refused(
                Reason.UNHEALTHY,
                f"replicas {failed} did not load {loaded.bundle.digest[:12]}, but replica {self.siblings.number} did: "
                "load it again",
            )
        return loaded

    async def answer_sibling(self, ask: Ask) -> bytes:
        """What another replica gets: the measurements, or the digest of what was loaded; empty where nothing was."""
        if ask.load is None:
            return self.metrics.render()
        try:
            return (await asyncio.to_thread(self.models.load, ask.load)).bundle.digest.encode()
        except (FtxError, Refused) as error:
            _log.error("%s is not replaced: %s", ask.load, error.message)
            return b""


def build(service: Service) -> ASGIApp:
    """The ASGI application."""
    app = FastAPI(
        title="ftx serve",
        version=own_version(),
        description="Text classification with a checked bundle.",
        # FastAPI's own pages fetch their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    endpoints = _add_prediction(app, service)
    _add_state(app, service)
    _add_open_inference(app, service)
    _add_inference(app, service)
    _add_repository(app, service)
    expected, unexpected = _add_errors(app, service)
    direct = Direct(app, app.routes, endpoints, expected, unexpected)
    return Gate(direct, service.settings, service.metrics, lambda: service.stopping)


def _add_prediction(app: FastAPI, service: Service) -> Mapping[tuple[str, str], Endpoint]:
    """What answers, by method and path."""

    @app.post("/predict", openapi_extra=PREDICT, summary="Classify texts")
    async def predict(request: Request) -> Response:
        if "text" in request.query_params:
            return await _predict_query(request, service)
        asked, answered = await _predict(request, service)
        rows = forms.respond(asked, answered)
        return _json(rows if asked.batch else rows[0], answered.headers())

    @app.post("/", openapi_extra=PREDICT_NESTED, summary="Classify texts, for the clients of Hugging Face")
    async def predict_nested(request: Request) -> Response:
        asked, answered = await _predict(request, service)
        return _json(forms.respond(asked, answered), answered.headers())

    return {("POST", "/predict"): predict, ("POST", "/"): predict_nested}


async def _predict(request: Request, service: Service) -> tuple[forms.Asked, Answered]:
    body = await read_body(request, service.settings)
    asked: forms.Asked

    def understand(deployment: Deployment) -> list[Source]:
        nonlocal asked
        asked = forms.understand(decode(body, forms.decoder), deployment.contract)
        return asked.sources

    answered = await service.ask(request, None, understand)
    forms.check_truncation(asked, answered)
    return asked, answered


async def _predict_query(request: Request, service: Service) -> Response:
    """The best label of one text, as the usual guides to fine-tuning answer it, or its entities."""
    await read_body(request, service.settings)
    pair = request.query_params.get("text_pair")
    given = [request.query_params["text"], *([] if pair is None else [pair])]
    form = forms.PredictRequest(inputs=[list(given)])
    answered = await service.ask(request, None, lambda deployment: forms.understand(form, deployment.contract).sources)
    if answered.of_entities:
        return _json(forms.respond(forms.Asked([], False, True, None, None), answered)[0], answered.headers())
    [[best]] = forms.respond(forms.Asked([], False, True, 1, None), answered)
    return _json({"label": best.pop("label"), "id": int(answered.best[0]), **best}, answered.headers())


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        html = files("ftx_serving.server").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(html, headers={"content-security-policy": CONTENT_POLICY})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page.render(app.openapi()), headers={"content-security-policy": CONTENT_POLICY})

    @app.get("/info", summary="The model and its limits")
    async def info() -> Response:
        return _json(_info(service.models.find(), service))

    @app.get("/health", summary="Whether requests are answered")
    async def health() -> Response:
        return _health(service, ready=True)

    @app.get("/metrics", summary="Measurements, for Prometheus")
    async def metrics() -> Response:
        return Response(await service.render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _info(deployment: Deployment, service: Service) -> dict[str, Any]:
    contract, variant = deployment.contract, deployment.variant
    limits = deployment.engine.settings.limits
    return {
        "model_id": deployment.bundle.meta.get("base") or deployment.name,
        "model_sha": deployment.bundle.digest,
        "model_dtype": variant.precision,
        "model_type": {"classifier": {"id2label": dict(map(_with_text_key, enumerate(contract.labels)))}},
        "served_model_name": deployment.name,
        "models": service.models.names,
        "task": contract.task,
        "pair": contract.pair,
        "variant": variant.name,
        "runtime": deployment.runtime,
        "temperature": variant.temperature,
        "thresholds": contract.thresholds,
        "long_text": contract.long_text,
        "abstain_below": contract.abstain_below,
        "max_input_length": contract.max_length,
        "auto_truncate": True,
        "truncation_direction": contract.truncation_side,
        "max_batch_tokens": deployment.engine.settings.rule.budget,
        "max_client_batch_size": limits.items,
        "max_characters": limits.characters,
        "max_body_bytes": service.settings.max_body,
        "tokenization_workers": deployment.engine.settings.tokenizers,
        "workers": deployment.workers,
        "threads": deployment.threads,
        "predicted_texts_per_second": round(deployment.measured.texts_per_second, 1),
        "version": own_version(),
    }


def _with_text_key(numbered: tuple[int, str]) -> tuple[str, str]:
    return str(numbered[0]), numbered[1]


def _add_open_inference(app: FastAPI, service: Service) -> None:
    """What the protocol tells of the server and its models."""

    @app.get("/v2", summary="Server metadata")
    async def server() -> Response:
        return _json({"name": "ftx", "version": own_version(), "extensions": open_inference.EXTENSIONS})

    @app.get("/v2/health/live", summary="Whether the server works")
    async def live() -> Response:
        return _health(service, ready=False)

    @app.get("/v2/health/ready", summary="Whether requests are answered")
    async def ready() -> Response:
        return _health(service, ready=True)

    @app.get("/v2/models/{name}", summary="Model metadata")
    @app.get("/v2/models/{name}/versions/{version}", summary="Model metadata")
    async def model(name: str, version: str = VERSION) -> Response:
        return _json(open_inference.describe(service.find(name, version), VERSION))

    @app.get("/v2/models/{name}/ready", summary="Whether the model answers")
    @app.get("/v2/models/{name}/versions/{version}/ready", summary="Whether the model answers")
    async def model_ready(name: str, version: str = VERSION) -> Response:
        alive = service.find(name, version).engine.death is None and not service.stopping
        return _json({"name": name, "ready": alive}, status=200 if alive else 503)


def _add_inference(app: FastAPI, service: Service) -> None:
    """Tensors in, tensors out."""

    @app.post("/v2/models/{name}/infer", openapi_extra=INFER, summary="Classify texts, or compute logits of tokens")
    @app.post(
        "/v2/models/{name}/versions/{version}/infer",
        openapi_extra=INFER,
        summary="Classify texts, or compute logits of tokens",
    )
    async def infer(request: Request, name: str, version: str = VERSION) -> Response:
        body = await read_body(request, service.settings)
        open_inference.check_version(version, VERSION)
        asked: open_inference.InferRequest
        wanted: list[str]

        def understand(deployment: Deployment) -> list[Source]:
            nonlocal asked, wanted
            if open_inference.BINARY_HEADER in request.headers:
                raise HttpError(400, Reason.VALIDATION.value, open_inference.BINARY)
            asked = decode(body, open_inference.decoder)
            sources, wanted = open_inference.understand(asked, deployment.contract, deployment.vocabulary)
            return sources

        answered = await service.ask(request, name, understand)
        document = open_inference.respond(asked, answered, VERSION, wanted)
        return _json(document, answered.headers())


def _add_repository(app: FastAPI, service: Service) -> None:
    """The protocol's extension for what there is to serve."""
    models = service.models

    @app.post("/v2/repository/index", summary="The models")
    async def index() -> Response:
        serving = {each.name for each in models.serving()}
        states = {name: "READY" if name in serving else "LOADING" for name in models.names}
        return _json([{"name": name, "version": VERSION, "state": state} for name, state in states.items()])

    @app.post("/v2/repository/models/{name}/load", summary="Look for the model's bundle again, and serve what is found")
    async def load(name: str) -> Response:
        old = models.find(name)
        try:
            new = await service.load(name)
        except FtxError as error:
            message = f"the bundle that was found is not served, {old.bundle.digest[:12]} goes on: {error.message}"
            raise HttpError(400, "load", message) from None
        return _json({"name": name, "model_sha": new.bundle.digest, "previous": old.bundle.digest})


def _health(service: Service, *, ready: bool) -> Response:
    """Live: no stage has died. Ready: and all models are checked and warm, and the server is not stopping."""
    if deaths := service.models.deaths:
        return error_response(503, Reason.UNHEALTHY.value, "; ".join(deaths))
    if ready and not service.ready:
        return error_response(503, Reason.UNHEALTHY.value, "stopping" if service.stopping else "loading")
    return _json({"ready": True} if ready else {"live": True})


def _add_errors(app: FastAPI, service: Service) -> tuple[Mapping[type[Exception], OnError], OnError]:
    """What answers the errors that a request may meet, by their classes, and what answers a bug."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused | HttpError)
        kind = error.error_type if isinstance(error, HttpError) else error.reason.value
        service.metrics.errors.labels(kind).inc()
        return respond(error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "not_found" if error.status_code == 404 else "validation"
        service.metrics.errors.labels(kind).inc()
        return error_response(error.status_code, kind, str(error.detail), dict(error.headers or {}))

    async def bug(request: Request, error: Exception) -> Response:
        service.metrics.errors.labels("internal").inc()
        return error_response(500, "internal", describe_bug(error))

    expected = {Refused: refused, HttpError: refused, HTTPException: http}
    for kind, answer_error in expected.items():
        app.add_exception_handler(kind, answer_error)
    app.add_exception_handler(Exception, bug)
    return expected, bug


def _json(document: Any, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")
