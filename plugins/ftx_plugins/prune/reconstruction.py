"""What remains of a sublayer makes up for what was removed: least squares on the calibration activations.

Given the columns S that stay, the new output projection is the one whose output is nearest to the old one's on the
calibration tokens, with a damping towards its old values (He, Zhang and Sun 2017, "Channel Pruning"; Kwon et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ftx_plugins.prune.anatomy import Sublayer
from ftx_plugins.prune.importance import Statistics
from ftx_plugins.prune.selection import damped
from ftx_plugins.prune.surgery import columns_of


def reconstruct(part: Sublayer, kept: Sequence[int], statistics: Statistics) -> None:
    """Change the output projection, bias included, so that the units `kept` stand for all. Nothing is cut yet."""
    weight = part.out.weight.detach()
    columns = columns_of(kept, part.size, weight.device)
    gone = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
    gone[columns] = False
    biased = part.out.bias is not None
    basis = columns
    if biased:
        basis = torch.cat([columns, torch.tensor([weight.shape[1]], device=weight.device)])
    moments = damped(statistics.activations)
    lost = weight[:, gone].double() @ moments[:-1][gone][:, basis]
    change = torch.linalg.solve(moments[basis][:, basis], lost.T).T.to(weight.dtype)
    with torch.no_grad():
        weight[:, columns] += change[:, : len(columns)]
        if biased:
            part.out.bias.add_(change[:, -1])
