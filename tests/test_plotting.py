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


def _drawn(ax: object) -> tuple[np.ndarray, object]:
    """Return what lies below a map, and the map itself."""
    below, picture = ax.get_images()
    return np.asarray(below.get_array()), picture


def test_what_is_unknown_is_white_and_what_is_not_shown_is_grey() -> None:
    _, ax = plotting.new_figure()
    values = np.array([[np.nan, 1.0, 5.0], [2.0, -1.0, 3.0]])
    shown = np.array([[True, False, True], [True, False, True]])
    plotting.plot_map(ax, values, label="atoms per nm²", shown=shown)
    below, picture = _drawn(ax)
    assert below[0, 0].tolist() == [1, 1, 1, 1]
    assert len({tuple(below[place]) for place in ((0, 1), (1, 1))}) == 1
    assert 0.6 < below[0, 1, 0] < 0.95
    mask = np.ma.getmaskarray(picture.get_array())
    assert mask.tolist() == [[True, True, False], [False, True, False]]
    # The scale begins at zero: a colour stands for an amount, and not for a rank.
    assert picture.get_clim()[0] == 0
    assert 3 < picture.get_clim()[1] <= 5
    (scale,) = ax.child_axes
    assert scale.get_ylabel() == "atoms per nm²"


@pytest.mark.parametrize("values", [np.full((2, 3), np.nan), np.zeros((2, 3)), np.full((1, 1), -3)])
def test_maps_of_nothing_and_of_one_value_have_a_scale(values: np.ndarray) -> None:
    _, ax = plotting.new_figure()
    plotting.plot_map(ax, values, label="t/λ")
    low, high = _drawn(ax)[1].get_clim()
    assert low < high
    assert low == min(0, np.nanmin(values, initial=0))


def test_given_limits_hold_and_the_scale_bar_is_of_the_pixels() -> None:
    _, ax = plotting.new_figure()
    plotting.plot_map(ax, np.eye(40), label="probability", limits=(0.0, 2.0), pixel_size_a=20.0)
    assert _drawn(ax)[1].get_clim() == (0.0, 2.0)
    # 40 pixels of 20 Å: the bar stands for 20 nm, 10 pixels.
    (bar,) = ax.patches
    assert bar.get_width() == pytest.approx(10)
    assert [text.get_text() for text in ax.texts] == ["20 nm"]


def test_a_fit_is_drawn_above_its_residuals() -> None:
    from matplotlib.figure import Figure

    top, below = Figure().subplots(2, 1, sharex=True)
    energy = np.arange(240.0, 340.0)
    fitted = np.where(energy < 250, np.nan, 5.0)
    near_edge = (energy > 284) & (energy < 334)
    plotting.plot_fit(
        top, below, energy, recorded=np.full(100, 6.0), fitted=fitted, background=fitted - 1,
        residual=np.where(energy < 250, np.nan, np.linspace(-9, 9, 100)), near_edge=near_edge,
    )  # fmt: skip
    assert [line.get_label() for line in top.lines] == ["recorded", "fit", "background"]
    np.testing.assert_array_equal(top.lines[1].get_ydata(), fitted)
    low, high = below.get_ylim()
    assert low == -high
    assert 8 < high <= 9
    for ax in (top, below):
        (shade,) = ax.collections
        inside = shade.get_paths()[0].vertices[:, 0]
        assert (inside.min(), inside.max()) == (285, 333)


def test_small_residuals_do_not_fill_the_axis() -> None:
    from matplotlib.figure import Figure

    energy = np.arange(10.0)
    for residual in (np.full(10, 0.1), np.full(10, np.nan)):
        top, below = Figure().subplots(2, 1)
        plotting.plot_fit(
            top, below, energy, recorded=energy, fitted=energy, background=energy, residual=residual
        )
        assert below.get_ylim() == (-4, 4)
        assert not below.collections
