"""PyTorch models become programs: bodies of loops and branches, updates in place, FLOPs, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from programs import flops, operands, storage
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.instance import Program
from sysopt_gym.datasets.memory_mapping.torch_export import program_of_model
from torch._higher_order_ops.map import map as map_slices
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
X = torch.randn(64, 64)
PRODUCT = 2 * 64**3


class Model(torch.nn.Module):
    """A model of one function, with a weight and a buffer to update."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.w = torch.nn.Parameter(torch.randn(64, 64))
        self.register_buffer("cache", torch.zeros(2048, 64))

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(self, *inputs)


def traced(function: Any, *inputs: Any, **options: Any) -> Program:
    return program_of_model(Model(function), inputs, name="m", capacity="1/1", **options)


def count_to(start: Any, test: Any, step: Any) -> Any:
    """A model whose loop multiplies as often as it counts."""

    def function(model: Any, x: torch.Tensor) -> torch.Tensor:
        first = torch.tensor(start)
        _, result = while_loop(
            lambda i, _: test(i), lambda i, h: (step(i), torch.tanh(h @ model.w)), (first, x)
        )
        return result * 2

    return function


@pytest.mark.parametrize(
    ("start", "test", "step", "trips"),
    [
        (0, lambda i: i < 10, lambda i: i + 1, 10),
        (10, lambda i: i >= 1, lambda i: i - 3, 4),
    ],
)
def test_a_while_loop_that_counts_runs_as_often(
    start: int, test: Any, step: Any, trips: int
) -> None:
    program = traced(count_to(start, test, step), X)
    assert flops(program) // PRODUCT == trips
    assert storage(program, "tanh") == "while_loop.state"


def test_a_while_loop_of_unknown_trips_says_so_and_keeps_its_body() -> None:
    def function(model: Any, x: torch.Tensor) -> torch.Tensor:
        return while_loop(lambda h: h.sum() < 9, lambda h: (torch.tanh(h @ model.w),), (x,))[0]

    with pytest.warns(InputNote, match="1 assumed; give trips=N"):
        assert flops(traced(function, X)) // PRODUCT == 1
    with pytest.warns(InputNote, match="6 assumed"):
        assert flops(traced(function, X, trips=6)) // PRODUCT == 6


def test_a_scan_is_a_loop_over_slices() -> None:
    def step(carry: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        carry = torch.tanh(carry @ w)
        return carry, carry * 2

    program = traced(lambda _, h, ws: scan(step, h, ws), X, torch.randn(8, 64, 64))
    assert flops(program) // PRODUCT == 8
    assert [loop.trips for loop in program.loops] == [8]
    assert operands(program, "scan.slice") == [("inputs_1", 16384, "r"), ("scan.slice", 16384, "w")]
    assert operands(program, "scan.stack")[1] == ("scan.stack", 16384, "w")
    assert storage(program, "tanh") == "scan.state"


def test_a_map_runs_for_every_slice() -> None:
    program = traced(lambda m, xs: map_slices(lambda x, w: x @ w, xs, m.w), torch.randn(5, 64, 64))
    assert flops(program) == 5 * PRODUCT


@pytest.mark.parametrize("swapped", [False, True])
def test_of_branches_the_dearest_counts(swapped: bool) -> None:
    def heavy(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ w @ w)

    def light(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x + 1.0

    branches = (light, heavy) if swapped else (heavy, light)
    with pytest.warns(InputNote, match="only the one that takes longest counts"):
        program = traced(
            lambda m, p, x: torch.cond(p, *branches, (x, m.w)) * 2, torch.tensor(True), X
        )
    assert flops(program) == 2 * PRODUCT + 2 * 64 * 64


def test_wrapped_functions_are_laid_out_in_place() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(x @ x)

        @staticmethod
        def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    def function(model: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = Own.apply(x @ model.w)
        return torch.utils.checkpoint.checkpoint(lambda z: z @ z, y, use_reentrant=False)

    assert flops(traced(function, X)) == 3 * PRODUCT + 64 * 64


def index_put(model: Any, at: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    model.cache[at] = row
    return model.cache.sum(0)


def slice_put(model: Any, _: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    model.cache[7:8] = row
    return model.cache.sum(0)


def index_copy(model: Any, at: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    model.cache.index_copy_(0, at, row)
    return model.cache.sum(0)


def scatter(model: Any, at: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    model.cache.scatter_(0, at.expand(1, 64), row)
    return model.cache.sum(0)


@pytest.mark.parametrize("function", [index_put, slice_put, index_copy, scatter])
def test_a_cache_is_written_in_place(function: Any) -> None:
    program = traced(function, torch.tensor([5]), torch.randn(1, 64))
    (writer,) = {
        program.instr_names[i]
        for i in range(program.n_instrs)
        for op in range(program.op_start[i], program.op_start[i + 1])
        if program.op_write[op]
        and storage(program, program.tensor_names[program.op_tensor[op]]) == "b_cache"
    }
    found = operands(program, writer)
    assert [use[1:] for use in found if storage(program, use[0]) == "b_cache"] == [(256, "w")]


def test_an_accumulating_update_reads_what_it_writes_and_a_needed_old_is_copied() -> None:
    def add(model: Any, at: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return (model.cache * 2).index_add(0, at, row)

    program = traced(add, torch.tensor([5]), torch.randn(1, 64))
    assert operands(program, "index_put") == [
        ("mul", 256, "r"), ("inputs_1", 256, "r"), ("index_put", 256, "w")
    ]  # fmt: skip

    def pure(model: Any, at: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return model.cache.index_put((at,), row[0])

    program = traced(pure, torch.tensor([5]), torch.randn(1, 64))
    assert operands(program, "index_put")[0] == ("b_cache", 524288, "r")


def test_a_buffer_that_is_replaced_keeps_its_storage() -> None:
    def average(model: Any, x: torch.Tensor) -> torch.Tensor:
        model.cache.mul_(0.9).add_(x)
        return model.cache * 2

    program = traced(average, torch.randn(2048, 64))
    assert storage(program, "add") == "b_cache"

    def late(model: Any, x: torch.Tensor) -> torch.Tensor:
        old = model.cache.clone()
        model.cache.mul_(x)
        return old

    assert flops(traced(late, torch.randn(2048, 64))) == 2048 * 64


def test_gathers_read_what_they_take() -> None:
    rows = torch.zeros(256, dtype=torch.long)
    bag = torch.nn.EmbeddingBag(65536, 64)
    program = program_of_model(bag, (rows, torch.arange(0, 256, 4)), capacity="1/1")
    assert operands(program, "_embedding_bag")[0] == ("p_weight", 65536, "r")
    for function in (
        lambda m, i: torch.nn.functional.embedding(i, m.cache),
        lambda m, i: m.cache[i],
        lambda m, i: m.cache.index_select(0, i),
        lambda m, i: m.cache.gather(0, i[:, None].expand(256, 64)),
    ):
        program = traced(function, rows)
        assert operands(program, program.instr_names[-1])[0] == ("b_cache", 65536, "r")


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [(3, 1, 1, 1, 1), (3, 2, 1, 1, 2), (2, 2, 0, 2, 1), (3, 1, 2, 2, 4)],
)
def test_convolutions_count_the_taps_that_meet_an_element(
    transposed: bool, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    data, weight = torch.ones(2, 4, 8), torch.ones(4, 4 // groups, kernel)
    convolve = torch.nn.functional.conv_transpose1d if transposed else torch.nn.functional.conv1d

    def function(model: Any, x: torch.Tensor, w: torch.Tensor) -> Any:
        more = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return convolve(x, w, **more), model.cache * 2

    # With ones everywhere each output is the number of its taps that meet an element.
    taps = float(function(Model(function), data, weight)[0].sum())
    program = traced(function, data, weight)
    assert program.instr_flops[program.instr_names.index("convolution")] == 2 * taps


def test_products_and_attention_count_multiply_adds_twice() -> None:
    def function(model: Any, x: torch.Tensor, b: torch.Tensor) -> Any:
        return (
            torch.baddbmm(b, b, b),
            torch.nn.functional.linear(x, model.w, model.w[0]),
            torch.einsum("bij,jk->bik", b, model.w),
        )

    assert flops(traced(function, X, torch.randn(3, 64, 64))) // PRODUCT == 7
    queries, keys = torch.randn(1, 2, 16, 32), torch.randn(1, 2, 24, 32)
    program = traced(
        lambda _, q, k: torch.nn.functional.scaled_dot_product_attention(q, k, k), queries, keys
    )
    products = program.instr_flops[[n.startswith("bmm") for n in program.instr_names]].sum()
    assert products == 2 * 2 * 2 * 16 * 24 * 32


@pytest.mark.parametrize(
    ("dtype", "width"),
    [(torch.float16, 2), (torch.bfloat16, 2), (torch.int8, 1), (torch.bool, 1), (torch.float64, 8)],
)
def test_sizes_follow_the_types(dtype: torch.dtype, width: int) -> None:
    program = traced(lambda _, x: torch.cat([x, x]), torch.ones(64, 64).to(dtype))
    assert program.tensor_size[program.tensor_names.index("cat")] == 2 * 4096 * width


def test_inputs_may_be_one_tensor_a_list_or_named() -> None:
    class Named(torch.nn.Module):
        def forward(self, x: torch.Tensor, *, y: torch.Tensor) -> torch.Tensor:
            return x @ y

    one = program_of_model(torch.nn.Linear(64, 64), X, capacity="1/1")
    assert flops(one) == flops(program_of_model(torch.nn.Linear(64, 64), [X], capacity="1/1"))
    assert flops(program_of_model(Named(), X, {"y": X}, capacity="1/1")) == PRODUCT


def test_an_operator_of_another_library_is_said() -> None:
    @torch.library.custom_op("sysopt_test::mystery", mutates_args=())
    def mystery(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    mystery.register_fake(torch.empty_like)
    with pytest.warns(InputNote, match="unknown: one FLOP an element counted .sysopt_test::myst"):
        assert flops(traced(lambda _, x: mystery(x) @ x, X)) == PRODUCT + 64 * 64


def test_dynamic_shapes_are_refused_with_the_remedy() -> None:
    with pytest.raises(InstanceError, match=r"dynamic shape .* export with fixed shapes"):
        traced(lambda _, x: x[x > 0] * 2, X)
