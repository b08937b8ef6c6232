"""Building blocks and whole networks in PyTorch, written out operator by operator.

Written for this project after the papers named. Importing this module imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


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


class Transformer(nn.Module):
    """A decoder of tokens (GPT-2, Radford et al. 2019); embedding and output share weights.

    Args:
        blocks: number of blocks.
        length: tokens of a sequence.
        width: features of a token.
        heads: heads of attention.
        vocabulary: number of different tokens.
        feed: () -> the feed-forward part of a block; None for the dense one.
    """

    def __init__(
        self,
        blocks: int,
        length: int,
        width: int,
        heads: int,
        vocabulary: int,
        feed: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(
            *(Block(width, heads, True, feed() if feed else None) for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, L] to logits [N, L, vocabulary]."""
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


class ResNet(nn.Module):
    """A stem, stages of basic blocks whose first halves the edge, and a classifier.

    Args:
        width: channels of the first stage; each further one has twice as many.
        stages: number of stages.
        blocks: blocks of a stage.
        classes: number of classes.
    """

    def __init__(self, width: int, stages: int, blocks: int, classes: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [convolution(3, width, 3), nn.ReLU()]
        before = width
        for stage in range(stages):
            for block in range(blocks):
                after = width * 2**stage
                parts.append(Residual(before, after, 2 if stage and not block else 1))
                before = after
        parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, 3, H, W] to [N, classes]."""
        out: Tensor = self.parts(x)
        return out


class Recurrent(nn.Module):
    """An LSTM over steps of features, and a classifier of its last output."""

    def __init__(self, layers: int, width: int, classes: int) -> None:
        super().__init__()
        self.cells, self.out = LSTM(layers, width), nn.Linear(width, classes)

    def forward(self, steps: Tensor) -> Tensor:
        """Map [T, N, width] to [N, classes]."""
        out: Tensor = self.out(self.cells(steps)[-1])
        return out


class CachedAttention(nn.Module):
    """Attention of one new token to itself and to those in a cache, which it is written into.

    Attributes:
        keys: [N, heads, length, width / heads]; the cache.
        values: the same.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, batch: int, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        room = (batch, heads, length, width // heads)
        self.register_buffer("keys", torch.zeros(room))
        self.register_buffer("values", torch.zeros(room))

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """Map [N, 1, width] to [N, 1, width]; `place`, [1], is the token's in the cache."""
        n, _, width = x.shape
        parts = self.qkv(x).view(n, 1, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        self.keys.index_copy_(2, place, k)
        self.values.index_copy_(2, place, v)
        scores = (q @ self.keys.transpose(-2, -1)) / math.sqrt(width // self.heads)
        out: Tensor = self.proj((scores.softmax(-1) @ self.values).reshape(n, 1, width))
        return out


class Decoder(nn.Module):
    """A transformer that makes one token after a cache of keys and values."""

    def __init__(
        self, blocks: int, batch: int, length: int, width: int, heads: int, vocabulary: int
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.attentions = nn.ModuleList(
            CachedAttention(batch, length, width, heads) for _ in range(blocks)
        )
        self.feeds = nn.ModuleList(feed_forward(width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks + 1))

    def forward(self, tokens: Tensor, place: Tensor) -> Tensor:
        """Map tokens [N, 1] to logits [N, 1, vocabulary]; `place`, [1], is theirs in the cache."""
        x = self.tokens(tokens)
        for k, (attention, feed) in enumerate(zip(self.attentions, self.feeds, strict=True)):
            x = x + attention(self.norms[2 * k](x), place)
            x = x + feed(self.norms[2 * k + 1](x))
        logits: Tensor = self.norms[-1](x) @ self.tokens.weight.t()
        return logits


class TimedBlock(nn.Module):
    """Two normalized convolutions with a time's embedding added between them."""

    def __init__(self, before: int, width: int, time: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(4, before), nn.GroupNorm(4, width)
        self.first = nn.Conv2d(before, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(time, width)
        self.skip = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map [N, before, H, W] and times [N, time] to [N, width, H, W]."""
        silu = nn.functional.silu
        h = self.first(silu(self.norm_1(x))) + self.time(time)[:, :, None, None]
        out: Tensor = self.second(silu(self.norm_2(h))) + self.skip(x)
        return out


class Diffusion(nn.Module):
    """A step of denoising (DDIM, Song et al. 2021): a U-Net with times, attention in its middle.

    Args:
        width: channels of the first stage; each further one has twice as many.
        depth: number of times that the edge is halved.
        heads: heads of attention.
    """

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        time = 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.stem, self.out = nn.Conv2d(4, width, 3, padding=1), nn.Conv2d(width, 4, 3, padding=1)
        self.down = nn.ModuleList(map(TimedBlock, [width, *widths], widths, [time] * len(widths)))
        self.norm, self.attention = nn.LayerNorm(widths[-1]), Attention(widths[-1], heads)
        self.up = nn.ModuleList(
            TimedBlock(below + own, own, time)
            for below, own in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )

    def forward(self, x: Tensor, times: Tensor, keep: Tensor, add: Tensor) -> Tensor:
        """Map [N, 4, H, W] and embeddings of times [N, width] to the less noisy [N, 4, H, W].

        `keep` and `add`, [1] each, are the step's weights of the image and of the noise.
        """
        image, time = x, self.time(times)
        x, skips = self.stem(x), []
        for k, down in enumerate(self.down):
            x = down(nn.functional.avg_pool2d(x, 2) if k else x, time)
            skips.append(x)
        n, channels, height, across = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm(tokens))
        x = tokens.transpose(1, 2).reshape(n, channels, height, across)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = up(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], 1), time)
        out: Tensor = keep * image + add * self.out(nn.functional.silu(x))
        return out


class GraphNet(nn.Module):
    """Message passing over edges (Gilmer et al. 2017), with residual updates of the nodes."""

    def __init__(self, layers: int, features: int, width: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(features, width), nn.Linear(width, 1)
        self.messages = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.ReLU()) for _ in range(layers)
        )

    def forward(self, nodes: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Map nodes [V, features] and the ends of edges, [E] each, to values [V, 1]."""
        x = self.embed(nodes).relu()
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(torch.cat([x[source], x[target]], 1))
            heard = torch.zeros_like(x).index_add(0, target, sent)
            x = x + update(torch.cat([x, heard], 1))
        out: Tensor = self.out(x)
        return out
