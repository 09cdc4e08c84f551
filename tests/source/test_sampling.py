import numpy as np

from armicro.source.sampling import resample


def test_region_smaller_than_a_pixel_of_the_output_is_one_pixel() -> None:
    pixels = np.full((1, 1, 3), 77, np.uint8)
    assert resample(pixels, (16.0, 16.0), (1, 1)).tolist() == [[[77, 77, 77]]]
