"""What is minimised in each task, in torch. Logits are of shape (rows, outputs), of any float type; of
tokens, (rows, tokens, outputs)."""

from __future__ import annotations

import torch
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    logsigmoid,
    mse_loss,
)

from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_serving.tags import IGNORED


def total_loss(task: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The plain loss, summed over all that `counted` counts.

    Cross-entropy with int64 labels of shape (rows,); multi-label: binary cross-entropy with labels of 1 or 0, of shape
    (rows, labels); regression: the squared error, with float labels of shape (rows,); token classification:
    cross-entropy with int64 labels of shape (rows, tokens), those that are `IGNORED` left out.
    """
    logits = logits.float()
    if task == MULTI_LABEL:
        return binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum")
    if task == REGRESSION:
        return mse_loss(logits[:, 0], labels.float(), reduction="sum")
    if task == TOKEN_CLASSIFICATION:
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return cross_entropy(logits, labels, reduction="sum")


def counted(task: str, labels: torch.Tensor) -> int | torch.Tensor:
    """What a mean loss is the mean over: rows, or, in multi-label, rows times labels; of tokens, those with a tag.

    The latter as a tensor: to ask for its number in each step would make the processor wait for the device.
    """
    return (labels != IGNORED).sum().clamp(min=1) if task == TOKEN_CLASSIFICATION else labels.numel()


def mean_loss(task: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return total_loss(task, logits, labels) / counted(task, labels)


def divergence(task: str, logits: torch.Tensor, wanted: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """How far the predictions of `logits` are from those of `wanted`, the mean over rows: Kullback-Leibler divergence
    of the softened probabilities (multi-label: the mean over labels); regression: half the squared difference.

    Multiplied by the temperature's square, the gradients are of one size whatever it is (Hinton et al. 2015).
    """
    if task == REGRESSION:
        return mse_loss(logits.float(), wanted.float()) / (2 * temperature**2)
    softened, targets = logits.float() / temperature, wanted.float() / temperature
    if task == MULTI_LABEL:
        share = targets.sigmoid()
        yes = logsigmoid(targets) - logsigmoid(softened)
        no = logsigmoid(-targets) - logsigmoid(-softened)
        return (share * yes + (1 - share) * no).mean()
    return kl_div(softened.log_softmax(dim=1), targets.log_softmax(dim=1), log_target=True, reduction="batchmean")


def draw_labels(task: str, logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Labels drawn at random from what the model predicts, as `total_loss` takes them: of the softmax; multi-label: of
    each label's own probability; regression: of a normal distribution about the number, as wide as the numbers vary."""
    if task == MULTI_LABEL:
        return torch.bernoulli(logits.sigmoid(), generator=generator)
    if task == REGRESSION:
        spread = logits.std() if len(logits) > 1 else torch.tensor(1.0)
        return logits[:, 0] + spread * torch.randn(len(logits), generator=generator)
    return torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
