"""The size-invariant network of VM allocation: it scores places for a request, and VMs to migrate.

A place is scored by its node, the host's other node and the demand; a mean over all nodes gives the
context, so that one network serves any number of hosts. Residues of 16 cores are angles: their
sines and cosines make "does it fit without closing a slot" nearly linear.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...envs.vm_allocation.observation import Asked, Clock, Pm, Vm
from ..network import Observation, angles, mask_logits

HARMONICS = 4
EPS = 1e-4  # added to residues before they are rounded down
# Columns that the network reads as they are, of a PM for its node 0 and its node 1.
HOST_COLUMNS = [
    Pm.EMPTY, Pm.TWO_NODES, *range(Pm.CLASS_0, Pm.CLASS_3 + 1), Pm.STAY
]  # fmt: skip
UNDER = (Pm.UNDER_8_0, Pm.UNDER_16_0, Pm.UNDER_32_0)
NODE_COLUMNS = np.array(
    [
        [
            Pm.FREE_CPU_0 + own, Pm.FREE_MEM_0 + own, Pm.FRAGMENT_OF_FREE_0 + own,
            Pm.MEM_RESIDUE_0 + own, Pm.FREE_CPU_0 + other, Pm.FREE_MEM_0 + other, *HOST_COLUMNS,
            *(under + own for under in UNDER), *(under + other for under in UNDER),
        ]
        for own, other in ((0, 1), (1, 0))
    ]
)  # fmt: skip
RESIDUES = [Pm.RESIDUE_0, Pm.RESIDUE_1]
# Numbers of features: of a node, and of the demand at a node.
N_NODE = NODE_COLUMNS.shape[1] + 4 * HARMONICS
N_PAIR = 3 + 2 * HARMONICS


class Encoded(NamedTuple):
    """Encoding of B observations of P PMs, padded.

    Attributes:
        nodes: float32 [B, 2P, d]; embeddings of the PMs' nodes.
        context: float32 [B, d]; of all of them, the request and the time.
    """

    nodes: Tensor
    context: Tensor


class AllocationPolicy(nn.Module):
    """Policy and value over observations of sysopt/VMAllocation-v0 (its docstring has shapes).

    Args:
        width: length d of the embeddings and of the context.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        d = self.width = width
        self.node = nn.Linear(N_NODE, d)
        self.pool = nn.Linear(d + len(Asked) + len(Clock), d)
        self.place_own = nn.Linear(d, d)
        self.place_pair = nn.Linear(N_PAIR, d, bias=False)
        self.place_asked = nn.Linear(len(Asked), d, bias=False)
        self.place_context = nn.Linear(d, d, bias=False)
        self.place_hidden = nn.Linear(d, d)
        self.place_score = nn.Linear(d, 1)
        self.vm_own = nn.Linear(len(Vm), d)
        self.vm_host = nn.Linear(d, d, bias=False)
        self.vm_context = nn.Linear(d, d, bias=False)
        self.vm_score = nn.Linear(d, 1)
        self.stop_score = nn.Linear(d, 1)
        self.value_hidden = nn.Linear(d, d)
        self.value_score = nn.Linear(d, 1)

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations.

        Args:
            obs: "pms" float32 [B, P, 23], "pm_mask" int8 [B, P], "request" float32 [B, 13] and
                "clock" float32 [B, 8].

        Returns:
            Embeddings of nodes, and the context.
        """
        pms = obs["pms"].float()
        circle = angles(pms[..., RESIDUES], HARMONICS)  # [B, P, 2, 2H]
        rows = [
            torch.cat([pms[..., NODE_COLUMNS[k]], circle[..., k, :], circle[..., 1 - k, :]], dim=-1)
            for k in (0, 1)
        ]
        nodes = torch.relu(self.node(torch.stack(rows, dim=2).flatten(1, 2)))
        there = obs["pm_mask"].float()
        exists = torch.stack([there, there * pms[..., Pm.TWO_NODES]], dim=-1).flatten(1)
        mean = (nodes * exists.unsqueeze(-1)).sum(1) / exists.sum(1, keepdim=True).clamp(min=1.0)
        seen = torch.cat([mean, obs["request"].float(), obs["clock"].float()], dim=-1)
        return Encoded(nodes, torch.relu(self.pool(seen)))

    def _place_logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score places for the request or the VM chosen, without masks: float32 [B, 2P]."""
        asked, pms = obs["request"].float(), obs["pms"].float()
        own, pair = self.place_own(encoded.nodes), self.place_pair(_pair_features(pms, asked))
        # A demand on both nodes of a host is at neither of them alone.
        both = (asked[:, Asked.TWO_NODES] > 0).view(-1, 1, 1)
        own, pair = (torch.where(both, _over_both(part), part) for part in (own, pair))
        whole = self.place_asked(asked) + self.place_context(encoded.context)
        hidden = torch.relu(own + pair + whole.unsqueeze(1))
        scores: Tensor = self.place_score(torch.relu(self.place_hidden(hidden)))
        return scores.squeeze(-1)

    def _vm_logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score VMs to migrate, then to stop, without masks: float32 [B, V + 1]."""
        vms = obs["vms"].float()
        first = 2 * obs["vm_pm"].long().unsqueeze(-1).expand(-1, -1, self.width)
        host = encoded.nodes.gather(1, first) + encoded.nodes.gather(1, first + 1)
        hidden = self.vm_own(vms) + self.vm_host(host)
        hidden = hidden + self.vm_context(encoded.context).unsqueeze(1)
        scores = self.vm_score(torch.relu(hidden)).squeeze(-1)
        return torch.cat([scores, self.stop_score(encoded.context)], dim=1)

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the actions of the ply that each observation is at.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "action_mask" is int8 [B, N]; with migrations also "vms"
                float32 [B, V, 11] and "vm_pm" int32 [B, V].

        Returns:
            float32 [B, N]; MASKED for illegal actions.
        """
        mask = obs["action_mask"]
        scores = _widened(self._place_logits(encoded, obs), mask.shape[1])
        if "vms" in obs:
            # Every index after the data center's last VM has the score of stop: one of them is
            # legal at most.
            vms = self._vm_logits(encoded, obs)
            stop = vms[:, -1:].expand(-1, mask.shape[1] - vms.shape[1])
            rows = (obs["vm_flavor"] < 0).float()
            vms = torch.cat([torch.where(rows > 0, vms[:, -1:], vms[:, :-1]), vms[:, -1:], stop], 1)
            choosing = obs["clock"][:, Clock.CHOOSE : Clock.CHOOSE + 1] > 0
            scores = torch.where(choosing, vms, scores)
        return mask_logits(scores, mask)

    def value(self, encoded: Encoded) -> Tensor:
        """Return the expected return from each observation, float32 [B].

        Args:
            encoded: result of `encode`.
        """
        worth: Tensor = self.value_score(torch.relu(self.value_hidden(encoded.context)))
        return worth.squeeze(-1)


def _widened(scores: Tensor, count: int) -> Tensor:
    """Pad scores, float32 [B, n], with zeros to [B, count]."""
    return nn.functional.pad(scores, (0, count - scores.shape[1]))


def _pair_features(pms: Tensor, asked: Tensor) -> Tensor:
    """Compute features of the demand at each node: CPU and memory left, slots closed, angles of the
    residue left.

    Args:
        pms: float32 [B, P, 23].
        asked: float32 [B, 13]; the request, or the VM chosen.

    Returns:
        float32 [B, 2P, N_PAIR].
    """
    cpu, mem, residue = (
        asked[:, column].view(-1, 1, 1) for column in (Asked.CPU_0, Asked.MEM_0, Asked.RESIDUE)
    )
    left = [pms[..., Pm.FREE_CPU_0 : Pm.FREE_CPU_1 + 1] - cpu]
    left.append(pms[..., Pm.FREE_MEM_0 : Pm.FREE_MEM_1 + 1] - mem)
    after = pms[..., RESIDUES] - residue
    wraps = (after + EPS).floor()
    parts = torch.stack([*left, -wraps], dim=-1)
    return torch.cat([parts, angles(after - wraps, HARMONICS)], dim=-1).flatten(1, 2)


def _over_both(nodes: Tensor) -> Tensor:
    """Replace each node's row, float32 [B, 2P, n], by the mean over its PM's two."""
    paired: Tensor = nodes.unflatten(1, (-1, 2))
    return paired.mean(2, keepdim=True).expand_as(paired).flatten(1, 2)
