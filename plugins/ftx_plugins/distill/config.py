"""The settings of `[distill]`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftx.settings import FilePath, ModelPath, SourcePath, StepConfig


class DistillConfig(StepConfig):
    """Who teaches whom, on which rows, and how."""

    teacher: ModelPath | None = Field(
        None, description="checkpoint that teaches: a folder, a digest, latest:train; not set: what the run made last"
    )
    student: SourcePath | None = Field(
        None, description="encoder that learns: a folder, pkg:package/path or a hub id; not set: layers of the teacher"
    )
    student_revision: str = Field("main", min_length=1, description="branch, tag or commit of a student on the hub")
    layers: int | None = Field(
        None, ge=1, description="layers of the teacher that the student begins with; not set, and no student: half"
    )
    pick: Literal["even", "first"] = Field(
        "even", description="which layers: even: at even distances, the first and the last included; first: the lowest"
    )
    unlabelled: FilePath | None = Field(
        None, description="file of more texts, without labels (csv, tsv, json, jsonl, ndjson, parquet)"
    )
    text: str = Field("text", min_length=1, description="name of the column with the text in `unlabelled`")
    text_pair: str | None = Field(None, min_length=1, description="name of its column with the second text of a pair")
    rows: int = Field(0, ge=0, description="training rows to learn from, each class in proportion; 0: all")
    temperature: float = Field(
        2.0, gt=0, le=100, description="what both models' logits are divided by: more shows what is unlikely, too"
    )
    teacher_weight: float = Field(
        0.7, ge=0, le=1, description="share of the loss that the teacher's probabilities have; the rest is the labels'"
    )
    epochs: int = Field(6, ge=1, le=1000, description="passes over the rows, at most")
    batch_size: int = Field(32, ge=1, le=65536, description="rows in a forward pass")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="peak learning rate, per step")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the inputs dropped in the classification head")
    max_length: int | None = Field(
        None, ge=4, le=1_000_000, description="longest input of the student in tokens; not set: the teacher's"
    )
    mixed_precision: Literal["auto", "fp32"] = Field(
        "auto", description="number format of the matrix products; auto: bf16 where the hardware has it, else fp32"
    )
    metric: Literal["f1_macro", "accuracy", "f1_micro", "agreement", "loss"] = Field(
        "f1_macro",
        description="figure on the validation rows by which the best epoch is kept; agreement: rows that student and "
        "teacher give the same label",
    )
    early_stopping: int = Field(
        2, ge=0, le=1000, description="epochs without a better `metric` after which training stops; 0: never"
    )

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if self.student is not None and self.layers is not None:
            raise ValueError("set student or layers, not both: a student has its own layers")
        return self

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.unlabelled is not None and self.teacher_weight == 0:
            raise ValueError("teacher_weight = 0 leaves the labels alone to learn from, and unlabelled texts have none")
        return self
