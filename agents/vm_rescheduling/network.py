"""The size-invariant relational network of VM rescheduling.

PM nodes and their VMs exchange messages along the hosting relation alone (scatter and gather, never
an N x N mask), a mean over all of them gives the context, and two heads score VMs and then
destinations for the VM chosen. All layers below the mean depend on one PM only, so a move changes
two PMs' embeddings: playing.py makes use of that.

Residues of 16 cores are angles: their sines and cosines make "does it fit without closing a slot"
nearly linear.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from ...envs.vm_rescheduling.observation import (
    PM_FRAGMENT,
    PM_FREE_CPU,
    PM_FREE_MEM,
    PM_MEM_RESIDUE,
    PM_RESIDUE,
    VM_CPU,
    VM_MEM,
    VM_RESIDUE,
    Pm,
    Vm,
)
from ..network import Observation, angles, mask_logits

HARMONICS = 8
# Columns that the network reads as they are: of a VM, and of a PM for its node 0 and its node 1.
VM_FLAGS = np.array([Vm.MOVABLE, Vm.APART_BY_HOST, Vm.APART_BY_RACK])
NODE_COLUMNS = np.array(
    [
        [
            PM_FREE_CPU[own], PM_FREE_MEM[own], PM_FRAGMENT[own], PM_MEM_RESIDUE[own],
            Pm.ACCEPTS, Pm.RELEASES, Pm.ACTIVE, Pm.DRAIN, Pm.TWO_NODES,
            PM_FREE_CPU[other], PM_FREE_MEM[other],
        ]
        for own, other in ((0, 1), (1, 0))
    ]
)  # fmt: skip
# Numbers of features: of a VM by itself (first its CPU and memory on the nodes that it uses, and
# whether these are two), of a VM on its host, of a node, and of the chosen VM at a node.
N_OWN = 3
N_VM = N_OWN + len(VM_FLAGS) + 2 * HARMONICS
N_PLACED = N_VM + 1 + 2 * HARMONICS
N_NODE = NODE_COLUMNS.shape[1] + 4 * HARMONICS
N_PAIR = 2 + 2 * HARMONICS
EPS = 1e-4  # added to residues before they are rounded down
MESSAGE_SCALE = 0.2  # of the sum of messages: a node hosts about five VMs


class Encoded(NamedTuple):
    """Encoding of B observations of P PMs and V VMs, padded.

    Attributes:
        nodes: float32 [B, 2P, d]; embeddings of the PMs' nodes.
        vms: float32 [B, V, d]; embeddings of the VMs.
        context: float32 [B, d].
    """

    nodes: Tensor
    vms: Tensor
    context: Tensor


class RelationalPolicy(nn.Module):
    """Policy and value over padded observations of sysopt/VMRescheduling-v0 (see its docstring for
    shapes).

    Args:
        width: length d of the embeddings and of the context.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        d = self.width = width
        self.message = nn.Linear(N_VM, d)
        self.node = nn.Linear(N_NODE, d)
        self.host = nn.Linear(2 * d, d)
        self.placed = nn.Linear(N_PLACED + d, d)
        self.pool = nn.Linear(2 * d + 1, d)
        self.vm_own = nn.Linear(d, d)
        self.vm_context = nn.Linear(d, d, bias=False)
        self.vm_score = nn.Linear(d, 1)
        self.stop_score = nn.Linear(d, 1)
        self.dest_own = nn.Linear(d, d)
        self.dest_vm = nn.Linear(d, d, bias=False)
        self.dest_context = nn.Linear(d, d, bias=False)
        self.dest_pair = nn.Linear(N_PAIR, d, bias=False)
        self.dest_score = nn.Linear(d, 1)
        self.value_hidden = nn.Linear(d, d)
        self.value_score = nn.Linear(d, 1)

    def encode(self, obs: Observation) -> Encoded:
        """Encode B observations.

        Args:
            obs: "pms" float32 [B, P, 15], "vms" float32 [B, V, 9], "vm_pm" int32 [B, V], "pm_mask"
                int8 [B, P], "vm_mask" int8 [B, V] and "progress" float32 [B, 1].

        Returns:
            Embeddings of nodes and VMs, and the context.
        """
        pms, vms = obs["pms"].float(), obs["vms"].float()
        batch, n_pms, n_vms = pms.shape[0], pms.shape[1], vms.shape[1]
        vm_mask = obs["vm_mask"].float()
        here = (vms[..., list(VM_CPU)] > 0).float() * vm_mask.unsqueeze(-1)  # [B, V, 2]
        alone = vm_features(vms)
        message = torch.relu(self.message(alone))
        row = torch.arange(batch, device=pms.device).unsqueeze(1) * (2 * n_pms)
        first = (row + 2 * obs["vm_pm"].long()).reshape(-1)
        sent = torch.cat([(message * here[..., k : k + 1]).flatten(0, 1) for k in (0, 1)])
        received = scatter(sent, torch.cat([first, first + 1]), dim_size=batch * 2 * n_pms)
        nodes = torch.relu(self.node(_node_features(pms)))
        received = received.view(batch, 2 * n_pms, self.width) * MESSAGE_SCALE
        nodes = torch.relu(self.host(torch.cat([nodes, received], dim=-1)))

        share = here / here.sum(-1, keepdim=True).clamp(min=1.0)
        flat, residue = nodes.flatten(0, 1), pms[..., list(PM_RESIDUE)].flatten()
        own = vms[..., list(VM_RESIDUE)].amax(-1)
        host, opens, left = (flat.new_zeros(()) for _ in range(3))
        for k in (0, 1):
            weight = share[..., k : k + 1]
            host = host + flat[first + k].view(batch, n_vms, -1) * weight
            after = residue[first + k].view(batch, n_vms) + own
            wraps = (after + EPS).floor()
            opens = opens + wraps.unsqueeze(-1) * weight
            left = left + angles(after - wraps, HARMONICS) * weight
        placed = torch.relu(self.placed(torch.cat([alone, opens, left, host], dim=-1)))

        exists = _exists(pms, obs["pm_mask"].float())
        pooled = [_mean(nodes, exists), _mean(placed, vm_mask), obs["progress"].float()]
        context = torch.relu(self.pool(torch.cat(pooled, dim=-1)))
        return Encoded(nodes, placed, context)

    def vm_logits(self, encoded: Encoded) -> Tensor:
        """Score the VMs for the first ply, without masks: float32 [B, V]."""
        hidden = self.vm_own(encoded.vms) + self.vm_context(encoded.context).unsqueeze(1)
        scores: Tensor = self.vm_score(torch.relu(hidden))
        return scores.squeeze(-1)

    def dest_logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the destinations for the chosen VM, without masks.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "chosen_vm" is int32 [B, 1]; where it is -1 the scores are
                meaningless.

        Returns:
            float32 [B, 2P]; destination 2 * PM + node.
        """
        vms, pms = obs["vms"].float(), obs["pms"].float()
        chosen = obs["chosen_vm"].long().clamp(min=0)  # [B, 1]
        rows = torch.arange(len(pms), device=pms.device).unsqueeze(1)
        vm = vms[rows, chosen].squeeze(1)  # [B, G]
        both = (vm[:, list(VM_CPU)] > 0).all(-1).view(-1, 1, 1)
        own = self.dest_own(encoded.nodes)
        pair = _pair_features(pms, vm, obs["vm_pm"].long()[rows, chosen].squeeze(1))
        pair = self.dest_pair(pair)
        own, pair = (torch.where(both, _over_both(x), x) for x in (own, pair))
        embedding = encoded.vms[rows, chosen]
        hidden = own + pair + self.dest_vm(embedding)
        hidden = hidden + self.dest_context(encoded.context).unsqueeze(1)
        scores: Tensor = self.dest_score(torch.relu(hidden))
        return scores.squeeze(-1)

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the actions of the ply that each observation is at.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "phase" is int8 [B, 1], "action_mask" int8 [B, N].

        Returns:
            float32 [B, N]; MASKED for illegal actions.
        """
        first = self._first_scores(encoded, obs)
        dest = self.dest_logits(encoded, obs)
        second = nn.functional.pad(dest, (0, first.shape[1] - dest.shape[1]))
        scores = torch.where(obs["phase"] > 0, second, first)
        return mask_logits(scores, obs["action_mask"])

    def _first_scores(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the first ply's actions, without masks: float32 [B, N]."""
        vm = self.vm_logits(encoded)
        stop = self.stop_score(encoded.context)
        # Every index after the instance's last VM has the score of stop; the mask allows at most
        # one of them.
        vm = torch.where(obs["vm_mask"] > 0, vm, stop)
        return torch.cat([vm, stop.expand(-1, obs["action_mask"].shape[1] - vm.shape[1])], dim=1)

    def first_logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Score the VMs of joint actions: float32 [B, V + 1], MASKED for illegal ones.

        Args:
            encoded: result of `encode`.
            obs: the same observations, of the environment's form "joint".
        """
        return mask_logits(self._first_scores(encoded, obs), obs["action_mask"])

    def second_logits(self, encoded: Encoded, obs: Observation, first: Tensor) -> Tensor:
        """Score the destinations of joint actions, given their VMs.

        Args:
            encoded: result of `encode`.
            obs: the same observations; "destinations" is uint8 [B, V, 2P / 8].
            first: int64 [B]; the VMs.

        Returns:
            float32 [B, 2P]; MASKED for illegal destinations. After the stop action 0 is legal.
        """
        packed = obs["destinations"]
        vm = first.clamp(max=packed.shape[1] - 1).unsqueeze(1)
        scores = self.dest_logits(encoded, {**obs, "chosen_vm": vm})
        rows = packed[torch.arange(len(packed), device=packed.device), vm.squeeze(1)]
        bits = torch.arange(8, device=packed.device, dtype=packed.dtype)
        legal = ((rows.unsqueeze(-1) >> bits) & 1).flatten(1)[:, : scores.shape[1]]
        nowhere = (legal.sum(1) == 0) | (first >= packed.shape[1])
        legal = torch.where(nowhere.unsqueeze(1), torch.zeros_like(legal), legal)
        legal[:, 0] |= nowhere
        return mask_logits(scores, legal)

    def value(self, encoded: Encoded) -> Tensor:
        """Return the expected return from each observation, float32 [B]."""
        hidden = torch.relu(self.value_hidden(encoded.context))
        worth: Tensor = self.value_score(hidden)
        return worth.squeeze(-1)


def vm_features(vms: Tensor) -> Tensor:
    """Compute features of VMs, wherever they are: float32 [B, V, 9] -> [B, V, N_VM]."""
    cpu, mem, residue = (vms[..., list(columns)] for columns in (VM_CPU, VM_MEM, VM_RESIDUE))
    own = torch.stack([cpu.amax(-1), mem.amax(-1), (cpu > 0).all(-1).float()], dim=-1)
    return torch.cat([own, vms[..., VM_FLAGS], angles(residue.amax(-1), HARMONICS)], dim=-1)


def _node_features(pms: Tensor) -> Tensor:
    """Compute features of nodes: float32 [B, P, 15] -> [B, 2P, N_NODE]."""
    circle = angles(pms[..., list(PM_RESIDUE)], HARMONICS)  # [B, P, 2, 2H]
    rows = []
    for k in (0, 1):
        parts = [pms[..., NODE_COLUMNS[k]], circle[..., k, :], circle[..., 1 - k, :]]
        rows.append(torch.cat(parts, dim=-1))
    return torch.stack(rows, dim=2).flatten(1, 2)


def _pair_features(pms: Tensor, vm: Tensor, host: Tensor) -> Tensor:
    """Compute features of the chosen VM at each node: slots closed, same PM, angles of the residue
    left.

    Args:
        pms: float32 [B, P, 15].
        vm: float32 [B, 9]; row of the chosen VM.
        host: int64 [B]; its PM.

    Returns:
        float32 [B, 2P, N_PAIR].
    """
    after = pms[..., list(PM_RESIDUE)].flatten(1)
    after = after - vm[:, list(VM_RESIDUE)].amax(-1, keepdim=True)
    wraps = (after + EPS).floor()
    places = torch.arange(after.shape[1], device=pms.device) // 2
    same = (places == host.unsqueeze(1)).float()
    return torch.cat(
        [torch.stack([-wraps, same], dim=-1), angles(after - wraps, HARMONICS)], dim=-1
    )


def _over_both(nodes: Tensor) -> Tensor:
    """Replace each node's row, float32 [B, 2P, n], by the mean over its PM's two."""
    paired: Tensor = nodes.unflatten(1, (-1, 2))
    return paired.mean(2, keepdim=True).expand_as(paired).flatten(1, 2)


def _exists(pms: Tensor, pm_mask: Tensor) -> Tensor:
    """Return 1 for nodes that exist and 0 for padding, float32 [B, 2P]."""
    second = pm_mask * pms[..., Pm.TWO_NODES]
    return torch.stack([pm_mask, second], dim=-1).flatten(1)


def _mean(rows: Tensor, mask: Tensor) -> Tensor:
    """Average rows, float32 [B, n, d], over the entries of a mask, float32 [B, n]: [B, d]."""
    return (rows * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
