"""`cluster:kmeans`: the weights of each matrix share a few values (Han et al. 2015, "Deep Compression", section 3)."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ftx import Artifact, Context, FtxError
from ftx_weight_clustering.config import KmeansConfig
from ftx_weight_clustering.kmeans import kmeans, share


@dataclass
class Tally:
    """Sums over the matrices that are clustered."""

    matrices: int = 0
    weights: int = 0
    bits: float = 0.0
    most_values: int = 0
    squared_error: float = 0.0
    squares: float = 0.0
    skipped: list[str] = field(default_factory=list)


def run(config: KmeansConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Cluster every matrix of the checkpoint; biases, norms and what is smaller than its table stay.

    Returns `matrices`, `weights` (how many are shared), `most_values` (distinct values in any matrix),
    `bits_per_weight` (an index and the table's share; what an archive can reach) and `relative_error` (root mean
    square, of the weights).
    """
    model = inputs["model"]
    if model.meta.get("recipe"):
        raise FtxError(
            "the checkpoint has a recipe for quantization, made for the weights as they are",
            "cluster before you quantize: ftx run train cluster quantize export",
        )
    context.describe(**model.meta)
    tally = Tally()
    files = sorted(model.manifest.files)
    for name in (name for name in files if not name.endswith(".safetensors")):
        _place(context.out / name)
        shutil.copyfile(model.path / name, context.out / name)
    for name in (name for name in files if name.endswith(".safetensors")):
        tensors = load_file(model.path / name)
        for done, key in enumerate(sorted(tensors), start=1):
            if _is_clustered(key, tensors[key], config):
                tensors[key] = _cluster(key, tensors[key], config, context.work, tally)
            context.progress(done, len(tensors), "tensors")
        save_file(tensors, _place(context.out / name), metadata={"format": "pt"})
    if not tally.matrices:
        raise FtxError(f"no matrix has more than {config.clusters} weights", "share fewer: --set cluster.clusters=16")
    return {
        "matrices": tally.matrices,
        "weights": tally.weights,
        "most_values": tally.most_values,
        "bits_per_weight": round(tally.bits / tally.weights, 3),
        "relative_error": round(math.sqrt(tally.squared_error / max(tally.squares, 1e-30)), 6),
    }


def _is_clustered(name: str, values: np.ndarray, config: KmeansConfig) -> bool:
    is_matrix = values.ndim == 2 and values.dtype == np.float32 and values.size > config.clusters
    return is_matrix and (config.embeddings or "embeddings" not in name)


def _cluster(name: str, values: np.ndarray, config: KmeansConfig, work: Path, tally: Tally) -> np.ndarray:
    centroids = _centroids(name, values, config, work)
    shared = share(values, centroids)
    tally.matrices += 1
    tally.weights += values.size
    tally.most_values = max(tally.most_values, len(centroids))
    tally.bits += values.size * max(1, math.ceil(math.log2(len(centroids)))) + 32 * len(centroids)
    tally.squared_error += float(np.square(shared - values, dtype=np.float64).sum())
    tally.squares += float(np.square(values, dtype=np.float64).sum())
    return shared


def _centroids(name: str, values: np.ndarray, config: KmeansConfig, work: Path) -> np.ndarray:
    """The centroids of a matrix: those that a killed run found, or found now and kept for such a case."""
    kept = work / f"{name}.npy"
    if kept.exists():
        found: np.ndarray = np.load(kept, allow_pickle=False)
        return found
    centroids = kmeans(values, config.clusters, config.start, config.iterations)
    half_written = work / "centroids.npy.part"
    with half_written.open("wb") as file:
        np.save(file, centroids)
    half_written.replace(kept)
    return centroids


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
