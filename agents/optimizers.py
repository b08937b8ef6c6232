"""What networks learn by: Adam or LAMB, with weight matrices that may keep their norms.

LAMB (You et al., "Large batch optimization for deep learning", 2020) takes Adam's direction, and
steps along it in proportion to the norm of the tensor that is changed. Projection after every step
(Lyle et al., "Normalization and effective learning rates in reinforcement learning", 2024) holds
the norms of weight matrices, so that steps stay as large beside the weights as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from ..core.errors import SettingError

ADAM, LAMB = OPTIMIZERS = ("adam", "lamb")
NORMS = "norms"  # key of a group of parameters: the norm that each is held at, 0.0 for none


class Lamb(Optimizer):
    """LAMB without weight decay.

    Of a tensor w with the means m of its gradients and v of their squares, both corrected for their
    start at 0, the direction is r = m / (sqrt(v) + eps), and the step lr * |w| / |r| * r; lr * r
    where one of the norms is 0. Norms are of whole tensors, and not clipped.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        """Prepare the state.

        Args:
            params: the tensors to learn, or groups of them, see torch.optim.
            lr: learning rate: length of a step, as a share of the tensor's norm.
            betas: decay of the two means, per step.
            eps: added to the root of the squares' mean.
        """
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step along the gradients; tensors without one stay as they are.

        Args:
            closure: None; the gradients are there already.
        """
        for group in self.param_groups:
            learned = [one for one in group["params"] if one.grad is not None]
            if not learned:
                continue
            states = [self._state_of(one) for one in learned]
            grads = [one.grad for one in learned]
            means = [state["exp_avg"] for state in states]
            squares = [state["exp_avg_sq"] for state in states]
            torch._foreach_add_([state["step"] for state in states], 1.0)
            steps = [float(state["step"]) for state in states]
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(means, grads, 1.0 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, grads, grads, 1.0 - beta2)
            roots = torch._foreach_div(squares, [1.0 - beta2**t for t in steps])
            torch._foreach_sqrt_(roots)
            torch._foreach_add_(roots, group["eps"])
            directions = torch._foreach_div(means, [1.0 - beta1**t for t in steps])
            torch._foreach_div_(directions, roots)
            sizes, lengths = _norms(learned), _norms(directions)
            both = (sizes > 0) & (lengths > 0)
            ratios = torch.where(both, sizes / torch.where(both, lengths, 1.0), 1.0)
            torch._foreach_mul_(directions, (-group["lr"] * ratios).tolist())
            torch._foreach_add_(learned, directions)

    def _state_of(self, tensor: Tensor) -> dict[str, Tensor]:
        """Return a tensor's steps and means, which Adam's state calls the same."""
        state: dict[str, Tensor] = self.state[tensor]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(tensor)
            state["exp_avg_sq"] = torch.zeros_like(tensor)
        return state


def make_optimizer(name: str, parameters: Iterable[Tensor], rate: float) -> Optimizer:
    """Make an optimizer by its name.

    Args:
        name: one of OPTIMIZERS.
        parameters: what is learned.
        rate: learning rate.
    """
    return Lamb(parameters, rate) if name == LAMB else Adam(parameters, rate)


def hold_norms(optimizer: Optimizer) -> None:
    """Have an optimizer put weight matrices back to their Frobenius norms after every step.

    Matrices are tensors of two dimensions and more. Those that are 0 now are not held, nor those
    that are not learned. The norms are kept in the optimizer's state, and are those in it where it
    has been loaded.

    Args:
        optimizer: the optimizer, of parameters with the norms that they shall have.
    """
    for group in optimizer.param_groups:
        group.setdefault(
            NORMS,
            [
                float(torch.linalg.vector_norm(one.detach().double())) if _is_held(one) else 0.0
                for one in group["params"]
            ],
        )
    optimizer.register_step_post_hook(_project)


def _is_held(tensor: Tensor) -> bool:
    return tensor.dim() >= 2 and tensor.requires_grad


@torch.no_grad()
def _project(optimizer: Optimizer, *_: Any) -> None:
    """Put matrices back to the norms in the optimizer's state."""
    for group in optimizer.param_groups:
        pairs = zip(group["params"], group[NORMS], strict=True)
        held = [(one, norm) for one, norm in pairs if norm > 0.0]
        if held:
            matrices = [one for one, _ in held]
            now = _norms(matrices).tolist()
            factors = [norm / max(own, 1e-30) for (_, norm), own in zip(held, now, strict=True)]
            torch._foreach_mul_(matrices, factors)


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norms of tensors, float64 [tensors]."""
    return torch.stack(torch._foreach_norm(list(tensors))).double()


class _Optimized:
    """Mixin before a learner of RLlib, whose networks learn by `optimizer`, with held norms if
    `holds`.
    """

    optimizer = ADAM
    holds = False

    def register_optimizer(
        self, *, module_id: str, optimizer: Optimizer, params: Any, **others: Any
    ) -> None:
        """Register an optimizer, or LAMB in its place; see RLlib's learner.

        Args:
            module_id: the module that it is of.
            optimizer: the learner's own choice. One of what is no weight of the module, as SAC's
                temperature, stays.
            params: what it learns.
            **others: RLlib's further arguments.

        Raises:
            SettingError: LAMB is to take the place of another optimizer than Adam.
        """
        module = self._module[module_id]  # type: ignore[attr-defined]
        weights = {id(one) for one in module.parameters()}
        if all(id(one) in weights for one in params):
            if self.optimizer == LAMB:
                optimizer = _in_place_of(optimizer)
            if self.holds:
                hold_norms(optimizer)
        super().register_optimizer(  # type: ignore[misc]
            module_id=module_id, optimizer=optimizer, params=params, **others
        )


def _in_place_of(optimizer: Optimizer) -> Lamb:
    """Return LAMB of the same parameters and rates."""
    if not isinstance(optimizer, Adam):
        raise SettingError(
            f"optimizer: {LAMB} takes the place of Adam, and this learner has "
            f"{type(optimizer).__name__}; leave optimizer at {ADAM}"
        )
    groups = optimizer.param_groups
    return Lamb([{"params": group["params"], "lr": group["lr"]} for group in groups])


def optimize(config: Any, optimizer: str, project: bool) -> None:
    """Have an algorithm's learner take an optimizer.

    Args:
        config: RLlib's AlgorithmConfig, its learner chosen; it is changed.
        optimizer: one of OPTIMIZERS; ADAM leaves the learner's own.
        project: whether weight matrices keep the norms that they begin with, see `hold_norms`.
    """
    if optimizer == ADAM and not project:
        return
    own = config.learner_class
    chosen = {"optimizer": optimizer, "holds": project, "__module__": __name__}
    config.learners(learner_class=type(own.__name__, (_Optimized, own), chosen))
