"""Design tasks: what is refused, and what sealing leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.datasets.sequence_design.instance import (
    DesignTask,
    encode,
    make_task,
    seal,
)
from sysopt_gym.datasets.sequence_design.settings import with_settings

Fields = Callable[..., dict[str, Any]]


def banning(*pairs: tuple[int, int]) -> np.ndarray:
    banned = np.zeros((4, 4), np.bool_)
    for pair in pairs:
        banned[pair] = True
    return banned


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sequences": np.zeros((0, 2), np.int8), "scores": np.zeros(0)}, "offline set is empty"),
        (
            {"sequences": np.full((4, 2), 4, np.int8)},
            r"sequences\[0, 0\] is 4, outside 0\.\.3; a token is an index",
        ),
        ({"sequences": np.full((4, 2), -1, np.int8)}, r"sequences\[0, 0\] is -1"),
        (
            {"scores": np.array([0.0, np.nan, 0.5, 0.2])},
            r"scores\[1\] is nan; drop the row, or measure it again",
        ),
        ({"scores": np.array([0.0, 1.0, np.inf, 0.2])}, r"scores\[2\] is inf"),
        ({"scores": np.ones(4)}, "all 4 scores are 1"),
        ({"scores": np.ones(3)}, "scores has shape"),
        (
            {"sequences": np.array([[0, 1], [2, 3], [0, 1], [3, 0]], np.int8)},
            "rows 0 and 2 are the same sequence, AC, with scores 0 and 0.5",
        ),
        (
            {
                "hidden_sequences": np.array([[2, 3]], np.int8),
                "hidden_scores": np.array([0.9]),
            },
            "rows 1 and 4 are the same sequence",
        ),
        ({"batch_size": 5}, "4 different sequences, fewer than the batch of 5.*set batch=4"),
        ({"batch_size": 0}, "ask for at least 1"),
        ({"starts": np.array([4], np.int64)}, "starts must hold rows"),
        ({"starts": np.zeros(0, np.int64)}, "at least one"),
        ({"banned": banning((2, 3))}, "row 1: GT at position 0 is banned"),
        ({"banned": banning((2, 2))}, "'G' may not follow itself"),
        ({"alphabet": "AAGT"}, "none twice"),
        ({"oracle": "nothing"}, "is no handle"),
    ],
)
def test_impossible_tasks_are_refused_by_place_and_remedy(
    changed: Fields, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InstanceError, match=told):
        DesignTask(**changed(**changes))


def test_the_same_sequence_may_stand_twice_with_one_score(changed: Fields) -> None:
    rows = np.array([[0, 1], [0, 1], [1, 1], [3, 0]], np.int8)
    task = DesignTask(**changed(sequences=rows, scores=np.array([1.0, 1.0, 0.5, 0.25])))
    assert len(task.scores) == 4


def test_a_sealed_task_holds_neither_handle_nor_hidden_rows(changed: Fields) -> None:
    hidden = {"hidden_sequences": np.array([[0, 0]], np.int8), "hidden_scores": np.array([7.0])}
    task = DesignTask(**changed(**hidden))
    sealed = seal(task)
    assert sealed.sealed and not task.sealed
    assert len(sealed.hidden_scores) == 0
    assert (sealed.sequences == task.sequences).all()
    assert seal(sealed) is sealed
    with pytest.raises(InstanceError, match="only the evaluation"):
        sealed.handle()


def test_tasks_that_differ_in_their_oracle_alone_look_the_same_when_sealed(changed: Fields) -> None:
    one, other = (
        DesignTask(**changed(oracle=f'{{"landscape": "rna", "target": {target}}}'))
        for target in (0, 1)
    )
    assert one.content_hash != other.content_hash
    assert seal(one).content_hash == seal(other).content_hash


@given(share=st.floats(0.3, 1.0))
def test_the_shown_share_is_the_lowest_and_the_rest_is_hidden(share: float) -> None:
    rows = np.array([[a, b] for a in range(4) for b in range(4)], np.int8)
    scores = np.random.default_rng(0).permutation(16).astype(np.float64)
    task = make_task("all", "ACGT", rows, scores, {"landscape": "measured"}, batch_size=2)
    shown = with_settings(task, {"offline": str(share)})
    assert len(shown.scores) == int(np.ceil(share * 16))
    assert len(shown.scores) + len(shown.hidden_scores) == 16
    assert shown.scores.max() < shown.hidden_scores.min(initial=np.inf)
    again = with_settings(shown, {"offline": "1"})
    assert sorted(again.scores) == sorted(scores)


@pytest.mark.parametrize("settings", [{"offline": "0"}, {"offline": "x"}, {"batch": "-1"}])
def test_settings_that_cannot_be_used_are_refused(
    changed: Fields, settings: dict[str, str]
) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        with_settings(DesignTask(**changed()), settings)


@given(texts=st.lists(st.text("ACGT", min_size=3, max_size=3), min_size=1, max_size=20))
def test_encoding_keeps_every_letter(texts: list[str]) -> None:
    tokens = encode("ACGT", texts, [f"row {row}" for row in range(len(texts))])
    assert ["".join("ACGT"[token] for token in row) for row in tokens] == texts


def test_encoding_names_the_row_of_a_strange_letter_and_of_another_length() -> None:
    with pytest.raises(InstanceError, match=r"row 1: 'N' at position 1 of 'ANA'"):
        encode("ACGT", ["ACG", "ANA"], ["row 0", "row 1"])
    with pytest.raises(InstanceError, match="row 1: 'AC' has 2 letters where row 0 has 3"):
        encode("ACGT", ["ACG", "AC"], ["row 0", "row 1"])
    with pytest.raises(InstanceError, match="'β'"):
        encode("ACGT", ["Aβ"], ["row 0"])
