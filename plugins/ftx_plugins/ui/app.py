"""The pages and their addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.looked_at import SPLITS
from ftx.plugins import PluginManager
from ftx.runs import list_runs
from ftx.store import Store
from ftx_plugins.report.page import render
from ftx_plugins.ui.artifacts_page import Artifacts
from ftx_plugins.ui.comparing import compared
from ftx_plugins.ui.finding import NotThere, no_run, run_named
from ftx_plugins.ui.guard import Guard
from ftx_plugins.ui.listing import Listing
from ftx_plugins.ui.rendering import ASSETS, Pages
from ftx_plugins.ui.run_page import PARTS, RunPage
from ftx_plugins.ui.streaming import Parts, changes
from ftx_plugins.ui.trying import Tried, Tryout
from ftx_serving.contract import Contract

FEW_RUNS = 100
"""That are listed unless all are asked for."""
MOST_BYTES = 256 * 1024
"""Of a form: a text to try."""
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LISTS = 2.0
# The report has a policy of its own in it, and styles and a script that this server's would forbid.
OF_REPORT = {"content-security-policy": "frame-ancestors 'none'"}


def build(store: Store, plugins: PluginManager, host: str, is_stopping: Callable[[], bool]) -> Guard:
    """The application for a server that listens on `host`; what follows a run ends when that `is_stopping`."""
    return Guard(_Site(store, plugins, is_stopping).application(), host)


class _Site:
    def __init__(self, store: Store, plugins: PluginManager, is_stopping: Callable[[], bool]) -> None:
        self._store = store
        self._is_stopping = is_stopping
        self._pages = Pages(store.root)
        self._listing = Listing(store)
        self._artifacts = Artifacts(store)
        self._tryout = Tryout(plugins)

    def application(self) -> Starlette:
        routes = [
            Route("/", lambda request: RedirectResponse("/runs"), methods=["GET"]),
            Route("/assets/{name}", self.asset, methods=["GET"]),
            Route("/runs", self.runs, methods=["GET"]),
            Route("/runs/events", self.runs_events, methods=["GET"]),
            Route("/runs/{run}", self.run, methods=["GET"]),
            Route("/runs/{run}/events", self.run_events, methods=["GET"]),
            Route("/report", self.report, methods=["GET"]),
            Route("/compare", self.compare, methods=["GET"]),
            Route("/artifacts", self.artifacts, methods=["GET"]),
            Route("/artifacts/{digest}", self.artifact, methods=["GET"]),
            Route("/artifacts/{digest}/files/{name:path}", self.file, methods=["GET"]),
            Route("/try", self.try_bundle, methods=["GET", "POST"]),
        ]
        handlers: dict[Any, Callable[..., Any]] = {FtxError: self.refused, HTTPException: self.failed}
        return Starlette(routes=routes, exception_handlers=handlers)

    def refused(self, request: Request, error: FtxError) -> HTMLResponse:
        return self._pages.error(error, 404 if isinstance(error, NotThere) else 400)

    def failed(self, request: Request, error: HTTPException) -> HTMLResponse:
        said = "there is no such page" if error.status_code == 404 else str(error.detail)
        return self._pages.error(FtxError(said, "start from the list of runs"), error.status_code)

    def asset(self, request: Request) -> Response:
        found = ASSETS.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return FileResponse(found[0], media_type=found[1])

    def runs(self, request: Request) -> HTMLResponse:
        everything = request.query_params.get("all") == "1"
        lines = self._listing.lines(None if everything else FEW_RUNS)
        return self._pages.page("runs.html", lines=lines, total=self._listing.count(), everything=everything)

    async def runs_events(self, request: Request) -> Response:
        everything = request.query_params.get("all") == "1"

        def parts() -> tuple[Parts, bool]:
            return self._pages.parts(
                "runs_parts.html", ("lines",), self._listing.lines(None if everything else FEW_RUNS)
            ), True

        return self._stream(parts, SECONDS_BETWEEN_LISTS)

    def run(self, request: Request) -> HTMLResponse:
        identity = request.path_params["run"]
        view = RunPage(run_named(identity, self._store).id, self._store).view()
        if view is None:  # gone since
            raise no_run(identity)
        return self._pages.page("run.html", run=view, parts=PARTS)

    async def run_events(self, request: Request) -> Response:
        record = await run_in_threadpool(run_named, request.path_params["run"], self._store)
        page = RunPage(record.id, self._store)

        def parts() -> tuple[Parts, bool]:
            view = page.view()
            if view is None:
                return {}, False
            return self._pages.parts("run_parts.html", PARTS, view), view.status == "running"

        return self._stream(parts, SECONDS_BETWEEN_LOOKS)

    def _stream(self, parts: Callable[[], tuple[Parts, bool]], seconds: float) -> StreamingResponse:
        return StreamingResponse(changes(parts, seconds, self._is_stopping), media_type="text/event-stream")

    def report(self, request: Request) -> HTMLResponse:
        named = dict.fromkeys(request.query_params.getlist("run"))
        records = [run_named(identity, self._store) for identity in named]
        if not records:
            raise FtxError("no run was named", "choose one from the list of runs")
        return HTMLResponse(render(records, self._store), headers=OF_REPORT)

    def compare(self, request: Request) -> HTMLResponse:
        named = request.query_params.getlist("run")
        names = named[:2]
        split = request.query_params.get("split") or None
        if split is not None and split not in SPLITS:
            raise FtxError(f"{split[:40]} is no split", "choose test or validation")
        lines = [line for line in self._listing.lines() if line.evaluated]
        found = None if len(set(names)) < 2 else compared(names, split, self._store)
        return self._pages.page("compare.html", lines=lines, names=names, more=len(named) > 2, split=split, found=found)

    def artifacts(self, request: Request) -> HTMLResponse:
        return self._pages.page("artifacts.html", lines=self._artifacts.lines())

    def artifact(self, request: Request) -> HTMLResponse:
        view = self._artifacts.view(request.path_params["digest"], list(list_runs(self._store)))
        return self._pages.page("artifact.html", artifact=view)

    def file(self, request: Request) -> FileResponse:
        path = self._artifacts.file(request.path_params["digest"], request.path_params["name"])
        # Saved, never shown: what is in it is the data's.
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    async def try_bundle(self, request: Request) -> HTMLResponse:
        if request.method == "GET":
            return await run_in_threadpool(self._try, dict(request.query_params))
        form = {name: values[0] for name, values in parse_qs((await _body(request)).decode("utf-8", "replace")).items()}
        return await run_in_threadpool(self._try, form)

    def _try(self, form: dict[str, str]) -> HTMLResponse:
        bundles = self._artifacts.bundles()
        wanted = form.get("bundle") or (bundles[0].digest if bundles else "")
        bundle = self._artifacts.open(wanted) if wanted else None
        if bundle is not None and not (isinstance(bundle, Bundle) and bundle.meta.get("variants")):
            raise FtxError(f"{wanted[:12]} is a {bundle.kind} without variants to try", "export it: ftx run export")
        tried: Tried | None = None
        error: FtxError | None = None
        text = form.get("text", "")
        if bundle is not None and text.strip():
            try:
                tried = self._tryout.predict(bundle, text, form.get("pair"), form.get("variant") or None)
            except FtxError as raised:
                error = raised
        contract = Contract.from_meta(bundle.meta) if bundle is not None else None
        return self._pages.page(
            "try.html",
            400 if error else 200,
            bundles=bundles,
            bundle=bundle,
            contract=contract,
            text=text,
            pair=form.get("pair", ""),
            variant=form.get("variant", ""),
            tried=tried,
            error=error,
        )


async def _body(request: Request) -> bytes:
    """The whole of it, unless it is larger than a text may be."""
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_BYTES:
            raise HTTPException(413, f"a text to try may have {MOST_BYTES // 1024} kB")
    return found
