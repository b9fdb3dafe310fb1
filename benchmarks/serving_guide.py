"""The server that guides to fine-tuning end with: FastAPI, torch's dynamic int8 in eager mode, one text a request.

    python benchmarks/serving_guide.py CHECKPOINT PORT

The endpoint is `async def`, as the guides write it: one text is computed at a time, with all of torch's threads.
Written as `def`, up to 40 texts would be computed at a time, each with as many threads.
"""

from __future__ import annotations

import sys
import warnings

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MAX_LENGTH = 128


def build(checkpoint: str) -> FastAPI:
    """The application: `POST /predict?text=…` answers `{"label", "id", "score"}`."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    app = FastAPI()

    @app.post("/predict")
    async def predict(text: str) -> dict[str, object]:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_LENGTH)
        with torch.no_grad():
            scores = torch.softmax(model(**inputs).logits, dim=-1)[0]
        best = int(scores.argmax())
        return {"label": model.config.id2label[best], "id": best, "score": float(scores[best])}

    return app


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
