import matplotlib.colors
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase import plotting
from interphase.errors import ParameterError


@given(st.floats(1e-3, 1e9))
def test_a_scale_bar_is_round_and_between_an_eighth_and_a_third_of_the_width(width: float) -> None:
    length = plotting.scale_bar_length(width)
    assert width / 3 / 2.5 * (1 - 1e-6) <= length <= width / 3 * (1 + 1e-6)
    assert f"{length:e}"[0] in "125"


def test_a_scale_bar_is_as_long_as_it_says() -> None:
    _, ax = plotting.new_figure()
    plotting.plot_image(ax, np.zeros((100, 200)), pixel_size_a=0.5)
    (bar,) = ax.patches
    # 200 pixels of 0.5 Å are 100 Å: the bar stands for 20 Å, 40 pixels.
    assert bar.get_width() == pytest.approx(40)
    assert [text.get_text() for text in ax.texts] == ["2 nm"]


def test_without_a_pixel_size_there_is_no_scale_bar() -> None:
    _, ax = plotting.new_figure()
    plotting.plot_image(ax, np.zeros((10, 10)))
    assert not ax.patches
    assert not ax.texts


def test_grey_levels_do_not_see_what_is_not_finite() -> None:
    image = np.array([0.0, 1.0, np.nan, np.inf])
    assert plotting.grey_levels(image, percentiles=(0, 100)) == (0.0, 1.0)
    assert plotting.grey_levels(np.full(3, np.nan)) == (0.0, 1.0)


def test_phases_keep_their_colours_and_differ() -> None:
    names = ["Li2O", "LiF", "unknown", "Li2CO3", "Li", "LiOH", "LiH", "ice-Ih"]
    colours = plotting.phase_colours(names)
    assert colours["unknown"] == plotting.UNKNOWN_COLOUR
    assert len(set(colours.values())) == len(names)
    assert plotting.phase_colours(names[:2]) == {name: colours[name] for name in names[:2]}
    # Bright enough to be seen on black.
    for colour in plotting.PALETTE[:6]:
        red, green, blue = matplotlib.colors.to_rgb(colour)
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.35


def test_regions_are_outlined_and_named_where_they_are() -> None:
    labels = np.zeros((40, 40), dtype=int)
    labels[5:15, 20:30] = 2
    _, ax = plotting.new_figure()
    plotting.plot_regions(ax, labels, ["LiF", "Li2O"])
    (text,) = ax.texts
    assert text.get_text() == "Li2O"
    assert text.get_position() == (24.5, 9.5)


def test_every_region_needs_a_phase() -> None:
    _, ax = plotting.new_figure()
    with pytest.raises(ParameterError, match="labels go up to 2 but 1 phases were given"):
        plotting.plot_regions(ax, np.array([[0, 2]]), ["LiF"])


def test_both_spots_of_a_pair_are_ringed_at_their_frequency() -> None:
    _, ax = plotting.new_figure()
    plotting.plot_power_spectrum(
        ax,
        np.ones((64, 64)),
        reciprocal_pixel_size_per_a=0.02,
        spots_per_a={"LiF": np.array([[0.3, -0.4]])},
    )
    (rings,) = ax.collections
    assert np.asarray(rings.get_offsets()).tolist() == [[-0.4, 0.3], [0.4, -0.3]]
    # The pixel of zero frequency, (32, 32), is centred on zero.
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left + right) / 2 == pytest.approx(-0.01)
    assert (bottom + top) / 2 == pytest.approx(-0.01)


def test_an_unknown_dose_is_a_question_mark_and_a_zero_is_a_bar() -> None:
    _, ax = plotting.new_figure()
    plotting.plot_doses(ax, ["a", "b", "c"], [20.0, None, 0.0])
    assert [bar.get_height() for bar in ax.patches] == [20.0, 0.0]
    assert [text.get_text() for text in ax.texts] == ["?"]
    assert ax.texts[0].xy == (1, 0)


def test_a_spectrum_needs_an_energy_per_channel() -> None:
    _, ax = plotting.new_figure()
    with pytest.raises(ParameterError, match=r"energy axis has shape \(3,\)"):
        plotting.plot_spectrum(ax, np.zeros(3), np.zeros(4))


def test_figures_do_not_touch_the_global_state() -> None:
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    figure, ax = plotting.new_figure()
    plotting.plot_spectrum(ax, np.arange(3.0), np.ones(3), label="sum")
    assert matplotlib.pyplot.get_fignums() == before
    figure.canvas.draw()


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_a_width_must_be_a_length(width: float) -> None:
    with pytest.raises(ParameterError, match="expected a finite length > 0"):
        plotting.scale_bar_length(width)


def test_a_composition_mixes_the_colours_of_its_materials() -> None:
    _, ax = plotting.new_figure()
    half = np.array([[1.0, 0.5, 0.0]])
    plotting.plot_composition(
        ax, {"Li2O": half, "LEDC": 0.5 - half / 2}, colours={"Li2O": "#FF0000", "LEDC": "#0000FF"}
    )
    shown = np.asarray(ax.images[0].get_array())
    assert shown[0].tolist() == [[1, 0, 0], [0.5, 0, 0.25], [0, 0, 0.5]]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Li2O", "LEDC"]


def test_a_composition_needs_maps_of_one_shape() -> None:
    _, ax = plotting.new_figure()
    with pytest.raises(ParameterError, match="maps of one shape"):
        plotting.plot_composition(ax, {"Li2O": np.ones((2, 2)), "LiF": np.ones((3, 2))})
    with pytest.raises(ParameterError, match="at least one material"):
        plotting.plot_composition(ax, {})
