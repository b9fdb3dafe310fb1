"""Clusters of near-duplicates: texts that share most of their character n-grams.

MinHash signatures (Broder, "On the resemblance and containment of documents", 1997) and locality-sensitive hashing by
bands (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3) propose pairs; each pair is then measured
exactly. A cluster is what a chain of such pairs connects, so that no pair that was found straddles two clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rensa import RMinHash
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ftx_plugins.data.sampling import mix
from ftx_plugins.data.shingles import hash_ngrams

PERMUTATIONS = 128
SIGNATURE_SEED = 1
RECALL = 0.99
"""A pair exactly as similar as was asked is proposed at least so often; a more similar one more often."""
NEIGHBOURS = 31
"""In a bucket each row is compared with so many behind it: all with all, but for buckets of boiler-plate."""
PAIRED_NGRAMS = 1 << 22
"""N-grams compared at a time: about 200 MB."""

Batches = Callable[[], Iterator[Sequence[str]]]
"""Gives the normalised texts, batch by batch; called twice."""


@dataclass(frozen=True)
class Clusters:
    """The cluster of each row, and the clusters of several rows."""

    of_row: np.ndarray
    """int64, shape (rows,): the place of the first row of the row's cluster; of a row that resembles none, its own."""

    def groups(self) -> list[np.ndarray]:
        """The places of each cluster of two rows or more, in order; the largest cluster first."""
        order = np.argsort(self.of_row, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.of_row[order]) != 0]) if len(order) else np.zeros(0, np.int64)
        several = [places for places in np.split(order, starts[1:]) if len(places) > 1]
        return sorted(several, key=lambda places: (-len(places), int(places[0])))


def find_clusters(
    batches: Batches, rows: int, similarity: float, work: Path, progress: Callable[[int], None] = lambda done: None
) -> Clusters:
    """The clusters of `rows` texts whose n-grams have a Jaccard similarity of `similarity` or more.

    Memory is about 170 bytes a row; the n-grams of rows that resemble another are kept in the folder `work`.
    `progress(rows done)` is called after each batch of the first pass.
    """
    width = band_width(similarity)
    keys = _band_keys(batches(), rows, width, progress)
    resembling = np.zeros(rows, dtype=bool)
    for band in range(keys.shape[1]):
        resembling[_in_buckets(keys[:, band])] = True
    ngrams = _Ngrams.write(batches(), resembling, work / "ngrams.u64")
    of_row = np.arange(rows)
    for band in range(keys.shape[1]):
        of_row = _connect_band(keys[:, band], of_row, ngrams, similarity)
    ngrams.path.unlink(missing_ok=True)
    return Clusters(_first_rows(of_row))


def cluster_texts(texts: Sequence[str], similarity: float, work: Path) -> Clusters:
    """`find_clusters` of normalised texts in memory."""
    return find_clusters(lambda: iter([texts]), len(texts), similarity, work)


def band_width(similarity: float) -> int:
    """Rows of a signature in a band: as many as keep the `RECALL` (fewer pairs are then proposed in vain)."""
    widths = range(1, PERMUTATIONS + 1)
    good = [width for width in widths if 1 - (1 - similarity**width) ** (PERMUTATIONS // width) >= RECALL]
    return max(good, default=1)


def _band_keys(batches: Iterator[Sequence[str]], rows: int, width: int, progress: Callable[[int], None]) -> np.ndarray:
    """A number for each band of each row's signature, uint64 of shape (rows, bands)."""
    bands = PERMUTATIONS // width
    keys, done = np.zeros((rows, bands), dtype=np.uint64), 0
    for texts in batches:
        if not texts:
            continue
        hashes, starts = hash_ngrams(texts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, starts.astype(np.uint64), PERMUTATIONS, SIGNATURE_SEED
        )
        signatures = np.array(matrix.to_rows(), dtype=np.uint64)
        folded = np.zeros((len(texts), bands), dtype=np.uint64)
        for place in range(width):
            folded = mix(folded ^ signatures[:, place : bands * width : width])
        keys[done : done + len(texts)] = folded
        done += len(texts)
        progress(done)
    return keys


def _in_buckets(keys: np.ndarray) -> np.ndarray:
    """The rows that share their key with another, bucket after bucket, each bucket's in order."""
    order = np.argsort(keys, kind="stable")
    same = np.r_[False, keys[order][1:] == keys[order][:-1], False]
    found: np.ndarray = order[same[:-1] | same[1:]]
    return found


@dataclass(frozen=True)
class _Ngrams:
    """The n-grams of some rows in a file that is mapped into memory."""

    path: Path
    values: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def write(cls, batches: Iterator[Sequence[str]], wanted: np.ndarray, path: Path) -> _Ngrams:
        starts, sizes = np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.int64)
        first, total = 0, 0
        with path.open("wb") as file:
            for texts in batches:
                rows = np.flatnonzero(wanted[first : first + len(texts)])
                values, offsets = hash_ngrams([texts[row] for row in rows.tolist()])
                file.write(values.tobytes())
                starts[first + rows] = total + offsets[:-1]
                sizes[first + rows] = np.diff(offsets)
                first, total = first + len(texts), total + len(values)
        # A file of no bytes cannot be mapped.
        mapped = np.memmap(path, dtype=np.uint64, mode="r") if total else np.zeros(0, dtype=np.uint64)
        return cls(path, mapped, starts, sizes)

    def similar(self, first: np.ndarray, second: np.ndarray, similarity: float) -> np.ndarray:
        """Whether each pair of rows has at least this Jaccard similarity, bool of shape (pairs,)."""
        small = np.minimum(self.sizes[first], self.sizes[second])
        large = np.maximum(self.sizes[first], self.sizes[second])
        result: np.ndarray = small >= similarity * large
        possible = np.flatnonzero(result)
        weights = np.cumsum(self.sizes[first[possible]] + self.sizes[second[possible]])
        for chunk in np.split(possible, np.flatnonzero(np.diff(weights // PAIRED_NGRAMS)) + 1):
            shared = self._shared(first[chunk], second[chunk])
            union = self.sizes[first[chunk]] + self.sizes[second[chunk]] - shared
            # Compared as sizes: a quotient could round to the other side.
            result[chunk] = shared >= similarity * union - 1e-9
        return result

    def _shared(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        left, pair_of = self._tagged(first)
        right, _ = self._tagged(second)
        _, places, _ = np.intersect1d(left, right, assume_unique=True, return_indices=True)
        return np.bincount(pair_of[places], minlength=len(first))

    def _tagged(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N-grams mixed with the number of their pair, so that one intersection serves all pairs; and those numbers."""
        sizes = self.sizes[rows]
        pair_of = np.repeat(np.arange(len(rows)), sizes)
        within = np.arange(len(pair_of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        values = np.asarray(self.values[np.repeat(self.starts[rows], sizes) + within])
        return mix(values ^ mix(pair_of.astype(np.uint64))), pair_of


def _connect_band(keys: np.ndarray, of_row: np.ndarray, ngrams: _Ngrams, similarity: float) -> np.ndarray:
    """`of_row` with the clusters joined that a similar pair of one band connects.

    Neighbours in a bucket come first: where texts are alike they connect it, and few pairs are left to measure.
    """
    rows = _in_buckets(keys)
    for shifts in (range(1, 2), range(2, NEIGHBOURS + 1)):
        pairs = [_pairs_at(rows, keys, shift) for shift in shifts if shift < len(rows)]
        if not pairs:
            break
        first, second = np.concatenate(pairs, axis=1)
        apart = of_row[first] != of_row[second]
        first, second = first[apart], second[apart]
        is_similar = ngrams.similar(first, second, similarity)
        of_row = _joined(of_row, first[is_similar], second[is_similar])
    return of_row


def _pairs_at(rows: np.ndarray, keys: np.ndarray, shift: int) -> np.ndarray:
    same = keys[rows[:-shift]] == keys[rows[shift:]]
    return np.stack([rows[:-shift][same], rows[shift:][same]])


def _joined(of_row: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if not len(first):
        return of_row
    edges = (np.ones(len(first), dtype=bool), (of_row[first], of_row[second]))
    _, component = connected_components(coo_matrix(edges, shape=(len(of_row), len(of_row))), directed=False)
    joined: np.ndarray = component.astype(np.int64)[of_row]
    return joined


def _first_rows(of_row: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(of_row, return_index=True, return_inverse=True)
    firsts: np.ndarray = first[inverse].astype(np.int64)
    return firsts
