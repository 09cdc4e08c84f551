"""Whether an ONNX file keeps weights in another file, found by reading its structure.

The file is a tree of protobuf messages; only the branches that can hold a tensor are
walked, values are stepped over. What is no well-formed message is refused, since a
backend might read it in another way than we did. Groups are refused too: ONNX has none.

Numbers are those of ``onnx.proto3``, whose fields never change their number.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TENSOR = "TensorProto"
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR,
        6: "GraphProto",
        10: _TENSOR,
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
"""Fields that hold a message in which a tensor may lie."""
_DEEPEST = 100
"""Messages within messages, as protobuf's own parsers allow."""
_MOST_FIELDS = 200_000
"""Some seconds of walking on a slow machine; ours have 4,000 to 8,000."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class _Field(NamedTuple):
    number: int
    wire_type: int
    value: int
    """Of a varint."""
    start: int
    end: int
    """Of the content of bytes."""


def has_external_weights(model: bytes) -> bool:
    """Whether any tensor of a model says that its values lie elsewhere.

    Args:
        model: the content of an ONNX file.

    Raises:
        ValueError: it is no well-formed model, nested too deeply, or of more parts than
            any network has.
    """
    fields_left = _MOST_FIELDS
    waiting = [("ModelProto", 0, len(model), 0)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST} messages")
        inner = _MESSAGES[message]
        for field in _fields(model, start, end):
            fields_left -= 1
            if not fields_left:
                raise ValueError(f"more than {_MOST_FIELDS:,} parts")
            if message == _TENSOR and _is_external(field):
                return True
            if field.number in inner and field.wire_type == _BYTES:
                waiting.append((inner[field.number], field.start, field.end, depth + 1))
    return False


def _is_external(field: _Field) -> bool:
    # DEFAULT is 0; a parser cuts the number to 32 bits, so any other is suspect.
    named = field.number == _DATA_LOCATION and field.value != 0
    return named or field.number == _EXTERNAL_DATA


def _fields(model: bytes, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        tag, position = _varint(model, position, end)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"a field numbered {number} at byte {position}")
        value, content = 0, position
        if wire_type == _VARINT:
            value, position = _varint(model, position, end)
        elif wire_type == _BYTES:
            length, content = _varint(model, position, end)
            position = content + length
        elif wire_type in _WIDTHS:
            position += _WIDTHS[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position > end:
            raise ValueError(f"cut short at byte {end}")
        yield _Field(number, wire_type, value, content, position)


def _varint(model: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends."""
    value = 0
    for index in range(10):
        if position + index >= end:
            raise ValueError(f"cut short at byte {end}")
        byte = model[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError(f"a number without an end at byte {position}")
