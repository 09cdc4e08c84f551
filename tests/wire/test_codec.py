"""What goes in comes out; whatever else comes in is a FrameError and nothing worse."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import numpy as np
import pytest

from armicro.errors import WireError
from armicro.field import Field, FieldHead, Place, Sight
from armicro.report import (
    MOST_FINDINGS,
    MOST_GROUND_BYTES,
    MOST_SEEN,
    CellBits,
    FieldReport,
    Finding,
    Revisit,
    Shown,
    SlideReport,
    SlideScore,
)
from armicro.rule import MOST_SEQ, MOST_TEXT, cut_texts
from armicro.slide.coverage import CHUNK_BYTES
from armicro.wire.codec import (
    HEADER,
    FrameError,
    decode,
    decode_parcel,
    encode,
    encode_parcel,
    field_from_shot,
)
from armicro.wire.topic import (
    MOST_RANGES,
    TOPICS,
    VERSION,
    Ask,
    Beat,
    Message,
    Shot,
    Slide,
    Topic,
    View,
    Wait,
)

NAN, INF = float("nan"), float("inf")
HEAD = FieldHead(0.25, 3, 1_000, width_px=6, height_px=4)
SHOT = Shot(HEAD, 2_000, slot=1, stamp=8)
FINDING = Finding(100.0, 50.0, 62.0, 62.0, 0.9, 0.75, 3)
REPORT = FieldReport(3, "analysed")
SLIDE_REPORT = SlideReport("slide-1", SlideScore())
SLIDE = Slide("run", 3_000, SLIDE_REPORT)
BEAT = Beat("infer", 77, 4_000)
FIELDS = TOPICS["fields"]


def frame_without_checks(topic: Topic, message: object) -> bytes:
    """What a sender that keeps no rules would send."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(b"AMCR", VERSION, topic.name.encode(), len(body)) + body


def fault_of(topic: Topic, frame: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode(topic, frame)
    return caught.value.fault


def test_every_message_comes_back_equal(example: tuple[str, Message]) -> None:
    topic, message = TOPICS[example[0]], example[1]
    assert decode(topic, encode(topic, message)) == message
    assert decode(topic, memoryview(encode(topic, message))) == message


def test_every_topic_has_a_distinct_header() -> None:
    heads = {HEADER.pack(b"AMCR", 1, name.encode(), 0) for name in TOPICS}
    assert len(heads) == len(TOPICS)
    assert all(len(name.encode()) <= 10 for name in TOPICS)


def test_foreign_bytes_are_named_foreign() -> None:
    for frame in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"AMCR"):
        assert fault_of(FIELDS, frame) == "foreign"


def test_another_version_is_named_and_says_what_to_do() -> None:
    frame = bytearray(encode(FIELDS, SHOT))
    frame[5] += 1
    with pytest.raises(FrameError, match="run the same armicro") as caught:
        decode(FIELDS, bytes(frame))
    assert caught.value.fault == "version"


def test_a_message_of_another_topic_is_refused() -> None:
    assert fault_of(TOPICS["view"], encode(FIELDS, SHOT)) == "topic"
    # Its header lies about the topic: then it is no message of that topic.
    assert fault_of(FIELDS, frame_without_checks(FIELDS, BEAT)) == "malformed"
    with pytest.raises(FrameError, match="does not travel"):
        encode(TOPICS["health"], SHOT)


def test_an_oversized_message_is_refused_before_it_is_read() -> None:
    topic = TOPICS["health"]
    large = msgspec.structs.replace(BEAT, text="x" * topic.maximum_bytes)
    assert fault_of(topic, frame_without_checks(topic, large)) == "oversized"
    with pytest.raises(FrameError, match="at most 16384"):
        encode(topic, large)
    header = HEADER.pack(b"AMCR", VERSION, b"health", 2**32 - 1)
    assert fault_of(topic, header) == "oversized"


def test_what_hangs_on_behind_a_message_is_refused() -> None:
    assert fault_of(FIELDS, encode(FIELDS, SHOT) + b"\0") == "malformed"


def test_a_length_that_memory_could_not_hold_is_refused() -> None:
    body = b"\x94\xa3Ask\xa1s\x00\xdd\xff\xff\xff\xff"
    frame = HEADER.pack(b"AMCR", VERSION, b"fields", len(body)) + body
    assert fault_of(FIELDS, frame) == "malformed"


def test_deep_nesting_is_refused() -> None:
    body = b"\x92\xa4View\x87\xa1x" + b"\x91" * 60_000
    frame = HEADER.pack(b"AMCR", VERSION, b"view", len(body)) + body
    assert fault_of(TOPICS["view"], frame) == "malformed"


Replace = Callable[..., Any]
replace: Replace = msgspec.structs.replace


def told(message: Any, **changes: object) -> Any:
    """A shot or slide with changes of its own, or of what it carries."""
    part = "head" if isinstance(message, Shot) else "report"
    carried = getattr(message, part)
    inner = {k: v for k, v in changes.items() if k in carried.__struct_fields__}
    outer = {k: v for k, v in changes.items() if k not in inner}
    return replace(message, **outer, **{part: replace(carried, **inner)})


def bad_messages() -> Iterator[tuple[str, Message]]:
    name: str
    bad: Any
    for name, bad in (
        ("seq", -1), ("seq", 2**63), ("width_px", 0), ("height_px", -4),
        ("width_px", 65_536), ("um_per_px", 0.0), ("um_per_px", -0.25),
        ("um_per_px", NAN), ("um_per_px", INF), ("slot", -2), ("stamp", -1),
        ("sent_ns", -1), ("taken_ns", 2**63), ("skipped", -1),
        ("skipped", 2**63 - 1), ("taken_ns", 2**63 - 1), ("seq", 2**62),
        ("um_per_px", 1e6), ("slot", 2**31),
        ("shown", Shown(1, 2, unplaced=2**62)),
        ("place", Place(NAN, 0.0, 0.0, "slide_file")),
        ("place", Place(0.0, -INF, 0.0, "slide_file")),
        ("place", Place(0.0, 0.0, -0.1, "slide_file")),
        ("place", Place(0.0, 0.0, NAN, "slide_file")),
    ):  # fmt: skip
        yield "fields", told(SHOT, **{name: bad})
        yield "view", View(told(SHOT, **{name: bad}))
    for name, bad in (
        ("lr_probability", 1.01), ("hr_probability", -0.01), ("hr_probability", NAN),
        ("x_um", INF), ("width_um", 0.0), ("height_um", -1.0), ("field_seq", -1),
    ):  # fmt: skip
        finding = replace(FINDING, **{name: bad})
        yield "slide", told(SLIDE, findings=(FINDING, finding))
        yield "slide", told(SLIDE, last=replace(REPORT, findings=(finding,)))
    for name, bad in (
        ("cell_share", 1.5), ("width_um", NAN), ("lr_tiles", -1),
        ("cells", CellBits(2, 5, 8.0, b"\xaa")), ("cells", CellBits(2, 5, NAN, b"ab")),
        ("cells", CellBits(0, 5, 8.0, b"")),
    ):  # fmt: skip
        yield "slide", told(SLIDE, last=replace(REPORT, **{name: bad}))
    for name, bad in (
        ("score", 1.5), ("coverage", NAN), ("scores", {"10": (0.5, -0.5)}),
        ("fields", -1), ("megapixels", -1.0),
    ):  # fmt: skip
        yield "slide", told(SLIDE, score=SlideScore(**{name: bad}))
    yield "slide", told(SLIDE, inference_ms=NAN)
    yield "health", replace(BEAT, pid=0)
    yield "health", replace(BEAT, fields=-1)
    for ranges in (((5, 4),), ((-1, 4),), ((0, 4), (4, 6)), ((0, 2**63),)):
        yield "fields", Ask("run", done=ranges)
    yield "fields", Ask("run", after=-2)
    for ask in (
        Ask("run", done=((0, 2**63 - 1),)), Ask("run", done=((2**62, 2**62),)),
        Ask("run", after=2**63 - 1), Ask("run", kept=2**63 - 1),
        Ask("run", done=tuple((2 * n, 2 * n) for n in range(MOST_RANGES + 1))),
        Ask("r" * (MOST_TEXT + 1)),
    ):  # fmt: skip
        yield "fields", ask
    yield "slide", told(SLIDE, findings=(FINDING,) * (MOST_FINDINGS + 1))
    yield "slide", told(SLIDE, seen=bytes((MOST_SEEN + 1) * 20))
    yield (
        "slide",
        told(SLIDE, score=SlideScore(scores={str(n): (0, 0) for n in range(17)})),
    )
    # What bounds of one value cannot say.
    yield "slide", told(SLIDE, seen=bytes(19))
    yield "slide", told(SLIDE, seen=np.full(5, NAN, "<f4").tobytes())
    yield "fields", told(SHOT, shown=Shown(1, 2, ground=bytes(CHUNK_BYTES - 1)))
    yield "fields", told(SHOT, shown=Shown(1, 2, ground=b"\x7f" * CHUNK_BYTES))
    yield "fields", told(SHOT, sight=Sight(velocity_xy_um_per_s=(0.0, INF)))
    yield "view", View(told(SHOT, voided="x" * (MOST_TEXT + 1)))
    yield "health", replace(BEAT, text="x" * (MOST_TEXT + 1))


@pytest.mark.parametrize(("name", "message"), list(bad_messages()))
def test_a_value_out_of_range_is_refused_on_both_sides(
    name: str, message: Message
) -> None:
    topic = TOPICS[name]
    assert fault_of(topic, frame_without_checks(topic, message)) == "value"
    with pytest.raises(FrameError) as caught:
        encode(topic, message)
    assert caught.value.fault == "value"


def test_the_most_that_every_list_may_hold_fits_its_topic() -> None:
    far = 123_456_789.123
    finding = Finding(far, -far, far, far, 0.123456, 0.654321, MOST_SEQ)
    revisit = Revisit(far, -far, far, far, "out_of_focus")
    slide = told(
        SLIDE,
        findings=(finding,) * MOST_FINDINGS,
        revisits=(revisit,) * 1_024,
        seen=bytes(MOST_SEEN * 20),
    )
    ends = MOST_SEQ - 2 * MOST_RANGES
    done = tuple((ends + 2 * n, ends + 2 * n) for n in range(MOST_RANGES))
    chunks = MOST_GROUND_BYTES // CHUNK_BYTES
    assert chunks == 128
    shot = replace(SHOT, shown=Shown(1, 2, ground=bytes(chunks * CHUNK_BYTES)))
    for name, message in (
        ("slide", slide), ("fields", shot), ("fields", Ask("run", done=done)),
    ):  # fmt: skip
        assert decode(TOPICS[name], encode(TOPICS[name], message)) == message


def test_texts_that_are_too_long_are_cut_and_the_rest_is_told() -> None:
    long = "µ" * 50_000
    shot = told(SHOT, fault=long)
    view = cut_texts(View(shot, "slide", problem=long, warning="dim"))
    assert (len(view.problem), len(view.shot.head.fault)) == (MOST_TEXT, MOST_TEXT)
    assert view.problem.endswith("µ…")
    assert view.warning == "dim"
    assert decode(TOPICS["view"], encode(TOPICS["view"], view)) == view
    assert cut_texts(SHOT) is SHOT


def structs_of(kind: Any, seen: set[type]) -> set[type]:
    """Every struct type that a type can hold."""
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    if is_struct and kind not in seen:
        seen.add(kind)
        for inner in msgspec.structs.fields(kind):
            structs_of(inner.type, seen)
    for argument in getattr(kind, "__args__", ()):
        structs_of(argument, seen)
    return seen


def test_every_number_on_the_wire_has_a_rule() -> None:
    messages = (kind for topic in TOPICS.values() for kind in topic.messages)
    kinds: set[type] = set()
    for message in messages:
        structs_of(message, kinds)
    assert FieldReport in kinds
    for kind in kinds:
        for inner in msgspec.structs.fields(kind):
            if (kind, inner.name) != (CellBits, "bits"):  # its ``broken`` counts them
                assert not unbound(inner.type), f"{kind.__name__}.{inner.name}"
    assert unbound(dict[str, tuple[int, ...]])
    assert unbound(Annotated[float, msgspec.Meta(ge=0)] | None)


def unbound(kind: Any) -> str:
    """What of a type has no bound: a number low and high, a text or a list a length."""
    bounds = [m for m in getattr(kind, "__metadata__", ()) if m.ge is not None]
    lengths = [m for m in getattr(kind, "__metadata__", ()) if m.max_length]
    bare = get_origin(kind) or kind
    if bare is Annotated:
        bare = get_origin(kind.__origin__) or kind.__origin__
        kind = kind.__origin__
    arguments = [one for one in get_args(kind) if one is not Ellipsis]
    if bare in (int, float) and not any(m.le is not None for m in bounds):
        return str(kind)
    grows = bare in (bytes, dict) or (bare is tuple and Ellipsis in get_args(kind))
    if bare is str or grows:
        # The text of a key is as long as its frame, and no longer.
        arguments = arguments[1:] if bare is dict else arguments
        if not lengths:
            return str(kind)
    if bare is Literal:
        return ""
    return next(filter(None, map(unbound, arguments)), "")


def test_no_bytes_raise_anything_but_a_wire_error() -> None:
    rng = np.random.default_rng(20261)
    for _ in range(3_000):
        topic = list(TOPICS.values())[rng.integers(len(TOPICS))]
        body = rng.bytes(int(rng.integers(0, 80)))
        for frame in (
            body, HEADER.pack(b"AMCR", VERSION, topic.name.encode(), len(body)) + body,
        ):  # fmt: skip
            read_or_refuse(topic, frame)


def test_no_cut_or_flipped_frame_raises_anything_but_a_wire_error(
    example: tuple[str, Message],
) -> None:
    topic = TOPICS[example[0]]
    frame = encode(topic, example[1])
    for end in range(len(frame)):
        assert fault_of(topic, frame[:end])
    rng = np.random.default_rng(20262)
    for _ in range(1_500):
        flipped = np.frombuffer(frame, np.uint8).copy()
        for place in rng.integers(0, len(frame), int(rng.integers(1, 5))):
            flipped[place] ^= 1 << rng.integers(8)
        read_or_refuse(topic, flipped.tobytes())


def read_or_refuse(topic: Topic, frame: bytes) -> None:
    """Decode; what decodes must be good enough to be sent on."""
    for read in (decode, lambda t, f: decode_parcel(t, f).message):
        try:
            message = read(topic, frame)
        except WireError:
            continue
        encode(topic, message)


def test_pixels_travel_behind_the_message(make_field: Callable[..., Field]) -> None:
    field = make_field(3)
    shot = Shot(field.head, 2_000)
    for name, message in (("fields", shot), ("view", View(shot, "slide"))):
        topic = TOPICS[name]
        frame = encode_parcel(topic, message, field.pixels)
        parcel = decode_parcel(topic, frame)
        assert parcel.message == message
        assert parcel.pixels is not None
        np.testing.assert_array_equal(parcel.pixels, field.pixels)
        assert not parcel.pixels.flags.writeable
        with pytest.raises(FrameError, match="expected 72"):
            decode_parcel(topic, frame[:-1])
        with pytest.raises(FrameError, match="expected 72"):
            decode_parcel(topic, frame + b"\0")


def test_pixels_that_do_not_fit_their_shot_are_not_sent(
    make_field: Callable[..., Field],
) -> None:
    shot = Shot(make_field(3).head, 2_000)
    with pytest.raises(FrameError, match="72 bytes"):
        encode_parcel(FIELDS, shot, make_field(3, 7, 4).pixels)
    with pytest.raises(FrameError, match="72 bytes"):
        encode_parcel(FIELDS, shot, None)
    with pytest.raises(FrameError, match="0 bytes"):
        encode_parcel(FIELDS, Wait("starting"), make_field(3).pixels)


def test_pixels_with_gaps_between_their_rows_travel_whole(
    make_field: Callable[..., Field],
) -> None:
    pixels = make_field(3, 12, 8).pixels[::2, ::2, ::-1]
    field = Field(0.25, 3, 1_000, pixels=pixels)
    shot = Shot(field.head, 2_000)
    parcel = decode_parcel(FIELDS, encode_parcel(FIELDS, shot, pixels))
    assert parcel.pixels is not None
    np.testing.assert_array_equal(parcel.pixels, pixels)


def test_a_field_comes_back_from_its_shot(make_field: Callable[..., Field]) -> None:
    field = make_field(5)
    shot = Shot(field.head, 9, slot=2, stamp=4, skipped=1)
    assert (shot.slot, shot.stamp, shot.skipped, shot.sent_ns) == (2, 4, 1, 9)
    back = field_from_shot(shot, field.pixels)
    assert back.pixels is field.pixels
    assert (back.seq, back.um_per_px, back.taken_ns) == (5, 0.25, 1_005)
    assert (back.place, back.fault) == (field.place, "")
    with pytest.raises(WireError, match="the message says"):
        field_from_shot(shot, field.pixels[1:])
