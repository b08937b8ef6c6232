"""Small PyTorch models, their data, and clients that train them: what people bring to Flower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord
from torch import Tensor, nn

LETTERS, LENGTH, SIDE, CLASSES = 6, 8, 6, 3


class Images(nn.Module):
    """A CNN with BatchNorm: float32 and 0-d int64 buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Linear(4 * (SIDE - 2) ** 2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Transformer(nn.Module):
    """A language model with tied embeddings, a 0-d weight, and masks and positions as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(LETTERS, 8), nn.Embedding(LENGTH, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.decoder = nn.Linear(8, LETTERS, bias=False)
        self.decoder.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("positions", torch.arange(LENGTH))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))
        self.register_buffer("seen", torch.ones(LENGTH, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer(self.embedding(x) + self.place(self.positions), src_mask=self.mask)
        return self.scale * self.decoder(hidden)


class Recurrent(nn.Module):
    """An LSTM on one-hot letters."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.LSTM(LETTERS, 12, batch_first=True), nn.Linear(12, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.core(nn.functional.one_hot(x, LETTERS).float())[0])


class Together(nn.Module):
    """All three in one, for a run that costs a single set of processes."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.transformer, self.recurrent = Images(), Transformer(), Recurrent()


def made(net: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return net()


def images_of(part: int, rows: int = 48) -> tuple[Tensor, Tensor]:
    """Bars in one of three rows, with noise; images float32 [rows, 1, 6, 6] and labels."""
    rng = np.random.default_rng([part, 0])
    labels = rng.integers(0, CLASSES, rows)
    images = rng.normal(0, 0.5, (rows, 1, SIDE, SIDE))
    images[np.arange(rows), 0, 2 * labels] += 1.5
    return torch.from_numpy(images).float(), torch.from_numpy(labels)


def letters_of(part: int, rows: int = 24) -> tuple[Tensor, Tensor]:
    """Letters that go on by one or two from row to row, int64 [rows, 8], and each one's next."""
    rng = np.random.default_rng([part, 1])
    start, step = rng.integers(0, LETTERS, (rows, 1)), rng.integers(1, 3, (rows, 1))
    text = (start + step * np.arange(LENGTH + 1)) % LETTERS
    return torch.from_numpy(text[:, :-1]), torch.from_numpy(text[:, 1:])


def loss_of(model: nn.Module, part: int) -> Tensor:
    """Mean loss of a model on a part's rows."""
    if isinstance(model, Together):
        return sum(loss_of(each, part) for each in model.children())
    x, y = images_of(part) if isinstance(model, Images) else letters_of(part)
    return nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())


def validation(net: type[nn.Module]) -> Callable[[ArrayRecord], tuple[float, float]]:
    """The server's function: loss on rows of its own, and an accuracy that falls with it."""

    def validate(arrays: ArrayRecord) -> tuple[float, float]:
        model = made(net)
        model.load_state_dict(arrays.to_torch_state_dict())
        model.eval()
        with torch.no_grad():
            loss = float(loss_of(model, 99))
        return loss, float(np.exp(-loss))

    return validate


def trained(net: type[nn.Module], message: Message, part: int) -> tuple[nn.Module, MetricRecord]:
    """The model after the local steps that a message orders, and what a client reports of them."""
    config, model = message.content["config"], made(net)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, first = torch.optim.SGD(model.parameters(), lr=config["lr"]), {}
    for _ in range(int(config["local_steps"])):
        optimizer.zero_grad()
        loss = loss_of(model, part)
        loss.backward()
        if not first:
            norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
            first = {"train_loss": loss.item(), "gradient_norm": norm.item()}
        optimizer.step()
    return model, MetricRecord({"num-examples": 24 + part, "lr": config["lr"], **first})


def unnamed(record: Any) -> ArrayRecord:
    """The same arrays as a plain list, without their names."""
    return ArrayRecord([array.numpy() for array in record.values()])
