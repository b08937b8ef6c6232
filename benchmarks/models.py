"""Neural networks whose forward passes and train steps are mapped to memory.

Written for this project after the papers named, in bfloat16. Parameters are on the meta device:
only shapes and types count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, functionalize, grad
from torch.fx.experimental.proxy_tensor import make_fx

from ..datasets.memory_mapping.instance import Program
from ..datasets.memory_mapping.torch_export import program_of_model


class Attention(nn.Module):
    """Multi-head self-attention, written out, so that each operator is an instruction."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, L, width] to [N, L, width]."""
        n, length, width = x.shape
        parts = self.qkv(x).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(width // self.heads)
        if self.causal:
            seen = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
            scores = scores.masked_fill(~seen, -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
        out: Tensor = self.proj(mixed)
        return out


class Block(nn.Module):
    """A pre-norm transformer block; by default its feed-forward part is 4 times as wide."""

    def __init__(
        self, width: int, heads: int, causal: bool = False, feed: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.norm_1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal)
        self.norm_2, self.feed = nn.LayerNorm(width), feed or feed_forward(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, L, width] to [N, L, width]."""
        x = x + self.attention(self.norm_1(x))
        out: Tensor = x + self.feed(self.norm_2(x))
        return out


def feed_forward(width: int) -> nn.Sequential:
    """Make two layers with a hidden width of four times the given one."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class GPT2(nn.Module):
    """GPT-2 small (Radford et al. 2019) with fewer blocks; embedding and output share weights."""

    def __init__(self, blocks: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50257, 768), nn.Embedding(length, 768)
        self.blocks = nn.Sequential(*(Block(768, 12, causal=True) for _ in range(blocks)))
        self.norm = nn.LayerNorm(768)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, L] to logits [N, L, 50257]."""
        x = self.tokens(tokens) + self.places.weight
        logits: Tensor = self.norm(self.blocks(x)) @ self.tokens.weight.t()
        return logits


class Experts(nn.Module):
    """A mixture of experts that routes each token to two; all are computed for all tokens."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, count)
        self.experts = nn.ModuleList(feed_forward(width) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, L, width] to [N, L, width]."""
        weights, chosen = self.gate(x).softmax(-1).topk(2)
        out: Tensor = sum(
            ((chosen == k) * weights).sum(-1, keepdim=True) * expert(x)
            for k, expert in enumerate(self.experts)
        )
        return out


class AxialAttention(nn.Module):
    """AlphaTensor's torso (Fawzi et al. 2022): three grids of S x S, attention over pairs."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(Block(width, heads) for _ in range(3)) for _ in range(layers)
        )

    def forward(self, grids: Tensor) -> Tensor:
        """Map [3, N, S, S, width] to [3, N, S, S, width]."""
        _, n, size, _, width = grids.shape
        parts = list(grids.unbind(0))
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for (a, b), block in zip(((0, 1), (2, 0), (1, 2)), layer, strict=True):
                pair = torch.cat([parts[a], parts[b].transpose(1, 2)], 2)
                pair = block(pair.view(n * size, 2 * size, width)).view(n, size, 2 * size, width)
                parts[a], other = pair.split(size, 2)
                parts[b] = other.transpose(1, 2)
        return torch.stack(parts)


class Residual(nn.Module):
    """A basic block of ResNet (He et al. 2016)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = convolution(before, width, 3, stride), convolution(width, width)
        same = stride == 1 and before == width
        self.skip = nn.Identity() if same else convolution(before, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, before, H, W] to [N, width, H / stride, W / stride]."""
        out: Tensor = self.second(self.first(x).relu()) + self.skip(x)
        return out.relu()


def convolution(before: int, width: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Make a convolution without bias and its batch normalization.

    Args:
        before: channels of the input.
        width: channels of the output.
        kernel: rows and columns of the kernel.
        stride: of the convolution.
    """
    layer = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(width))


def resnet18() -> nn.Module:
    """Make ResNet-18 for 1,000 classes."""
    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1),
              (256, 512, 2), (512, 512, 1))  # fmt: skip
    stem = (convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return nn.Sequential(*stem, *(Residual(*sizes) for sizes in widths), *head)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of padded convolutions."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        self.down = nn.ModuleList(map(_twice, [3, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(_twice(2 * w, w) for w in widths[-2::-1])
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, 3, H, W] to [N, 1, H, W]."""
        skips: list[Tensor] = []
        for k, down in enumerate(self.down):
            x = down(nn.functional.max_pool2d(x, 2) if k else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], 1))
        out: Tensor = self.out(x)
        return out


def _twice(before: int, width: int) -> nn.Sequential:
    first, second = nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class LSTM(nn.Module):
    """Layers of LSTM cells, unrolled over time."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(width, width) for _ in range(layers))

    def forward(self, steps: Tensor) -> Tensor:
        """Map [T, N, width] to [T, N, width]."""
        zero = torch.zeros_like(steps[0])
        states = [(zero, zero) for _ in self.cells]
        outputs = []
        for x in steps.unbind(0):
            for k, cell in enumerate(self.cells):
                states[k] = cell(x, states[k])
                x = states[k][0]
            outputs.append(x)
        return torch.stack(outputs)


def mlp() -> nn.Module:
    """Make six layers of 1,024."""
    return nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(1024, 1024), nn.ReLU())))


def moe() -> nn.Module:
    """Make two transformer blocks of width 512 with eight experts each."""
    return nn.Sequential(*(Block(512, 8, feed=Experts(512, 8)) for _ in range(2)))


# name -> the model, and the shape of its input.
MODELS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (256, 1024)),
    "resnet18": (resnet18, (1, 3, 224, 224)),
    "gpt2_x4": (lambda: GPT2(4, 512), (1, 512)),
    "lstm": (lambda: LSTM(2, 512), (64, 16, 512)),
    "unet": (lambda: UNet(32, 3), (1, 3, 128, 128)),
    "moe": (moe, (1, 256, 512)),
    "alphatensor": (lambda: AxialAttention(4, 256, 8), (3, 8, 9, 9, 256)),
}
RATE = 0.01


def load_model(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a model of MODELS and its input, in inference mode."""
    make, shape = MODELS[name]
    with torch.device("meta"):
        model = make().to(torch.bfloat16).eval()
        dtype = torch.long if isinstance(model, GPT2) else torch.bfloat16
        return model, (torch.zeros(shape, dtype=dtype),)


def train_step(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[nn.Module, tuple[Any, ...]]:
    """Make a module of one step of gradient descent on the squared error.

    Args:
        model: the model.
        inputs: its inputs.

    Returns:
        The module, which returns the new parameters; and its inputs: parameters, the model's
        inputs, and the outputs wanted.
    """
    parameters = dict(model.named_parameters())
    wanted = torch.zeros_like(model(*inputs))

    def step(
        parameters: dict[str, Tensor], inputs: tuple[Tensor, ...], wanted: Tensor
    ) -> dict[str, Tensor]:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            error: Tensor = functional_call(model, parameters, inputs) - wanted
            return error.square().mean()

        slopes = grad(loss)(parameters)
        return {name: value - RATE * slopes[name] for name, value in parameters.items()}

    arguments = (parameters, inputs, wanted)
    traced: nn.Module = make_fx(functionalize(step))(*arguments)
    return traced, arguments


def import_model(name: str, capacity: str, title: str | None = None) -> Program:
    """Import a model of MODELS as a program.

    Args:
        name: name of the model; with "_train" behind it, its train step is imported.
        capacity: capacity of fast memory, as in `sizes.read_capacity`.
        title: name of the program, by default the model's.
    """
    base, train, _ = name.partition("_train")
    model, inputs = load_model(base)
    if train:
        model, inputs = train_step(model, inputs)
    return program_of_model(model, inputs, name=title or name, capacity=capacity)
