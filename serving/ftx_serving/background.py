"""The step `serve` beside the steps that follow it: the same server, in a process of its own.

A server needs its process's signals and its interpreter's lock; whoever measures it must share neither.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ftx.artifacts import Artifact, open_artifact
from ftx.errors import ExitCode, FtxError
from ftx.plugins import NO_PLUGINS
from ftx.processes import end
from ftx.step import Context, ModelSettings
from ftx_serving.hooks import ServeConfig

READY = "ready: "
START_SECONDS = 300.0
STOP_SECONDS = 60.0
KEPT_LINES = 20


@contextmanager
def start(config: ServeConfig, inputs: Mapping[str, Artifact], context: Context) -> Iterator[Mapping[str, Any]]:
    """The server, from when it is ready to when the context is left; yields its `url`, its
    `pid`, and `api_key_env`, the variable with its key (None: there is none).

    Raises `FtxError` where it does not become ready.
    """
    command = [sys.executable, "-m", "ftx_serving.background"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C is the run's, which then stops the server
    )
    assert process.stdin is not None and process.stderr is not None
    output = _Output(process.stderr)
    try:
        process.stdin.write(json.dumps(_document(config, inputs, context)) + "\n")
        process.stdin.flush()
        url = _wait_until_ready(process, output)
        context.log(f"serving at {url}, process {process.pid}, until the load test is done")
        yield {"url": url, "pid": process.pid, "api_key_env": config.api_key_env}
    finally:
        # Its standard input ends with it: a run that is killed leaves no server behind.
        process.stdin.close()
        end(process, STOP_SECONDS)


def _document(config: ServeConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """What the server's process has to know."""
    return {
        "config": config.model_dump(mode="json"),
        "bundle": str(inputs["model"].path),
        "device": context.device,
        "seed": context.seed,
        "model": context.model.name,
        "out": str(context.out),
        "work": str(context.work),
        "third_party": NO_PLUGINS not in context.plugins.blocked.values(),
    }


class _Output:
    """Reads the server's lines as they come, so that it never waits for somebody to read them."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.url: str | None = None
        self._stream = stream
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self._stream:
            self.lines.append(line.rstrip())
            if line.startswith(READY):
                # Behind it may stand the address for gRPC.
                self.url = line.removeprefix(READY).split()[0]


def _wait_until_ready(process: subprocess.Popen[str], output: _Output) -> str:
    deadline = time.monotonic() + START_SECONDS
    while output.url is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if output.url is not None:
        return output.url
    process.terminate()
    output.reader.join(STOP_SECONDS)
    said = [line for line in output.lines if line]
    raise FtxError(
        f"the server did not become ready: {said[-1] if said else 'it said nothing'}",
        "try it by itself: ftx serve latest",
        code=ExitCode.STEP_FAILED,
    )


def main() -> None:
    """The server's process: reads what to serve from its standard input, and ends when that does."""
    from ftx.plugins import PluginManager
    from ftx_serving.step import run

    document = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    context = Context(
        step="serve:http",
        out=Path(document["out"]),
        work=Path(document["work"]),
        seed=document["seed"],
        device=document["device"],
        model=ModelSettings(document["model"]),
        plugins=PluginManager.load(third_party=document["third_party"]),
    )
    try:
        run(ServeConfig(**document["config"]), {"model": open_artifact(Path(document["bundle"]))}, context)
    except FtxError as error:
        sys.exit(error.message)


def _end_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
