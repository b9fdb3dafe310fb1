"""The page of a report: complete, honest about what is missing, and safe whatever the texts say."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest

VOID = {"meta", "input", "img", "br", "link", "hr"}


class Outline(HTMLParser):
    """Checks that elements are closed in order, and collects what is in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(runs, page):
    html = page(runs.write(), runs.write("20260102-030406-00000"))
    outline = Outline(html)
    assert len(set(outline.ids)) == len(outline.ids)
    assert all(link.startswith("#") and link[1:] in outline.ids for link in outline.links)
    assert not re.search(r"https?:|@import|url\(|//[a-z]", re.sub(r"<!doctype html>", "", html))


def test_every_section_of_a_full_run_is_there_and_linked(runs, page):
    html = page(runs.write())
    names = ["scoreboard", "quality", "changed", "training", "pruning", "quantization", "choice", "data"]
    for name in [*names, "lineage", "steps", "environment"]:
        assert f'id="{name}-20260102-030405-00000"' in html
        assert f'href="#{name}-20260102-030405-00000"' in html


def test_texts_and_labels_are_escaped_wherever_they_stand(runs, page):
    html = page(runs.write())
    assert "window.hurt" in html
    assert "<script>window.hurt" not in html
    assert "<img" not in html
    assert "good <b>" not in html and "good &lt;b&gt;" in html
    assert "mind <this>" not in html
    assert html.count("<script>") == 1


def test_the_policy_of_the_page_lets_only_its_own_script_run(runs, page):
    html = page(runs.write())
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/]{43}='", html)


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        ({"accuracy": 0.79, "change": -0.01}, "No loss of accuracy that 60 rows can show (−3.0 to +1.0 points)"),
        ({"accuracy": 0.7, "change": -0.1}, "Lost 10.0 points of accuracy (−12.0 to −8.0)"),
        ({"accuracy": 0.9, "change": 0.1}, "Gained 10.0 points of accuracy (+8.0 to +12.0)"),
        ({"accuracy": 0.8, "flips": 0}, "Every label is the reference’s"),
    ],
)
def test_the_headline_says_what_was_lost_only_where_the_rows_tell(runs, page, outcome, sentence):
    html = page(runs.write(steps=runs.ending_with(**outcome)))
    assert f"<h1>{sentence}; 3.9× smaller and 2.0× the rows a second.</h1>" in html


def test_a_model_that_became_larger_and_slower_is_not_praised(runs, page):
    html = page(runs.write(steps=runs.ending_with(accuracy=0.8, size_mb=180.0, rows_per_second=100.0, p95_ms=24.0)))
    assert "2.0× larger and 0.5× the rows a second" in html
    assert "▼ 2.0× larger" in html and "▼ 2.0× slower" in html


def test_a_broken_budget_is_the_headline_with_what_to_try(runs, page):
    error = {"code": 3, "message": "the budget is broken by export:bundle\n  f1 < it", "hints": ["allow more"]}
    steps = {name: runs.steps[name] for name in ("data:clean", "train:finetune", "evaluate:validation")}
    html = page(runs.write(steps=steps, status="budget", error=error, budget={"accuracy_drop": 0.01}))
    assert "<h1>The budget is broken by export:bundle.</h1>" in html
    assert "f1 &lt; it" in html and "allow more" in html
    assert "Budget: accuracy_drop 0.01" in html


def test_a_run_that_measured_nothing_still_has_its_page(runs, page):
    html = page(runs.write(steps={"data:clean": runs.steps["data:clean"]}, status="failed"))
    assert "<h1>The run failed after data:clean.</h1>" in html
    assert "Scoreboard" not in html


def test_a_run_of_before_plans_were_kept_has_its_page(runs, page):
    record = runs.write()
    (runs.store.runs / record.id / "plan.json").unlink()
    assert "No loss of accuracy" in page(record)


def test_what_was_collected_since_is_left_out_and_said_to_be(runs, page):
    record = runs.write()
    assert "no longer has all" not in page(record)
    shutil.rmtree(runs.store.objects / record.steps[-1]["artifact"]["digest"])
    html = page(record)
    assert "The store no longer has all that this run made" in html
    assert "No loss of accuracy" in html and "Changed labels" not in html


def test_settings_are_shown_with_their_source_and_the_chosen_ones_stand_out(runs, page):
    html = page(runs.write(epochs=7))
    assert '<tr class="set"><th scope="row">epochs</th><td>7</td><td>--set</td></tr>' in html
    assert '<tr class=""><th scope="row">batch_size</th><td>8</td><td>default</td></tr>' in html


def test_a_row_that_changed_alike_in_two_variants_is_shown_once(runs, page):
    html = page(runs.write())
    assert "3 rows of the test split" in html
    assert html.count('data-variants="onnx-int8 openvino-int8"') == 1
    # What became wrong stands first.
    assert re.findall(r'data-kind="(\w+)"', html) == ["wrong", "right", "other"]


def test_a_limit_that_a_row_is_beyond_is_named_beside_it(runs, page):
    steps = {**runs.steps, "evaluate:test": {**runs.steps["evaluate:test"], "split": "validation"}}
    assert "beyond size_mb" in page(runs.write(steps=steps, budget={"size_mb": 20.0}))
    assert "beyond" not in page(runs.write("20260102-030406-00000", steps=steps, budget={"size_mb": 30.0}))


def test_several_runs_stand_side_by_side_with_a_verdict_and_what_differs(runs, page):
    html = page(runs.write(epochs=2), runs.write("20260102-030406-00000", epochs=5))
    assert "2 runs, side by side" in html
    assert '<th scope="row">train:finetune epochs</th><td>2</td><td>5</td>' in html
    assert "batch_size</th><td>8</td><td>8</td>" not in html
    assert "cannot tell<small>0.0 points of accuracy" in html


def test_runs_on_different_data_are_not_compared(runs, page):
    other = {"data:clean": {}, **{name: step for name, step in runs.steps.items() if name != "data:clean"}}
    del other["data:clean"]
    html = page(runs.write(), runs.write("20260102-030406-00000", steps=other))
    assert "not comparable" in html
