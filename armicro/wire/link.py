"""Sockets: the only file that imports zmq, and long since it must hold all that does.

Six ends, two a kind of traffic (see the package). Each has a ZeroMQ context of its own,
so that closing one frees its threads and sockets, and belongs to one thread.

- Nothing here waits without a limit; closing lingers for a fifth of a second, so that
  a last word gets out.
- A frame that cannot be used is dropped and counted in ``dropped`` under "TOPIC: why",
  with the reasons of ``codec.FrameError`` and "late", "refused" and "not sent".
- Over tcp with keys every byte is encrypted (CURVE), a server lets in the clients whose
  public key lies in its folder, and a peer that went silent is noticed by heartbeats.
- Times in messages from another machine are put on this one's clock (``clock``).
- ``newest`` is what is left of a short queue once it was emptied. ZeroMQ's own option
  for that (``conflate``) ends the process on the first message of several frames
  (fq.cpp, ``!_more``), and at the publisher starves all subscribers but one.
- A message of more frames than its kind has is read to its end and thrown away. One
  that never ends stays in ZeroMQ, out of reach: only who has a key, or is this user,
  can send it, and the supervisor watches what a child takes.
"""

import contextlib
import secrets
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Self

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from armicro.errors import RigError
from armicro.field import Pixels
from armicro.rule import cut_texts
from armicro.wire.address import check_address, is_local, is_remote
from armicro.wire.clock import PeerClock
from armicro.wire.codec import FrameError, Parcel, decode_parcel, encode_parcel
from armicro.wire.keys import read_client_keys, read_server_keys
from armicro.wire.topic import TOPICS, Message

RESEND_S = 5.0
"""An ask whose connection stands is sent again after this; one that breaks, at once."""
MOST_PIXEL_BYTES = 1 << 28
"""Of one field over tcp: 256 MiB, or 9459 × 9459 px."""
MOST_AT_ONCE = 256
"""Messages taken in one call, so that a flood cannot hold the caller."""
_PICTURED = ("fields", "view")
_QUEUED, _QUEUED_ASKS, _QUEUED_PICTURES = 64, 4, 1
_BACKLOG = 16
"""Connections that wait to be accepted; there are four children."""
_LINGER_MS = 200
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS, _HANDSHAKE_MS = 2_000, 10_000, 10_000
_RECONNECT_MS, _RECONNECT_MOST_MS = 50, 500
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_WATCHED = _REFUSED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class Peer(NamedTuple):
    """Who asked, and which of its questions it was."""

    identity: bytes
    number: bytes


def new_key_pair() -> tuple[str, str]:
    """Make a CURVE key pair: (public, secret), 40 characters each."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


class _End:
    """A socket with a context, a topic and a count of what was dropped."""

    _KIND: int
    _BINDS: bool
    _FRAMES = 1
    """Of a message as it arrives here."""
    _gate: "_Gate | None" = None

    def __init__(self, address: str, topic: str, *, keys: str = "") -> None:
        """Open the end.

        Args:
            address: ``ipc:///PATH`` in a private folder, or ``tcp://HOST:PORT``.
            topic: a name in ``TOPICS``.
            keys: folder with CURVE keys; tcp is refused without.

        Raises:
            RigError: the address or the keys cannot be used.
        """
        check_address(address, keyed=bool(keys), binds=self._BINDS)
        self.topic = TOPICS[topic]
        self.dropped: Counter[str] = Counter()
        self.carries_pixels = is_remote(address)
        """Whether a shot's pixels travel with it, since the peer may lack the ring."""
        # Several machines may report to one collector: no beat is worth a clock each.
        elsewhere = not self._BINDS and not is_local(address)
        self._clock = PeerClock() if elsewhere else None
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(self._KIND)
        try:
            self._set_up(Path(keys) if keys and self.carries_pixels else None)
            self._open(address)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket; what is queued has 0.2 s to go. May be called twice."""
        for socket in self._sockets():
            socket.close()
        self._context.term()
        if self._gate is not None:
            self._gate.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where this end is; with port ``*``, the port that the system chose."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _sockets(self) -> list[zmq.Socket[bytes]]:
        return [self._socket]

    def _set_up(self, keys: Path | None) -> None:
        socket, topic = self._socket, self.topic
        socket.linger = _LINGER_MS
        pixels = self.carries_pixels and not self._BINDS and topic.name in _PICTURED
        # Twice: what is a little too large is counted by the codec, what is far too
        # large never gets into memory, and costs its sender the connection.
        socket.maxmsgsize = 2 * topic.maximum_bytes + (
            MOST_PIXEL_BYTES if pixels else 0
        )
        socket.sndhwm = _QUEUED
        socket.rcvhwm = _QUEUED_ASKS if topic.kind == "ask" else _QUEUED
        socket.backlog = _BACKLOG
        socket.handshake_ivl = _HANDSHAKE_MS
        socket.reconnect_ivl = _RECONNECT_MS
        socket.reconnect_ivl_max = _RECONNECT_MOST_MS
        if self.carries_pixels:
            socket.heartbeat_ivl = _HEARTBEAT_MS
            socket.heartbeat_timeout = _HEARTBEAT_TIMEOUT_MS
        if keys is not None and self._BINDS:
            self._guard(keys)
        elif keys is not None:
            mine = read_client_keys(keys)
            socket.curve_publickey = mine.public.encode()
            socket.curve_secretkey = mine.secret.encode()
            socket.curve_serverkey = mine.server.encode()

    def _guard(self, keys: Path) -> None:
        mine = read_server_keys(keys)
        refused = f"{self.topic.name}: refused"
        self._gate = _Gate(self._context, mine.allowed, self.dropped, refused)
        self._socket.curve_server = True
        self._socket.curve_secretkey = mine.secret.encode()
        self._socket.zap_domain = b"armicro"

    def _open(self, address: str) -> None:
        # Only where asked for: with it, host names resolve to addresses nobody bound.
        self._socket.ipv6 = "[" in address
        try:
            if self._BINDS:
                self._socket.bind(address)
            else:
                self._socket.connect(address)
        except zmq.ZMQError as error:
            raise RigError(
                f"address {address} for {self.topic.name!r}: {error.strerror}; is "
                "another session using it, and is it an address of this machine?"
            ) from error

    def _drop(self, why: str) -> None:
        self.dropped[f"{self.topic.name}: {why}"] += 1

    def _decode(self, frame: memoryview) -> Parcel | None:
        try:
            message, pixels = decode_parcel(self.topic, frame)
        except FrameError as error:
            self._drop(error.fault)
            return None
        if self._clock is not None:
            message = self._clock.update(message, time.monotonic_ns())
        return Parcel(message, pixels)

    def _receive(self) -> list[memoryview] | None:
        """Take one message that is there; None when there is none.

        One of too few or too many frames is counted, and is an empty list.
        """
        frames: list[zmq.Frame] = []
        more = True
        while more:
            try:
                frame = self._socket.recv(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return None
            more = frame.more
            if len(frames) <= self._FRAMES:
                frames.append(frame)
        if len(frames) != self._FRAMES:
            self._drop("foreign")
            return []
        return [frame.buffer for frame in frames]

    def _encode(self, message: Message, pixels: Pixels | None = None) -> bytes | None:
        """The frame of a message; None, and counted, where a value does not fit.

        Raises:
            FrameError: it is no message of this topic, or the pixels are not its
                shot's.
        """
        try:
            return encode_parcel(self.topic, cut_texts(message), pixels)
        except FrameError as error:
            if error.fault not in ("value", "oversized"):
                raise
            self._drop(f"not sent, {error.fault}")
            return None

    def _send(self, *frames: bytes) -> bool:
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
        except zmq.ZMQError:
            # No such peer any more, or its queue is full.
            return False
        return True


class Answerer(_End):
    """Capture's end of ``fields``: takes questions, answers when it can."""

    _KIND, _BINDS, _FRAMES = zmq.ROUTER, True, 3

    def receive(self, *, timeout_ms: int = 0) -> list[tuple[Peer, Message]]:
        """Questions that came; a peer's later question replaces its earlier one."""
        asked: dict[bytes, tuple[Peer, Message]] = {}
        if not self._socket.poll(timeout_ms):
            return []
        for _ in range(MOST_AT_ONCE):
            frames = self._receive()
            if frames is None:
                break
            if not frames:
                continue
            identity, number, frame = frames
            if len(number) != 8:
                self._drop("foreign")
            elif (parcel := self._decode(frame)) is not None:
                peer = Peer(bytes(identity), bytes(number))
                asked[peer.identity] = peer, parcel.message
        return list(asked.values())

    def reply(self, peer: Peer, message: Message, pixels: Pixels | None = None) -> bool:
        """Answer a question, at once; False when the peer is gone or does not read.

        Raises:
            FrameError: the message may not travel, or the pixels are not its shot's.
        """
        frame = self._encode(message, pixels)
        if frame is None:
            return False
        if self._send(peer.identity, peer.number, frame):
            return True
        self._drop("not sent")
        return False

    def _set_up(self, keys: Path | None) -> None:
        super()._set_up(keys)
        self._socket.router_mandatory = True


class Asker(_End):
    """Infer's end of ``fields``: one question is open at a time.

    A question is sent again when the connection broke under it, so that capture may die
    and come back; answers to a question before the last are dropped.
    """

    _KIND, _BINDS, _FRAMES = zmq.DEALER, False, 2
    _monitor: zmq.Socket[bytes] | None = None

    def __init__(self, address: str, topic: str, *, keys: str = "") -> None:
        """Open the end; see ``Answerer``."""
        super().__init__(address, topic, keys=keys)
        self.trouble = ""
        """Why there is no connection, when the other side says so."""
        self._question: Message | None = None
        self._frame = b""
        # A number of an earlier life must not match.
        self._number = secrets.randbits(63)
        self._sent_at: float | None = None

    def ask(self, message: Message, *, timeout_ms: int) -> Parcel | None:
        """Ask and wait for the answer; None when none came in time.

        Asking the same again goes on waiting for the same answer.

        Raises:
            FrameError: the message may not travel on this topic.
        """
        if message != self._question:
            self._frame = encode_parcel(self.topic, cut_texts(message), None)
            self._question, self._sent_at = message, None
            self._number += 1
        deadline = time.monotonic() + timeout_ms / 1e3
        while True:
            self._look_at_connection()
            self._send_if_due()
            if (answer := self._answer()) is not None:
                return answer
            left_ms = int((deadline - time.monotonic()) * 1e3)
            if left_ms <= 0:
                return None
            self._wait(left_ms)

    def _wait(self, timeout_ms: int) -> None:
        events = zmq.POLLIN if self._sent_at else zmq.POLLIN | zmq.POLLOUT
        poller = zmq.Poller()
        poller.register(self._socket, events)
        if self._monitor is not None:
            poller.register(self._monitor, zmq.POLLIN)
        poller.poll(min(timeout_ms, 200))

    def _send_if_due(self) -> None:
        now = time.monotonic()
        if self._sent_at is not None and now < self._sent_at + RESEND_S:
            return
        if self._send(self._number.to_bytes(8, "big"), self._frame):
            self._sent_at = now

    def _answer(self) -> Parcel | None:
        for _ in range(MOST_AT_ONCE):
            if (frames := self._receive()) is None:
                break
            if not frames:
                continue
            number, frame = frames
            if len(number) != 8:
                self._drop("foreign")
            elif number != self._number.to_bytes(8, "big") or self._question is None:
                self._drop("late")
            elif (parcel := self._decode(frame)) is not None:
                self._question = None
                return parcel
        return None

    def _look_at_connection(self) -> None:
        while self._monitor is not None and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.trouble = ""
            elif event & _REFUSED:
                self.trouble = "the other side refuses the keys of this one"
                self._drop("refused")
            else:
                self._sent_at = None

    def _set_up(self, keys: Path | None) -> None:
        super()._set_up(keys)
        # Queue for a peer that is there only: a question to a dead one would be old.
        self._socket.immediate = True
        self._monitor = self._socket.get_monitor_socket(_WATCHED)

    def _sockets(self) -> list[zmq.Socket[bytes]]:
        if self._monitor is None or self._monitor.closed:
            return [self._socket]
        self._socket.disable_monitor()
        return [self._monitor, self._socket]


class Publisher(_End):
    """Gives every subscriber the newest state; knows none of them."""

    _KIND, _BINDS = zmq.PUB, True

    def send(self, message: Message, pixels: Pixels | None = None) -> None:
        """Publish at once; a subscriber that is too slow misses it.

        Send whole states, and send them again from time to time: a subscriber that
        starts later sees nothing of what was sent before.

        Raises:
            FrameError: the message may not travel, or the pixels are not its shot's.
        """
        frame = self._encode(message, pixels)
        if frame is not None and not self._send(frame):
            self._drop("not sent")

    def _set_up(self, keys: Path | None) -> None:
        super()._set_up(keys)
        if self.carries_pixels and self.topic.name in _PICTURED:
            # The shorter the queue to a slow network, the younger what comes out. For
            # small messages the queue is long: a full one drops the newest.
            self._socket.sndhwm = _QUEUED_PICTURES


class Subscriber(_End):
    """Sees the newest state of a publisher, and nothing twice."""

    _KIND, _BINDS = zmq.SUB, False

    def newest(self, *, timeout_ms: int = 0) -> Message | None:
        """The newest message that was not seen yet; None when there is none."""
        parcel = self.newest_parcel(timeout_ms=timeout_ms)
        return parcel.message if parcel is not None else None

    def newest_parcel(self, *, timeout_ms: int = 0) -> Parcel | None:
        """As ``newest``, with the pixels that travelled with the message."""
        newest: list[memoryview] = []
        if self._socket.poll(timeout_ms):
            for _ in range(MOST_AT_ONCE):
                if (frames := self._receive()) is None:
                    break
                newest = frames or newest
        return self._decode(newest[0]) if newest else None

    def _set_up(self, keys: Path | None) -> None:
        super()._set_up(keys)
        if self.carries_pixels and self.topic.name in _PICTURED:
            self._socket.rcvhwm = _QUEUED_PICTURES
        self._socket.subscribe(b"")


class Reporter(_End):
    """Sends messages that all count, as long as their reader keeps up."""

    _KIND, _BINDS = zmq.PUSH, False

    def send(self, message: Message) -> bool:
        """Send at once; False, and counted, when the reader is gone or far behind.

        Raises:
            FrameError: the message may not travel on this topic.
        """
        frame = self._encode(message)
        if frame is None:
            return False
        if self._send(frame):
            return True
        self._drop("not sent")
        return False

    def _set_up(self, keys: Path | None) -> None:
        super()._set_up(keys)
        self._socket.immediate = True


class Collector(_End):
    """Takes the messages of all reporters."""

    _KIND, _BINDS = zmq.PULL, True

    def receive(self, *, timeout_ms: int = 0) -> list[Message]:
        """Messages that came, oldest first; waits for the first of them."""
        came: list[Message] = []
        if not self._socket.poll(timeout_ms):
            return came
        for _ in range(MOST_AT_ONCE):
            frames = self._receive()
            if frames is None:
                break
            if frames and (parcel := self._decode(frames[0])) is not None:
                came.append(parcel.message)
        return came


class _Gate(threading.Thread):
    """Answers ZeroMQ's question whether a client may come in (RFC 27, ZAP)."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        allowed: frozenset[str],
        dropped: Counter[str],
        name: str,
    ) -> None:
        super().__init__(name="gate", daemon=True)
        self._allowed, self._dropped, self._refused = allowed, dropped, name
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self.start()

    def run(self) -> None:
        """Answer until the context ends."""
        # The context's end raises in recv; the socket must then close in this thread.
        with contextlib.suppress(zmq.ZMQError), self._socket:
            while True:
                version, request, *_, mechanism, key = self._socket.recv_multipart()
                known = mechanism == b"CURVE" and self._knows(key)
                if not known:
                    self._dropped[self._refused] += 1
                status = (b"200", b"OK") if known else (b"400", b"unknown key")
                self._socket.send_multipart([version, request, *status, b"", b""])

    def _knows(self, key: bytes) -> bool:
        return len(key) == 32 and z85.encode(key).decode("ascii") in self._allowed
