"""FLOPs of HLO are those of XLA's own cost analysis, and those of libraries' functions by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hlo_modules import load, module, moved
from sysopt_gym.datasets.memory_mapping.instance import peak_bytes

XLA_SEED = 20


def shape(*sizes: int, dtype: str = "float32") -> Any:
    return jax.ShapeDtypeStruct(sizes, dtype)


def compiled_agrees(function: Callable[..., Any], *inputs: Any) -> None:
    """Compile a function for CPU; FLOPs and transcendental functions must be XLA's count."""
    compiled = jax.jit(function).lower(*inputs).compile()
    counts = compiled.cost_analysis()
    expected = counts.get("flops", 0.0) + counts.get("transcendentals", 0.0)
    flops = load(compiled.as_text()).instr_flops.sum()  # loops once, as XLA counts them
    assert flops == pytest.approx(expected, rel=1e-4, abs=8)
    assert expected > 0


PRODUCTS = [
    ("ij,jk->ik", (40, 48), (48, 56)),
    ("ij,kj->ik", (40, 48), (56, 48)),
    ("bij,bkj->bik", (6, 40, 24), (6, 32, 24)),
    ("bhqd,bhkd->bhqk", (2, 3, 40, 16), (2, 3, 24, 16)),
    ("ijk,kl->ijl", (5, 33, 17), (17, 65)),
    ("ij,ij->", (64, 96), (64, 96)),
    ("ij,j->i", (96, 80), (80,)),
]


@pytest.mark.parametrize(("formula", "left", "right"), PRODUCTS)
def test_products_cost_what_xla_counts(
    formula: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    def function(a: Any, b: Any) -> Any:
        return jax.numpy.einsum(formula, a, b) * 2

    compiled_agrees(function, shape(*left), shape(*right))


def test_convolutions_cost_what_xla_counts() -> None:
    rng = np.random.default_rng(XLA_SEED)
    for _ in range(12):
        dims = int(rng.integers(1, 3))
        groups, batch_groups = int(rng.integers(1, 4)), 1
        if rng.integers(3) == 0:
            groups, batch_groups = 1, int(rng.integers(1, 3))
        image = (8 * batch_groups, *rng.integers(12, 24, dims).tolist(), 12 * groups)
        kernel = (*rng.integers(1, 5, dims).tolist(), 12, 2 * groups * batch_groups)
        options = {
            "window_strides": rng.integers(1, 4, dims).tolist(),
            "padding": [tuple(pair) for pair in rng.integers(0, 4, (dims, 2)).tolist()],
            "lhs_dilation": rng.integers(1, 4, dims).tolist(),
            "rhs_dilation": rng.integers(1, 3, dims).tolist(),
            "dimension_numbers": ("NHWC", "HWIO", "NHWC") if dims == 2 else ("NWC", "WIO", "NWC"),
            "feature_group_count": groups,
            "batch_group_count": batch_groups,
        }

        def function(x: Any, k: Any, options: dict[str, Any] = options) -> Any:
            return jax.lax.conv_general_dilated(x, k, **options)

        compiled_agrees(function, shape(*image), shape(*kernel))


def test_gradients_of_convolutions_cost_what_xla_counts() -> None:
    def loss(x: Any, k: Any) -> Any:
        y = jax.lax.conv_general_dilated(
            x, k, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return (y * y).sum()

    inputs = shape(2, 17, 16, 4), shape(3, 3, 4, 8)
    compiled_agrees(jax.grad(loss, argnums=(0, 1)), *inputs)


def test_reductions_and_elementwise_work_cost_what_xla_counts() -> None:
    jnp, lax = jax.numpy, jax.lax
    x = shape(48, 96)
    forms: list[Callable[..., Any]] = [
        lambda a: a.sum(0),
        lambda a: jnp.argmax(a, axis=1),
        jax.nn.softmax,
        lambda a: (a - a.mean(-1, keepdims=True)) / jnp.sqrt(a.var(-1, keepdims=True) + 1e-5),
        lambda a: jnp.where(a > 0, jnp.exp(a), a * 2),
        lambda a: jnp.cumsum(a, axis=0),
        lambda a: lax.reduce_window(a, -jnp.inf, lax.max, (3, 2), (2, 2), "SAME"),
        lambda a: a.astype(jnp.bfloat16).sum(),
        lambda a: a.at[jnp.arange(5)].add(1.0),
        lambda a: lax.fori_loop(0, 9, lambda _, b: jnp.tanh(b @ b.T) @ b, a),
    ]
    for form in forms:
        compiled_agrees(form, x)


X, DY = "f32[4096,256]{1,0}", "f32[4096,512]{1,0}"
NUMBERS = (
    '"dot_dimension_numbers":{"lhs_contracting_dimensions":["L"],'
    '"rhs_contracting_dimensions":["R"],"lhs_batch_dimensions":[],"rhs_batch_dimensions":[]}'
)
LIBRARY = {
    "cublas gemm": (
        [X, DY], "(f32[256,512]{1,0}, s8[33554432]{0})", "__cublas$gemm",
        'backend_config={"gemm_backend_config":{"alpha_real":1,'
        + NUMBERS.replace("L", "0", 1).replace("R", "0", 1) + "}}",
        2 * 256 * 512 * 4096,
    ),
    "cublas of older dumps": (
        [X, DY], "f32[256,512]{1,0}", "__cublas$gemm",
        'backend_config="{\\"alpha_real\\":1,'
        + NUMBERS.replace("L", "0", 1).replace("R", "0", 1).replace('"', '\\"') + '}"',
        2 * 256 * 512 * 4096,
    ),
    "cublasLt": (
        ["f32[8,64,32]", "f32[8,32,128]", "f32[128]"], "(f32[8,64,128], s8[4096]{0})",
        "__cublas$lt$matmul",
        'backend_config={"operation_queue_id":"0","gemm_backend_config":{'
        + NUMBERS.replace("L", "2", 1).replace("R", "1", 1) + ',"epilogue":"BIAS"}}',
        2 * 8 * 64 * 128 * 32,
    ),
    "f8": (
        ["f8e4m3fn[64,32]", "f8e4m3fn[128,32]", "f32[]", "f32[]"], "bf16[64,128]",
        "__cublas$lt$matmul$f8",
        'backend_config={"gemm_backend_config":{'
        + NUMBERS.replace("L", "1", 1).replace("R", "1", 1) + "}}",
        2 * 64 * 128 * 32,
    ),
    "oneDNN": (
        ["f32[8,64,32]", "f32[8,128,32]"], "f32[8,64,128]", "__onednn$matmul",
        'backend_config={"onednn_matmul_config":{"transpose_b":true}}', 2 * 8 * 64 * 128 * 32,
    ),
    "oneDNN of rows": (
        ["f32[8,64,32]", "f32[32,128]"], "f32[8,64,128]", "__onednn$matmul", "",
        2 * 8 * 64 * 128 * 32,
    ),
    "cuDNN forward": (
        ["f32[8,32,32,64]", "f32[64,3,3,64]"], "(f32[8,32,32,64], u8[1048576]{0})",
        "__cudnn$convForward", "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f",
        579_076_096,
    ),
    "cuDNN fused": (
        ["f32[8,32,32,64]", "f32[64,3,3,64]", "f32[64]"], "(f32[8,32,32,64], u8[0]{0})",
        "__cudnn$convBiasActivationForward",
        "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f", 579_076_096,
    ),
    "cuDNN to the input": (
        ["f32[8,64,32,32]", "f32[64,64,3,3]"], "(f32[8,64,32,32], u8[16]{0})",
        "__cudnn$convBackwardInput", "window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01",
        579_076_096,
    ),
    "cuDNN to the filter": (
        ["f32[8,64,32,32]", "f32[8,64,32,32]"], "(f32[64,64,3,3], u8[16]{0})",
        "__cudnn$convBackwardFilter", "window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01",
        579_076_096,
    ),
    "cuDNN by groups": (
        ["f32[8,16,16,32]", "f32[32,5,5,1]"], "(f32[8,16,16,32], u8[16]{0})",
        "__cudnn$convForward",
        "window={size=5x5 pad=2_2x2_2}, dim_labels=b01f_o01i->b01f, feature_group_count=32",
        2 * 8 * 32 * 74**2,
    ),
    "cuDNN of vectors": (
        ["s8[8,12,24,24,4]", "s8[16,12,5,5,4]", "f32[16]"], "(s8[8,4,24,24,4], u8[0]{0})",
        "__cudnn$convBiasActivationForward",
        "window={size=5x5 pad=2_2x2_2}, dim_labels=bf01_oi01->bf01", 2 * 8 * 114**2 * 48 * 16,
    ),
    "cuDNN reordering": (
        ["s8[64,64,3,3]"], "s8[64,64,3,3]", "__cudnn$convReorderFilter", "", 0,
    ),
    "a Pallas kernel with an estimate": (
        ["bf16[2,128,128]"], "(bf16[2,128,128])", "tpu_custom_call",
        'backend_config={"custom_call_config":{"body":"abc","cost_estimate":'
        '{"flops":16842752,"transcendentals":"32768","bytes_accessed":262144}}}',
        16842752 + 32768,
    ),
    "fused attention": (
        ["bf16[2,4,128,64]"] * 3, "(bf16[2,4,128,64], u8[0]{0})", "__cudnn$fmhaSoftmax",
        'backend_config={"cudnn_fmha_backend_config":{"intermediate_tensor_shape":'
        '{"element_type":"BF16","dimensions":["2","4","128","128"]}}}',
        4 * 2 * 4 * 128 * 128 * 64,
    ),
    "its gradient": (
        ["bf16[2,4,128,64]"] * 5,
        "(bf16[2,4,128,64], bf16[2,4,128,64], bf16[2,4,128,64], u8[0]{0})",
        "__cudnn$fmhaSoftmaxBackward",
        'backend_config={"cudnn_fmha_backend_config":{"intermediate_tensor_shape":'
        '{"element_type":"BF16","dimensions":["2","4","128","128"]}}}',
        10 * 2 * 4 * 128 * 128 * 64,
    ),
    "LAPACK": (
        ["f32[3,96,96]"], "(f32[3,96,96], s32[3])", "lapack_spotrf_ffi",
        "output_to_operand_aliasing={{0}: (0, {})}, backend_config={uplo = 76 : ui8}",
        3 * 96**3 / 3,
    ),
    "top k": (["f32[64,256]"], "(f32[64,8], s32[64,8])", "TopK", "", 64 * 256),
}  # fmt: skip


@pytest.mark.parametrize("form", LIBRARY)
def test_functions_of_libraries_cost_what_their_configuration_says(form: str) -> None:
    operands, result, target, attributes, expected = LIBRARY[form]
    lines = [f"p{k} = {operand} parameter({k})" for k, operand in enumerate(operands)]
    names = ", ".join(f"p{k}" for k in range(len(operands)))
    attributes = f', custom_call_target="{target}"' + f", {attributes}" * bool(attributes)
    lines.append(f"ROOT c = {result} custom-call({names}){attributes}")
    p = load(module("\n".join(lines)))
    assert p.instr_flops.tolist() == [expected]
    parts = 1 if not result.startswith("(") else result.count("]")
    scratch = sum(f", {item}[" in result for item in ("s8", "u8"))
    assert len(moved(p, "c").writes) == parts - scratch


PLAIN = {
    "cholesky": ("f32[2,96,96] cholesky(x)", ["f32[2,96,96]"], 2 * 96**3 / 3),
    "triangular-solve": (
        "f32[96,40] triangular-solve(x, y), left_side=true, lower=true, transpose_a=NO_TRANSPOSE",
        ["f32[96,96]", "f32[96,40]"], 96 * 96 * 40,
    ),
    "fft": (
        "c64[32,256] fft(x), fft_type=FFT, fft_length={256}", ["c64[32,256]"], 5 * 8192 * 8,
    ),
    "fft of reals": (
        "c64[32,129] fft(x), fft_type=RFFT, fft_length={256}", ["f32[32,256]"], 2.5 * 8192 * 8,
    ),
    "sort": ("f32[32,256] sort(x), dimensions={1}, to_apply=c", ["f32[32,256]"], 8192 * 8),
    "topk": ("(f32[32,8], s32[32,8]) topk(x), k=8, largest=true", ["f32[32,256]"], 8192),
    "random": ("(u64[2], u32[8192]) rng-bit-generator(x), algorithm=rng_default", ["u64[2]"], 8192),
    "ragged product": (
        "f32[64,48] ragged-dot(x, y, z), lhs_contracting_dims={1}, rhs_contracting_dims={1}, "
        "lhs_ragged_dims={0}, rhs_group_dims={0}", ["f32[64,32]", "f32[4,32,48]", "s32[4]"],
        2 * 64 * 32 * 48,
    ),
    "data movement": ("f32[256,32] transpose(x), dimensions={1,0}", ["f32[32,256]"], 0),
}  # fmt: skip


@pytest.mark.parametrize("form", PLAIN)
def test_other_operations_have_a_sensible_count(form: str) -> None:
    text, operands, expected = PLAIN[form]
    lines = [
        f"{n} = {s} parameter({k})" for k, (n, s) in enumerate(zip("xyz", operands, strict=False))
    ]
    compare = "c: a = f32[] parameter(0)\n b = f32[] parameter(1)\n ROOT r = pred[] compare(a, b)"
    p = load(module("\n".join([*lines, f"ROOT r = {text}"]), compare))
    assert p.instr_flops.tolist() == [expected]


def test_a_workspace_has_no_traffic_and_no_place_in_the_peak() -> None:
    config = LIBRARY["cublas gemm"][3]
    p = load(module(
        f"x = {X} parameter(0)\n y = {DY} parameter(1)\n"
        " c = (f32[256,512]{1,0}, s8[33554432]{0}) custom-call(x, y), "
        f'custom_call_target="__cublas$gemm", {config}\n'
        " g = f32[256,512]{1,0} get-tuple-element(c), index=0\n"
        " ROOT n = f32[256,512]{1,0} negate(g)"
    ))  # fmt: skip
    assert moved(p, "c").writes == {"c.0": 4 * 256 * 512}
    assert peak_bytes(p) == 4 * (4096 * 256 + 4096 * 512 + 256 * 512)
    assert math.isclose(p.instr_flops.sum(), 2 * 256 * 512 * 4096 + 256 * 512)


def test_a_library_works_on_slices_within_a_fusion() -> None:
    body = f"""body: stack = f32[16,256,256] parameter(0)
  x = f32[256,256] parameter(1)
  i = s32[] parameter(2)
  s = f32[1,256,256] dynamic-slice(stack, i, i, i), dynamic_slice_sizes={{1,256,256}}
  b = f32[256,256] bitcast(s)
  g = (f32[256,256], s8[4194304]) custom-call(b, x), custom_call_target="__cublas$gemm", {
        LIBRARY["cublas gemm"][3]
    }
  o = f32[256,256] get-tuple-element(g), index=0
  w = s8[4194304] get-tuple-element(g), index=1
  p = f32[1,256,256] bitcast(o)
  u = f32[16,256,256] dynamic-update-slice(stack, p, i, i, i)
  ROOT t = (f32[16,256,256], s8[4194304]) tuple(u, w)"""
    entry = (
        "stack = f32[16,256,256] parameter(0)\n x = f32[256,256] parameter(1)\n"
        " i = s32[] parameter(2)\n f = (f32[16,256,256], s8[4194304]) fusion(stack, x, i), "
        "kind=kCustom, calls=body\n ROOT r = f32[16,256,256] get-tuple-element(f), index=0"
    )
    p = load(module(entry, body))
    part = 4 * 256 * 256
    assert moved(p, "f") == ({"stack": part, "x": part, "i": 4}, {"f.0": part})
    assert p.instr_flops.tolist() == [2 * 256**3]
