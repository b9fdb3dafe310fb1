"""A plugin as it was written against the first version of the hooks (ftx 0.1). Frozen: never edited, always to work."""

from pathlib import Path

from pydantic import Field

from ftx import Checkpoint, Step, StepConfig, hookimpl


class StampConfig(StepConfig):
    text: str = Field("stamped", min_length=1, description="What is written beside the model")


def run(config, inputs, context):
    model = inputs["model"]
    for name in model.manifest.files:
        target = Path(context.out) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((model.path / name).read_bytes())
    (context.out / "stamp.txt").write_text(config.text)
    context.describe(**model.meta, stamp=config.text)
    context.progress(1, 1, "stamps", letters=len(config.text))
    context.log("stamped")
    return {"letters": len(config.text)}


def check(config, model):
    return ()


@hookimpl
def ftx_steps():
    yield Step(
        name="text",
        stage="stamp",
        summary="write a text beside the model",
        run="ftx_frozen_api1:run",
        config=StampConfig,
        takes={"model": Checkpoint},
        gives="model",
        requires=(),
        version=1,
        default=True,
        measures=False,
        cached=True,
        check="ftx_frozen_api1:check",
    )


SEEN = []


@hookimpl
def ftx_run_started(run, steps):
    SEEN.append(("run_started", steps))


@hookimpl
def ftx_step_finished(run, step, result):
    SEEN.append(("step_finished", step, result["cached"], dict(result["metrics"]), result["artifact"]["kind"]))


@hookimpl
def ftx_run_finished(run, status):
    SEEN.append(("run_finished", status))
