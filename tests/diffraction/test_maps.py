"""Phase maps as tables and signals."""

import numpy as np
import pytest

from interphase.diffraction import (
    Options,
    identify_image,
    probability_map,
    probability_signal,
    region_table,
)
from interphase.errors import ParameterError
from interphase.phases import candidates


@pytest.fixture(scope="module")
def found():
    """A patch of a <110> LiF lattice in the lower right of an image of noise."""
    y, x = np.mgrid[:300, :300] * 0.4
    patch = np.exp(-0.5 * ((y - 80) ** 2 + (x - 85) ** 2) / 15**2)
    waves = [(0.0, 1 / 2.0131), (0.3512, 0.2484), (0.3512, -0.2484)]
    fringes = sum(np.cos(2 * np.pi * (ky * y + kx * x)) for ky, kx in waves)
    counts = np.random.default_rng(3).poisson(20 * np.clip(1 + 0.15 * patch * fringes, 0, None))
    return identify_image(
        counts, pixel_size_a=0.4, candidates=candidates("LiF,Li2O"), options=Options()
    )


def test_a_table_has_a_row_per_region(found):
    rows = region_table(found)
    assert [row["phase"] for row in rows] == [region.phase for region in found.regions]
    assert rows[0]["phase"] == "LiF"
    assert (rows[0]["centre_y_a"], rows[0]["centre_x_a"]) == found.regions[0].centre_a


def test_a_map_holds_each_regions_probability_where_it_is(found):
    lif = probability_map(found, "LiF")
    assert lif.shape == found.labels.shape
    assert lif[found.labels == 0].max() == 0
    assert lif[found.labels == 1][0] == pytest.approx(found.regions[0].alternatives["LiF"])
    with pytest.raises(ParameterError, match="phase is 'gold': expected one of LiF, Li2O"):
        probability_map(found, "gold")


def test_a_signal_has_its_axes_in_length_units(found):
    signal = probability_signal(found, "LiF")
    peak = np.unravel_index(signal.data.argmax(), signal.data.shape)
    y, x = (
        axis.axis[i] for axis, i in zip(signal.axes_manager.signal_axes[::-1], peak, strict=True)
    )
    assert (y, x) == (pytest.approx(80, abs=30), pytest.approx(85, abs=30))
    assert {axis.units for axis in signal.axes_manager.signal_axes} == {"Å"}
