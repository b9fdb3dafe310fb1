"""LitServe with ONNX Runtime's dynamic int8, batches of 8 that are waited for 2 ms; runs in an environment of its own.

python benchmarks/serving_litserve.py MODEL.onnx TOKENIZER.json PORT
"""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_LENGTH = 128


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """Text in, label and score out; ONNX Runtime's default session."""

    def __init__(self, model: str, tokenizer: str) -> None:
        super().__init__(max_batch_size=8, batch_timeout=0.002)
        self.files = model, tokenizer

    def setup(self, device: str) -> None:
        model, tokenizer = self.files
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.inputs = {value.name for value in self.session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(tokenizer)
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.tokenizer.enable_padding()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return list(inputs)

    def predict(self, texts: list[str]) -> np.ndarray:
        encodings = self.tokenizer.encode_batch(texts)
        given = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        feed = {name: np.array(rows, dtype=np.int64) for name, rows in given.items() if name in self.inputs}
        return np.asarray(self.session.run(["logits"], feed)[0])

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        exponents = np.exp(output - output.max())
        best = int(output.argmax())
        return {"id": best, "score": float(exponents[best] / exponents.sum())}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(sys.argv[1], sys.argv[2]), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[3]), log_level="warning", generate_client_file=False)
