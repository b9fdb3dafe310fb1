"""ftx's load tests as Locust sees them. Only locustfiles import this: it needs a process that Locust has patched.

Locust starts and connects the processes, and shows what goes on; what is sent when is ours. The master (or the one
process) conducts: it plays the suite's scenario, tells each worker to carry out a phase, and writes down the rows that
workers send. Locust's own users stay idle: they wait for answers, and an open loop must not.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gevent
import gevent.event
from locust import User, events
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from ftx.errors import FtxError
from ftx_loadtests.generator import Generator
from ftx_loadtests.launching import FOLDER_VARIABLE, PARENT_VARIABLE
from ftx_loadtests.recording import PhaseRecord, Recording
from ftx_loadtests.samples import Samples
from ftx_loadtests.scenarios import Phase, play
from ftx_loadtests.settings import Job
from ftx_loadtests.standalone import add_options, job_of

LEAD_SECONDS = 0.1
"""From the word to begin to the beginning: messages must have arrived by then."""
FLUSH_SECONDS = 0.25
PATIENCE = 15.0
"""Seconds that a worker may be late beyond what its phase can take."""


def _idle(user: Any) -> None:
    gevent.sleep(3600)


class LoadGenerator(User):  # type: ignore[misc]
    """One for each worker, so that Locust has somebody to run."""

    tasks: ClassVar[list[Any]] = [_idle]


def use(suite: str) -> None:
    """Make the locustfile that calls this the one of `suite`."""

    def begin(environment: Environment, **_: Any) -> None:
        runner = environment.runner
        if isinstance(runner, WorkerRunner | LocalRunner):
            _Worker(environment)
        if isinstance(runner, MasterRunner | LocalRunner):
            try:
                _Conductor(environment, suite)
            except FtxError as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(int(error.code))
        if parent := os.environ.get(PARENT_VARIABLE):
            gevent.spawn(_quit_without_parent, environment, int(parent))

    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(begin)


def _quit_without_parent(environment: Environment, parent: int) -> None:
    """`ftx loadtest` may be killed: nobody then waits for the end, and nobody else would stop the load."""
    while os.getppid() == parent:
        gevent.sleep(1.0)
    assert environment.runner is not None
    environment.runner.quit()


class _Worker:
    """Carries out what the conductor asks for."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._generator: Generator | None = None
        runner = environment.runner
        assert runner is not None
        self._runner = runner
        runner.register_message("ftx_job", self._take_job)
        runner.register_message("ftx_phase", self._take_phase)

    def _take_job(self, environment: Environment, msg: Any, **_: Any) -> None:
        content = msg.data
        try:
            job = Job.from_json(content["job"])
            self._generator = Generator(job, content["worker"], content["workers"], self._tell_locust)
        except Exception as error:  # whatever it is, the conductor must not wait for this worker
            self._runner.send_message("ftx_failed", {"message": f"{type(error).__name__}: {error}"})

    def _take_phase(self, environment: Environment, msg: Any, **_: Any) -> None:
        zero = time.monotonic() + LEAD_SECONDS
        gevent.spawn(self._carry_out, Phase.from_json(msg.data["phase"]), msg.data["start"], zero)

    def _carry_out(self, phase: Phase, start: float, zero: float) -> None:
        generator = self._generator
        if generator is None:
            return  # it has said why
        # What is there stays: collecting it again in mid-phase would only stop the clock.
        gc.collect()
        gc.freeze()
        flusher = gevent.spawn(self._flush_again_and_again, generator)
        try:
            figures = generator.carry_out(phase, start, zero)
        except Exception as error:
            self._runner.send_message("ftx_failed", {"message": f"{type(error).__name__}: {error}"})
            raise
        finally:
            flusher.kill()
        self._flush(generator)
        self._runner.send_message("ftx_done", {"worker": generator.worker, "figures": figures})

    def _flush_again_and_again(self, generator: Generator) -> None:
        while True:
            gevent.sleep(FLUSH_SECONDS)
            self._flush(generator)

    def _flush(self, generator: Generator) -> None:
        rows, labels = generator.take_rows()
        if rows:
            self._runner.send_message("ftx_rows", {"worker": generator.worker, "rows": rows, "labels": labels})

    def _tell_locust(self, path: str, milliseconds: float, size: int, problem: str | None) -> None:
        self._environment.events.request.fire(
            request_type="POST",
            name=path,
            response_time=milliseconds,
            response_length=size,
            exception=None if problem is None else RuntimeError(problem),
            context={},
        )


class _Conductor:
    """Plays the scenario: one phase after the other, on all workers at once."""

    def __init__(self, environment: Environment, suite: str) -> None:
        self._environment = environment
        runner = environment.runner
        assert runner is not None
        self._runner = runner
        folder = os.environ.get(FOLDER_VARIABLE)  # of `ftx loadtest`; none where Locust was started by hand
        self._recording = Recording(Path(folder or tempfile.mkdtemp(prefix="ftx-loadtest-")))
        self._job = (
            Job.from_json(self._recording.job.read_text(encoding="utf-8"))
            if folder
            else job_of(suite, environment.host, environment.parsed_options)
        )
        self._by_hand = folder is None
        self._waiting: set[int] = set()
        self._figures: list[Mapping[str, float]] = []
        self._done = gevent.event.Event()
        self._problem: str | None = None
        runner.register_message("ftx_rows", self._take_rows)
        runner.register_message("ftx_done", self._take_done)
        runner.register_message("ftx_failed", self._take_failure)
        environment.events.test_start.add_listener(lambda **_: gevent.spawn(self._conduct))

    def _take_rows(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._recording.add_rows(msg.data["worker"], msg.data["rows"], msg.data["labels"])

    def _take_done(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._figures.append(msg.data["figures"])
        self._waiting.discard(msg.data["worker"])
        if not self._waiting:
            self._done.set()

    def _take_failure(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._problem = f"a worker could not go on: {msg.data['message']}"
        self._done.set()

    def _conduct(self) -> None:
        try:
            self._play()
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            if self._problem is not None:
                self._recording.fail(self._problem)
                self._environment.process_exit_code = 1
            if self._by_hand:
                print(f"raw samples: {self._recording.folder}")
            gevent.spawn(self._runner.quit)

    def _play(self) -> None:
        workers = self._workers()
        job = self._job.to_json()
        for place, worker in enumerate(workers):
            content = {"job": job, "worker": place, "workers": len(workers)}
            self._runner.send_message("ftx_job", content, worker)
        origin: float | None = None
        scenario = play(self._job.settings, self._job.texts)
        phase = next(scenario, None)
        while phase is not None and self._problem is None:
            # Warming up and searching come before the axis begins: each of their phases begins at 0.
            begins = time.monotonic() + LEAD_SECONDS
            if origin is None and phase.measured:
                origin = begins
                self._recording.begin(origin)
            start = 0.0 if origin is None else begins - origin
            self._recording.add_phase(PhaseRecord(phase, start, None))
            self._carry_out(phase, start, workers)
            if self._problem is not None:
                return
            # A phase of the open loop is over when its last request was due, not when it was answered.
            took = phase.seconds if phase.rate is not None else time.monotonic() - begins
            self._recording.add_phase(PhaseRecord(phase, start, start + took, self._figures))
            phase = _after(scenario, self._samples_of(phase))

    def _workers(self) -> list[str | None]:
        """To whom phases are sent: the clients of a master, or this process itself."""
        if not isinstance(self._runner, MasterRunner):
            return [None]
        return [*sorted(client.id for client in self._runner.clients.all)]

    def _carry_out(self, phase: Phase, start: float, workers: list[str | None]) -> None:
        self._waiting, self._figures = set(range(len(workers))), []
        self._done.clear()
        for worker in workers:
            self._runner.send_message("ftx_phase", {"phase": phase.as_json(), "start": start}, worker)
        patience = phase.seconds + 2 * self._job.settings.timeout + PATIENCE
        if not self._done.wait(patience):
            self._problem = f"{len(self._waiting)} of {len(workers)} workers did not end the phase {phase.name}"

    def _samples_of(self, phase: Phase) -> Samples:
        samples = self._recording.samples()
        return samples.select(samples.block == phase.block)


def _after(scenario: Any, samples: Samples) -> Phase | None:
    """The scenario's next phase, now that it has learned this; None where it is over."""
    try:
        phase: Phase = scenario.send(samples)
    except StopIteration:
        return None
    return phase
