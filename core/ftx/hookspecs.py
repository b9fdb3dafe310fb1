"""The hooks: one for each kind of thing that a plugin may add, and the observers.

Each adding hook returns an iterable of typed, frozen values, so that nothing is chosen by registration order. The
example in each docstring is run by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from ftx.step import Architecture, Command, Executor, Metric, Runtime, Step, Translator

PROJECT = "ftx"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ftx_train() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of the stage `train`: fine-tune a checkpoint on a data set.

    Example:

        from ftx import Checkpoint, Dataset, Step, StepConfig, hookimpl

        class ProbeConfig(StepConfig):
            pass

        @hookimpl
        def ftx_train():
            yield Step(
                name="probe", stage="train", summary="a linear probe on frozen features",
                takes={"model": Checkpoint, "data": Dataset}, gives=Checkpoint, config=ProbeConfig,
                run="my_plugin.probe:run", requires=("sklearn",),
            )
    """


@hookspec
def ftx_prune() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of the stage `prune`: make a checkpoint smaller.

    Example:

        from ftx import Checkpoint, Step, StepConfig, hookimpl

        class TopConfig(StepConfig):
            pass

        @hookimpl
        def ftx_prune():
            yield Step(
                name="top", stage="prune", summary="drop the top layers",
                takes={"model": Checkpoint}, gives=Checkpoint, config=TopConfig, run="my_plugin.top:run",
            )
    """


@hookspec
def ftx_quantize() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of the stage `quantize`: decide on a recipe (on a checkpoint), or carry it out (on a bundle).

    Example:

        from ftx import Bundle, Checkpoint, Step, StepConfig, hookimpl

        class HalfConfig(StepConfig):
            pass

        @hookimpl
        def ftx_quantize():
            yield Step(
                name="half", stage="quantize", summary="fp16 weights",
                takes={"model": Checkpoint | Bundle}, gives="model", config=HalfConfig, run="my_plugin.half:run",
            )
    """


@hookspec
def ftx_export() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of the stage `export`: turn a checkpoint into variants of a bundle.

    Example:

        from ftx import Bundle, Checkpoint, Step, StepConfig, hookimpl

        class TfliteConfig(StepConfig):
            pass

        @hookimpl
        def ftx_export():
            yield Step(
                name="tflite", stage="export", summary="a TFLite variant",
                takes={"model": Checkpoint, "bundle": Bundle | None}, gives=Bundle, config=TfliteConfig,
                run="my_plugin.tflite:run", requires=("ai_edge_torch",),
            )
    """


@hookspec
def ftx_serve() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of the stage `serve`: answer requests with a bundle; never cached.

    Example:

        from ftx import Bundle, Step, StepConfig, hookimpl

        class QueueConfig(StepConfig):
            pass

        @hookimpl
        def ftx_serve():
            yield Step(
                name="queue", stage="serve", summary="answer from a message queue", cached=False,
                takes={"model": Bundle}, gives=None, config=QueueConfig, run="my_plugin.queue:run",
            )
    """


@hookspec
def ftx_steps() -> Iterable[Step]:  # type: ignore[empty-body]
    """Steps of any other stage (data, augment, distill, evaluate, loadtest) or of a new one.

    Example:

        from ftx import Checkpoint, Step, StepConfig, hookimpl

        class ClusterConfig(StepConfig):
            pass

        @hookimpl
        def ftx_steps():
            yield Step(
                name="kmeans", stage="cluster", summary="share weights", takes={"model": Checkpoint},
                gives="model", config=ClusterConfig, run="my_plugin.cluster:run",
            )
    """


@hookspec
def ftx_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Figures of quality, computed wherever a model is evaluated.

    Example:

        from ftx import Metric, hookimpl

        @hookimpl
        def ftx_metrics():
            yield Metric(
                name="kappa", summary="Cohen's kappa", compute="my_plugin.kappa:compute", requires=("sklearn",),
            )
    """


@hookspec
def ftx_runtimes() -> Iterable[Runtime]:  # type: ignore[empty-body]
    """What executes a variant.

    Example:

        from ftx import Runtime, hookimpl

        @hookimpl
        def ftx_runtimes():
            yield Runtime(
                name="tflite", summary="TensorFlow Lite", load="my_plugin.tflite:load", formats=("tflite",),
            )
    """


@hookspec
def ftx_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Commands of the command line, named by import string so that `ftx --help` imports none of them.

    Example:

        from ftx import Command, hookimpl

        @hookimpl
        def ftx_commands():
            yield Command(name="publish", summary="Send a bundle to the registry", command="my_plugin.cli:publish")
    """


@hookspec
def ftx_executors() -> Iterable[Executor]:  # type: ignore[empty-body]
    """Where a step runs.

    Example:

        from ftx import Executor, hookimpl

        @hookimpl
        def ftx_executors():
            yield Executor(name="batch", summary="a batch queue", execute="my_plugin.batch:execute")
    """


@hookspec
def ftx_architectures() -> Iterable[Architecture]:  # type: ignore[empty-body]
    """Families of encoders, so that they can be pruned: where each keeps its linear layers.

    Example:

        from ftx import Architecture, hookimpl

        @hookimpl
        def ftx_architectures():
            yield Architecture(
                name="ernie", layers="encoder.layer",
                attention_in=("attention.self.query", "attention.self.key", "attention.self.value"),
                attention_out="attention.output.dense",
                ffn_in=("intermediate.dense",), ffn_out="output.dense",
            )
    """


@hookspec
def ftx_translators() -> Iterable[Translator]:  # type: ignore[empty-body]
    """What translates texts, for `augment:back-translation`. ftx has none of its own.

    Example:

        from ftx import Translator, hookimpl

        @hookimpl
        def ftx_translators():
            yield Translator(
                name="marian", summary="Marian models of this machine", translate="my_plugin.marian:translate",
                requires=("transformers", "sentencepiece"),
            )
    """


@hookspec
def ftx_run_started(run: str, steps: tuple[str, ...]) -> None:
    """A run has started: its ID and the names of its steps.

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_run_started(run, steps):
            print(f"{run}: {' '.join(steps)}")
    """


@hookspec
def ftx_step_started(run: str, step: str, key: str) -> None:
    """A step has started; a hit starts and finishes too.

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_step_started(run, step):
            print(step)
    """


@hookspec
def ftx_step_progress(run: str, step: str, progress: Mapping[str, Any]) -> None:
    """A step has come so far: `done`, `total` (or None), `unit`, `figures`. Called often: be quick.

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_step_progress(step, progress):
            print(step, progress["done"], progress["total"])
    """


@hookspec
def ftx_step_finished(run: str, step: str, result: Mapping[str, Any]) -> None:
    """A step has finished: `key`, `cached`, `seconds`, `metrics`, `artifact` (`digest`, `kind`, `path`, or None).

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_step_finished(step, result):
            print(step, result["metrics"])
    """


@hookspec
def ftx_step_failed(run: str, step: str, error: str) -> None:
    """A step has failed, with the message that the user sees.

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_step_failed(step, error):
            print(step, error)
    """


@hookspec
def ftx_run_finished(run: str, status: str) -> None:
    """A run has ended: `done`, `failed`, `budget`, `interrupted`, or `stopped` early as one of a sweep's trials.

    Example:

        from ftx import hookimpl

        @hookimpl
        def ftx_run_finished(run, status):
            print(run, status)
    """


STAGE_HOOKS: Mapping[str, str] = {
    "ftx_train": "train",
    "ftx_prune": "prune",
    "ftx_quantize": "quantize",
    "ftx_export": "export",
    "ftx_serve": "serve",
}
"""Hook -> the one stage whose steps it may return."""
OBSERVERS = (
    "ftx_run_started",
    "ftx_step_started",
    "ftx_step_progress",
    "ftx_step_finished",
    "ftx_step_failed",
    "ftx_run_finished",
)
