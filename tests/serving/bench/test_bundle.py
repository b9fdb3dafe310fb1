"""A bundle measured here: candidates, figures, the floor, and who may be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ftx.artifacts import Artifact, Bundle
from ftx.errors import FtxError
from ftx.step import Runtime
from ftx_serving.bench.candidates import find_candidates, threads_to_try
from ftx_serving.bench.choosing import choose
from ftx_serving.bench.floor import Rates, measure_rates, share_of_floor
from ftx_serving.bench.measure import Bench, Measured, measure
from ftx_serving.bench.race import Terms
from ftx_serving.bench.statistics import Interval
from ftx_serving.bench.texts import read_texts
from ftx_serving.golden import read_golden

FIGURE = Interval(1.0, 0.9, 1.1)


@pytest.fixture
def bundle(tiny_bundle: Artifact) -> Bundle:
    assert isinstance(tiny_bundle, Bundle)
    return tiny_bundle


def test_every_variant_is_measured_with_its_intervals_and_the_fastest_is_first(
    bundle: Bundle, runtimes: Mapping[str, Runtime]
) -> None:
    candidates, skipped = find_candidates(bundle, runtimes, threads=[1])
    golden = read_golden(bundle)
    bench = measure(bundle, candidates, skipped, golden.texts, golden.pairs, Terms(seconds=0.02, batch_size=8))
    assert sorted(found.variant for found in bench.measured) == [
        "onnx-fp32",
        "onnx-int8",
        "torchscript-fp32",
        "torchscript-int8",
    ]
    assert not skipped
    for found in bench.measured:
        for figure in (found.p50_ms, found.p95_ms, found.rows_per_second, found.to_fastest):
            assert 0 < figure.low <= figure.value <= figure.high
        assert found.p95_ms.value >= found.p50_ms.value
        assert found.share_of_floor is not None
        assert found.to_fastest.value <= bench.measured[0].to_fastest.value == 1
    assert max(found.to_fp32.value for found in bench.measured if found.to_fp32 and found.precision == "fp32") == 1
    # Dynamic int8 goes text by text, as the predictor sends it.
    assert {found.variant for found in bench.measured if not found.batch_invariant} == {
        "onnx-int8",
        "torchscript-int8",
    }


def test_each_number_of_threads_is_a_candidate_but_not_where_it_holds_for_the_process(
    bundle: Bundle, runtimes: Mapping[str, Runtime]
) -> None:
    import torch

    before = torch.get_num_threads()
    candidates, _ = find_candidates(bundle, runtimes, threads=[1, 2], variants=["onnx-fp32", "torchscript-fp32"])
    torch.set_num_threads(before)
    assert [(each.variant.name, each.threads) for each in candidates] == [
        ("onnx-fp32", 1),
        ("onnx-fp32", 2),
        ("torchscript-fp32", 1),
    ]


def test_threads_are_all_cores_half_of_them_and_a_few_where_there_are_many() -> None:
    assert [threads_to_try(cores) for cores in (1, 2, 4, 16, 64)] == [(1,), (2,), (4, 2), (16, 8), (64, 32, 4)]


def test_a_runtime_that_is_not_installed_is_skipped_with_the_line_that_adds_it(
    bundle: Bundle, runtimes: Mapping[str, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.util import find_spec

    def without(name: str) -> object:
        return None if name == "onnxruntime" else find_spec(name)

    monkeypatch.setattr("ftx_serving.bench.candidates.find_spec", without)
    candidates, skipped = find_candidates(bundle, runtimes, threads=[1])
    assert {each.variant.format for each in candidates} == {"torchscript"}
    assert {each.hint for each in skipped} == {"pip install 'ftx-toolchain[onnx]'"}
    with pytest.raises(FtxError, match="no variant of the bundle can be measured here") as caught:
        find_candidates(bundle, runtimes, threads=[1], variants=["onnx-int8"])
    assert caught.value.hints[-1] == "pip install 'ftx-toolchain[onnx]'"


def test_an_unknown_variant_is_an_error_that_lists_the_known(bundle: Bundle, runtimes: Mapping[str, Runtime]) -> None:
    with pytest.raises(FtxError, match="no variant onnx-int4; it has: onnx-int8"):
        find_candidates(bundle, runtimes, variants=["onnx-int4"])


def test_the_machines_rates_are_measured_and_int8_is_left_out_without_openvino(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = measure_rates(0.01)
    assert rates.fp32 > 1e8
    assert rates.int8 is not None
    assert rates.int8 > 1e8
    monkeypatch.setattr("ftx_serving.bench.floor.find_spec", lambda name: None)
    assert measure_rates(0.01).int8 is None


def test_the_share_of_the_floor_is_the_operations_at_the_machines_rate() -> None:
    operations = {"per_text": 100, "per_token": 10, "per_token_squared": 1}
    rates = Rates(fp32=1000, int8=None)
    # 100 + 10 · 3 + (4 + 16) / 2 operations a text, 2 texts a second
    assert share_of_floor(2, [2, 4], operations, "fp32", rates) == pytest.approx(2 * (130 + 10) / 1000)
    assert share_of_floor(2, [2, 4], operations, "int8", Rates(1000, 4000)) == pytest.approx(2 * (130 / 4000 + 0.01))
    assert share_of_floor(2, [2, 4], operations, "int8", rates) is None
    assert share_of_floor(2, [2, 4], None, "fp32", rates) is None


def _measured(variant: str, score: float, to_fp32: Interval | None) -> Measured:
    return Measured(
        variant=variant,
        precision=variant.partition("-")[2],
        runtime="onnxruntime",
        threads=1,
        size_mb=1,
        batch_invariant=True,
        p50_ms=FIGURE,
        p95_ms=FIGURE,
        rows_per_second=FIGURE,
        score=score,
        to_fastest=FIGURE,
        to_fp32=to_fp32,
        share_of_floor=None,
        rounds=3,
        given_up=False,
    )


def _bench(*measured: Measured) -> Bench:
    return Bench(list(measured), [], "throughput", Rates(1, None), 1, 1)


def test_a_quantized_variant_that_is_slower_than_fp32_is_refused_unless_it_is_asked_for() -> None:
    slow = _measured("onnx-int8", 0.0, Interval(0.8, 0.7, 0.9))
    bench = _bench(_measured("onnx-fp32", 1.0, Interval(1, 1, 1)), slow)
    beyond = {"onnx-fp32": "size_mb is 90, the budget allows 60"}
    chosen, refused = choose(bench, beyond)
    assert chosen is None
    assert refused["onnx-int8"].startswith("slower than fp32: 0.80")
    assert refused["onnx-fp32"] == beyond["onnx-fp32"]
    chosen, refused = choose(bench, beyond, allow_slower_than_fp32=True)
    assert chosen is slow
    assert list(refused) == ["onnx-fp32"]


def test_a_variant_that_may_be_as_fast_as_fp32_is_not_refused() -> None:
    unsure = _measured("onnx-int8", 0.0, Interval(0.95, 0.8, 1.1))
    chosen, refused = choose(
        _bench(replace(unsure, variant="onnx-fp32", precision="fp32"), unsure), {"onnx-fp32": "size"}
    )
    assert chosen is unsure
    assert list(refused) == ["onnx-fp32"]


def test_the_fastest_within_the_budget_is_chosen() -> None:
    faster, slower = (
        _measured(f"{name}-int8", score, Interval(2, 1.9, 2.1)) for name, score in (("a", 2.0), ("b", 1.0))
    )
    assert choose(_bench(faster, slower), {})[0] is faster
    assert choose(_bench(faster, slower), {"a-int8": "flips"}) == (slower, {"a-int8": "flips"})


def test_texts_come_from_a_file_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\n\ntwo\tthree\n", encoding="utf-8")
    assert read_texts(path, pair=False) == (["one", "two\tthree"], None)
    with pytest.raises(FtxError, match=r"text 1 of .* is no pair"):
        read_texts(path, pair=True)
    path.write_text("one\tother\n", encoding="utf-8")
    assert read_texts(path, pair=True) == (["one"], ["other"])


@pytest.mark.parametrize(("content", "says"), [(b"", "holds no text"), (b" \n\n", "holds no text"), (b"\xff", "UTF-8")])
def test_a_file_without_texts_is_one_clear_error(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(FtxError, match=says) as caught:
        read_texts(path, pair=False)
    assert caught.value.hints


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FtxError, match="cannot be read: No such file"):
        read_texts(tmp_path / "missing.txt", pair=False)
