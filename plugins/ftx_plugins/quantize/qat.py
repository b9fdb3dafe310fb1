"""`quantize:qat`: a static recipe, and weights that are trained to live with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx.artifacts import Artifact
from ftx.step import Context
from ftx_plugins.checkpoint import load_checkpoint, save_successor
from ftx_plugins.distillation import Course, distill
from ftx_plugins.ensemble import is_ensemble, voting_softly
from ftx_plugins.quantize import calibration
from ftx_plugins.quantize.config import QatConfig
from ftx_plugins.quantize.deciding import choose_recipe, open_workbench
from ftx_plugins.quantize.recipe import simulate
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_plugins.quantize.torch_trainable import make_trainable, put_back


def run(config: QatConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Calibrate as `quantize:static` does, then train the quantized model by distillation from the fp32 one.

    Goes on from its own saves. The KL divergence from fp32 on the rows to choose by is measured before and after.
    """
    source, data = inputs["model"], inputs["data"]
    bench = open_workbench(inputs, config, context)
    recipe, tried = choose_recipe(bench, config, data, context)
    options: dict[str, Any] = {
        "trust_remote_code": context.model.trust_remote_code,
        "device": context.device,
    }
    student, teacher = load_checkpoint(source.path, **options), load_checkpoint(source.path, **options)
    expected = bench.samples.choice.logits(bench.subject.session(None))

    def loss() -> float:
        session = TorchSession(simulate(student.model, recipe))
        return float(f"{bench.samples.choice.divergence(expected, session):.3g}")

    before = loss()
    replaced = make_trainable(student.model, recipe)
    # Members of an ensemble may differ in their layers: theirs is the common answer alone.
    ensemble = is_ensemble(student.model.config)
    layers = range(0 if ensemble else student.model.config.num_hidden_layers)
    with voting_softly(student.model, teacher.model):
        trained = distill(student, teacher.model, layers, data, _course(config), context)
    put_back(student.model, replaced)
    student.model.cpu().eval()
    after = loss()
    save_successor(student, source, context)
    calibration.save_inputs(recipe.inputs, context.out / calibration.FILE)
    context.describe(recipe=recipe.to_dict())
    context.log(
        f"KL from fp32 on {len(bench.samples.choice)} rows: {before:.2g} before the training, {after:.2g} after"
    )
    if after > before:
        context.warn("training has not brought the model nearer to fp32: use quantize:static, or lower learning_rate")
    return {
        "layers": len(bench.subject.modules(recipe)),
        "calibration": recipe.calibration,
        "smooth": recipe.smooth,
        "calibration_rows": recipe.rows,
        "choice_rows": len(bench.samples.choice),
        "kl": {"before": before, "after": after},
        "tried": tried,
        "training": trained,
    }


def _course(config: QatConfig) -> Course:
    return Course(
        name="qat",
        rows=config.rows,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        rows_setting="quantize.rows",
        rate_setting="quantize.learning_rate",
        full_precision=True,
    )
