"""JAX functions become programs, equation by equation; without jax the remedy is told."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import lax
from programs import flops, operands
from sysopt_gym.core.errors import InstanceError, MissingDependencyError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.instance import OUT, Program, peak_bytes
from sysopt_gym.datasets.memory_mapping.jax_trace import program_of_function

X, W = np.zeros((64, 128), np.float32), np.zeros((128, 32), np.float32)
SQUARE = jax.ShapeDtypeStruct((64, 64), jnp.float32)
ROW = jax.ShapeDtypeStruct((1, 64), jnp.float32)
FLAG, INDEX = jax.ShapeDtypeStruct((), jnp.bool_), jax.ShapeDtypeStruct((), jnp.int32)
PRODUCT = 2 * 64**3


def traced(function: Any, *inputs: Any, **options: Any) -> Program:
    return program_of_function(function, *inputs, name="f", capacity="1/1", **options)


def test_a_function_becomes_its_equations_with_their_flops() -> None:
    program = traced(lambda x, w: jax.jit(jax.nn.relu)(x @ w).reshape(-1), X, W)
    assert program.instr_flops[0] == 2 * 64 * 128 * 32
    assert program.tensor_size[program.tensor_kind == OUT].tolist() == [64 * 32 * 4]


def test_a_scans_body_counts_with_its_length() -> None:
    def recurrence(x: Any, w: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            carry = carry + row @ w
            return carry, carry

        return jax.lax.scan(body, x[0] @ w, x)

    program = traced(recurrence, np.zeros((16, 64, 128), np.float32), W)
    assert flops(program) == pytest.approx(17 * 2 * 64 * 128 * 32 + 16 * 64 * 32)
    assert [loop.trips for loop in program.loops] == [16]
    # The sum is made in the carry's buffer; a trip reads and writes one slice each.
    assert (program.tensor_alias >= 0).any()
    assert operands(program, "slice") == [("arg0", 64 * 512, "r"), ("slice", 64 * 512, "w")]
    assert operands(program, "stack")[1] == ("stack", 64 * 128, "w")


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_without_trips_leaves_its_carry(reverse: bool) -> None:
    program = traced(
        lambda x: lax.scan(lambda c, y: (c @ c, y), x, jnp.zeros((0, 3)), reverse=reverse)[0] @ x,
        SQUARE,
    )
    assert flops(program) == PRODUCT


def heavy(x: Any) -> Any:
    return jnp.tanh(x @ x) @ x


def light(x: Any) -> Any:
    return x * 1.5


@pytest.mark.parametrize(
    "function",
    [
        lambda p, x: lax.cond(p, heavy, light, x),
        lambda p, x: lax.cond(~p, light, heavy, x),
        lambda p, x: lax.switch(p.astype(int) * 2, [light, light, heavy], x),
        lambda p, x: lax.cond(p, lambda x: lax.cond(~p, light, heavy, x), light, x),
    ],
)
def test_of_branches_the_dearest_counts(function: Any) -> None:
    with pytest.warns(InputNote, match="only the one that takes longest counts"):
        program = traced(function, FLAG, SQUARE)
    assert 2 * PRODUCT <= flops(program) <= 2 * PRODUCT + 64 * 64 + 8
    assert program.instr_names.count("tanh") == 1


def test_both_branches_count_where_both_are_computed() -> None:
    program = traced(
        jax.vmap(lambda p, x: lax.cond(p, heavy, light, x)),
        jax.ShapeDtypeStruct((4,), jnp.bool_),
        jax.ShapeDtypeStruct((4, 64, 64), jnp.float32),
    )
    assert flops(program) == pytest.approx(4 * 2 * PRODUCT, rel=0.03)


@pytest.mark.parametrize(
    ("start", "test", "step", "trips"),
    [
        (0, lambda i: i < 10, lambda i: i + 1, 10),
        (3, lambda i: i <= 10, lambda i: i + 2, 4),
        (10, lambda i: i > 0, lambda i: i - 3, 4),
        (10, lambda i: i >= 0, lambda i: i - 5, 3),
        (0, lambda i: i < 0, lambda i: i + 1, 0),
    ],
)
def test_a_while_loop_that_counts_runs_as_often(
    start: int, test: Any, step: Any, trips: int
) -> None:
    program = traced(
        lambda x: lax.while_loop(
            lambda s: test(s[0]), lambda s: (step(s[0]), s[1] @ x), (start, x)
        )[1] * 2,
        SQUARE,
    )  # fmt: skip
    assert flops(program) // PRODUCT == trips


def test_a_while_loop_of_unknown_trips_says_so_and_tests_what_is_large() -> None:
    def function(x: Any) -> Any:
        return lax.while_loop(lambda s: s.sum() < 10, lambda s: jnp.tanh(s @ s), x)

    with pytest.warns(InputNote, match="1 assumed; give trips=N"):
        assert flops(traced(function, SQUARE)) == PRODUCT + 2 * 64 * 64 + 1
    with pytest.warns(InputNote, match="7 assumed"):
        assert flops(traced(function, SQUARE, trips=7)) == 7 * (PRODUCT + 2 * 64 * 64 + 1)


def test_loop_state_keeps_its_buffer_and_arguments_are_not_overwritten() -> None:
    program = traced(
        lambda x: lax.fori_loop(0, 9, lambda _, s: jnp.tanh(s @ s), x) + x.sum(), SQUARE
    )
    assert operands(program, "scan.state") == [("arg0", 16384, "r"), ("scan.state", 16384, "w")]
    made = program.tensor_names.index("tanh")
    assert program.tensor_names[program.tensor_alias[made]] == "scan.state"


def test_a_swap_of_loop_state_goes_through_a_copy() -> None:
    program = traced(
        lambda a: lax.fori_loop(0, 5, lambda _, s: (s[1], s[0]), (a * 2, a * 3)), SQUARE
    )
    body = [name for name in program.instr_names if name.startswith("scan.")]
    assert body == ["scan.held", "scan.held#2", "scan.next"]


def test_updates_are_in_place_where_nothing_else_needs_the_old() -> None:
    def update(cache: Any, row: Any, at: Any) -> Any:
        return lax.dynamic_update_slice(cache, row, (at, 0))

    def update_and_read(cache: Any, row: Any, at: Any) -> Any:
        return update(cache, row, at), cache.sum()

    name, arguments = "dynamic_update_slice", (SQUARE, ROW, INDEX)
    small = [("arg1", 256, "r"), (name, 256, "w")]
    whole = [("arg0", 16384, "r"), ("arg1", 256, "r"), (name, 16384, "w")]
    donated = traced(jax.jit(update, donate_argnums=0), *arguments)
    assert operands(donated, name) == small
    assert peak_bytes(donated) == 16384
    assert operands(traced(update, *arguments), name) == whole
    # Here the old is read after the update.
    assert operands(traced(jax.jit(update_and_read, donate_argnums=0), *arguments), name) == whole
    added = traced(lambda c, r, i: (c * 2).at[i].add(r[0]), *arguments)
    assert operands(added, "scatter-add") == [
        ("mul", 256, "r"), ("arg1", 256, "r"), ("scatter-add", 256, "w")
    ]  # fmt: skip


def test_a_gather_reads_what_it_takes() -> None:
    table = jax.ShapeDtypeStruct((65536, 64), jnp.float32)
    program = traced(lambda t, i: t[i], table, jax.ShapeDtypeStruct((256,), jnp.int32))
    assert ("arg0", 65536, "r") in operands(program, "gather")


def with_rule(function: Any) -> Any:
    """The function with a derivative of its own."""
    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(lambda x: (function(x), x), lambda x, g: (g * x,))
    return wrapped


@pytest.mark.parametrize(
    "wrap",
    [
        jax.checkpoint,
        jax.jit,
        jax.named_call,
        with_rule,
    ],
)
def test_calls_are_laid_out_in_place(wrap: Any) -> None:
    program = traced(lambda x: wrap(lambda y: jnp.tanh(y @ y))(x), SQUARE)
    assert program.instr_names == ("dot_general", "tanh")


def test_sizes_below_a_byte_are_packed() -> None:
    x = jax.ShapeDtypeStruct((64, 256), jnp.int4)
    program = traced(lambda x: (x.astype(jnp.bfloat16), x.astype(jnp.float16)), x)
    assert program.tensor_size.tolist() == [8192, 32768, 32768]


def xla_flops(function: Any, *inputs: Any) -> float:
    analysis = jax.jit(function).lower(*inputs).compile().cost_analysis()
    counts = analysis[0] if isinstance(analysis, list) else analysis
    return float(counts.get("flops", 0.0))  # where no tap meets an element XLA has no such entry


@settings(max_examples=12, deadline=None)
@example(size=(5, 5), kernel=1, stride=2, padding=1, spread=2, dilation=1, groups="none")
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    spread=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from(["none", "features", "batch"]),
)
def test_convolutions_have_xlas_flops(
    size: tuple[int, int],
    kernel: int,
    stride: int,
    padding: int,
    spread: int,
    dilation: int,
    groups: str,
) -> None:
    features, batch = (2 if groups == "features" else 1), (2 if groups == "batch" else 1)
    x = jax.ShapeDtypeStruct((4, *size, 6), jnp.float32)
    w = jax.ShapeDtypeStruct((kernel, kernel, 6 // features, 8), jnp.float32)

    def convolution(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (stride, 1), [(padding, 2), (1, padding)], (spread, 1), (dilation, 1),
            ("NHWC", "HWIO", "NHWC"), features, batch,
        )  # fmt: skip

    try:
        shape = jax.eval_shape(convolution, x, w).shape
    except (TypeError, ValueError):
        return
    if 0 in shape:
        return
    program = program_of_function(
        lambda x, w, z: (convolution(x, w), z + 1), x, w, X, name="f", capacity="1MiB"
    )
    convolved = program.instr_names.index("conv_general_dilated")
    # XLA counts an instruction or two around the convolution in places.
    assert program.instr_flops[convolved] == pytest.approx(xla_flops(convolution, x, w), rel=0.02)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(64, 32), (32, 48)]),
        ("bij,bkj->bik", [(3, 16, 32), (3, 24, 32)]),
        ("abij,jk->abik", [(2, 3, 16, 32), (32, 8)]),
    ],
)
def test_products_have_xlas_flops(equation: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

    def product(*x: Any) -> Any:
        return jnp.einsum(equation, *x)

    program = program_of_function(
        lambda z, *x: (product(*x), z + 1), X, *inputs, name="f", capacity="1MiB"
    )
    assert flops(program) - X.size == xla_flops(product, *inputs)


def test_what_is_unknown_is_said() -> None:
    def function(x: Any) -> Any:
        return jax.pure_callback(lambda y: y, SQUARE, x) @ x

    with pytest.warns(InputNote, match="unknown and counts as no FLOPs .pure_callback"):
        assert flops(traced(function, SQUARE)) == PRODUCT


def test_a_function_that_jax_refuses_is_refused_with_its_reason() -> None:
    with pytest.raises(InstanceError, match="jax cannot trace the function"):
        traced(lambda x: x if x.sum() > 0 else -x, X)


def test_without_jax_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingDependencyError, match="needs jax; pip install"):
        traced(lambda x: x, X)
