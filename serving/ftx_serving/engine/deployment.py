"""From a bundle to an engine that may be trusted: hashes, golden examples, warm-up; only then does it serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tokenizers import Encoding, Tokenizer

from ftx import machine
from ftx.artifacts import Bundle
from ftx.step import Runtime
from ftx_serving.contract import TOKENIZER_FILE, Contract, Variant
from ftx_serving.engine.admission import Limits
from ftx_serving.engine.engine import Engine, EngineSettings
from ftx_serving.engine.pending import BatchRule
from ftx_serving.engine.running import Batch
from ftx_serving.engine.warmup import Measured, measure_budget, measure_together
from ftx_serving.golden import check_golden
from ftx_serving.predictor import Predictor
from ftx_serving.runtimes import Session

CLEARLY_BETTER = 1.1
"""What several workers must gain over one, which needs the memory of one session."""


@dataclass(frozen=True)
class DeploySettings:
    """What is fixed by flags; None: measured."""

    variant: str | None = None
    runtime: str | None = None
    device: str = "cpu"
    workers: int | None = None
    threads: int | None = None
    """Of each worker."""
    batch_tokens: int | None = None
    """Padded tokens of a batch."""
    tokenizers: int | None = None
    cache: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Deployment:
    """A bundle that serves."""

    name: str
    bundle: Bundle
    contract: Contract
    variant: Variant
    engine: Engine
    vocabulary: int
    """Token ids are less than this."""
    runtime: str
    """What executes the variant."""
    workers: int
    threads: int | None
    """None: the runtime's own number."""
    measured: Measured

    def describe(self) -> str:
        count = f"{self.workers} worker{'s' if self.workers != 1 else ''}"
        threads = "" if self.threads is None else f" of {self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.name}: {self.variant.name} of {self.bundle.digest[:12]}, {count}{threads}; {self.measured}"


@dataclass(frozen=True)
class _Crew:
    """Sessions of so many threads."""

    sessions: list[Session]
    threads: int | None
    measured: Measured


def deploy(
    name: str,
    bundle: Bundle,
    runtimes: Mapping[str, Runtime],
    settings: DeploySettings,
    *,
    on_batch: Callable[[Batch], None] = lambda batch: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Deployment:
    """Load, check and measure the bundle, and start its engine. Raises `FtxError` where it must not serve."""
    load = _Loader(bundle, runtimes, settings, warn)
    threads = _fixed_threads(settings)
    first = load(threads)
    golden = check_golden(bundle, first)
    rows = first.encoder.encode(golden.texts, golden.pairs)
    rule = BatchRule(length_step=getattr(first.session, "length_step", 1), alone=not first.variant.batch_invariant)
    budget = settings.batch_tokens
    if budget is None:
        budget = measure_budget(first.session, first.encoder, rows, rule, settings.limits.queue_seconds / 2).budget
    rule = replace(rule, budget=budget)
    crew = _choose_crew(first, threads, rows, rule, settings, load)
    tokenizer = Tokenizer.from_file(str(bundle.path / TOKENIZER_FILE))
    engine = Engine(
        tokenizer,
        first.contract,
        crew.sessions,
        EngineSettings(
            rule=rule,
            limits=settings.limits,
            tokens_per_second=crew.measured.tokens_per_second,
            tokenizers=settings.tokenizers or max(1, machine.cores() // 8),
            cache=settings.cache,
        ),
        on_batch,
    )
    engine.start()
    return Deployment(
        name=name,
        bundle=bundle,
        contract=first.contract,
        variant=first.variant,
        engine=engine,
        vocabulary=tokenizer.get_vocab_size(),
        runtime=_runtime_of(first).name,
        workers=len(crew.sessions),
        threads=crew.threads,
        measured=crew.measured,
    )


@dataclass
class _Loader:
    """Loads the bundle again and again, hashes checked the first time, and always the variant that was chosen first.

    All share the first one's encoder: only their sessions differ.
    """

    bundle: Bundle
    runtimes: Mapping[str, Runtime]
    settings: DeploySettings
    warn: Callable[[str], None]
    first: Predictor | None = None

    def __call__(self, threads: int | None) -> Predictor:
        first = self.first
        predictor = Predictor.load(
            self.bundle.path,
            runtimes=self.runtimes,
            variant=self.settings.variant if first is None else first.variant.name,
            runtime=self.settings.runtime,
            device=self.settings.device,
            threads=threads,
            verify=first is None,
            encoder=None if first is None else first.encoder,
            warn=self.warn if first is None else lambda message: None,
        )
        self.first = first or predictor
        return predictor


def _fixed_threads(settings: DeploySettings) -> int | None:
    """Threads of each worker where the flags say so, or say how many workers share the cores; None: to be measured."""
    if settings.threads is None and settings.workers is not None:
        return max(1, machine.cores() // settings.workers)
    return settings.threads


def _choose_crew(
    first: Predictor,
    first_threads: int | None,
    rows: list[Encoding],
    rule: BatchRule,
    settings: DeploySettings,
    load: _Loader,
) -> _Crew:
    """The number of workers and their threads that compute the most, or those that the flags fix.

    `first` is one of them, and was loaded with `first_threads`.
    """

    def crew(workers: int, threads: int | None) -> _Crew:
        # A session each: OpenVINO's runs one call at a time.
        loaded = [first] if threads == first_threads else []
        loaded += [load(threads) for _ in range(workers - len(loaded))]
        sessions = [each.session for each in loaded]
        return _Crew(sessions, threads, measure_together(sessions, first.encoder, rows, rule))

    cores = machine.cores()
    if settings.workers is not None:
        return crew(settings.workers, first_threads)
    one = crew(1, first_threads)
    if settings.threads is not None or cores < 2 or settings.device != "cpu" or _runtime_of(first).process_threads:
        return one
    many = crew(cores, 1) if cores < 8 else crew(cores // 4, 4)
    better = many.measured.tokens_per_second > CLEARLY_BETTER * one.measured.tokens_per_second
    return many if better else one


def _runtime_of(predictor: Predictor) -> Runtime:
    """What executes it: not always the runtime that the variant was checked with."""
    assert predictor.executor is not None
    return predictor.executor
