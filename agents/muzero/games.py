"""Episodes of self-play in little room: of observations what changes, of policies what is not 0.

An observation of a large instance changes in a few rows from step to step, and episodes of one
instance begin alike. So an episode keeps its first observation, which others share, and then the
changes; any step is put together again in one assignment.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tree
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

POLICY, VALUE = "search_policy", "search_value"  # each step's outputs of the search
Pool = MutableMapping[bytes, np.ndarray]
"""Hash of an array's content -> the array."""


@dataclass(slots=True)
class Track:
    """An array of n numbers at T steps, kept as what changes from one step to the next.

    Where changes would take more room than the array, and where too many have come together to be
    applied quickly, it is whole again.

    Attributes:
        shape: of the array at a step.
        dtype: of its numbers.
        packed: whether arrays kept whole are eight numbers, all 0 or 1, to the byte.
        first: [m]; the array at step 0, flat; m is n, or n / 8 rounded up if packed.
        whole: [K, m]; the arrays kept whole after step 0.
        whole_at: int32 [K]; their steps, rising.
        places: unsigned [C]; positions of the numbers that change, step after step.
        numbers: [C]; what they change to.
        ends: int64 [T]; how many of the C changes lie at or before each step.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    packed: bool
    first: np.ndarray
    whole: np.ndarray
    whole_at: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, arrays: np.ndarray) -> Track:
        """Keep the arrays of T steps, [T, ...]."""
        steps = len(arrays)
        flat = arrays.reshape(steps, -1)
        packed = flat.dtype.itemsize == 1 and bool(((flat == 0) | (flat == 1)).all())
        kept = np.packbits(flat.astype(np.bool_), axis=1) if packed else flat
        differs = flat[1:] != flat[:-1]
        place = np.min_scalar_type(max(1, flat.shape[1]))
        counts = np.count_nonzero(differs, axis=1)
        dear = counts * (place.itemsize + flat.dtype.itemsize) > kept[0].nbytes
        whole_at, since = [], 0
        for step, count in enumerate(counts.tolist(), 1):
            since += count
            if dear[step - 1] or since > flat.shape[1]:
                whole_at.append(step)
                differs[step - 1] = False
                since = 0
        at, places = np.nonzero(differs)
        return cls(
            arrays.shape[1:],
            arrays.dtype,
            packed,
            kept[0].copy(),
            kept[whole_at],
            np.array(whole_at, np.int32),
            places.astype(place),
            flat[at + 1, places],
            np.concatenate([[0], np.cumsum(np.count_nonzero(differs, axis=1))]),
        )

    def write(self, step: int, out: np.ndarray) -> None:
        """Write the array at a step into another, flat one, [n]."""
        kept, since = self.first, 0
        if len(self.whole_at):
            k = int(self.whole_at.searchsorted(step, "right")) - 1
            if k >= 0:
                kept, since = self.whole[k], int(self.ends[self.whole_at[k]])
        out[:] = np.unpackbits(kept, count=len(out)) if self.packed else kept
        until = int(self.ends[step])
        if since < until:  # of places that are repeated the last one counts
            out[self.places[since:until]] = self.numbers[since:until]

    def extend(self, later: Track) -> None:
        """Append the steps of another track, whose step 0 is this one's last."""
        if self.packed != later.packed:
            self._unpack()
            later._unpack()
        last = len(self.ends) - 1
        since = self.ends[self.whole_at[-1]] if len(self.whole_at) else 0
        whole, whole_at = later.whole, later.whole_at + last
        if self.ends[-1] - since + len(later.places) > math.prod(self.shape):
            whole = np.concatenate([later.first[None], whole])
            whole_at = np.concatenate([[last], whole_at])
        self.whole = np.concatenate([self.whole, whole])
        self.whole_at = np.concatenate([self.whole_at, whole_at]).astype(np.int32)
        self.places = np.concatenate([self.places, later.places])
        self.numbers = np.concatenate([self.numbers, later.numbers])
        self.ends = np.concatenate([self.ends, self.ends[-1] + later.ends[1:]])

    def share(self, pool: Pool) -> None:
        """Take the first array from a pool that has an equal one, else put it there."""
        key = hashlib.blake2b(self.first.tobytes(), digest_size=16).digest()
        self.first = pool.setdefault(key + self.first.dtype.str.encode(), self.first)

    def _unpack(self) -> None:
        if self.packed:
            size = math.prod(self.shape)
            self.first = np.unpackbits(self.first, count=size).astype(self.dtype)
            self.whole = np.unpackbits(self.whole, axis=1, count=size).astype(self.dtype)
            self.packed = False


@dataclass(slots=True)
class Sparse:
    """Rows of n numbers, of which those that are not 0 are kept.

    Attributes:
        n: numbers in a row.
        kept: uint8 [T, n / 8 rounded up]; in bits, which numbers are kept.
        numbers: [C]; the numbers, row after row.
        ends: int64 [T + 1]; where each row's numbers begin among them, and at last where all end.
    """

    n: int
    kept: np.ndarray
    numbers: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Sparse:
        """Keep rows, [T, n]."""
        kept = rows != 0
        ends = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))])
        return cls(rows.shape[1], np.packbits(kept, axis=1), rows[kept], ends)

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return rows first..last, the last excluded, new ones."""
        kept = np.unpackbits(self.kept[first:last], axis=1, count=self.n).view(np.bool_)
        rows = np.zeros(kept.shape, self.numbers.dtype)
        rows[kept] = self.numbers[self.ends[first] : self.ends[last]]
        return rows

    def replace(self, at: int, row: np.ndarray) -> None:
        """Replace a row by another, [n]."""
        other = Sparse.of(row[None])
        begin, end = self.ends[at : at + 2]
        self.kept[at] = other.kept[0]
        self.numbers = np.concatenate(
            [self.numbers[:begin], other.numbers.astype(self.numbers.dtype), self.numbers[end:]]
        )
        self.ends[at + 1 :] += len(other.numbers) - (end - begin)

    def extend(self, later: Sparse) -> None:
        """Append the rows of another."""
        self.kept = np.concatenate([self.kept, later.kept])
        self.numbers = np.concatenate([self.numbers, later.numbers])
        self.ends = np.concatenate([self.ends, self.ends[-1] + later.ends[1:]])


@dataclass(slots=True)
class Game:
    """An episode of self-play, or what is known of it so far: T steps and T + 1 observations.

    It answers to those methods of RLlib's episodes that its buffers and our targets call.

    Attributes:
        id_: RLlib's name of the episode.
        observations: a Track for each array of the observation, in its structure.
        actions: [T].
        rewards: [T].
        policies: float32 [T, A]; the improved policies of the searches.
        values: float32 [T]; their values.
        is_terminated: whether it ended in a terminal state.
    """

    id_: str
    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    policies: Sparse
    values: np.ndarray
    is_terminated: bool

    @classmethod
    def of(cls, episode: SingleAgentEpisode, pool: Pool) -> Game:
        """Keep what is learned from an episode, or from a part of one, of at least one step.

        Args:
            episode: the episode.
            pool: first arrays of other games, which are shared.
        """
        seen = episode.get_observations()
        if not episode.is_numpy:
            seen = tree.map_structure(lambda *arrays: np.stack(arrays), *seen)
        observations = tree.map_structure(Track.of, seen)
        game = cls(
            episode.id_,
            observations,
            np.array(episode.get_actions()),
            np.array(episode.get_rewards()),
            Sparse.of(np.asarray(episode.get_extra_model_outputs(POLICY))),
            np.array(episode.get_extra_model_outputs(VALUE)),
            episode.is_terminated,
        )
        game.share(pool)
        return game

    def share(self, pool: Pool) -> None:
        """Share first arrays with the other games of a pool."""
        for track in tree.flatten(self.observations):
            track.share(pool)

    def __len__(self) -> int:
        return len(self.rewards)

    def __deepcopy__(self, memo: Any) -> Game:
        return self  # RLlib's buffers copy what they are given, which here was made for them

    def agent_steps(self) -> int:
        """Return T; see RLlib's episodes."""
        return len(self)

    def get_state(self) -> Game:
        """Return what a checkpoint keeps: itself."""
        return self

    def concat_episode(self, later: Game) -> None:
        """Append the next part of the episode."""
        for own, new in zip(
            tree.flatten(self.observations), tree.flatten(later.observations), strict=True
        ):
            own.extend(new)
        self.actions = np.concatenate([self.actions, later.actions])
        self.rewards = np.concatenate([self.rewards, later.rewards])
        self.policies.extend(later.policies)
        self.values = np.concatenate([self.values, later.values])
        self.is_terminated = later.is_terminated


def observations(places: Sequence[tuple[Game, int]]) -> Any:
    """Return the observations of B steps, arrays [B, ...] in their structure.

    Args:
        places: games of one environment, and a step of each.
    """

    def stacked(*tracks: Track) -> np.ndarray:
        first = tracks[0]
        batch = np.empty((len(tracks), math.prod(first.shape)), first.dtype)
        for track, (_, step), row in zip(tracks, places, batch, strict=True):
            track.write(step, row)
        return batch.reshape(len(tracks), *first.shape)

    return tree.map_structure(stacked, *(game.observations for game, _ in places))
