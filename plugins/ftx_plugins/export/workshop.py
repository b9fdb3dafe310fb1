"""Where a variant is made: written, opened, compared, and only then put into the bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ftx.step import Context
from ftx_plugins.export import parity
from ftx_plugins.export.draft import Draft
from ftx_plugins.export.parity import Case, Outputs, Tolerance
from ftx_serving.contract import Variant
from ftx_serving.decoding import Decoder
from ftx_serving.runtimes import Session


class Opener(Protocol):
    """A runtime's `load`."""

    def __call__(self, folder: Path, variant: Mapping[str, Any]) -> Session: ...


@dataclass(frozen=True)
class Blueprint:
    """A variant that is to be made: `write` makes its file, `open` loads it."""

    format: str
    precision: str
    runtime: str
    file: str
    write: Callable[[Path], None]
    open: Opener
    devices: tuple[str, ...] = ("cpu",)
    batch_invariant: bool = True
    temperature: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.format}-{self.precision}"


@dataclass
class Workshop:
    """The bundle to be, and the cases that every variant is tried on."""

    draft: Draft
    cases: list[Case]
    context: Context
    total: int
    """How many variants will be made."""
    jump: float = 0.0
    """What quantizing may move a logit by in single rows: see `ftx_plugins.ensemble.vote_jump`."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def decoder(self) -> Decoder:
        """Reads the variants' logits."""
        return self.draft.encoder.contract.decoder

    @property
    def fp32(self) -> Tolerance:
        """What an fp32 variant may differ from torch."""
        return parity.fp32_tolerance(self.decoder)

    def build(
        self,
        blueprint: Blueprint,
        expected: Outputs,
        against: str,
        tolerance: Tolerance,
        exactly: Outputs | None = None,
    ) -> tuple[Variant, Outputs]:
        """Make the variant, compare its logits on all cases with those `expected`, and add it to the bundle.

        `exactly` holds the logits of the torch module that was traced, where that is another than `expected` comes
        from: those must be met as closely as in fp32. Raises `FtxError` where they disagree; nothing is added then.
        """
        started = time.perf_counter()
        self.context.progress(len(self.metrics), self.total, "variants", variant=blueprint.name)
        folder = self.context.work / blueprint.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        blueprint.write(folder / blueprint.file)
        session = blueprint.open(folder, {"file": blueprint.file, "precision": blueprint.precision})
        outputs = parity.run_cases(session, self.cases)
        measured = parity.check(blueprint.name, outputs, expected, against, tolerance)
        if exactly is not None:
            same = self.fp32
            traced = parity.check(blueprint.name, outputs, exactly, "the torch module that was traced", same)
            measured["max_difference_from_traced"] = traced["max_difference"]
        measured |= parity.against_alone(session, self.cases, outputs, self.decoder)
        variant = self._without_files(blueprint, tolerance, measured)
        variant = self.draft.add(variant, sorted(folder.iterdir()), session)
        self._report(variant, time.perf_counter() - started)
        return variant, outputs

    def _report(self, variant: Variant, seconds: float) -> None:
        self.metrics[variant.name] = {
            "seconds": round(seconds, 2),
            "size_bytes": variant.size_bytes,
            "max_difference": variant.parity["max_difference"],
            "rms_difference": variant.parity["rms_difference"],
        }
        self.context.progress(len(self.metrics), self.total, "variants", variant=variant.name)
        self.context.log(
            f"{variant.name}: {variant.size_bytes / 1e6:.1f} MB in {seconds:.0f} s, at most "
            f"{variant.parity['max_difference']:.2g} from {variant.parity['against']}"
        )

    def _without_files(self, blueprint: Blueprint, tolerance: Tolerance, measured: dict[str, Any]) -> Variant:
        """The variant before its files are in the bundle. One that says that it is batch-invariant has shown it."""
        invariant = blueprint.batch_invariant and not measured["batch_flips"]
        if blueprint.batch_invariant and not invariant:
            self.context.warn(
                f"{blueprint.name}: {measured['batch_flips']:.1%} of the texts have another label in a batch than "
                "alone, so each is sent alone"
            )
        return Variant(
            name=blueprint.name,
            format=blueprint.format,
            precision=blueprint.precision,
            runtime=blueprint.runtime,
            file=blueprint.file,
            files=(),
            size_bytes=0,
            devices=blueprint.devices,
            batch_invariant=invariant,
            temperature=blueprint.temperature,
            tolerance=tolerance.to_dict(),
            parity=measured,
        )
