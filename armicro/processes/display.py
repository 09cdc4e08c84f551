"""display: the operator's window, fed by the newest words of capture and infer.

It knows nothing that it could lose: killed and started again, it has the field with the
next frame and the slide with infer's next word.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType

from armicro.calibrate.certificate import Certificate
from armicro.overlay.setting import Optics, Setting
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.rig import Rig
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring

PICTURE = "window.png"
"""Screenshot of the last moment, in the session's folder."""
PAINTED = "painted.csv"
"""From the end of exposure to painted, of the last fields."""


def run(job: Job, life: Life) -> None:
    """Show the window until it is closed or the session ends.

    Raises:
        ArmicroError: the ring or a link cannot be used.
    """
    life.beat("starting", at_once=True)
    if job.display == "offscreen":
        # Qt reads it when it is loaded, which the imports below do.
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from armicro.overlay.application import run_window
    from armicro.processes.feed import WireFeed, read_overview

    keys = job.rig.wire.keys
    with (
        Ring.attach(job.ring) as ring,
        Subscriber(job.addresses["view"], "view", keys=keys) as view,
        Subscriber(job.addresses["slide"], "slide", keys=keys) as slide,
    ):
        feed = WireFeed(
            ring, view, slide, overview=read_overview(job), analysis=life.analysis
        )

        def on_tick() -> bool:
            life.beat(
                fields=feed.frames,
                text=feed.figures(),
                messages_dropped=view.dropped.total()
                + slide.dropped.total()
                + ring.dropped,
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
        # `armicro calibrate latency --session` reads it.
        rows = "".join(f"{span_ms:.3f}\n" for span_ms in feed.painted_ms)
        with contextlib.suppress(OSError):
            # A full disk has been told of elsewhere.
            (job.folder / PAINTED).write_text(f"grab_to_painted_ms\n{rows}")


def setting_of(rig: Rig) -> Setting:
    """The window's limits: the place must be known as well as the cascade wants it."""
    limit_um = rig.cascade.place_error_um
    # A tight limit leaves the boxes less room to fade.
    fade_from_um = min(Setting().fade_from_um, limit_um / 2)
    # One that is not in force says nothing.
    certificate = None if rig.calibration_fault else rig.calibration
    latency = certificate.latency if certificate else None
    return Setting(
        fade_from_um=fade_from_um,
        largest_place_error_um=limit_um,
        uncalibrated=rig.camera.uncalibrated,
        least_coverage=rig.display.least_coverage,
        least_focus=rig.cascade.least_focus,
        most_smear_um=rig.cascade.most_smear_um,
        optical=rig.display.mode == "optical",
        optics=optics_of(certificate),
        latency_ms=rig.display.latency_ms,
        glass_to_glass_ms=latency.median_ms if latency else 0.0,
    )


def optics_of(certificate: Certificate | None) -> Optics | None:
    """How camera pixels lie on an optical display; None where it was not measured."""
    display = certificate.display if certificate else None
    if display is None:
        return None
    size_px = display.width_px, display.height_px
    return Optics(display.homography, display.distortion, size_px)


@contextlib.contextmanager
def slot_errors() -> Iterator[None]:
    """Raise what goes wrong inside Qt's event loop, which would only print it.

    A window whose every tick fails beats on and shows an old picture; one that ends is
    started again.
    """
    from armicro.overlay.application import application

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
