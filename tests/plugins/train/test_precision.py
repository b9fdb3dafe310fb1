from __future__ import annotations

import pytest

from ftx import FtxError, ModelSettings
from ftx_plugins.train import check as check_module
from ftx_plugins.train import precision
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.precision import resolve_precision

MODEL = ModelSettings(name="tiny")


@pytest.mark.parametrize(
    ("device", "has_bf16", "expected"),
    [("cpu", True, "bf16"), ("cpu", False, "fp32"), ("cuda", True, "bf16"), ("cuda", False, "fp16")],
)
def test_auto_takes_bf16_where_it_is_in_hardware(device: str, has_bf16: bool, expected: str) -> None:
    assert resolve_precision("auto", device, has_bf16) == expected


@pytest.mark.parametrize(("wanted", "device"), [("bf16", "cpu"), ("bf16", "cuda"), ("fp16", "cpu")])
def test_a_format_that_the_device_lacks_is_an_error_that_names_the_setting(wanted: str, device: str) -> None:
    with pytest.raises(FtxError, match=r"train\.mixed_precision"):
        resolve_precision(wanted, device, has_bf16=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("Xeon [avx2 avx512f amx_bf16]", True),
        ("Neoverse [asimddp bf16]", True),
        ("EPYC [avx2 avx512f]", False),
        ("bf16 in its name alone []", False),
    ],
)
def test_bf16_is_told_by_the_flags_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, shown: str, expected: bool
) -> None:
    monkeypatch.setattr(precision, "processor", lambda: shown)
    assert precision.processor_has_bf16() is expected


def test_the_plan_reports_fp16_on_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "has_cuda", lambda: False)
    problems = list(check_module.check(TrainConfig(mixed_precision="fp16"), MODEL))
    assert [problem.where for problem in problems] == ["train.mixed_precision"]
    assert not list(check_module.check(TrainConfig(), MODEL))


def test_the_plan_leaves_it_to_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "has_cuda", lambda: True)
    assert not list(check_module.check(TrainConfig(mixed_precision="fp16"), MODEL))
