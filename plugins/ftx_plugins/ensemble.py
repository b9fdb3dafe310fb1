"""Ensembles: several classifiers as one model that votes, loads, quantizes and exports like any other.

To transformers an ensemble is a model of the type `ftx-ensemble`: its `config.json` holds the members' configurations,
its weights bear the names `members.0.…`, `members.1.…`. All members share the tokenizer and the labels; the rest of
them may differ. Importing this module makes the type known to transformers' auto classes.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from ftx.errors import FtxError
from ftx_plugins.shapes import FIELD as SHAPES_FIELD
from ftx_plugins.shapes import with_shapes

MODEL_TYPE = "ftx-ensemble"
Vote = Literal["soft", "hard"]


class EnsembleConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of an ensemble."""

    model_type = MODEL_TYPE

    members: list[dict[str, Any]] | None = None
    """The configuration of each member, as `to_dict` gives it."""
    vote: str = "soft"
    """A `Vote`."""

    def member_configs(self) -> list[Any]:
        """Each member's configuration, as an object of its own class."""
        # `for_model` takes the type apart from the other fields, and keeps no copy of its own.
        return [AutoConfig.for_model(**copy.deepcopy(member)) for member in self.members or ()]


class EnsembleForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """Several classifiers that answer as one: `logits` of shape (rows, classes), by soft or by hard vote."""

    config_class = EnsembleConfig
    base_model_prefix = "members"

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__(config)
        self.members = nn.ModuleList([_make_member(member) for member in config.member_configs()])
        self.post_init()

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **inputs: Any) -> SequenceClassifierOutput:
        # Members say what they say in their own words; only their logits have one meaning.
        for name in ("labels", "output_hidden_states", "return_dict"):
            inputs.pop(name, None)
        answers = [member(input_ids=input_ids, attention_mask=attention_mask, **inputs) for member in self.members]
        logits = torch.stack([answer.logits.float() for answer in answers])
        return SequenceClassifierOutput(logits=VOTES[self.config.vote](logits))

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: members make their own weights, and a checkpoint holds all of them."""


def soft_vote(logits: torch.Tensor) -> torch.Tensor:
    """The logarithm of the members' mean probability, so that softmax gives that mean.

    `logits` are the members', float of shape (members, rows, classes); the result has the shape (rows, classes).
    """
    return mean_of(logits.log_softmax(dim=-1))


def hard_vote(logits: torch.Tensor) -> torch.Tensor:
    """The logarithm of (votes + mean probability) / (members + 1), so that softmax gives that share.

    Each member has one vote, for its likeliest label. The mean probability counts like one more voter who divides
    its vote: being less than one it never outvotes a member, it decides between labels with as many votes. Shapes are
    those of `soft_vote`.
    """
    members, _, classes = logits.shape
    chosen = logits.argmax(dim=-1, keepdim=True)
    votes = (chosen == torch.arange(classes, device=logits.device)).to(logits.dtype).sum(dim=0)
    mean = logits.softmax(dim=-1).mean(dim=0)
    # A probability that underflows is no vote, and has a logarithm all the same.
    return ((votes + mean) / (members + 1)).clamp_min(torch.finfo(torch.float32).tiny).log()


VOTES = {"soft": soft_vote, "hard": hard_vote}


def mean_of(log_probabilities: torch.Tensor) -> torch.Tensor:
    """The logarithm of the mean over the first axis of what these are the logarithms of; nothing underflows."""
    largest = log_probabilities.amax(dim=0)
    return (log_probabilities - largest).exp().mean(dim=0).log() + largest


def describe_ensemble(config: Any) -> dict[str, Any] | None:
    """What a manifest says of an ensemble: how many `members`, and which `vote`. None for any other model."""
    return {"members": len(config.members), "vote": config.vote} if is_ensemble(config) else None


def vote_jump(ensemble: Mapping[str, Any] | None, classes: int) -> float:
    """How far one logit may move where one member's vote falls to another of two labels as likely.

    `ensemble` is what `describe_ensemble` says; 0 for all but a hard vote. A member that votes for a label gives it a
    probability of 1 / classes at least, so that its mean is 1 / (classes · members) at least, and a vote more or less
    is a factor of 1 + classes · members at most.
    """
    if not ensemble or ensemble["vote"] != "hard":
        return 0.0
    return math.log1p(classes * ensemble["members"])


def require_members(members: Sequence[Any]) -> None:
    """Raise `FtxError` for classifiers whose code comes with the model: an ensemble's folder holds no code."""
    for member in members:
        if type(member).__module__.startswith("transformers_modules."):
            raise FtxError(
                f"{type(member).__name__} comes with code of its own, and an ensemble cannot hold it",
                "combine the seeds' weights instead: --set 'train.combine=\"greedy\"'",
            )


def make_ensemble(members: Sequence[Any], vote: Vote) -> EnsembleForSequenceClassification:
    """The ensemble of these classifiers, which it takes over; in evaluation mode. Raises as `require_members`."""
    require_members(members)
    first = members[0].config
    config = EnsembleConfig(
        members=[_described(member) for member in members],
        vote=vote,
        id2label=dict(first.id2label),
        label2id=dict(first.label2id),
        problem_type=first.problem_type,
        pad_token_id=first.pad_token_id,
    )
    with torch.device("meta"):
        ensemble = EnsembleForSequenceClassification(config)
    for place, member in enumerate(members):
        ensemble.members[place] = member
    ensemble.eval()
    return ensemble


def is_ensemble(config: Any) -> bool:
    """Whether this is the configuration of an ensemble."""
    return bool(config.model_type == MODEL_TYPE)


@contextlib.contextmanager
def voting_softly(*models: Any) -> Iterator[None]:
    """Let those of the `models` that are ensembles vote softly meanwhile: a hard vote has hardly a gradient."""
    ensembles = [model for model in models if is_ensemble(model.config)]
    votes = [ensemble.config.vote for ensemble in ensembles]
    try:
        for ensemble in ensembles:
            ensemble.config.vote = "soft"
        yield
    finally:
        for ensemble, vote in zip(ensembles, votes, strict=True):
            ensemble.config.vote = vote


def refuse_ensemble(config: Any, doing: str) -> None:
    """Raise `FtxError` where the model is an ensemble and so cannot be changed: `doing` is such as `pruned`."""
    if is_ensemble(config):
        raise FtxError(
            f"this checkpoint is an ensemble of {len(config.members)} models, which cannot be {doing}",
            "teach one smaller model what they know: ftx run train distill prune",
            "or make one model of the seeds: --set 'train.combine=\"greedy\"'",
        )


def _described(member: Any) -> dict[str, Any]:
    described: dict[str, Any] = member.config.to_dict()
    # How it was loaded is no property of the member, and a path of this machine.
    for name in ("_name_or_path", "transformers_version"):
        described.pop(name, None)
    return described | {"architectures": [type(member).__name__]}


def _make_member(config: Any) -> Any:
    with torch.device("meta"):
        stock = type(AutoModelForSequenceClassification.from_config(config))
    shapes = getattr(config, SHAPES_FIELD, None)
    member = (with_shapes(stock, shapes) if shapes else stock)(config)
    member.__class__ = stock
    return member


AutoConfig.register(MODEL_TYPE, EnsembleConfig, exist_ok=True)
AutoModelForSequenceClassification.register(EnsembleConfig, EnsembleForSequenceClassification, exist_ok=True)
