"""A torch model behind the face of a runtime's session."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class TorchSession:
    """A torch model as a session, so that it can be compared with others."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
            logits: np.ndarray = self._model(**tensors).logits.float().numpy()
        return logits
