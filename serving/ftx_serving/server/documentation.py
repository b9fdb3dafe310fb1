"""What `/docs` says of bodies that are decoded without FastAPI's help."""

from __future__ import annotations

from typing import Any

from ftx_serving.server.errors import STATUS

_SCORES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["label", "score"],
        "properties": {
            "label": {"type": "string"},
            "score": {"type": "number"},
            "start": {"type": "integer", "description": "Of an entity: its first character in the text, from 0."},
            "end": {"type": "integer", "description": "Of an entity: the character behind its last."},
            "text": {"type": "string", "description": "Of an entity: what stands there."},
        },
    },
}
_ERROR = {
    "type": "object",
    "required": ["error", "error_type"],
    "properties": {"error": {"type": "string"}, "error_type": {"type": "string"}},
}
_TEXTS = {
    "oneOf": [
        {"type": "string"},
        {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}},
    ],
    "description": "A text; a list of texts; or a list of texts or pairs, each in a list of its own.",
}
_PARAMETERS: dict[str, Any] = {
    "top_k": {"type": ["integer", "null"], "minimum": 1},
    "truncate": {"type": ["boolean", "null"], "description": "false: a text that is too long is an error."},
    "truncation_direction": {"enum": ["left", "right", "Left", "Right", None]},
}
_PREDICT = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": _TEXTS,
        "raw_scores": {"type": "boolean", "description": "Logits instead of scores."},
        **_PARAMETERS,
        "parameters": {
            "type": ["object", "null"],
            "properties": {**_PARAMETERS, "function_to_apply": {"enum": ["softmax", "sigmoid", "none", None]}},
        },
    },
    "example": {"inputs": ["what a lovely ride"], "top_k": 2},
}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape", "data"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"enum": ["BYTES", "INT64"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "items": {}},
    },
}
_INFER = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
    "example": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["what a lovely ride"]}]},
}


def _operation(body: dict[str, Any], answer: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    errors = {str(status): _answer("Not answered.", _ERROR) for status in sorted({400, *STATUS.values()})}
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _answer("Answered.", answer), **errors},
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


PREDICT = _operation(
    _PREDICT, {"oneOf": [_SCORES, {"type": "array", "items": _SCORES}, {"type": "object"}]}, required=False
)
PREDICT["parameters"] = [
    {
        "name": "text",
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": "One text, instead of a body; the answer is its best label, with `id` and `score`.",
    }
]
PREDICT_NESTED = _operation(_PREDICT, {"type": "array", "items": _SCORES})
INFER = _operation(_INFER, {"type": "object"})
