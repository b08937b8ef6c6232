"""Make programs of the drawn architectures that are written in PyTorch.

Parameters and inputs are on the meta device, in bfloat16: only shapes and types count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, functionalize, grad
from torch.fx.experimental.proxy_tensor import make_fx

from ..instance import Program
from ..torch_export import program_of_model
from .torch_nets import (
    AxialAttention,
    Decoder,
    Diffusion,
    Experts,
    GraphNet,
    Recurrent,
    ResNet,
    Transformer,
    UNet,
)

RATE = 0.01
Sizes = Mapping[str, int]
Made = tuple[nn.Module, tuple[Tensor, ...]]


def _tokens(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long)


def _numbers(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.bfloat16)


def _resnet(s: Sizes) -> Made:
    net = ResNet(s["width"], s["stages"], s["blocks"], s["classes"])
    return net, (_numbers(s["batch"], 3, s["edge"], s["edge"]),)


def _unet(s: Sizes) -> Made:
    return UNet(s["width"], s["depth"]), (_numbers(s["batch"], 3, s["edge"], s["edge"]),)


def _transformer(s: Sizes) -> Made:
    width = s["heads"] * s["head"]
    net = Transformer(s["blocks"], s["length"], width, s["heads"], s["vocabulary"])
    return net, (_tokens(s["batch"], s["length"]),)


def _moe(s: Sizes) -> Made:
    width = s["heads"] * s["head"]
    net = Transformer(
        s["blocks"], s["length"], width, s["heads"], s["vocabulary"],
        lambda: Experts(width, s["experts"]),
    )  # fmt: skip
    return net, (_tokens(s["batch"], s["length"]),)


def _decoder(s: Sizes) -> Made:
    width = s["heads"] * s["head"]
    net = Decoder(s["blocks"], s["batch"], s["length"], width, s["heads"], s["vocabulary"])
    return net, (_tokens(s["batch"], 1), _tokens(1))


def _lstm(s: Sizes) -> Made:
    net = Recurrent(s["layers"], s["width"], s["classes"])
    return net, (_numbers(s["steps"], s["batch"], s["width"]),)


def _axial(s: Sizes) -> Made:
    width, grid = s["heads"] * s["head"], s["grid"]
    return AxialAttention(s["layers"], width, s["heads"]), (
        _numbers(3, s["batch"], grid, grid, width),
    )


def _diffusion(s: Sizes) -> Made:
    net = Diffusion(s["width"], s["depth"], s["heads"])
    image, times = _numbers(s["batch"], 4, s["edge"], s["edge"]), _numbers(s["batch"], s["width"])
    return net, (image, times, _numbers(1), _numbers(1))


def _graph_net(s: Sizes) -> Made:
    edges = s["nodes"] * s["degree"]
    net = GraphNet(s["layers"], s["features"], s["width"])
    return net, (_numbers(s["nodes"], s["features"]), _tokens(edges), _tokens(edges))


# Architecture -> (sizes as drawn) -> the network and its inputs.
NETWORKS: Mapping[str, Callable[[Sizes], Made]] = {
    "resnet": _resnet,
    "unet": _unet,
    "transformer": _transformer,
    "moe": _moe,
    "decoder": _decoder,
    "lstm": _lstm,
    "axial": _axial,
    "diffusion": _diffusion,
    "graph_net": _graph_net,
}


def make_network(architecture: str, sizes: Sizes) -> Made:
    """Make a network on the meta device, and its inputs.

    Args:
        architecture: a key of NETWORKS.
        sizes: the architecture's, as drawn.
    """
    with torch.device("meta"):
        network, inputs = NETWORKS[architecture](sizes)
        return network.to(torch.bfloat16), inputs


def import_network(
    architecture: str, train: bool, sizes: Sizes, name: str, capacity: str
) -> Program:
    """Import the forward pass or a train step of a network.

    Args:
        architecture: a key of NETWORKS.
        train: whether it is a train step.
        sizes: the architecture's, as drawn.
        name: name of the program.
        capacity: size of fast memory, as in `sizes.read_capacity`.
    """
    network, inputs = make_network(architecture, sizes)
    with warnings.catch_warnings():
        # torch's own about what it will do differently some day
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        if train:
            network = TrainStep(network, inputs)
            inputs = (*inputs, network.wanted)
        else:
            network.eval()
        return program_of_model(network, inputs, name=name, capacity=capacity)


class TrainStep(nn.Module):
    """A step of gradient descent on the squared error, which updates the parameters in place.

    Batch normalizations take the batch's own statistics.

    Args:
        network: the network.
        inputs: its inputs.

    Attributes:
        wanted: outputs that the error is taken from.
    """

    def __init__(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.track_running_stats = False
                part.running_mean = part.running_var = part.num_batches_tracked = None
        values = dict(network.named_parameters())
        self.wanted = torch.zeros_like(network(*inputs))

        def loss(values: dict[str, Tensor], inputs: tuple[Tensor, ...], wanted: Tensor) -> Tensor:
            error: Tensor = functional_call(network, values, inputs) - wanted
            return error.square().mean()

        def step(
            values: dict[str, Tensor], inputs: tuple[Tensor, ...], wanted: Tensor
        ) -> dict[str, Tensor]:
            slopes = grad(loss)(values, inputs, wanted)
            return {name: value - RATE * slopes[name] for name, value in values.items()}

        self.step: Any = make_fx(functionalize(step))(values, inputs, self.wanted)
        self.places = {name: f"parameter_{row}" for row, name in enumerate(values)}
        for name, value in values.items():
            self.register_buffer(self.places[name], value.detach())

    def forward(self, *inputs: Tensor) -> tuple[()]:
        """Update the parameters.

        Args:
            *inputs: the network's inputs, and the outputs wanted.
        """
        values = {name: getattr(self, place) for name, place in self.places.items()}
        for name, value in self.step(values, inputs[:-1], inputs[-1]).items():
            values[name].copy_(value)
        return ()
