"""display: the operator's window, fed by the newest words of capture and infer.

It knows nothing that it could lose: killed and started again, it has the field with the
next frame and the slide with infer's next word.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType

from armicro.overlay.setting import Setting
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.rig import Rig
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring

PICTURE = "window.png"
"""Screenshot of the last moment, in the session's folder."""


def run(job: Job, life: Life) -> None:
    """Show the window until it is closed or the session ends.

    Raises:
        ArmicroError: the ring or a link cannot be used.
    """
    life.beat("starting", at_once=True)
    if job.display == "offscreen":
        # Qt reads it when it is loaded, which the imports below do.
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from armicro.overlay.window import run_window
    from armicro.processes.feed import WireFeed, read_overview

    keys = job.rig.wire.keys
    with (
        Ring.attach(job.ring) as ring,
        Subscriber(job.addresses["view"], "view", keys=keys) as view,
        Subscriber(job.addresses["slide"], "slide", keys=keys) as slide,
    ):
        feed = WireFeed(ring, view, slide, overview=read_overview(job))

        def on_tick() -> bool:
            life.beat(
                fields=feed.frames,
                text=feed.figures(),
                messages_dropped=view.dropped.total() + slide.dropped.total(),
            )
            return not life.stopping

        with slot_errors():
            run_window(
                feed,
                title="armicro",
                setting=setting_of(job.rig),
                folder=job.folder,
                on_tick=on_tick,
                picture=job.folder / PICTURE,
            )


def setting_of(rig: Rig) -> Setting:
    """The window's limits: the place must be known as well as the cascade wants it."""
    limit_um = rig.cascade.place_error_um
    # A tight limit leaves the boxes less room to fade.
    fade_from_um = min(Setting().fade_from_um, limit_um / 2)
    return Setting(
        fade_from_um=fade_from_um,
        largest_place_error_um=limit_um,
        uncalibrated=rig.camera.uncalibrated,
    )


@contextlib.contextmanager
def slot_errors() -> Iterator[None]:
    """Raise what goes wrong inside Qt's event loop, which would only print it.

    A window whose every tick fails beats on and shows an old picture; one that ends is
    started again.
    """
    from armicro.overlay.window import application

    errors: list[BaseException] = []

    def told(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        del kind, trace
        errors.append(error)
        application().exit(1)

    before, sys.excepthook = sys.excepthook, told
    try:
        yield
    finally:
        sys.excepthook = before
    if errors:
        raise errors[0]
