"""A memory: a step at a time is a whole row, episodes are apart, padding is nothing."""

from __future__ import annotations

import copy
import pickle

import torch
from sysopt_gym.agents.recurrent.cell import Cell, Rows, State
from sysopt_gym.agents.recurrent.gru import GRU
from torch import Tensor

WIDTH, LANES, STEPS = 32, 3, 11


def made() -> tuple[Cell, Tensor, State]:
    """A memory, inputs of a row, and a state that is in use."""
    torch.manual_seed(0)
    cell = GRU(WIDTH)
    state = {key: torch.randn_like(part) for key, part in cell.initial_state(LANES).items()}
    return cell, torch.randn(LANES, STEPS, WIDTH), state


def stepped(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def alike(a: tuple[Tensor, State], b: tuple[Tensor, State]) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_row_is_its_steps_and_so_are_gradients() -> None:
    cell, x, state = made()
    found = []
    for compute in (cell, lambda x, s: stepped(cell, x, s)):
        given = x.clone().requires_grad_()
        y, after = compute(given, state)
        loss = (y * torch.cos(torch.arange(WIDTH))).sum() + sum(s.sum() for s in after.values())
        wanted = [given, *cell.parameters()]
        found.append(((y.detach(), after), torch.autograd.grad(loss, wanted)))
    alike(found[0][0], found[1][0])
    for whole, one_by_one in zip(found[0][1], found[1][1], strict=True):
        scale = float(one_by_one.abs().max())
        torch.testing.assert_close(whole, one_by_one, atol=1e-5 * max(scale, 1.0), rtol=1e-4)


def test_two_episodes_in_a_row_are_two_rows() -> None:
    cell, x, state = made()
    begins = torch.zeros(LANES, STEPS, dtype=torch.bool)
    begins[0, 0] = begins[1, 4] = begins[2, 6] = begins[2, 7] = True
    y, after = cell(x, state, Rows(begins, torch.full((LANES,), STEPS)))
    for lane, firsts in enumerate(([0, 0], [0, 4], [0, 6, 7])):
        now = {key: part[lane : lane + 1] for key, part in state.items()}
        for first, end in zip(firsts, [*firsts[1:], STEPS], strict=True):
            part, now = stepped(cell, x[lane : lane + 1, first:end], now) if end > first else (
                x[:1, :0], now
            )  # fmt: skip
            torch.testing.assert_close(y[lane : lane + 1, first:end], part, atol=1e-5, rtol=1e-5)
            if end < STEPS:
                now = cell.initial_state(1)
        alike((x, {key: part[lane : lane + 1] for key, part in after.items()}), (x, now))


def test_padding_is_nothing() -> None:
    cell, x, state = made()
    begins = torch.zeros(LANES, STEPS, dtype=torch.bool)
    lengths = torch.tensor([0, 5, STEPS])
    begins[1, 8] = True  # in the padding, where it means nothing
    y, after = cell(x, state, Rows(begins, lengths))
    for lane, length in enumerate(lengths.tolist()):
        own = {key: part[lane : lane + 1] for key, part in state.items()}
        ended = {key: part[lane : lane + 1] for key, part in after.items()}
        if not length:
            alike((x, ended), (x, own))
            continue
        alike((y[lane : lane + 1, :length], ended), stepped(cell, x[lane : lane + 1, :length], own))


def test_a_memory_remembers_and_outlives_copies() -> None:
    cell, x, _ = made()
    other = x.clone()
    other[:, 0] += 1.0
    ends = [cell(rows, cell.initial_state(LANES))[0][:, -1] for rows in (x, other)]
    assert (ends[0] - ends[1]).abs().max() > 1e-4
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        alike(twin(x, twin.initial_state(LANES)), cell(x, cell.initial_state(LANES)))
    assert all(part.dtype == torch.float32 for part in cell.initial_state(1).values())
