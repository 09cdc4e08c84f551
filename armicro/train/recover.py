"""Trained weights out of a shipped set, so that training can go on from it.

A set holds INT8 weights with batch normalisation folded in. They are brought back to
float and unfolded with the statistics that the network has (those of its start weights,
which training never moves), so that learning rates mean what they meant. What is lost
is the rounding: half a step of 127.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from armicro.errors import EngineError

LEAST_GAIN = 1e-2
"""Batch normalisation's gain below which dividing by it would blow rounding up."""


def recover(network: nn.Module, path: Path) -> None:
    """Fill a network from a set's ONNX file, in place.

    Raises:
        EngineError: the file cannot be read or is of another network.
    """
    try:
        graph = onnx.load(path).graph
    except Exception as error:
        raise EngineError(f"{path}: is not a readable ONNX file ({error})") from error
    constants = {item.name: item for item in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    modules = dict(network.named_modules())
    found = 0
    for node in graph.node:
        name = node.name.strip("/").removesuffix("/Conv").split("/")
        conv = modules.get(module_name(name))
        if node.op_type != "Conv" or not isinstance(conv, nn.Conv2d):
            continue
        weight = read_weight(node.input[1], constants, makers)
        bias = numpy_helper.to_array(constants[node.input[2]])
        if weight.shape != tuple(conv.weight.shape):
            raise EngineError(f"{path}: {node.name} has another shape than the network")
        norm = modules.get(norm_name(module_name(name)))
        fill(conv, norm, torch.tensor(weight), torch.tensor(bias))
        found += 1
    wanted = sum(isinstance(module, nn.Conv2d) for module in modules.values())
    if found != wanted:
        raise EngineError(f"{path}: holds {found} of the network's {wanted} layers")


def module_name(path: list[str]) -> str:
    """Return a module's name from its node's path.

    >>> module_name(["backbone", "layer1", "layer1.0", "downsample", "downsample.0"])
    'backbone.layer1.0.downsample.0'
    """
    parts: list[str] = []
    for part in path:
        if parts and part.startswith(f"{parts[-1]}."):
            part = part.removeprefix(f"{parts[-1]}.")
        parts.append(part)
    return ".".join(parts)


def norm_name(conv: str) -> str:
    """Return the name of the batch normalisation behind a convolution.

    >>> norm_name("backbone.layer1.0.conv2"), norm_name("location.blocks.0.body.3")
    ('backbone.layer1.0.bn2', 'location.blocks.0.body.4')
    """
    head, _, last = conv.rpartition(".")
    behind = str(int(last) + 1) if last.isdigit() else last.replace("conv", "bn")
    return f"{head}.{behind}"


def read_weight(
    name: str,
    constants: dict[str, onnx.TensorProto],
    makers: dict[str, onnx.NodeProto],
) -> NDArray[np.float32]:
    """Return a convolution's weight in float, whether stored so or as int8."""
    if name in constants:
        return np.asarray(numpy_helper.to_array(constants[name]), np.float32)
    steps, scale, zero = (
        numpy_helper.to_array(constants[part]) for part in makers[name].input
    )
    shape = (-1, *(1,) * (steps.ndim - 1))
    values = (steps.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
    return np.asarray(values, np.float32)


@torch.no_grad()
def fill(conv: nn.Conv2d, norm: nn.Module | None, weight: Tensor, bias: Tensor) -> None:
    """Put folded numbers into a convolution and its batch normalisation."""
    if not isinstance(norm, nn.BatchNorm2d):
        conv.weight.copy_(weight)
        if conv.bias is not None:
            conv.bias.copy_(bias)
        return
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise EngineError("batch normalisation keeps no statistics")
    small = norm.weight.abs() < LEAST_GAIN
    norm.weight[small] = LEAST_GAIN
    gain = norm.weight / torch.sqrt(var + norm.eps)
    conv.weight.copy_(weight / gain.view(-1, 1, 1, 1))
    norm.bias.copy_(bias + mean * gain)


@torch.no_grad()
def blend(network: nn.Module, start: nn.Module, share: float) -> None:
    """Move a network's weights towards those it started from, in place.

    Args:
        network: trained.
        start: of the same shape.
        share: of the trained weights, 0-1.
    """
    for new, old in zip(network.parameters(), start.parameters(), strict=True):
        new.lerp_(old, 1 - share)
