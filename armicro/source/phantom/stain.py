"""Papanicolaou stains: what each structure absorbs, and the glass behind it.

A ``Dye`` is the optical density of red, green and blue at full thickness; cells lying
on each other add densities, as transmitted light does. The numbers were set by eye so
that the pictures resemble Pap smears; they are not measured dye spectra.
"""

from dataclasses import dataclass

from armicro.errors import SourceError

Dye = tuple[float, float, float]
"""Optical density (decadic) of red, green, blue at full thickness."""


@dataclass(frozen=True, slots=True)
class Stain:
    """One laboratory's colours."""

    glass_rgb: tuple[int, int, int]
    eosin: tuple[Dye, Dye]
    """Cytoplasm of superficial cells varies between these two."""
    cyan: tuple[Dye, Dye]
    """Cytoplasm of intermediate and parabasal cells varies between these two."""
    nucleus: Dye
    leucocyte: Dye
    erythrocyte: Dye
    mucus: Dye
    dust: Dye


STAINS: dict[str, Stain] = {
    "classic": Stain(
        glass_rgb=(248, 250, 251),
        eosin=((0.03, 0.21, 0.40), (0.05, 0.20, 0.24)),
        cyan=((0.30, 0.14, 0.13), (0.20, 0.14, 0.10)),
        nucleus=(0.66, 0.84, 0.52),
        leucocyte=(0.84, 0.92, 0.54),
        erythrocyte=(0.03, 0.18, 0.40),
        mucus=(0.10, 0.07, 0.05),
        dust=(0.40, 0.38, 0.30),
    ),
    "blue": Stain(
        glass_rgb=(238, 244, 250),
        eosin=((0.08, 0.22, 0.18), (0.12, 0.21, 0.13)),
        cyan=((0.29, 0.19, 0.08), (0.22, 0.19, 0.07)),
        nucleus=(0.80, 0.78, 0.40),
        leucocyte=(0.95, 0.90, 0.46),
        erythrocyte=(0.08, 0.20, 0.22),
        mucus=(0.12, 0.10, 0.04),
        dust=(0.42, 0.40, 0.24),
    ),
    "warm": Stain(
        glass_rgb=(251, 246, 226),
        eosin=((0.04, 0.15, 0.42), (0.06, 0.19, 0.27)),
        cyan=((0.19, 0.13, 0.08), (0.15, 0.13, 0.12)),
        nucleus=(0.52, 0.74, 0.56),
        leucocyte=(0.66, 0.78, 0.48),
        erythrocyte=(0.04, 0.22, 0.36),
        mucus=(0.10, 0.07, 0.04),
        dust=(0.34, 0.38, 0.38),
    ),
    "pale": Stain(
        glass_rgb=(246, 243, 247),
        eosin=((0.04, 0.13, 0.12), (0.06, 0.12, 0.08)),
        cyan=((0.12, 0.11, 0.07), (0.10, 0.11, 0.05)),
        nucleus=(0.44, 0.58, 0.32),
        leucocyte=(0.58, 0.66, 0.36),
        erythrocyte=(0.03, 0.12, 0.14),
        mucus=(0.05, 0.05, 0.03),
        dust=(0.30, 0.32, 0.22),
    ),
    "teal": Stain(
        glass_rgb=(240, 249, 248),
        eosin=((0.04, 0.24, 0.46), (0.10, 0.26, 0.36)),
        cyan=((0.42, 0.17, 0.17), (0.34, 0.16, 0.14)),
        nucleus=(0.74, 0.76, 0.54),
        leucocyte=(0.90, 0.84, 0.56),
        erythrocyte=(0.04, 0.22, 0.46),
        mucus=(0.14, 0.06, 0.05),
        dust=(0.44, 0.36, 0.30),
    ),
}


def stain_named(name: str) -> Stain:
    """Look a stain up.

    Raises:
        SourceError: there is no stain of that name.
    """
    if name not in STAINS:
        known = ", ".join(STAINS)
        raise SourceError(
            f"unknown stain {name!r}: expected one of {known}; choose one"
        )
    return STAINS[name]
