"""Messages to bytes and back: a fixed header, then MessagePack, then perhaps pixels.

======  ======  ========================================
offset  bytes   what
======  ======  ========================================
0       4       magic ``AMCR``
4       2       version, big-endian
6       10      topic name in ASCII, zeros at the end
16      4       bytes of the message, big-endian
20      …       the message, a tagged MessagePack array
…       …       RGB of a shot that is in no ring
======  ======  ========================================

A frame is trusted by nobody: ``decode`` checks size, header, types and the bounds that
stand in them, so that a message that comes out of it is safe to use. The sender reads
what it wrote with the same eyes: ``encode`` refuses what the other side would drop.
"""

import struct
from functools import cache
from typing import Literal, NamedTuple, Union

import msgspec
import numpy as np

from armicro.errors import WireError
from armicro.field import Field, Pixels
from armicro.wire.topic import VERSION, Message, Shot, Topic, View

MAGIC = b"AMCR"
HEADER = struct.Struct("!4sH10sI")

Fault = Literal["oversized", "foreign", "version", "topic", "malformed", "value"]
Buffer = bytes | memoryview
_ENCODER = msgspec.msgpack.Encoder()


class FrameError(WireError):
    """A frame that cannot be used; ``fault`` is the name under which it is counted."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault: Fault = fault


class Parcel(NamedTuple):
    """A message, and the pixels of its shot when those travelled with it."""

    message: Message
    pixels: Pixels | None = None


def encode(topic: Topic, message: Message) -> bytes:
    """Write a message as one frame.

    Raises:
        FrameError: the message does not belong on the topic, a value is out of range,
            or the frame would be larger than the topic allows.
    """
    if not isinstance(message, topic.messages):
        raise FrameError(
            "topic", f"{type(message).__name__} does not travel on {topic.name!r}"
        )
    try:
        body = _ENCODER.encode(message)
    except (msgspec.MsgspecError, OverflowError, TypeError, UnicodeError) as error:
        raise FrameError("malformed", f"{topic.name}: {error}") from error
    _check_size(topic, HEADER.size + len(body))
    _decode_body(topic, body)
    return _header(topic, len(body)) + body


def decode(topic: Topic, frame: Buffer) -> Message:
    """Read one frame that arrived on a topic.

    Raises:
        FrameError: the frame is oversized, foreign, of another version or topic, not
            MessagePack of a message of this topic, or a value is out of range.
    """
    end = _message_end(topic, frame)
    if end != len(frame):
        raise FrameError("malformed", f"{topic.name}: {len(frame) - end} bytes over")
    return _decode_body(topic, frame[HEADER.size : end])


def encode_parcel(topic: Topic, message: Message, pixels: Pixels | None) -> bytes:
    """Write a message with the pixels of its shot as one frame.

    Raises:
        FrameError: as ``encode``, or the pixels are not those that the shot states.
    """
    frame = encode(topic, message)
    needed = _pixel_bytes(message)
    if needed != (0 if pixels is None else pixels.nbytes):
        raise FrameError("malformed", f"{topic.name}: {needed} bytes of pixels go here")
    if pixels is None:
        return frame
    return b"".join((frame, np.ascontiguousarray(pixels).data))


def decode_parcel(topic: Topic, frame: Buffer) -> Parcel:
    """Read a frame that may end with pixels; these stay where they are, read-only.

    Raises:
        FrameError: as ``decode``, or the pixels are not those that the shot states.
    """
    end = _message_end(topic, frame)
    message = _decode_body(topic, frame[HEADER.size : end])
    needed = _pixel_bytes(message)
    if len(frame) - end != needed:
        raise FrameError(
            "malformed",
            f"{topic.name}: {len(frame) - end} bytes of pixels, expected {needed}",
        )
    shot = _shot(message)
    if shot is None or not needed:
        return Parcel(message)
    pixels = np.frombuffer(frame, np.uint8, needed, end)
    pixels = pixels.reshape(shot.head.height_px, shot.head.width_px, 3)
    pixels.flags.writeable = False
    return Parcel(message, pixels)


def field_from_shot(shot: Shot, pixels: Pixels) -> Field:
    """Put a field together again.

    Raises:
        WireError: the pixels are not of the size that the shot states.
    """
    head = shot.head
    if pixels.shape != (head.height_px, head.width_px, 3):
        raise WireError(
            f"field {head.seq}: pixels are {pixels.shape}, the message says "
            f"{(head.height_px, head.width_px, 3)}"
        )
    return head.with_pixels(pixels)


def _shot(message: Message) -> Shot | None:
    return (
        message.shot
        if isinstance(message, View)
        else (message if isinstance(message, Shot) else None)
    )


def _pixel_bytes(message: Message) -> int:
    """Bytes of pixels that travel with a message."""
    shot = _shot(message)
    if shot is None or shot.slot >= 0:
        return 0
    return shot.head.width_px * shot.head.height_px * 3


def _header(topic: Topic, size: int) -> bytes:
    return HEADER.pack(MAGIC, VERSION, topic.name.encode("ascii"), size)


@cache
def _decoder(topic: Topic) -> msgspec.msgpack.Decoder[Message]:
    # msgspec wants the union spelt out; `|` cannot be spread over a tuple.
    return msgspec.msgpack.Decoder(Union[topic.messages])  # noqa: UP007


def _decode_body(topic: Topic, body: Buffer) -> Message:
    try:
        message: Message = _decoder(topic).decode(body)
    # UnicodeDecodeError is a ValueError; deep nesting ends in RecursionError.
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError(
            "value" if _breaks_bound(error, body) else "malformed",
            f"{topic.name}: {error}; not used",
        ) from error
    if broken := message.broken():
        raise FrameError(
            "value", f"{topic.name}: {type(message).__name__}: {broken}; not used"
        )
    return message


def _breaks_bound(error: Exception, body: Buffer) -> bool:
    """Whether all of a message is of its types and whole, but a value out of bounds.

    msgspec says "Expected `int` >= 0" of a bound, and "Expected `int`, got `str`" of a
    type or a fixed length.
    """
    text = str(error)
    if not text.startswith("Expected") or ", got" in text:
        return False
    try:
        # Skips what it reads: a frame that claims a length beyond its end takes none.
        msgspec.msgpack.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _message_end(topic: Topic, frame: Buffer) -> int:
    """Check the header and find where the message ends."""
    head = bytes(frame[: HEADER.size])
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise FrameError("foreign", f"{topic.name}: not a message of armicro")
    _, version, name, size = HEADER.unpack(head)
    if version != VERSION:
        raise FrameError(
            "version",
            f"{topic.name}: message of wire version {version}, expected {VERSION}; "
            "run the same armicro on every machine",
        )
    if head != _header(topic, size):
        raise FrameError("topic", f"{topic.name}: message of topic {name!r}")
    end: int = HEADER.size + size
    _check_size(topic, end)
    if end > len(frame):
        raise FrameError("malformed", f"{topic.name}: cut off at {len(frame)} bytes")
    return end


def _check_size(topic: Topic, size: int) -> None:
    if size > topic.maximum_bytes:
        raise FrameError(
            "oversized",
            f"{topic.name}: message of {size} bytes, at most {topic.maximum_bytes} "
            "are allowed",
        )
