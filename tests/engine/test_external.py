"""External weights are found wherever ONNX lets a tensor lie, and nowhere else."""

import time
from collections.abc import Callable
from typing import Any

import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from armicro.engine.manifest import has_external_weights
from tests.tiny import hr_model, lr_model, rnn_model


def away(name: str = "w") -> TensorProto:
    """A tensor whose values lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def here() -> TensorProto:
    return helper.make_tensor("location", TensorProto.FLOAT, [2], [1.0, 2.0])


def sparse(values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def graph(*nodes: NodeProto, weights: tuple[TensorProto, ...] = ()) -> GraphProto:
    return GraphProto(name="g", node=nodes, initializer=weights)


def node(**attribute: Any) -> NodeProto:
    return NodeProto(
        op_type="Constant", attribute=[AttributeProto(name="a", **attribute)]
    )


def model(inner: GraphProto | None = None, **more: Any) -> ModelProto:
    return ModelProto(ir_version=9, graph=inner or graph(), **more)


def nested(levels: int, innermost: GraphProto) -> GraphProto:
    for _ in range(levels):
        innermost = graph(node(g=innermost))
    return innermost


def only_the_key() -> TensorProto:
    tensor = away()
    tensor.ClearField("data_location")
    return tensor


def only_the_flag() -> TensorProto:
    tensor = away()
    del tensor.external_data[:]
    return tensor


EXTERNAL: dict[str, Callable[[], ModelProto]] = {
    "an initializer": lambda: model(graph(weights=(here(), away()))),
    "an initializer with the flag alone": lambda: model(
        graph(weights=(only_the_flag(),))
    ),
    "an initializer with the entry alone": lambda: model(
        graph(weights=(only_the_key(),))
    ),
    "values of a sparse initializer": lambda: model(
        GraphProto(sparse_initializer=[sparse(away(), here())])
    ),
    "indices of a sparse initializer": lambda: model(
        GraphProto(sparse_initializer=[sparse(here(), away())])
    ),
    "a node's tensor": lambda: model(graph(node(t=away()))),
    "a node's list of tensors": lambda: model(graph(node(tensors=[here(), away()]))),
    "a node's sparse tensor": lambda: model(
        graph(node(sparse_tensor=sparse(away(), here())))
    ),
    "a node's list of sparse tensors": lambda: model(
        graph(node(sparse_tensors=[sparse(here(), away())]))
    ),
    "a branch": lambda: model(graph(node(g=graph(weights=(away(),))))),
    "one of several branches": lambda: model(
        graph(node(graphs=[graph(), graph(weights=(away(),))]))
    ),
    "a branch in a branch, twenty deep": lambda: model(
        nested(20, graph(weights=(away(),)))
    ),
    "a function's node": lambda: model(
        functions=[onnx.FunctionProto(name="f", node=[node(t=away())])]
    ),
    "a function's default": lambda: model(
        functions=[
            onnx.FunctionProto(
                name="f", attribute_proto=[AttributeProto(name="a", t=away())]
            )
        ]
    ),
    "the start of a training": lambda: model(
        training_info=[onnx.TrainingInfoProto(initialization=graph(weights=(away(),)))]
    ),
    "the step of a training": lambda: model(
        training_info=[onnx.TrainingInfoProto(algorithm=graph(node(t=away())))]
    ),
}


@pytest.mark.parametrize("where", EXTERNAL)
def test_weights_in_another_file_are_seen_in(where: str) -> None:
    assert has_external_weights(EXTERNAL[where]().SerializeToString())


def test_a_graph_given_in_two_pieces_is_read_as_the_two() -> None:
    # A parser merges what comes twice: the second piece adds its tensors.
    pieces = [model(graph(weights=(one,))) for one in (here(), away())]
    assert has_external_weights(b"".join(p.SerializeToString() for p in pieces))


def test_a_flag_that_a_parser_cuts_to_external_is_external() -> None:
    # 2**32 + 1 in ten bytes: cut to 32 bits it is EXTERNAL.
    tensor = b"\x70\x81\x80\x80\x80\x10"
    initializer = b"\x2a" + bytes([len(tensor)]) + tensor
    assert has_external_weights(b"\x3a" + bytes([len(initializer)]) + initializer)


INSIDE: dict[str, Callable[[], bytes]] = {
    "the LR network": lr_model,
    "the HR network": hr_model,
    "the slide network": rnn_model,
    "an output, a node and a text called location and external_data": lambda: model(
        GraphProto(
            name="external_data",
            doc_string="location: weights.bin",
            initializer=[here()],
            output=[helper.make_tensor_value_info("location", TensorProto.FLOAT, [1])],
            node=[node(s=b"\x6a\x12\x0a\x08location\x12\x05x.bin")],
        )
    ).SerializeToString(),
    "bytes of a weight that read like an entry": lambda: model(
        graph(weights=(TensorProto(raw_data=away().SerializeToString()),))
    ).SerializeToString(),
    "metadata with the key location": lambda: model(
        metadata_props=[
            onnx.StringStringEntryProto(key="location", value="weights.bin")
        ]
    ).SerializeToString(),
    "nothing at all": lambda: b"",
}


@pytest.mark.parametrize("what", INSIDE)
def test_weights_inside_are_left_in_peace_with(what: str) -> None:
    assert not has_external_weights(INSIDE[what]())


def deep(branches: int) -> bytes:
    """A graph of a node of an attribute of a graph..., which no parser here makes."""
    content = b""
    for _ in range(branches):
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            length = len(content)
            content = tag + bytes([length & 127 | 128, length >> 7]) + content
    length = len(content)
    return b"\x3a" + bytes([length & 127 | 128, length >> 7]) + content


MALFORMED: dict[str, bytes] = {
    "a length beyond the end": b"\x3a\x7f\x0a",
    "a length of 2**63": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "a number without an end": b"\x08" + b"\xff" * 11,
    "a number cut short": b"\x08\x80",
    "a tag cut short": b"\x80",
    "a group": b"\x3b\x08\x01\x3c",
    "a wire type that is none": b"\x0f",
    "the field 0": b"\x02\x00",
    "a field beyond protobuf's": b"\x82\x80\x80\x80\x10\x00",
    "eight bytes cut short": b"\x09\x00",
    "text": b"not a network at all",
    "a hundred branches deep": deep(100),
    "a million parts": b"\x08\x01" * 1_000_000,
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_model_is_refused_soon(what: str) -> None:
    begun_s = time.thread_time()
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        has_external_weights(MALFORMED[what])
    assert time.thread_time() - begun_s < 20
