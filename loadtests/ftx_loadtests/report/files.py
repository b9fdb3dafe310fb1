"""What stays of a load test beside the raw samples: a page, a document, a table, and a file for CI."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from ftx_loadtests.outcome import Result
from ftx_loadtests.report.page import render
from ftx_loadtests.samples import COLUMNS, Failure, Samples

PAGE, DOCUMENT, TABLE, JUNIT, RESOURCES = "report.html", "result.json", "samples.csv", "junit.xml", "resources.jsonl"


def write_report(result: Result, folder: Path) -> None:
    """Write all of them into `folder`, which must be there."""
    (folder / PAGE).write_text(render(result), encoding="utf-8")
    document = json.dumps(result.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / DOCUMENT).write_text(document + "\n", encoding="utf-8")
    write_table(result.measurement.samples, folder / TABLE)
    (folder / JUNIT).write_bytes(junit(result))
    if result.measurement.resources is not None:
        result.measurement.resources.save(folder / RESOURCES)


def write_table(samples: Samples, path: Path) -> None:
    """A row for each request, as `Samples` has them: seconds and milliseconds, labels and failures by name.

    What is not known is empty.
    """
    columns = [_texts(name, samples) for name in COLUMNS]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*columns, strict=True))


def junit(result: Result) -> bytes:
    """Three test cases, one for each verdict, as the CI systems read them.

    A missed SLO is a failure; what is not valid or not certain is an error, since it says nothing about the server.
    """
    cases = {name: ET.Element("testcase", classname="ftx.loadtest", name=name) for name in ("slo", "valid", "certain")}
    if result.valid and result.answer.certain and result.answer.met is None:
        ET.SubElement(cases["slo"], "skipped", message=result.answer.sentence)
    elif result.verdict == "missed":
        ET.SubElement(cases["slo"], "failure", message=result.answer.sentence)
    if not result.valid:
        ET.SubElement(cases["valid"], "error", message=_printable("; ".join(result.reasons)))
    if not result.answer.certain:
        ET.SubElement(cases["certain"], "error", message=result.answer.sentence)
    counts = {
        kind: sum(case.find(kind) is not None for case in cases.values()) for kind in ("failure", "error", "skipped")
    }
    suite = ET.Element(
        "testsuite",
        name=f"ftx loadtest {result.measurement.suite}",
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{result.measurement.seconds:.3f}",
    )
    suite.extend(cases.values())
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def _printable(text: str) -> str:
    """Without the control characters that XML has no way to write; a server's words may hold them."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _texts(name: str, samples: Samples) -> list[str]:
    values = getattr(samples, name)
    if name == "failure":
        return ["" if not value else Failure(value).name.lower() for value in values.tolist()]
    if name == "label":
        return ["" if value < 0 else samples.labels[value] for value in values.tolist()]
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else f"{value:.6f}" for value in values.tolist()]
    return ["" if value < 0 else str(value) for value in values.tolist()]
