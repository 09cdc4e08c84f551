"""OpenVINO graphs rewritten before they are compiled.

A QuantizeLinear arrives as FakeQuantize, its DequantizeLinear as Convert, Subtract and
Multiply behind it.
"""

from typing import Any

from openvino import opset1


def drop_activation_quantisers(model: Any) -> None:
    """Take Q/DQ pairs out of the graph; weights keep their quantised values.

    Who reads the end of a pair's chain shall read its beginning.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "FakeQuantize":
            for end in _chain_ends(operation):
                end.replace(operation.input_value(0))


def pool_before_strides(model: Any) -> None:
    """Let a 1x1 max pool take the steps of 1x1 convolutions of INT8 activations.

    The result is the same. OpenVINO (2026.4.1) moves such a stride up the graph,
    through the quantiser, and then computes the convolution in float32: a quarter of
    the time of a ResNet50 v1, whose stages begin with two of them.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "FakeQuantize":
            for end in _chain_ends(operation):
                _pool(end)


def _pool(source: Any) -> None:
    """Take the strides out of the 1x1 convolutions that read an output."""
    pools: dict[tuple[int, ...], Any] = {}
    for port in list(source.get_target_inputs()):
        reader = port.get_node()
        if not _steps(reader):
            continue
        strides = tuple(reader.get_attributes()["strides"])
        ones, zeros = [1] * len(strides), [0] * len(strides)
        if strides not in pools:
            pools[strides] = opset1.max_pool(source, strides, zeros, zeros, ones)
        reader.set_attribute("strides", ones)
        port.replace_source_output(pools[strides].output(0))


def _steps(operation: Any) -> bool:
    """Whether this is a 1x1 convolution with a stride and without a border."""
    if operation.get_type_name() != "Convolution":
        return False
    attributes = operation.get_attributes()
    kernel = operation.input_value(1).get_partial_shape()[2:]
    return (
        all(side == 1 for side in kernel)
        and max(attributes["strides"]) > 1
        and not any((*attributes["pads_begin"], *attributes["pads_end"]))
    )


def _chain_ends(operation: Any) -> list[Any]:
    """Outputs where the chains behind a quantiser are float again."""
    followers = [port.get_node() for port in operation.output(0).get_target_inputs()]
    ends = []
    for follower in followers:
        kind = follower.get_type_name()
        if kind == "Multiply":
            ends.append(follower.output(0))
        elif kind in ("Convert", "Subtract"):
            ends += _chain_ends(follower)
    # Output and input in the same scale: the quantiser has no chain, it is the pair.
    is_pair = not ends and operation.get_type_name() == "FakeQuantize"
    return [operation.output(0)] if is_pair else ends
