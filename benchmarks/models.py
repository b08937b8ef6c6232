"""Neural networks whose forward passes and train steps are mapped to memory.

The reference models, in bfloat16; datasets/memory_mapping/models has what they are built of.
Parameters are on the meta device: only shapes and types count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, functionalize, grad
from torch.fx.experimental.proxy_tensor import make_fx

from ..datasets.memory_mapping.instance import Program
from ..datasets.memory_mapping.models.torch_nets import (
    LSTM,
    AxialAttention,
    Block,
    Experts,
    Residual,
    Transformer,
    UNet,
    convolution,
)
from ..datasets.memory_mapping.torch_export import program_of_model


def resnet18() -> nn.Module:
    """Make ResNet-18 for 1,000 classes."""
    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1),
              (256, 512, 2), (512, 512, 1))  # fmt: skip
    stem = (convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return nn.Sequential(*stem, *(Residual(*sizes) for sizes in widths), *head)


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
    "gpt2_x4": (lambda: Transformer(4, 512, 768, 12, 50257), (1, 512)),
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
        dtype = torch.long if isinstance(model, Transformer) else torch.bfloat16
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
