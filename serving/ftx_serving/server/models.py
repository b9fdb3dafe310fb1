"""The bundles that serve, by name; each can be replaced by another while it serves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from functools import partial

from ftx.artifacts import Bundle
from ftx.step import Runtime
from ftx_serving.engine.deployment import Deployment, DeploySettings, deploy
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.engine.running import Batch
from ftx_serving.server.errors import HttpError

Find = Callable[[], Bundle]
"""Finds a bundle anew: what `latest` names may have changed since."""


class Models:
    """Name -> what serves under it. A name is replaced at once: requests go to the old one or to the new one."""

    def __init__(
        self,
        wanted: Mapping[str, Find],
        runtimes: Mapping[str, Runtime],
        settings: DeploySettings,
        *,
        drain_seconds: float = 30.0,
        on_batch: Callable[[str, Batch], None] = lambda name, batch: None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`wanted` has the default model first."""
        self._wanted = wanted
        self._runtimes = runtimes
        self._settings = settings
        self._drain_seconds = drain_seconds
        self._on_batch = on_batch
        self._say = say
        self._serving: dict[str, Deployment] = {}
        self._loading = threading.Lock()
        self._stopped = False

    @property
    def names(self) -> list[str]:
        return list(self._wanted)

    @property
    def ready(self) -> bool:
        """Whether each of them is checked, warm and alive."""
        serving = self._serving
        return len(serving) == len(self._wanted) and all(each.engine.death is None for each in serving.values())

    @property
    def deaths(self) -> list[str]:
        return [each.engine.death for each in self._serving.values() if each.engine.death is not None]

    def serving(self) -> list[Deployment]:
        return list(self._serving.values())

    def find(self, name: str | None = None) -> Deployment:
        """What serves under that name, or the default. Raises `HttpError` 404 for a name that nobody has."""
        wanted = self.names[0] if name is None else name
        if wanted not in self._wanted:
            raise HttpError(404, "not_found", f"there is no such model; there are: {', '.join(self.names)}")
        found = self._serving.get(wanted)
        if found is None:
            raise Refused(Reason.UNHEALTHY, f"{wanted} is being loaded")
        return found

    def load_all(self) -> None:
        """Load each of them, until `stop_loading`."""
        for name in self._wanted:
            with contextlib.suppress(Refused):
                self.load(name)

    def load(self, name: str) -> Deployment:
        """Find the bundle anew and put it in the old one's place; whatever fails, the old one goes on serving.

        The new one is checked and measured beside the old; the old one answers what it has let in, and ends. One load
        at a time. Raises `FtxError` where the new bundle must not serve, and `Refused` after `stop_loading`.
        """
        find = self._wanted[name]
        with self._loading:
            # A load may have waited here for another one while the server was stopped.
            if self._stopped:
                raise Refused(Reason.UNHEALTHY, "the server is stopping, and loads nothing more")
            bundle = find()
            new = deploy(
                name, bundle, self._runtimes, self._settings, on_batch=partial(self._on_batch, name), warn=self._say
            )
            old = self._serving.get(name)
            self._serving[name] = new
            self._say(new.describe())
            if old is not None:
                # Requests that were handed the old engine and have not been let in are handed the new one.
                old.engine.refuse_new(REPLACED)
                old.engine.wait_until_empty(self._drain_seconds)
                old.engine.stop()
            return new

    def stop_loading(self) -> None:
        """Begin no further load; one that has begun is not broken off."""
        self._stopped = True

    def stop(self) -> None:
        self.stop_loading()
        with self._loading:
            for each in self._serving.values():
                each.engine.stop()


REPLACED = "the model has been replaced"
