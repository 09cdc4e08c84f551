"""How different two colours look: sRGB, CIELAB and CIEDE2000."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# IEC 61966-2-1: linear sRGB to XYZ under D65.
_XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE_D65 = _XYZ_OF_RGB.sum(axis=1)
# Bradford adaptation, for charts whose Lab is given under D50.
_D65_OF_D50 = np.array(
    [
        [0.9555766, -0.0230393, 0.0631636],
        [-0.0282895, 1.0099416, 0.0210077],
        [0.0122982, -0.0204830, 1.3299098],
    ]
)
_WHITE_D50 = np.linalg.solve(_D65_OF_D50, _WHITE_D65)
_DELTA = 6 / 29


def linear_of_srgb(levels: Floats) -> Floats:
    """Linear light 0-1 of sRGB levels 0-255."""
    share = np.asarray(levels, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def srgb_of_linear(linear: Floats) -> Floats:
    """SRGB levels 0-255, clipped, of linear light.

    >>> srgb_of_linear(np.array([0.0, 0.5, 1.0])).round().tolist()
    [0.0, 188.0, 255.0]
    """
    light = np.clip(linear, 0, 1)
    curved = 1.055 * np.power(light, 1 / 2.4) - 0.055
    return np.asarray(255 * np.where(light <= 0.0031308, 12.92 * light, curved))


def lab_of_linear(linear: Floats) -> Floats:
    """CIELAB under D65 of linear sRGB, (..., 3); light below 0 counts as none."""
    xyz = np.maximum(linear, 0) @ _XYZ_OF_RGB.T / _WHITE_D65
    curved = np.where(xyz > _DELTA**3, np.cbrt(xyz), xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = np.moveaxis(curved, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def linear_of_lab(lab: Floats, *, d50: bool = True) -> Floats:
    """Linear sRGB of CIELAB, (..., 3); d50: as makers of charts give it."""
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    y = (lightness + 16) / 116
    curved = np.stack((y + a / 500, y, y - b / 200), axis=-1)
    share = np.where(curved > _DELTA, curved**3, 3 * _DELTA**2 * (curved - 4 / 29))
    xyz = share * _WHITE_D50 @ _D65_OF_D50.T if d50 else share * _WHITE_D65
    return np.asarray(xyz @ np.linalg.inv(_XYZ_OF_RGB).T)


def ciede2000(lab_a: Floats, lab_b: Floats) -> Floats:
    """CIEDE2000 colour difference, (...,), with all weights 1.

    Sharma, Wu and Dalal 2005, Color Res Appl 30:21, equations 2 to 22.
    """
    one, two = (np.moveaxis(np.asarray(v, np.float64), -1, 0) for v in (lab_a, lab_b))
    chroma7 = ((np.hypot(one[1], one[2]) + np.hypot(two[1], two[2])) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma7 / (chroma7 + 25.0**7))
    c1, c2 = np.hypot(stretch * one[1], one[2]), np.hypot(stretch * two[1], two[2])
    h1 = np.degrees(np.arctan2(one[2], stretch * one[1])) % 360
    h2 = np.degrees(np.arctan2(two[2], stretch * two[1])) % 360
    grey = c1 * c2 == 0
    # Hues are compared the short way round.
    turn = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where(~grey & (h2 - h1 == 180), 180.0, turn)
    hue = np.where(grey, h1 + h2, (h1 + h2) / 2)
    far = ~grey & (np.abs(h1 - h2) > 180)
    hue = np.where(far, np.where(h1 + h2 < 360, hue + 180, hue - 180), hue)
    d_light, d_chroma = two[0] - one[0], c2 - c1
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    light, chroma = (one[0] + two[0]) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    off50 = (light - 50) ** 2
    light_part = d_light / (1 + 0.015 * off50 / np.sqrt(20 + off50))
    chroma_part = d_chroma / (1 + 0.045 * chroma)
    hue_part = d_hue / (1 + 0.015 * chroma * weight)
    spread = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = (
        -np.sin(np.radians(2 * spread)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    )
    return np.asarray(
        np.sqrt(
            light_part**2
            + chroma_part**2
            + hue_part**2
            + rotation * chroma_part * hue_part
        )
    )


def _cos(degrees: Floats) -> Floats:
    return np.asarray(np.cos(np.radians(degrees)))
