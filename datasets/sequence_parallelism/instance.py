"""TrainingBatch: the sequences of a training step, the devices they run on, and the cost model.

After FlexSP (ASPLOS 2025, arXiv 2412.01523), section 4.1, and the fitted constants of its code.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...core.fields import BLANK, array, declared, names, number, string, whole
from ...core.instance import Instance

MOST_SEQUENCES = 65_536
MOST_DEVICES = 4_096
MOST_DEGREES = 64
MOST_TOKENS = 2**31
STATE_BYTES = 16  # a parameter, its gradient and its optimizer's states, in mixed precision
MIB_PER_GIB = 1024


@declared
class TrainingBatch(Instance):
    """K sequences of R training steps, to be run by groups of devices of C classes.

    A group is `d` devices of one class, for a degree `d` out of D; its devices share each of its
    sequences. It takes, in ms, for its sequences of lengths s,

        sum of (quadratic s^2 + linear s) / (d speed) + sum of traffic s / (d bandwidth) + fixed_ms

    and holds `d * floor((memory - parameters * 16 / devices) / token_memory)` tokens.
    """

    FAMILY: ClassVar[str] = "sequence_parallelism"

    lengths: np.ndarray = array(
        "int64", "K", "Length of each sequence, padded.",
        low=1, high=MOST_TOKENS, unit="tokens", exact=True,
        empty="there are no sequences; give the length of one at least",
    )  # fmt: skip
    class_names: tuple[str, ...] = names(
        "C", "The classes of devices.", empty="there are no devices; give a class of one at least"
    )
    class_devices: np.ndarray = array(
        "int64", "C", "Devices of each class.", low=1, high=MOST_DEVICES, exact=True
    )
    class_memory: np.ndarray = array(
        "float64", "C", "Memory of a device that training may use.", low=0, unit="MiB"
    )
    class_speed: np.ndarray = array(
        "float64", "C", "Speed of computation, in parts of the device that was measured.",
        low=1e-3, high=1e3,
    )  # fmt: skip
    degrees: np.ndarray = array(
        "int64", "D", "Devices that a group may have, rising.",
        low=1, high=MOST_DEVICES, exact=True, empty="there are no degrees; give one at least",
    )  # fmt: skip
    bandwidth: np.ndarray = array(
        "float64", "C,D", "All-to-all bandwidth of a group; not used by a group of one device.",
        low=1e-6, unit="MiB/ms",
    )  # fmt: skip
    model: str = string("Name of the model that is trained.")
    parameters: float = number("Parameters of the model.", positive=True, unit="billions")
    token_memory: float = number("Memory of a token's activations.", positive=True, unit="MiB")
    quadratic: float = number("Computation, by a sequence's squared length.", low=0, unit="ms")
    linear: float = number("Computation, by a sequence's length.", low=0, unit="ms")
    traffic: float = number("What a token's all-to-all moves.", low=0, unit="MiB")
    fixed_ms: float = number("What each group takes besides.", low=0, unit="ms")
    context: int = whole("The longest sequence that is trained on.", low=1, unit="tokens")
    step: np.ndarray = array(
        "int64", "K", "Training step of each sequence, not decreasing; blank for one step.",
        low=0, exact=True, default=BLANK,
    )  # fmt: skip

    def check(self) -> None:
        """Refuse steps out of order, and sequences that no group of devices can hold.

        Raises:
            InstanceError: names what is wrong and the remedy.
        """
        if len(self.lengths) > MOST_SEQUENCES:
            self.refuse(f"{len(self.lengths):,} sequences; give {MOST_SEQUENCES:,} at most")
        gaps = np.diff(self.step, prepend=0)
        if self.step[0] or (gaps < 0).any() or (gaps > 1).any():
            self.refuse("step must count 0, 1, 2, ... along the sequences, without gaps")
        if len(self.degrees) > MOST_DEGREES or (np.diff(self.degrees) <= 0).any():
            self.refuse(f"degrees must rise, {MOST_DEGREES} of them at most")
        if not (self.degrees <= self.class_devices.max()).any():
            self.refuse(f"no class has {self.degrees[0]} devices; give a smaller degree")
        tokens = device_tokens(self)
        if tokens.min() < 1:
            poor = int(tokens.argmin())
            self.refuse(
                f"a device of class {self.class_names[poor]!r} has "
                f"{self.class_memory[poor]:,.0f} MiB, and the model's states take "
                f"{state_memory(self):,.0f}: no token fits; give more memory or more devices"
            )
        at = int(self.lengths.argmax())
        if self.lengths[at] > self.context:
            self.refuse(
                f"sequence {at} has {self.lengths[at]:,} tokens, the context {self.context:,}; "
                "leave it out or give a longer context"
            )
        if self.lengths[at] > largest_group(self):
            self.refuse(
                f"sequence {at} has {self.lengths[at]:,} tokens, but the largest group holds "
                f"{largest_group(self):,}; give more memory or devices, or a shorter context"
            )

    @property
    def n_steps(self) -> int:
        """Training steps, R."""
        return int(self.step[-1]) + 1


def state_memory(batch: TrainingBatch) -> float:
    """Return the MiB of model states on each device (ZeRO-3: spread evenly over all of them)."""
    states = batch.parameters * STATE_BYTES * MIB_PER_GIB
    return float(states / batch.class_devices.sum())


def device_tokens(batch: TrainingBatch) -> np.ndarray:
    """Return the tokens that fit a device of each class beside the model's states, int64 [C]."""
    left = batch.class_memory - state_memory(batch)
    tokens: np.ndarray = np.floor(left / batch.token_memory).astype(np.int64)
    return tokens


def largest_group(batch: TrainingBatch) -> int:
    """Return the tokens that the largest allowed group holds."""
    fits = batch.degrees[None, :] <= batch.class_devices[:, None]
    degree = np.where(fits, batch.degrees[None, :], 0).max(axis=1)
    return int((degree * device_tokens(batch)).max())
