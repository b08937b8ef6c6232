"""Make programs of the drawn architectures that are written in JAX, whose loops are scans.

Parameters and inputs are abstract, in bfloat16: only shapes and types count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..instance import Program
from ..jax_trace import program_of_function

RATE = 0.01
Sizes = Mapping[str, int]
Parameters = dict[str, Any]
# A function of parameters and inputs, the abstract parameters, and the abstract inputs.
Made = tuple[Callable[..., Any], Parameters, tuple[Any, ...]]


def _numbers(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16)


def _tokens(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _normalized(x: Any, scale: Any) -> Any:
    """Divide by the root of the mean square over the last axis (Zhang and Sennrich 2019)."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * scale


def _block_parameters(s: Sizes) -> Parameters:
    """Return the abstract parameters of all blocks, stacked along their first axis."""
    width, blocks = s["heads"] * s["head"], s["blocks"]
    return {
        "norm_1": _numbers(blocks, width),
        "norm_2": _numbers(blocks, width),
        "qkv": _numbers(blocks, width, 3 * width),
        "proj": _numbers(blocks, width, width),
        "gate": _numbers(blocks, width, 4 * width),
        "up": _numbers(blocks, width, 4 * width),
        "down": _numbers(blocks, 4 * width, width),
    }


def _fed_forward(x: Any, block: Parameters) -> Any:
    """Apply a gated feed-forward part (Shazeer 2020) and add its input."""
    h = _normalized(x, block["norm_2"])
    return x + (jax.nn.silu(h @ block["gate"]) * (h @ block["up"])) @ block["down"]


def _scan_transformer(s: Sizes) -> Made:
    width, heads, head = s["heads"] * s["head"], s["heads"], s["head"]
    n, length = s["batch"], s["length"]

    def run(values: Parameters, tokens: Any) -> Any:
        def step(x: Any, block: Parameters) -> tuple[Any, None]:
            parts = _normalized(x, block["norm_1"]) @ block["qkv"]
            q, k, v = jnp.split(parts.reshape(n, length, 3 * heads, head), 3, axis=2)
            scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / head**0.5
            seen = jnp.tril(jnp.ones((length, length), bool))
            weights = jax.nn.softmax(jnp.where(seen, scores, -1e9), axis=-1)
            mixed = jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, length, width)
            return _fed_forward(x + mixed @ block["proj"], block), None

        x, _ = jax.lax.scan(step, values["tokens"][tokens], values["blocks"])
        return _normalized(x, values["norm"]) @ values["tokens"].T

    values = {
        "tokens": _numbers(s["vocabulary"], width),
        "norm": _numbers(width),
        "blocks": _block_parameters(s),
    }
    return run, values, (_tokens(n, length),)


def _scan_decoder(s: Sizes) -> Made:
    width, heads, head = s["heads"] * s["head"], s["heads"], s["head"]
    n, length = s["batch"], s["length"]

    def run(values: Parameters, caches: Any, first: Any) -> Any:
        def token(state: tuple[Any, Any], place: Any) -> tuple[tuple[Any, Any], Any]:
            caches, now = state
            x = values["tokens"][now]
            after = []
            for row in range(s["blocks"]):
                block = jax.tree.map(lambda value, row=row: value[row], values["blocks"])
                parts = (_normalized(x, block["norm_1"]) @ block["qkv"]).reshape(n, 3, heads, head)
                keys, stored = (
                    jax.lax.dynamic_update_slice(cache, part[:, None], (0, place, 0, 0))
                    for cache, part in zip(caches[row], (parts[:, 1], parts[:, 2]), strict=True)
                )
                after.append((keys, stored))
                scores = jnp.einsum("nhd,nlhd->nhl", parts[:, 0], keys) / head**0.5
                scores = jnp.where(jnp.arange(length) <= place, scores, -1e9)
                mixed = jnp.einsum("nhl,nlhd->nhd", jax.nn.softmax(scores, axis=-1), stored)
                x = _fed_forward(x + mixed.reshape(n, width) @ block["proj"], block)
            logits = _normalized(x, values["norm"]) @ values["tokens"].T
            chosen = jnp.argmax(logits, axis=-1).astype(jnp.int32)
            return (after, chosen), chosen

        places = jnp.arange(s["steps"])
        (caches, _), made = jax.lax.scan(token, (caches, first), places)
        return caches, made

    values = {
        "tokens": _numbers(s["vocabulary"], width),
        "norm": _numbers(width),
        "blocks": _block_parameters(s),
    }
    cache = _numbers(n, length, heads, head)
    return run, values, ([(cache, cache)] * s["blocks"], _tokens(n))


def _lstm_cell(state: tuple[Any, Any], x: Any, cell: Parameters) -> tuple[Any, Any]:
    h, c = state
    i, f, g, o = jnp.split(x @ cell["inputs"] + h @ cell["state"] + cell["bias"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru_cell(state: tuple[Any], x: Any, cell: Parameters) -> tuple[Any]:
    (h,) = state
    r, z, n = jnp.split(x @ cell["inputs"] + cell["bias"], 3, axis=-1)
    hr, hz, hn = jnp.split(h @ cell["state"], 3, axis=-1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    return ((1 - z) * jnp.tanh(n + r * hn) + z * h,)


def _recurrent(s: Sizes, cell: Callable[..., tuple[Any, ...]], gates: int, parts: int) -> Made:
    """Make layers of recurrent cells over a scan of steps.

    Args:
        s: sizes as drawn.
        cell: (state, input, parameters) -> the state after, whose first part is the output.
        gates: gates of a cell.
        parts: arrays of a cell's state.
    """
    width = s["width"]

    def run(values: Parameters, steps: Any) -> Any:
        def step(states: Any, x: Any) -> tuple[Any, Any]:
            after = []
            for state, own in zip(states, values["cells"], strict=True):
                after.append(cell(state, x, own))
                x = after[-1][0]
            return after, x

        zero = jnp.zeros(steps.shape[1:], steps.dtype)
        _, outputs = jax.lax.scan(step, [(zero,) * parts] * s["layers"], steps)
        return outputs @ values["out"]

    one = {
        "inputs": _numbers(width, gates * width),
        "state": _numbers(width, gates * width),
        "bias": _numbers(gates * width),
    }
    values = {"cells": [one] * s["layers"], "out": _numbers(width, s["classes"])}
    return run, values, (_numbers(s["steps"], s["batch"], width),)


# Architecture -> (sizes as drawn) -> the function, its parameters, and its inputs.
FUNCTIONS: Mapping[str, Callable[[Sizes], Made]] = {
    "scan_transformer": _scan_transformer,
    "scan_decoder": _scan_decoder,
    "scan_lstm": lambda sizes: _recurrent(sizes, _lstm_cell, 4, 2),
    "scan_gru": lambda sizes: _recurrent(sizes, _gru_cell, 3, 1),
}


def import_function(
    architecture: str, train: bool, sizes: Sizes, name: str, capacity: str
) -> Program:
    """Import the forward pass or a train step of a function.

    A train step is one of gradient descent on the squared error, and overwrites the parameters; a
    decoder overwrites its caches.

    Args:
        architecture: a key of FUNCTIONS.
        train: whether it is a train step.
        sizes: the architecture's, as drawn.
        name: name of the program.
        capacity: size of fast memory, as in `sizes.read_capacity`.
    """
    run, values, inputs = FUNCTIONS[architecture](sizes)
    if not train:
        donated = (1,) if architecture == "scan_decoder" else ()
        return program_of_function(
            jax.jit(run, donate_argnums=donated), values, *inputs, name=name, capacity=capacity
        )
    wanted = jax.eval_shape(run, values, *inputs)

    def loss(values: Parameters, inputs: tuple[Any, ...], wanted: Any) -> Any:
        return jnp.square(run(values, *inputs) - wanted).mean()

    def step(values: Parameters, inputs: tuple[Any, ...], wanted: Any) -> Any:
        error, slopes = jax.value_and_grad(loss)(values, inputs, wanted)
        return jax.tree.map(lambda value, slope: value - RATE * slope, values, slopes), error

    return program_of_function(
        jax.jit(step, donate_argnums=0), values, inputs, wanted, name=name, capacity=capacity
    )
