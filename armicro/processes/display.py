"""display: the operator's window, fed by the newest words of capture and infer.

It knows nothing that it could lose: killed and started again, it has the field with the
next frame and the slide with infer's next word.
"""

import os

from armicro.processes.job import Job
from armicro.processes.life import Life
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

        run_window(
            feed,
            title="armicro",
            folder=job.folder,
            on_tick=on_tick,
            picture=job.folder / PICTURE,
        )
