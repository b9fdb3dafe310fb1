"""What is sent and when it is due, before anything is sent."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ftx.errors import FtxError
from ftx_loadtests import payloads, protocols
from ftx_loadtests.arrivals import constant, draw, read_trace, share
from ftx_loadtests.golden import golden_payloads
from ftx_loadtests.payloads import Order, Payloads, of_lengths, packaged, read_texts, spaces
from ftx_loadtests.preparation import prepare
from ftx_loadtests.server_timing import UNKNOWN, read_timing
from ftx_loadtests.settings import Job, LoadSettings


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process():
    times = draw("poisson", 50, 2000, [1])
    gaps = np.diff(times)
    assert len(times) == pytest.approx(100_000, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)
    assert (gaps >= 0).all()
    counts = np.histogram(times, bins=2000, range=(0, 2000))[0]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_arrivals_are_those_of_their_seed():
    assert np.array_equal(draw("poisson", 10, 10, [1, 2]), draw("poisson", 10, 10, [1, 2]))
    assert not np.array_equal(draw("poisson", 10, 10, [1, 2])[:5], draw("poisson", 10, 10, [1, 3])[:5])


def test_the_workers_shares_of_constant_arrivals_are_all_of_them():
    times = constant(7, 3)
    assert len(times) == 21
    parts = [share(times, worker, 3) for worker in range(3)]
    assert np.array_equal(np.sort(np.concatenate(parts)), times)


def test_a_trace_begins_at_its_first_arrival(tmp_path):
    (tmp_path / "trace").write_text("1700000000.5\n1700000001\n1700000003.25\n")
    assert read_trace(tmp_path / "trace").tolist() == [0.0, 0.5, 2.75]


@pytest.mark.parametrize("content", ["", "1\nx\n", "2\n1\n", "nan\n"])
def test_what_is_no_trace_is_refused(tmp_path, content):
    (tmp_path / "trace").write_text(content)
    with pytest.raises(FtxError) as caught:
        read_trace(tmp_path / "trace")
    assert caught.value.hints


def test_all_texts_are_sent_before_any_comes_again():
    texts = [f"text {number}" for number in range(5)]
    sent = list(itertools.islice(Order(texts, range(5), [0], repeat=False), 15))
    for start in (0, 5, 10):
        assert {index for index, _ in sent[start : start + 5]} == set(range(5))
    assert len({text for _, text in sent}) == 15
    assert all(text.rstrip() == texts[index] for index, text in sent)


def test_repeated_texts_are_sent_as_they_are_on_demand():
    sent = list(itertools.islice(Order(["a", "b"], range(2), [0], repeat=True), 6))
    assert {text for _, text in sent} == {"a", "b"}


def test_white_space_marks_each_round_otherwise():
    marks = [spaces(number) for number in range(300)]
    assert len(set(marks)) == 300
    assert not any(mark.strip() for mark in marks)


def test_the_packaged_texts_go_from_two_words_to_hundreds():
    words = [len(text.split()) for text in packaged().texts]
    assert min(words) == 2
    assert max(words) > 150
    assert len(set(packaged().texts)) == len(words)


@pytest.mark.parametrize(
    ("distribution", "low", "high"), [("fixed:7", 7, 7), ("uniform:3,9", 3, 9), ("lognormal:20,0.5", 3, 150)]
)
def test_texts_of_a_length_distribution_have_these_lengths(distribution, low, high):
    words = [len(text.split()) for text in of_lengths(distribution, packaged(), 0).texts]
    assert low <= min(words) <= max(words) <= high
    assert len(set(words)) > 3 or low == high


def test_no_text_of_a_wide_distribution_is_endless(monkeypatch):
    monkeypatch.setattr(payloads, "DRAWN", 2)
    texts = of_lengths("lognormal:20,100000", Payloads(("word",)), 0).texts
    assert {len(text.split()) for text in texts} <= {1, payloads.MOST_WORDS}


@pytest.mark.parametrize(
    "distribution",
    ["normal:3,4", "uniform:9,3", "fixed:", "fixed:-1", "lognormal:1", "fixed:inf", "uniform:1,inf", "fixed:nan"],
)
def test_what_is_no_distribution_is_refused(distribution):
    with pytest.raises(FtxError, match="is no distribution of lengths"):
        of_lengths(distribution, packaged(), 0)


def test_texts_and_labels_come_from_a_table_or_from_lines(tmp_path):
    (tmp_path / "a.csv").write_text('label,text\ngood,"one, two"\n,three\nbad,\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "one\\u2028two", "label": 1}\n\n"bare"\n', encoding="utf-8")
    (tmp_path / "a.txt").write_text("one\r\n\ntwo\u2028three\n", encoding="utf-8")
    assert read_texts(tmp_path / "a.csv") == Payloads(("one, two", "three"), ("good", None))
    assert read_texts(tmp_path / "a.jsonl") == Payloads(("one\u2028two", "bare"), ("1", None))
    assert read_texts(tmp_path / "a.txt") == Payloads(("one", "two\u2028three"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"x,y\n1,2\n", "has no column of texts; there are x, y"),
        ("a.csv", b"text\n\n", "holds no text"),
        ("a.jsonl", b"{", "line 1, is no JSON"),
        ("a.jsonl", b"{}\n", "holds no text"),
        ("a.txt", b"\xff", "cannot be read"),
        ("a.txt", b"", "holds no text"),
    ],
)
def test_a_file_without_texts_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FtxError, match=said) as caught:
        read_texts(tmp_path / name)
    assert caught.value.hints


def test_golden_texts_have_the_labels_that_the_variant_gave_them(tiny_bundle):
    golden = golden_payloads(tiny_bundle.path, tiny_bundle.meta, "onnx-fp32")
    rows = [json.loads(line) for line in (tiny_bundle.path / "golden.jsonl").read_text("utf-8").strip().split("\n")]
    labels = tiny_bundle.meta["labels"]
    assert golden.texts == tuple(row["text"] for row in rows)
    assert golden.labels == tuple(labels[int(np.argmax(row["logits"]["onnx-fp32"]))] for row in rows)


@pytest.mark.parametrize(
    ("protocol", "body", "label"),
    [
        (protocols.tei(), [{"label": "a", "score": 0.2}, {"label": "b", "score": 0.8}], "b"),
        (protocols.tei(), [[{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]], "a"),
        (protocols.guide(), {"label": "a", "id": 0, "score": 1}, "a"),
        (protocols.oip("m"), {"outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}, "a"),
        (
            protocols.oip("m"),
            {"outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 0.7, 0.2]}]},
            "1",
        ),
    ],
)
def test_the_label_is_found_in_an_answer(protocol, body, label):
    assert protocol.read(json.dumps(body).encode()) == label


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"[{}]", b'[{"label": 3, "score": 1}]', b'{"outputs": []}', b"null"]
)
@pytest.mark.parametrize("name", ["tei", "oip", "guide"])
def test_an_answer_without_a_label_does_not_match(name, body):
    with pytest.raises(protocols.SchemaMismatch):
        protocols.make(name, model="m").read(body)


def test_a_template_puts_the_text_where_it_says_and_finds_the_label(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(
        json.dumps(
            {
                "path": "/classify?x=1",
                "body": {"rows": [{"q": "say: {{text}}!"}]},
                "label": "$.result[0]['the label']",
                "headers": {"X-Key": "1"},
            }
        )
    )
    protocol = protocols.template_of(protocols.read_template(path), str(path))
    text = 'a "quoted"\nline \\ 你好'
    ask = protocol.ask(text)
    assert ask.path == "/classify?x=1"
    assert json.loads(ask.body) == {"rows": [{"q": f"say: {text}!"}]}
    assert protocol.read(b'{"result": [{"the label": "yes"}]}') == "yes"
    assert protocol.headers == {"X-Key": "1"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no template of a request"),
        ('{"body": {"q": "{{text}}"}}', "lacks 'label'"),
        ('{"body": {"q": "text"}, "label": "a"}', "has no {{text}}"),
        ('{"body": "{{text}}", "label": "a[*]"}', "is not made of names and indices"),
        ('{"body": "{{text}}", "label": "a", "path": "x"}', "does not begin with /"),
        ('{"body": "{{text}}", "label": "a", "path": "/路"}', "holds what a URL may not"),
        ('{"body": "{{text}}", "label": "a", "headers": {"a": "路"}}', "is not Latin-1"),
        ('{"body": "{{text}}", "label": "a", "headers": {"a": "b\\r\\nc"}}', "line break"),
    ],
)
def test_a_template_that_could_not_work_is_refused(tmp_path, content, said):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(FtxError) as caught:
        protocols.read_template(tmp_path / "t.json")
    assert said in caught.value.message
    assert caught.value.hints


def test_an_odd_server_timing_costs_only_its_columns():
    timing = read_timing({"server-timing": 'queue;dur=1.25, cache;desc="x", compute;dur=oops', "x-batch-size": "many"})
    assert timing.queue == 1.25
    assert np.isnan(timing.compute)
    assert timing.batch_size == -1
    assert read_timing({}) == UNKNOWN or all(np.isnan(value) or value == -1 for value in read_timing({}))


@pytest.mark.parametrize(
    ("suite", "more", "said"),
    [
        ("rate", {}, "--rate"),
        ("saturation", {}, "--slo-p99"),
        ("soak", {}, "--capacity"),
        ("ab", {"rate": 5.0}, "--against"),
        ("rate", {"rate": 5.0, "protocol": "template"}, "--template"),
        ("rate", {"rate": 5.0, "against": "http://x"}, "--against is for the suite ab"),
        ("saturation", {"slo_p99_ms": 5.0, "loop": "closed"}, "chooses its own loop"),
        ("saturation", {"slo_p99_ms": 5.0, "arrivals": "trace", "trace": (0.0, 1.0)}, "chooses its own rates"),
    ],
)
def test_what_a_suite_lacks_is_said_before_anything_begins(suite, more, said):
    with pytest.raises(FtxError, match=said) as caught:
        prepare(LoadSettings(suite, "http://127.0.0.1:1", **more), packaged())
    assert caught.value.hints


def test_a_job_arrives_at_a_worker_as_it_left():
    settings = LoadSettings("rate", "http://h", rate=5.0, arrivals="trace", trace=(0.0, 1.5))
    job, _ = prepare(settings, Payloads(("a", "b\u2028c")))
    assert Job.from_json(job.to_json()) == job
