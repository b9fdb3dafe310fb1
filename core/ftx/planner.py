"""From words such as `train quantize export` and a configuration to a plan, or to every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from ftx.artifacts import MANIFEST, Artifact, Bundle, Checkpoint, Dataset, open_artifact
from ftx.config import (
    TABLES,
    BudgetTable,
    Config,
    ModelTable,
    ProjectTable,
    RequiresTable,
    Table,
    input_paths,
    validate,
)
from ftx.errors import FtxError, PlanError, Problem
from ftx.plan import LOAD_TEST, REFERENCE, SOURCE, SUBJECT, Plan, PlannedStep
from ftx.plugins import PluginManager
from ftx.preflight import check_disk, check_steps, choose_device
from ftx.ranks import check_processes
from ftx.sources import HUB, read_model_folder, resolve_path
from ftx.step import Kind, ModelSettings, Step
from ftx.step_settings import check_tables, default_method, find_step, methods_of, settings_of
from ftx.tasks import QUALITY_LIMITS, TASKS

STAGES = (
    "data",
    "augment",
    "train",
    "distill",
    "prune",
    "quantize",
    "export",
    "evaluate",
    "choose",
    "serve",
    "loadtest",
)
"""The usual order, for hints; nothing is reordered."""
CHOOSE = "choose"
WITHOUT_HEAD = ("model", "data", "augment", "train")
"""Stages whose steps can do without a trained head."""
LOSES_RECIPE = ("augment", "train", "distill", "prune")
KEEPS_MODEL = ("model", CHOOSE)
"""Stages whose steps give a model, and change nothing about what it answers."""
FETCH = "model:hub"
FINAL = "evaluate:test"
SERVE = "serve"

Value = TypeVar("Value")


def make_plan(words: Sequence[str], config: Config, plugins: PluginManager, *, processes: int = 1) -> Plan:
    """The plan that `words` (stages, or steps as `stage:method`) ask for; `PlanError` with every problem.

    `processes` is how many are to carry it out together.
    """
    return _Planner(config, plugins, tuple(words), processes=processes).plan()


def plan_evaluation(
    subject: Artifact, reference: Artifact | None, method: str, config: Config, plugins: PluginManager
) -> Plan:
    """The plan that evaluates an artifact that is there already, against `reference` if there is one."""
    return _Planner(config, plugins, (method,), subject, reference).plan()


@dataclass(frozen=True)
class _Made:
    """An artifact that the plan starts from, or that one of its steps will make."""

    producer: str
    kind: type[Artifact]
    model: str | None = None
    """The producer of that step's own input `model`."""


@dataclass
class _Planner:
    """Takes the words one by one, and keeps what each step makes for the steps behind it."""

    config: Config
    plugins: PluginManager
    words: tuple[str, ...]
    subject: Artifact | None = None
    given_reference: Artifact | None = None
    processes: int = 1
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    steps: list[PlannedStep] = field(default_factory=list)
    made: list[_Made] = field(default_factory=list)
    given: dict[str, Path | Artifact] = field(default_factory=dict)
    reference: str | None = None
    """The producer of the checkpoint that everything is compared with."""
    baseline: str | None = None
    """The step that evaluates the reference."""
    has_head: bool = True
    task: str = ""

    def plan(self) -> Plan:
        self.problems += self.plugins.find_clashes()
        project = self._table(ProjectTable, "", self.config.top_level()) or ProjectTable()
        budget = self._table(BudgetTable, "budget") or BudgetTable()
        self.problems += check_tables(self.config, self.plugins)
        self._check_required_plugins()
        model = self._choose_model()
        self._expand()
        self._check_budget(budget, model.task)
        device = self._or_problem(choose_device(project.device)) or "cpu"
        store = (self.config.root / Path(project.store).expanduser()).resolve()
        self.problems += check_steps(self.steps, model)
        self.problems += check_processes(self.steps, self.processes)
        if isinstance(source := self.given.get(SOURCE), Path):
            self.problems += check_disk(self.steps, store, source)
        if self.problems:
            raise PlanError(list(dict.fromkeys(self.problems)))
        return Plan(
            steps=tuple(self.steps),
            words=self.words,
            model=model,
            given=self.given,
            seed=project.seed,
            device=device,
            store=store,
            budget=budget,
            root=self.config.root,
            config_path=self.config.path,
            warnings=tuple(self.warnings),
        )

    def _expand(self) -> None:
        """Place the steps that were asked for, and those that they need: data before, evaluations behind."""
        if not self.words:
            self.problems.append(Problem("no step was named", "", ("for example: ftx run train quantize export",)))
        asked = [step for word in self.words if (step := self._or_problem(find_step(word, self.config, self.plugins)))]
        evaluate = self._or_problem(default_method("evaluate", self.config, self.plugins))
        changing = any(_changes_model(step) for step in asked)
        needing = [*asked, evaluate] if changing and evaluate else asked
        needs_data = not _has(asked, "data") and _needs_data(needing)
        if needs_data and (data := self._or_problem(default_method("data", self.config, self.plugins))):
            self._add(data, added=True)
        self._give_subject()
        last_bundle, choose = self._choice_behind(asked)
        if not _has(asked, "train") and self.has_head and self.reference is None and self.subject is None:
            self.reference = self._newest((Checkpoint,))
        final = self.plugins.steps().get(FINAL) if changing else None
        if final in asked:
            final = None
        for place, step in enumerate(asked):
            self._check_order(step, asked[:place], asked[place + 1 :])
            self._give_named_model(step, asked[:place])
            if final and self.reference and step.stage == SERVE and not any(map(_changes_model, asked[place:])):
                # It ends when somebody stops it: the report must not wait for that.
                self._add(final, added=True)
                final = None
            if _changes_model(step) and self.reference and self.baseline is None and evaluate:
                self._add(evaluate, added=True)
            planned = self._add(step)
            if step.stage == "train" and self.reference is None:
                self.reference = planned
            evaluated_next = _has(asked[place + 1 : place + 2], "evaluate")
            if _changes_model(step) and self.reference and evaluate and not evaluated_next:
                self._add(evaluate, added=True)
            if choose is not None and place == last_bundle:
                self._add(choose, added=True)
        if final and self.reference:
            self._add(final, added=True)

    def _choice_behind(self, asked: Sequence[Step]) -> tuple[int | None, Step | None]:
        """The place in `asked` behind which the step belongs that chooses among a bundle's variants, and that step.

        It stands behind the last bundle and, where the user evaluates that, behind the evaluation.
        """
        exports = [place for place, step in enumerate(asked) if step.gives is Bundle]
        if not exports or _has(asked, CHOOSE) or not methods_of(CHOOSE, self.plugins):
            return None, None
        choose = self._or_problem(default_method(CHOOSE, self.config, self.plugins))
        settings = settings_of(choose, self.config, self.plugins)[0] if choose else None
        # What is wrong with its settings is reported when it is added.
        if choose is None or not getattr(settings, "enabled", True):
            return None, None
        last = max(place for place, step in enumerate(asked) if place >= exports[0] and _makes_bundle(step))
        while _has(asked[last + 1 : last + 2], "evaluate") and asked[last + 1].full_name != FINAL:
            last += 1
        return last, choose

    def _give_subject(self) -> None:
        if self.subject is not None:
            self.given[SUBJECT] = self.subject
            self.made.append(_Made(SUBJECT, type(self.subject)))
        if self.given_reference is not None:
            self.given[REFERENCE] = self.given_reference
            self.reference = REFERENCE

    def _give_named_model(self, step: Step, before: Sequence[Step]) -> None:
        """Let the model that a setting of the step names be what it works on, and the reference of what follows."""
        settings, _, _ = settings_of(step, self.config, self.plugins)
        for name, marker in input_paths(step.config):
            value = getattr(settings, name, None)
            if not marker.model or value is None:
                continue
            identity = f"{step.stage}.{name}"
            if unused := [other.full_name for other in before if _changes_model(other)]:
                hint = f"leave one of them out: {unused[-1]}, or {identity}"
                message = f"{identity} is set, so that nothing would come of what {unused[-1]} makes"
                self.problems.append(Problem(message, step.full_name, (hint,)))
            named = _named_model(Path(value), self.task, identity)
            if isinstance(named, Problem):
                self.problems.append(named)
            else:
                self.given[identity] = named
            self.made.append(_Made(identity, Checkpoint))
            if self.baseline is None:
                self.reference = identity

    def _add(self, step: Step, *, added: bool = False) -> str:
        """Put a step at the end of the plan; returns its id."""
        repeats = sum(planned.step is step for planned in self.steps)
        identity = step.full_name if not repeats else f"{step.full_name}#{repeats + 1}"
        settings, sources, problems = settings_of(step, self.config, self.plugins)
        self.problems += problems
        inputs, complete = self._wire(step)
        gives = self._kind_given(step, inputs)
        if gives is not None:
            # A step with a problem still stands for what it gives: one problem is not to be reported as several.
            self.made.append(_Made(identity, gives, inputs.get("model")))
        if settings is not None and complete:
            origin = self.plugins.origin(step)
            metrics = self._metrics_of_plugins() if step.stage == "evaluate" else {}
            self.steps.append(PlannedStep(identity, step, settings, sources, inputs, gives, origin, added, metrics))
        of_reference = self.reference is not None and inputs.get("model") == self.reference
        if step.stage == "evaluate" and of_reference and self.baseline is None:
            self.baseline = identity
        return identity

    def _metrics_of_plugins(self) -> dict[str, str]:
        """Metric -> distribution and version, of those that are not ftx's own: an evaluation holds them too."""
        origins = {name: self.plugins.origin(metric) for name, metric in self.plugins.all_metrics().items()}
        return {name: f"{info.distribution} {info.version}" for name, info in origins.items() if not info.built_in}

    def _wire(self, step: Step) -> tuple[dict[str, str], bool]:
        """Input -> producer (the newest artifact of its kinds), and whether none is missing."""
        wired: dict[str, str] = {}
        complete = True
        for name, kind in step.takes.items():
            kinds, optional = _kinds(kind)
            if name == "reference":
                producer = self.reference
            elif name == "baseline":
                producer = self.baseline
            elif optional:
                # What may be missing counts only if it was made from the very model that this step works on.
                producer = self._newest(kinds, model=wired.get("model"))
            else:
                producer = self._newest(kinds)
            if producer is not None:
                wired[name] = producer
            elif not optional:
                complete = False
                self._report_missing(step, name, kinds)
        if wired.get("model") == SOURCE and not self.has_head and step.stage not in WITHOUT_HEAD:
            hint = f"train one first: ftx run train {' '.join(word for word in self.words if word != 'train')}"
            self.problems.append(Problem("the model has no trained head yet", step.full_name, (hint,)))
        return wired, complete

    def _newest(self, kinds: tuple[type[Artifact], ...], model: str | None = None) -> str | None:
        for made in reversed(self.made):
            if issubclass(made.kind, kinds) and (model is None or made.model == model):
                return made.producer
        return None

    def _kind_given(self, step: Step, inputs: Mapping[str, str]) -> type[Artifact] | None:
        if step.gives != "model":
            return step.gives
        return next((made.kind for made in self.made if made.producer == inputs.get("model")), Checkpoint)

    def _report_missing(self, step: Step, name: str, kinds: Sequence[type[Artifact]]) -> None:
        wanted = " or ".join(kind.kind for kind in kinds)
        makers = {other.stage for other in self.plugins.steps().values() if other.gives in kinds}
        hint = f"put {' or '.join(sorted(makers))} before it" if makers else "no installed plugin makes one"
        message = f"needs a {wanted} (its input {name}), and nothing before it makes one"
        self.problems.append(Problem(message, step.full_name, (hint,)))

    def _check_order(self, step: Step, before: Sequence[Step], after: Sequence[Step]) -> None:
        hint = (f"ftx run {' '.join(_in_stage_order(self.words))}",)
        if step.stage in LOSES_RECIPE and _has(before, "quantize"):
            message = "stands behind quantize, and would throw its recipe away"
            self.problems.append(Problem(message, step.full_name, hint))
        if step.stage == "quantize" and _has(before, "quantize"):
            message = "stands behind another quantize, and a model is quantized once"
            self.problems.append(
                Problem(message, step.full_name, (f"ftx run {' '.join(_quantizing_once(self.words))}",))
            )
        if step.stage == LOAD_TEST and not _has(before, SERVE):
            message = "asks a server, and nothing before it starts one"
            words = [word for word in self.words if word.partition(":")[0] != LOAD_TEST]
            self.problems.append(Problem(message, step.full_name, (f"ftx run {' '.join([*words, SERVE, LOAD_TEST])}",)))
        exported = any(other.gives is Bundle for other in before)
        if step.gives is Checkpoint and exported and not any(other.gives is Bundle for other in after):
            message = "makes a checkpoint behind the export: put it before, or export again behind it"
            self.problems.append(Problem(message, step.full_name, hint))

    def _choose_model(self) -> ModelSettings:
        """The model of `[model]`: a folder is given to the plan, an id on the hub gets a step that fetches it."""
        table = self._table(ModelTable, "model")
        if table is None:
            self.made.append(_Made(SOURCE, Checkpoint))  # what follows from a missing model is no problem of its own
            return ModelSettings("")
        if table.trust_remote_code:
            self.warnings.append("model.trust_remote_code is on: Python code that comes with the model will run")
        self.task = table.task
        try:
            found = resolve_path(table.name, self.config.root, hub=True)
            if isinstance(found, Path):
                folder = read_model_folder(found, table.task)
                self.has_head = folder.has_head
                self.given[SOURCE] = folder.path
        except FtxError as error:
            self.problems.append(Problem(error.message, "model.name", error.hints))
            found = Path(table.name)
        name = found.removeprefix(HUB) if isinstance(found, str) else table.name
        if isinstance(found, str):
            self._add(self.plugins.steps()[FETCH], added=True)
        else:
            self.made.append(_Made(SOURCE, Checkpoint))
        return ModelSettings(name, table.task, table.revision, table.trust_remote_code, isinstance(found, str))

    def _check_budget(self, budget: BudgetTable, task: str) -> None:
        """Limits on figures that the task does not have."""
        facts = TASKS[task]
        for name in sorted(budget.limits().keys() & (QUALITY_LIMITS - facts.limits)):
            hint = f"limit its own metric, {facts.metric}: --set budget.metric_drop=…"
            self.problems.append(Problem(f"{task} has no figure that {name} could limit", f"budget.{name}", (hint,)))

    def _check_required_plugins(self) -> None:
        required = self._table(RequiresTable, "requires") or RequiresTable()
        found = {info.name: info for info in self.plugins.infos}
        for name in required.plugins:
            if name in self.plugins.blocked:
                message = f"the project requires the plugin {name}, and {self.plugins.blocked[name]} keeps it out"
                self.problems.append(Problem(message, "", ("allow it, or take it out of [requires] plugins",)))
            elif name not in found:
                hint = f"install the package that holds it, for example: pip install {name}"
                self.problems.append(
                    Problem(f"the project requires the plugin {name}, which is not there", "", (hint,))
                )
            elif found[name].error:
                message = f"the required plugin {found[name]} is broken: {found[name].error}"
                self.problems.append(Problem(message, "", (found[name].repair,)))

    def _table(self, kind: type[Table], name: str, values: Mapping[str, Any] | None = None) -> Table | None:
        known = () if name else (*TABLES, *{step.stage for step in self.plugins.steps().values()})
        table = self.config.table(name) if values is None else values
        settings, problems = validate(kind, table, self.config.sources, name, known)
        self.problems += problems
        return settings

    def _or_problem(self, found: Value | Problem) -> Value | None:
        if isinstance(found, Problem):
            self.problems.append(found)
            return None
        return found


def _named_model(path: Path, task: str, setting: str) -> Path | Artifact | Problem:
    """The model that a setting names: a checkpoint of ftx, or a folder of transformers with a trained head."""
    try:
        if (path / MANIFEST).is_file():
            artifact = open_artifact(path)
            if isinstance(artifact, Checkpoint):
                return artifact
            return Problem(f"{path} is a {artifact.kind}", setting, ("name a checkpoint: ftx cache ls",))
        folder = read_model_folder(path, task)
    except FtxError as error:
        return Problem(error.message, setting, error.hints)
    if folder.has_head:
        return folder.path
    return Problem(f"{path} has no trained head", setting, ("train it first: ftx run train",))


def _kinds(kind: Kind) -> tuple[tuple[type[Artifact], ...], bool]:
    """The kinds of an input, and whether it may be missing."""
    members = get_args(kind) or (kind,)
    return tuple(member for member in members if member is not NoneType), NoneType in members


def _changes_model(step: Step) -> bool:
    return step.gives in ("model", Checkpoint, Bundle) and step.stage not in KEEPS_MODEL


def _makes_bundle(step: Step) -> bool:
    """Whether a step behind an export gives a bundle."""
    return step.gives in ("model", Bundle)


def _needs_data(steps: Iterable[Step]) -> bool:
    inputs = [_kinds(kind) for step in steps for kind in step.takes.values()]
    return any(Dataset in kinds and not optional for kinds, optional in inputs)


def _has(steps: Iterable[Step], stage: str) -> bool:
    return any(step.stage == stage for step in steps)


def _quantizing_once(words: Sequence[str]) -> list[str]:
    """The words without the quantize steps behind the first."""
    quantizing = [place for place, word in enumerate(words) if word.partition(":")[0] == "quantize"]
    return [word for place, word in enumerate(words) if place not in quantizing[1:]]


def _in_stage_order(words: Sequence[str]) -> list[str]:
    rank = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(words, key=lambda word: rank.get(word.partition(":")[0], len(STAGES)))
