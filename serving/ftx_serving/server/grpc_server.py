"""The Open Inference Protocol over gRPC: the same models, admission and answers as over HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from ftx.errors import FtxError
from ftx.plugins import own_version
from ftx_serving.engine.deployment import Deployment
from ftx_serving.engine.items import Source
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server import open_inference
from ftx_serving.server.answering import Answered, submit
from ftx_serving.server.app import VERSION, Service
from ftx_serving.server.errors import HttpError, describe_bug
from ftx_serving.server.gate import is_bearer
from ftx_serving.server.grpc_messages import MESSAGES, SERVICE

Handler = Callable[[Any, Any], Awaitable[Any]]
"""From a request and its context to the response."""
CODES = {
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.TOKENIZER: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.VALIDATION: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.EMPTY: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BACKEND: grpc.StatusCode.INTERNAL,
    Reason.UNHEALTHY: grpc.StatusCode.UNAVAILABLE,
}
OPEN_METHODS = ("ServerLive", "ServerReady")
_DTYPES = {"INT64": "<i8", "FP32": "<f4"}
_log = logging.getLogger("ftx_serving.grpc")


class GrpcServer:
    """Listens from `start` to `stop`."""

    def __init__(self, service: Service) -> None:
        """Raises `FtxError` where the port is taken. An event loop must be running."""
        settings = service.settings
        assert settings.grpc_port is not None
        options = [
            ("grpc.max_receive_message_length", settings.max_body),
            # Two servers would share a port, and each get some of the requests.
            ("grpc.so_reuseport", int(settings.share_port)),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers([_handlers(service)])
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError:
            raise FtxError(
                f"{host}:{settings.grpc_port} cannot be listened on", "choose another: --grpc-port 0"
            ) from None

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Take nothing more; what was taken is answered, for as long as that."""
        await self._server.stop(seconds)


def _handlers(service: Service) -> Any:
    methods: Mapping[str, Handler] = {
        "ServerLive": lambda request, context: _live(service),
        "ServerReady": lambda request, context: _ready(service),
        "ServerMetadata": lambda request, context: _server_metadata(),
        "ModelReady": lambda request, context: _model_ready(service, request),
        "ModelMetadata": lambda request, context: _model_metadata(service, request),
        "ModelInfer": lambda request, context: _infer(service, request, context),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(service, name, handler),
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )
        for name, handler in methods.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _guarded(service: Service, name: str, handler: Handler) -> Handler:
    """The handler behind the API key, counted, its refusals told as gRPC tells them."""
    path = f"/{SERVICE}/{name}"
    is_open = service.settings.open_metrics and name in OPEN_METHODS

    async def handle(request: Any, context: Any) -> Any:
        started = time.perf_counter()
        code = grpc.StatusCode.INTERNAL
        try:
            if not is_open and not _has_key(service, context):
                code = grpc.StatusCode.UNAUTHENTICATED
                await context.abort(code, "the API key is missing or wrong")
            try:
                response = await handler(request, context)
                code = grpc.StatusCode.OK
                return response
            except Refused as refused:
                code = CODES[refused.reason]
                service.metrics.errors.labels(refused.reason.value).inc()
                wait = () if refused.retry_after is None else (("retry-after", f"{refused.retry_after:.3f}"),)
                await context.abort(code, refused.message, wait)
            except HttpError as error:
                code = grpc.StatusCode.NOT_FOUND
                service.metrics.errors.labels(error.error_type).inc()
                await context.abort(code, error.message)
            except Exception as error:
                service.metrics.errors.labels("internal").inc()
                _log.error("%s failed", path, exc_info=error)
                await context.abort(code, describe_bug(error))
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
        finally:
            seconds = time.perf_counter() - started
            service.metrics.count_request(path, code.name, seconds)
            facts = {"method": "gRPC", "path": path, "status": code.name, "ms": round(1000 * seconds, 2)}
            _log.info("request", extra={"facts": facts})

    return handle


def _has_key(service: Service, context: Any) -> bool:
    if service.settings.api_key is None:
        return True
    given = dict(context.invocation_metadata()).get("authorization", "")
    return is_bearer(given.encode(), service.settings.api_key.encode())


async def _live(service: Service) -> Any:
    return MESSAGES["ServerLiveResponse"](live=not service.models.deaths)


async def _ready(service: Service) -> Any:
    return MESSAGES["ServerReadyResponse"](ready=service.ready)


async def _server_metadata() -> Any:
    return MESSAGES["ServerMetadataResponse"](name="ftx", version=own_version())


async def _model_ready(service: Service, request: Any) -> Any:
    try:
        alive = service.find(request.name, request.version or VERSION).engine.death is None
    except Refused:
        alive = False
    return MESSAGES["ModelReadyResponse"](ready=alive and not service.stopping)


async def _model_metadata(service: Service, request: Any) -> Any:
    description = open_inference.describe(service.find(request.name, request.version or VERSION), VERSION)
    return MESSAGES["ModelMetadataResponse"](**description)


async def _infer(service: Service, request: Any, context: Any) -> Any:
    open_inference.check_version(request.model_version or VERSION, VERSION)
    asked = _read(request)
    wanted: list[str] = []

    def understand(deployment: Deployment) -> list[Source]:
        sources, wanted[:] = open_inference.understand(asked, deployment.contract, deployment.vocabulary)
        return sources

    started = time.monotonic()
    left = context.time_remaining()
    longest = service.settings.answer_seconds
    deadline = started + (longest if left is None else min(left, longest))
    with service.traced(f"/{SERVICE}/ModelInfer", dict(context.invocation_metadata())) as trace:
        deployment, submitted = submit(service.models, request.model_name, understand, deadline)
        try:
            # A client that cancels, or goes, cancels this task.
            answers = await asyncio.wait_for(asyncio.wrap_future(submitted.future), deadline - time.monotonic())
        except TimeoutError:
            raise Refused(Reason.DEADLINE, "the answer took longer than the request may wait") from None
        finally:
            submitted.cancel()
        answered = Answered(deployment, answers, time.monotonic() - started)
        service.metrics.count_answers(answered)
        trace(answered)
    await context.send_initial_metadata(tuple(answered.headers().items()))
    return _response(asked, answered, wanted, raw=len(request.raw_input_contents) > 0)


def _read(request: Any) -> open_inference.InferRequest:
    """The same request as JSON would have brought it. Raises `Refused`."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refused(Reason.VALIDATION, "raw_input_contents does not hold one entry for each input")
    tensors = [
        open_inference.Tensor(
            tensor.name, tensor.datatype, list(tensor.shape), _raw(tensor, raw[place]) if raw else _contents(tensor)
        )
        for place, tensor in enumerate(request.inputs)
    ]
    wanted = [open_inference.Wanted(output.name) for output in request.outputs]
    return open_inference.InferRequest(tensors, wanted, request.id or None)


def _contents(tensor: Any) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [_text(value) for value in tensor.contents.bytes_contents]
    return list(tensor.contents.int64_contents)


def _raw(tensor: Any, data: bytes) -> list[Any]:
    """Numbers are little-endian; each text has its length in bytes, 4 bytes, before it."""
    if tensor.datatype != "BYTES":
        if len(data) % 8:
            raise Refused(Reason.VALIDATION, "an input's raw data does not end with a whole number")
        return list(np.frombuffer(data, dtype=_DTYPES["INT64"]).tolist())
    texts, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        value = data[place + 4 : place + 4 + size]
        if len(value) != size or place + 4 > len(data):
            raise Refused(Reason.VALIDATION, "an input's raw data ends within a text")
        texts.append(_text(value))
        place += 4 + size
    return texts


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(Reason.VALIDATION, "a text is not in UTF-8") from None


def _response(asked: open_inference.InferRequest, answered: Answered, wanted: Sequence[str], *, raw: bool) -> Any:
    """Tensors come raw where they were sent so: clients read back what they write."""
    document = open_inference.respond(asked, answered, VERSION, wanted)
    outputs = document.pop("outputs")
    response = MESSAGES["ModelInferResponse"](**document)
    for output in outputs:
        tensor = response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        values = output["data"]
        if output["datatype"] == "BYTES":
            values = [value.encode() for value in values]
        if raw:
            response.raw_output_contents.append(_packed(output["datatype"], values))
        else:
            field = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "BOOL": "bool_contents"}[output["datatype"]]
            getattr(tensor.contents, field).extend(values)
    return response


def _packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    return np.array(values, dtype=_DTYPES.get(datatype, np.bool_)).tobytes()
