"""When a frame's exposure ended, on the computer's own clock."""


class Shutter:
    """Turns a camera's time stamps into times of the computer's clock.

    A frame waits in buffers before anybody takes it, so the time at which it is taken
    is late by a changing amount. The camera's stamps are even but count from
    elsewhere: the least difference ever seen is that of a frame that did not wait.
    """

    _DRIFT = 1e-4
    """The two clocks part by less than this; older differences count for less."""

    def __init__(self, *, transfer_ns: int = 0) -> None:
        """Take the time that a frame needs from the sensor to here."""
        self._transfer_ns = transfer_ns
        self._difference_ns: float | None = None
        self._last_ns = 0

    def taken_ns(self, stamp_ns: int, now_ns: int) -> int:
        """End of the exposure of the frame that was taken out of its buffer now.

        Args:
            stamp_ns: the camera's; 0 when it gives none.
            now_ns: of the computer's clock.
        """
        if stamp_ns <= 0:
            return now_ns - self._transfer_ns
        difference_ns = float(now_ns - stamp_ns)
        if self._difference_ns is not None:
            slack_ns = self._DRIFT * (now_ns - self._last_ns)
            difference_ns = min(difference_ns, self._difference_ns + slack_ns)
        self._difference_ns, self._last_ns = difference_ns, now_ns
        return min(now_ns, round(stamp_ns + difference_ns)) - self._transfer_ns
