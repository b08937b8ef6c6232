"""Generate synthetic programs: chains, residual nets, U-nets, transformers and random DAGs.

Each is a forward pass or a whole train step. Sizes are those of bf16 tensors; FLOPs follow from the
shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from .builder import Builder
from .hardware import DEFAULT, load_hardware
from .instance import ARG, OUT, TMP, Program
from .settings import DEFAULT_CAPACITY

BYTES = 2
INPUT = -1

PARAMETERS: Mapping[str, Setting] = {
    "kind": Setting("residual", "chain, residual, unet, transformer, or dag"),
    "layers": Setting("8", "layers or blocks (at least 1)"),
    "width": Setting("256", "features of a layer, channels of the first stage (at least 8)"),
    "batch": Setting("64", "rows, pixels along an edge, or tokens (at least 4)"),
    "train": Setting("0", "1 for a train step: forward, backward, and updates in place"),
    "capacity": Setting(DEFAULT_CAPACITY, "fast memory: bytes, 8MiB, or a fraction of the peak"),
    "hardware": Setting(DEFAULT, "hardware profile"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of a forward graph.

    Attributes:
        name: name of its instruction.
        inputs: indices of earlier layers whose outputs it reads; INPUT is the program's input.
        weight: bytes of its parameters, 0 for none.
        output: bytes of its output.
        flops: floating-point operations of its forward pass.
    """

    name: str
    inputs: tuple[int, ...]
    weight: int
    output: int
    flops: float


@dataclass(slots=True)
class Graph:
    """A forward graph under construction.

    Attributes:
        input_bytes: bytes of the program's input.
        layers: the layers so far, each after those it reads.
    """

    input_bytes: int
    layers: list[Layer] = field(default_factory=list)

    def add(
        self, name: str, inputs: tuple[int, ...], output: int, flops: float, weight: int = 0
    ) -> int:
        """Add a layer and return its index.

        Args:
            name: kind of the layer; its index is appended to it.
            inputs: indices of earlier layers whose outputs it reads; INPUT is the program's input.
            output: number of elements of its output.
            flops: floating-point operations of its forward pass.
            weight: number of its parameters, 0 for none.
        """
        place = f"{name}.{len(self.layers)}"
        self.layers.append(Layer(place, inputs, weight * BYTES, output * BYTES, flops))
        return len(self.layers) - 1

    def matmul(self, name: str, source: int, rows: int, inner: int, columns: int) -> int:
        """Add a dense layer, [rows, inner] times [inner, columns], and return its index.

        Args:
            name: kind of the layer.
            source: index of the layer whose output it reads, or INPUT.
            rows: rows of its input and output.
            inner: columns of its input.
            columns: columns of its output.
        """
        flops = 2.0 * rows * inner * columns
        return self.add(name, (source,), rows * columns, flops, inner * columns)


def generate(parameters: Mapping[str, str], seed: int) -> Program:
    """Generate a synthetic program.

    The seed jitters the sizes of layers (and draws the edges of kind dag), so that no two seeds
    give the same program.

    Args:
        parameters: texts by the names in PARAMETERS; those left out have their defaults.
        seed: the same seed and parameters give the same program.

    Raises:
        SettingError: a parameter cannot be read or is out of range.
        InstanceError: the capacity leaves nothing to decide.
    """
    kind = parameters.get("kind", PARAMETERS["kind"].default)
    if kind not in KINDS:
        raise SettingError(
            f"generate memory_mapping: kind {kind!r} is unknown; known: {', '.join(KINDS)}"
        )
    whole = {}
    for key, low, high in (
        ("layers", 1, 1000),
        ("width", 8, 16384),
        ("batch", 4, 65536),
        ("train", 0, 1),
    ):
        text = parameters.get(key, PARAMETERS[key].default)
        try:
            whole[key] = int(text)
        except ValueError:
            whole[key] = low - 1
        if not low <= whole[key] <= high:
            raise SettingError(
                f"generate memory_mapping: {key}={text!r}; give a whole number in {low}..{high}"
            )
    rng = np.random.default_rng([seed, whole["layers"]])
    graph = KINDS[kind](whole["layers"], whole["width"], whole["batch"], rng)
    builder = Builder(load_hardware(parameters.get("hardware", DEFAULT)))
    if whole["train"]:
        emit_train_step(graph, builder)
    else:
        emit_forward(graph, builder)
    suffix = "-train" if whole["train"] else ""
    return builder.build(
        f"{kind}{suffix}-{whole['layers']}-seed{seed}",
        parameters.get("capacity", DEFAULT_CAPACITY),
    )


def _jitter(size: int, rng: np.random.Generator) -> int:
    """Draw a size between half and twice the given one, in steps of 8."""
    scale = float(2.0 ** rng.uniform(-1, 1))
    return max(8, round(size * scale / 8) * 8)


def chain(layers: int, width: int, batch: int, rng: np.random.Generator) -> Graph:
    """Generate a multi-layer perceptron: dense layers, each followed by an activation.

    Args:
        layers: number of dense layers.
        width: features of a layer, before jitter.
        batch: rows of the input.
        rng: draws the widths of layers.
    """
    widths = [_jitter(width, rng) for _ in range(layers + 1)]
    graph, last = Graph(batch * widths[0] * BYTES), INPUT
    for inner, outer in pairwise(widths):
        last = graph.matmul("dense", last, batch, inner, outer)
        last = graph.add("relu", (last,), batch * outer, batch * outer)
    return graph


def _conv(graph: Graph, source: int, edge: int, inner: int, outer: int, side: int = 3) -> int:
    """Add a convolution with an output of edge x edge pixels and return its index.

    Args:
        graph: the graph to add to.
        source: index of the layer whose output it reads, or INPUT.
        edge: pixels along an edge of its output.
        inner: channels of its input.
        outer: channels of its output.
        side: rows and columns of its kernel.
    """
    pixels = edge * edge
    weight = side * side * inner * outer
    return graph.add("conv", (source,), pixels * outer, 2.0 * pixels * weight, weight)


def residual(layers: int, width: int, batch: int, rng: np.random.Generator) -> Graph:
    """Generate residual blocks of two convolutions; every third block halves the edge.

    Args:
        layers: number of blocks.
        width: the first block has 8 channels more than a quarter of this, after jitter.
        batch: pixels along an edge of the input, before jitter.
        rng: draws edge and channels.
    """
    edge, channels = _jitter(batch, rng), _jitter(width, rng) // 4 + 8
    graph = Graph(edge * edge * 8 * BYTES)
    last = _conv(graph, INPUT, edge, 8, channels)
    for block in range(layers):
        inner, skip = channels, last
        if block % 3 == 2 and edge >= 8:
            edge, channels = edge // 2, channels * 2
            skip = _conv(graph, last, edge, inner, channels, 1)
        count = edge * edge * channels
        last = _conv(graph, last, edge, inner, channels)
        last = graph.add("relu", (last,), count, count)
        last = _conv(graph, last, edge, channels, channels)
        last = graph.add("add_relu", (last, skip), count, 2 * count)
    return graph


def unet(layers: int, width: int, batch: int, rng: np.random.Generator) -> Graph:
    """Generate a U-net: an encoder and a decoder with skip connections between their stages.

    Args:
        layers: number of stages of each.
        width: the first stage has 8 channels more than an eighth of this, after jitter.
        batch: pixels along an edge of the input, before jitter.
        rng: draws edge and channels.
    """
    edge, channels = _jitter(batch, rng), _jitter(width, rng) // 8 + 8
    graph, stages = Graph(edge * edge * 8 * BYTES), []
    last, inner = INPUT, 8
    for _ in range(layers):
        last = _conv(graph, last, edge, inner, channels)
        last = _conv(graph, last, edge, channels, channels)
        stages.append((last, edge, channels))
        inner = channels
        if edge >= 8:
            edge, channels = edge // 2, channels * 2
            count = edge * edge * inner
            last = graph.add("pool", (last,), count, 4 * count)
    last = _conv(graph, last, edge, inner, channels)
    inner = channels
    for skip, edge, channels in reversed(stages):
        count = edge * edge * channels
        last = _conv(graph, last, edge, inner, channels, 2)
        last = graph.add("concat", (last, skip), 2 * count, 0.0)
        last = _conv(graph, last, edge, 2 * channels, channels)
        inner = channels
    return graph


def transformer(layers: int, width: int, batch: int, rng: np.random.Generator) -> Graph:
    """Generate pre-norm blocks: attention with explicit scores, and two layers 4 times as wide.

    Args:
        layers: number of blocks.
        width: features of a token, before jitter.
        batch: number of tokens, before jitter.
        rng: draws tokens and features.
    """
    tokens, features = _jitter(batch, rng), _jitter(width, rng)
    heads = max(1, features // 64)
    count, scores = tokens * features, heads * tokens * tokens
    graph, last = Graph(count * BYTES), INPUT
    for _ in range(layers):
        normed = graph.add("norm", (last,), count, 8.0 * count, 2 * features)
        q, k, v = (graph.matmul(name, normed, tokens, features, features) for name in "qkv")
        weights = graph.add("scores", (q, k), scores, 2.0 * tokens * count)
        weights = graph.add("softmax", (weights,), scores, 5.0 * scores)
        mixed = graph.add("mix", (weights, v), count, 2.0 * tokens * count)
        out = graph.matmul("proj", mixed, tokens, features, features)
        last = graph.add("add", (last, out), count, count)
        normed = graph.add("norm", (last,), count, 8.0 * count, 2 * features)
        wide = graph.matmul("up", normed, tokens, features, 4 * features)
        wide = graph.add("gelu", (wide,), 4 * count, 32.0 * count)
        out = graph.matmul("down", wide, tokens, 4 * features, features)
        last = graph.add("add", (last, out), count, count)
    return graph


def dag(layers: int, width: int, batch: int, rng: np.random.Generator) -> Graph:
    """Generate random operators that read one to three recent outputs; a third have weights.

    Args:
        layers: number of operators; each reads from the twelve outputs before it.
        width: features of an output, before jitter.
        batch: rows of every output.
        rng: draws edges, sizes, weights and FLOPs.
    """
    sizes = [batch * _jitter(width, rng)]
    graph = Graph(sizes[0] * BYTES)
    for layer in range(layers):
        sources = rng.integers(max(0, layer - 11), layer + 1, int(rng.integers(1, 4)))
        inputs = tuple(int(source) - 1 for source in np.unique(sources))
        size = batch * _jitter(width, rng)
        read = sum(sizes[source + 1] for source in inputs)
        weight = int(rng.integers(3) == 0) * width * _jitter(width, rng)
        flops = float(read + size) * 2.0 ** rng.uniform(0, 10)
        graph.add("op", inputs, size, flops, weight)
        sizes.append(size)
    return graph


def emit_forward(graph: Graph, builder: Builder) -> tuple[list[int], list[int]]:
    """Write a graph's forward pass to a builder; outputs that no layer reads are the program's.

    Args:
        graph: the graph.
        builder: is extended in place.

    Returns:
        The tensors of the layers' outputs, followed by the program's input (so that index INPUT
        finds it); and the tensors of the layers' weights, -1 for none.
    """
    read = {source for layer in graph.layers for source in layer.inputs}
    weights = [
        builder.tensor(f"{layer.name}.weight", layer.weight, ARG) if layer.weight else -1
        for layer in graph.layers
    ]
    outputs: list[int] = []
    source = builder.tensor("input", graph.input_bytes, ARG)
    for row, layer in enumerate(graph.layers):
        inputs = [outputs[i] if i != INPUT else source for i in layer.inputs]
        if weights[row] >= 0:
            inputs.append(weights[row])
        outputs.append(builder.tensor(layer.name, layer.output, TMP if row in read else OUT))
        builder.instr(layer.name, inputs, [outputs[row]], layer.flops)
    return [*outputs, source], weights


def emit_train_step(graph: Graph, builder: Builder) -> None:
    """Write a graph's forward and backward pass and its updates of weights to a builder.

    Each weight is updated in place as soon as its gradient is known.

    Args:
        graph: the graph.
        builder: is extended in place.
    """
    outputs, weights = emit_forward(graph, builder)
    gradient: dict[int, int] = {}
    for row in range(len(graph.layers) - 1, -1, -1):
        layer = graph.layers[row]
        if row not in gradient:  # an output of the program: its loss starts here
            gradient[row] = builder.tensor(f"{layer.name}.loss", layer.output, TMP)
            count = layer.output / BYTES
            builder.instr(f"{layer.name}.loss", [outputs[row]], [gradient[row]], 3 * count)
        arrived = gradient.pop(row)
        weight = weights[row]
        for source in layer.inputs:
            if source == INPUT:
                continue
            name = f"{layer.name}.grad.{graph.layers[source].name}"
            others = [outputs[i] for i in layer.inputs if i != source]
            reads = [arrived, *others, weight] if weight >= 0 else [arrived, *others]
            if weight < 0 and not others:  # an activation's derivative needs its own output
                reads.append(outputs[row])
            partial = builder.tensor(name, graph.layers[source].output, TMP)
            builder.instr(name, reads, [partial], layer.flops)
            if source in gradient:  # another layer reads it too: add up in place
                total = builder.tensor(f"{name}.sum", builder.sizes[partial], TMP, gradient[source])
                count = builder.sizes[partial] / BYTES
                builder.instr(f"{name}.sum", [gradient[source], partial], [total], count)
                gradient[source] = total
            else:
                gradient[source] = partial
        if weight >= 0:
            _update(builder, layer, [arrived, outputs[layer.inputs[0]]], weight)


def _update(builder: Builder, layer: Layer, reads: list[int], weight: int) -> None:
    """Write a weight's gradient, and its update in the same storage."""
    gradient = builder.tensor(f"{layer.name}.wgrad", layer.weight, TMP)
    builder.instr(f"{layer.name}.wgrad", reads, [gradient], layer.flops)
    updated = builder.tensor(f"{layer.name}.weight.new", layer.weight, OUT, weight)
    builder.instr(f"{layer.name}.update", [weight, gradient], [updated], 2 * layer.weight / BYTES)


KINDS: Mapping[str, Callable[[int, int, int, np.random.Generator], Graph]] = {
    "chain": chain,
    "residual": residual,
    "unet": unet,
    "transformer": transformer,
    "dag": dag,
}
