"""What can be measured of a bundle here: variant × runtime × threads; and what cannot, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ftx import machine
from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.step import Runtime
from ftx_serving.bench.race import Texts
from ftx_serving.contract import Contract, Variant
from ftx_serving.predictor import Predictor

MANY_CORES = 16
FEW_THREADS = 4
_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino", "torch": "train"}
"""Import name -> the extra of ftx that brings it."""


@dataclass(frozen=True)
class Candidate:
    """A variant as one runtime executes it with so many threads."""

    variant: Variant
    runtime: str
    threads: int
    predictor: Predictor

    @property
    def name(self) -> str:
        return f"{self.variant.name} {self.runtime} {self.threads}"

    def classify(self, texts: Texts, pairs: Texts | None, batch_size: int) -> object:
        """As it is served: sorted by length, and each text alone where its neighbours would matter."""
        return self.predictor.logits(texts, pairs, batch_size=batch_size)


@dataclass(frozen=True)
class Skipped:
    """What was not measured: `name` is a variant, with its runtime where it has several."""

    name: str
    why: str
    hint: str


def threads_to_try(cores: int) -> tuple[int, ...]:
    """All cores; half of them, from four on; and a few where there are many: small models slow down beyond."""
    numbers = {cores}
    if cores >= FEW_THREADS:
        numbers.add(cores // 2)
    if cores > MANY_CORES:
        numbers.add(FEW_THREADS)
    return tuple(sorted(numbers, reverse=True))


def find_candidates(
    bundle: Bundle,
    runtimes: Mapping[str, Runtime],
    *,
    variants: Sequence[str] = (),
    threads: Sequence[int] = (),
    device: str = "cpu",
) -> tuple[list[Candidate], list[Skipped]]:
    """All candidates, loaded, in the bundle's order. `FtxError` for an unknown variant, or where none is left."""
    contract = Contract.from_meta(bundle.meta)
    known = {variant.name: variant for variant in contract.variants}
    if unknown := [name for name in variants if name not in known]:
        raise FtxError(
            f"the bundle has no variant {', '.join(unknown)}; it has: {', '.join(known) or 'none'}",
            "name one of these: --variant NAME",
        )
    numbers = tuple(dict.fromkeys(threads)) or threads_to_try(machine.cores())
    found: list[Candidate] = []
    skipped: list[Skipped] = []
    for variant in [known[name] for name in variants] or contract.variants:
        readers = [runtime for runtime in runtimes.values() if variant.format in runtime.formats]
        if not readers:
            skipped.append(Skipped(variant.name, f"no installed runtime reads {variant.format}", "ftx plugins"))
        for runtime in readers:
            reason = _obstacle(variant, runtime, device)
            # Where the number holds for the whole process, two of them cannot take turns.
            tried = numbers[:1] if runtime.process_threads else numbers
            if reason is None:
                try:
                    found += _load(bundle, variant, runtime, runtimes, tried, device)
                except FtxError as error:
                    hint = error.hints[-1] if error.hints else "ftx doctor"
                    reason = Skipped(f"{variant.name} with {runtime.name}", error.message, hint)
            if reason is not None:
                skipped.append(reason)
    if not found:
        listed = "\n  ".join(f"{each.name}: {each.why}" for each in skipped)
        raise FtxError(
            f"no variant of the bundle can be measured here\n  {listed}", *dict.fromkeys(each.hint for each in skipped)
        )
    return found, skipped


def _obstacle(variant: Variant, runtime: Runtime, device: str) -> Skipped | None:
    name = f"{variant.name} with {runtime.name}"
    if missing := [package for package in runtime.requires if find_spec(package) is None]:
        extras = [_EXTRAS[package] for package in missing if package in _EXTRAS]
        wanted = f"'ftx-toolchain[{','.join(extras)}]'" if extras else " ".join(missing)
        return Skipped(name, f"not installed here ({', '.join(missing)})", f"pip install {wanted}")
    if device not in runtime.devices or device not in variant.devices:
        return Skipped(name, f"not meant for {device}", "choose another device: --set device=cpu")
    return None


def _load(
    bundle: Bundle,
    variant: Variant,
    runtime: Runtime,
    runtimes: Mapping[str, Runtime],
    threads: Sequence[int],
    device: str,
) -> list[Candidate]:
    return [
        Candidate(
            variant,
            runtime.name,
            number,
            Predictor.load(
                bundle.path,
                runtimes=runtimes,
                variant=variant.name,
                runtime=runtime.name,
                device=device,
                threads=number,
                verify=place == 0,
            ),
        )
        for place, number in enumerate(threads)
    ]
