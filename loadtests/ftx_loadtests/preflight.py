"""Before anything is measured: is the endpoint there, does it speak the protocol, and what does it say it is."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ftx.api_key import read_key
from ftx.errors import FtxError
from ftx_loadtests.connections import Answer, Client, Endpoint
from ftx_loadtests.protocols import Protocol, SchemaMismatch, make, template_of
from ftx_loadtests.settings import Job, LoadSettings

SECONDS = 10.0
"""That one request before the test may take, unless the test allows more."""


def tls_context(settings: LoadSettings) -> ssl.SSLContext:
    """Certificates are checked, unless the user has said otherwise. Raises `FtxError` for a file that has none."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise FtxError(
            f"{settings.ca_file} holds no certificates: {error}", "name a PEM file: --ca-file ca.pem"
        ) from None
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def endpoint_of(url: str) -> Endpoint:
    """Raises `FtxError` for what is no URL of HTTP."""
    try:
        return Endpoint.of(url)
    except ValueError as error:
        raise FtxError(str(error), "write it like this: ftx loadtest http://127.0.0.1:8000") from None


def api_key_headers(settings: LoadSettings) -> dict[str, str]:
    """Raises `FtxError` where the variable is named and not set."""
    key = read_key(settings.api_key_env)
    if key is None:
        return {}
    if re.search(r"[^\x20-\x7e\xa0-\xff]", key):
        raise FtxError(
            f"the API key in {settings.api_key_env} holds what no header may", "set it to what the server's key is"
        )
    return {"Authorization": f"Bearer {key}"}


def check(job: Job) -> Job:
    """Ask each endpoint for one label. The job, with the model's name where the protocol needs one.

    Raises `FtxError` where that fails, which says whether it was the network, TLS, the key or the protocol.
    """
    settings = job.settings
    if settings.protocol == "oip" and not settings.model:
        try:
            settings = replace(settings, model=_model_name(settings))
        except FtxError as error:
            error.hints = (
                *(f"it speaks {name}: --protocol {name}" for name in _others(settings.url, job)),
                *error.hints,
            )
            raise
        job = replace(job, settings=settings)
    for url in (settings.url, settings.against):
        if url:
            _check_endpoint(url, job)
    return job


def protocol_of(job: Job) -> Protocol:
    if job.template is not None:
        return template_of(job.template, "the template")
    return make(job.settings.protocol, model=job.settings.model)


def _check_endpoint(url: str, job: Job) -> None:
    protocol = protocol_of(job)
    answer = _ask(url, protocol, job)
    if 200 <= answer.status < 300:
        try:
            protocol.read(answer.body)
            return
        except SchemaMismatch as error:
            what = f"{url} answers, but not as the protocol {protocol.name} does: {error}"
    elif answer.status in (401, 403):
        raise FtxError(f"{url} wants an API key (HTTP {answer.status})", "name its variable: --api-key-env FTX_API_KEY")
    elif answer.status in (429, 503):
        raise FtxError(
            f"{url} takes no requests now (HTTP {answer.status}): {_said(answer)}", "wait until it is ready, and retry"
        )
    else:
        what = f"{url} does not speak the protocol {protocol.name} (HTTP {answer.status}): {_said(answer)}"
    understood = _others(url, job)
    hints = [f"it speaks {name}: --protocol {name}" for name in understood]
    raise FtxError(what, *(hints or ["describe its requests in a file: --protocol template --template request.json"]))


def _ask(url: str, protocol: Protocol, job: Job) -> Answer:
    """One request. Raises `FtxError` where there is no answer."""
    settings = job.settings
    endpoint = endpoint_of(url)
    context = tls_context(settings) if endpoint.secure else None
    headers = {**protocol.headers, **api_key_headers(settings)}
    client = Client(endpoint, headers, max(settings.timeout, SECONDS), context)
    ask = protocol.ask(job.texts[0])
    try:
        return client.send(client.message(ask.path, ask.body))
    except ssl.SSLCertVerificationError as error:
        raise FtxError(
            f"the certificate of {url} is not trusted: {error.verify_message}",
            "name the authority that signed it: --ca-file ca.pem",
            "or, for a server of your own, go without the check: --insecure",
        ) from None
    except ssl.SSLError as error:
        raise FtxError(f"no TLS with {url}: {error.reason or error}", f"is it http? try {_other_scheme(url)}") from None
    except TimeoutError:
        raise FtxError(
            f"{url} has not answered within {client.timeout:g} s",
            *([f"is it http? try {_other_scheme(url)}"] if endpoint.secure else []),
            "is it up? look at its log, or raise --timeout",
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise FtxError(
            f"{url} cannot be reached: {reason}",
            "start it: ftx serve latest" if endpoint.host in ("127.0.0.1", "localhost", "::1") else f"try {url}/health",
        ) from None
    finally:
        client.close()


def _others(url: str, job: Job) -> list[str]:
    """The other protocols that the endpoint understands."""
    found = []
    for name in ("tei", "guide", "oip"):
        if name == job.settings.protocol:
            continue
        try:
            protocol = make(name, model=_model_name(job.settings) if name == "oip" else "")
            protocol.read(_ask(url, protocol, job).body)
        except (FtxError, SchemaMismatch):
            continue
        found.append(name)
    return found


def _model_name(settings: LoadSettings) -> str:
    """The name of the server's first model, by its repository's index or by ftx's `/info`."""
    info = get_json(settings, settings.url, "/info")
    if isinstance(info, Mapping) and isinstance(info.get("served_model_name"), str):
        return str(info["served_model_name"])
    index = get_json(settings, settings.url, "/v2/repository/index", method="POST")
    names = (
        [row["name"] for row in index if isinstance(row, Mapping) and "name" in row] if isinstance(index, list) else []
    )
    if not names:
        raise FtxError(f"{settings.url} does not say which models it has", "name one: --model NAME")
    return str(names[0])


def server_info(settings: LoadSettings, url: str) -> Mapping[str, Any] | None:
    """What `/info` says; None for a server that has none."""
    found = get_json(settings, url, "/info")
    return found if isinstance(found, Mapping) else None


def get_json(settings: LoadSettings, url: str, path: str, method: str = "GET") -> Any:
    """The JSON there; None where there is none, or nobody."""
    endpoint = endpoint_of(url)
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=SECONDS, context=tls_context(settings))
        if endpoint.secure
        else http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=SECONDS)
    )
    try:
        connection.request(method, endpoint.prefix + path, headers=api_key_headers(settings))
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _said(answer: Answer) -> str:
    text = answer.body[:200].decode("utf-8", "replace").strip()
    return text or "it says nothing"


def _other_scheme(url: str) -> str:
    return url.replace("https://", "http://", 1) if url.startswith("https") else url
