"""How much of an HR tile should the network look at? A table of AUC by view.

A global max pool does not know where in a tile a lesion lies, so in a crowd a wide view
lights up for neighbours; a narrow one cuts cytoplasm off. ``armicro train fovea``
judges the trained network on validation cells at several views.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armicro.train.networks import HighResolution
from armicro.train.sample import Sample, TilePlan
from armicro.train.watch import cut_validation, validate
from armicro.verdict import HR_UM_PER_PX

VIEWS_PX = (96, 128, 160, 192, 256)


def measure_fovea(
    network: HighResolution, val: Sequence[Sample], out: Path
) -> list[dict[str, Any]]:
    """Return and write the AUC of each source at each view."""
    table: list[dict[str, Any]] = []
    for view_px in VIEWS_PX:
        tiles = cut_validation(val, TilePlan(view_px, HR_UM_PER_PX, 0.0))
        scores = validate(network, tiles)
        table.append(
            {"view_px": view_px, "cells": len(val)}
            | {f"auc_{name}": round(value, 4) for name, value in scores.items()}
        )
        (out / "fovea.json").write_text(json.dumps(table, indent=2), "utf-8")
    return table
