"""LEAF's JSON with users of any number of rows, in the forms that programs write it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.federated_lr.loaders import load_file


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_each_user_with_rows_is_a_client_with_those_rows(
    tmp_path: Path, data: st.DataObject
) -> None:
    counts = data.draw(st.lists(st.integers(0, 9), min_size=3, max_size=8))
    kept = [count for count in counts if count]
    total = sum(kept)
    form = data.draw(st.sampled_from([int, float, str]))
    numbered = iter(range(total))
    user_data = {}
    for user, count in enumerate(counts):
        rows = [next(numbered) for _ in range(count)]
        x = [[row, user] for row in rows]
        user_data[f"user {user}"] = {"x": x, "y": [form(row % 3) for row in rows]}
    document = {"users": list(user_data), "user_data": user_data, "num_samples": counts}
    if data.draw(st.booleans()):
        document["hierarchies"] = ["play"] * len(counts)
    text = json.dumps(document, indent=data.draw(st.sampled_from([None, 1])))
    path = tmp_path / "all_data.json"
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))))
    held = 2 * max(1, round(0.15 * total)) + len(kept)
    assume(total >= max(held, 12))  # too few rows to share out are refused
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = load_file(path)
    assert made.clients == len(kept)
    inputs = np.concatenate([made.inputs, made.val_inputs, made.test_inputs])
    labels = np.concatenate([made.labels, made.val_labels, made.test_labels])
    assert sorted(inputs[:, 0]) == list(range(total))
    assert (inputs[:, 0] % 3 == labels).all()
    # Clients are numbered in the order of the users that have rows.
    users = [user for user, count in enumerate(counts) if count]
    assert (np.array(users)[made.owner] == made.inputs[:, 1]).all()
