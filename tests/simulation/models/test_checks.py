"""What means nothing is refused where it is said, not built as something else."""

from dataclasses import replace

import numpy as np
import pytest

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation.models.architectures import (
    Interphase,
    InterphaseRanges,
    Layer,
    Packing,
    Population,
    Structure,
)
from interphase.simulation.models.crystallites import Orientation, zone_axis_orientation
from interphase.simulation.models.geometry import Interface, Wave
from interphase.simulation.models.interphases import build_interphase
from interphase.simulation.models.matrices import MATRICES, amorphous_film, atom_counts
from interphase.simulation.models.scene import Scene, draw_centres, film_scene, scene_from_bodies
from interphase.simulation.models.shapes import Box

NAN, INF = float("nan"), float("inf")
WAVE = Wave(amplitude_a=2.0, period_a=90.0, direction_deg=0.0, phase_deg=0.0)
GRAIN = Population(phase="LiF", volume_fraction=0.2, diameter_a=20.0)
LAYER = Layer(name="all", thickness_a=50.0, matrix="LEDC", populations=(GRAIN,))
RECIPE = Interphase(
    architecture="mosaic",
    structure=Structure.MOSAIC,
    electrode="Li",
    layers=(LAYER,),
    foil_thickness_a=50.0,
    length_a=60.0,
    seed=1,
)
SURFACE = Interface(point_a=(0.0, 0.0, 0.0))
RANGES = InterphaseRanges()


def test_the_value_of_an_enum_is_taken_for_it():
    layer = replace(LAYER, packing="embedded", matrix="LEDC")
    assert layer == LAYER
    assert layer.packing is Packing.EMBEDDED
    assert replace(RECIPE, structure="mosaic").structure is Structure.MOSAIC


@pytest.mark.parametrize(
    ("record", "field", "values"),
    [
        (WAVE, "amplitude_a", [NAN, INF]),
        (WAVE, "period_a", [0.0, -1.0, NAN]),
        (WAVE, "direction_deg", [NAN, None]),
        (WAVE, "phase_deg", [INF]),
        (SURFACE, "point_a", [(0.0, NAN, 0.0)]),
        (SURFACE, "normal_deg", [NAN]),
        (SURFACE, "tilt_deg", [NAN, -90.0]),
        (SURFACE, "radius_a", [0.0, NAN, INF]),
        (SURFACE, "axis", ["foo"]),
        (GRAIN, "shape", ["cube"]),
        (GRAIN, "volume_fraction", [-0.1, 1.1, NAN, "much"]),
        (GRAIN, "diameter_a", [3.0, -20.0, NAN]),
        (GRAIN, "spread", [-0.1, NAN]),
        (GRAIN, "strain", [-0.01, 0.2, NAN]),
        (GRAIN, "stacking_faults", [1.5]),
        (GRAIN, "zone_axis_share", [-0.5]),
        (LAYER, "packing", ["dense", None]),
        (LAYER, "thickness_a", [0.0, NAN, INF]),
        (RECIPE, "structure", ["foo"]),
        (RECIPE, "axis", ["foo"]),
        (RECIPE, "seed", [None, -1, 0.5]),
        (RECIPE, "foil_thickness_a", [0.0, NAN, INF]),
        (RECIPE, "length_a", [-60.0, NAN]),
        (RECIPE, "electrode_width_a", [0.0, INF]),
        (RECIPE, "outside_width_a", [-1.0, NAN]),
        (RECIPE, "normal_deg", [NAN]),
        (RECIPE, "tilt_deg", [90.0, NAN]),
        (RECIPE, "radius_a", [0.0]),
        (RECIPE, "temperature_k", [0.0, NAN]),
        (RECIPE, "roughness", [(replace(WAVE, amplitude_a=80.0),)]),
        (RECIPE, "unevenness", [(replace(WAVE, amplitude_a=80.0),)]),
        (RANGES, "thickness_a", [(400.0, 50.0), (5.0, 40.0), (50.0, NAN), (50.0,), 50.0]),
        (RANGES, "crystallite_diameter_a", [(2.0, 5.0)]),
        (RANGES, "radius_a", [(0.0, 300.0)]),
        (RANGES, "crystalline_fraction", [(0.5, 1.5)]),
        (RANGES, "tilt_deg", [(0.0, 90.0)]),
        (RANGES, "turn_deg", [(NAN, 10.0)]),
        (RANGES, "convex_share", [1.5]),
    ],
)
def test_a_field_that_means_nothing_is_named_with_its_value(record, field, values):
    for value in values:
        with pytest.raises(ParameterError, match=rf"^{field} .*(expected|give)") as caught:
            replace(record, **{field: value})
        assert "amplitude" in repr(value) or repr(value) in str(caught.value)


def test_a_layer_holds_no_more_than_itself():
    with pytest.raises(ParameterError, match=r"layer 'all' fill 1\.2 of it"):
        replace(LAYER, populations=(replace(GRAIN, volume_fraction=0.6),) * 2)


def test_a_nanometre_taken_for_an_angstrom_is_told():
    with pytest.raises(ParameterError, match=r"diameter_a is 3\.0: .*did you give nm"):
        replace(GRAIN, diameter_a=3.0)
    with pytest.raises(ParameterError, match=r"thickness_a is \(5, 40\): .*did you give nm"):
        InterphaseRanges(thickness_a=(5, 40))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length_a": 1e7}, r"about \d.* atoms is too large .* smaller field"),
        (
            {
                "length_a": 1000.0,
                "foil_thickness_a": 1000.0,
                "layers": (replace(LAYER, populations=(replace(GRAIN, diameter_a=6.0),)),),
            },
            r"crystallites of LiF of 6 Å: give a diameter of at least \d+ Å",
        ),
    ],
)
def test_what_would_take_hours_is_refused_at_once(changes, said):
    with pytest.raises(ParameterError, match=said):
        build_interphase(replace(RECIPE, **changes))


def test_a_margin_is_not_negative():
    with pytest.raises(ParameterError, match=r"margin_a is -5\.0: expected a finite number >= 0"):
        build_interphase(RECIPE, margin_a=-5.0)


@pytest.mark.parametrize("matrix", [2 * np.eye(3), np.diag([1, 1, -1]), np.eye(2), np.eye(3) * NAN])
def test_an_orientation_is_a_rotation(matrix):
    with pytest.raises(ParameterError, match="expected a rotation"):
        Orientation(matrix=matrix)


@pytest.mark.parametrize("angle", ["in_plane_deg", "tilt_deg", "tilt_azimuth_deg"])
def test_an_angle_is_finite(angle):
    with pytest.raises(ParameterError, match=f"{angle} is nan: expected a finite number"):
        zone_axis_orientation(load_phase("Li"), (1, 0, 0), **{angle: NAN})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"composition": {}}, "expected atoms per formula unit"),
        ({"composition": {"C": -1.0, "O": 3.0}}, r"composition of C is -1\.0"),
        ({"composition": {"Qq": 1.0}}, "'Qq', which is no element"),
        ({"density_g_per_cm3": 0.0}, "density_g_per_cm3 is 0.0: expected a finite number > 0"),
        ({"volume_a3": NAN}, "volume_a3 is nan: expected a finite number > 0"),
    ],
)
def test_atoms_of_nothing_are_not_counted(changes, said):
    request = {"composition": {"C": 1.0}, "density_g_per_cm3": 2.0, "volume_a3": 1e4}
    with pytest.raises(ParameterError, match=said):
        atom_counts(**(request | changes))


@pytest.mark.parametrize(
    ("side", "density", "said"),
    [
        (100.0, 50.0, r"however they are packed: give a lower density, at most 0\.14 of this"),
        (1e5, 1.6, "atoms is too large"),
        (NAN, 1.6, "size_a is .*: expected finite numbers > 0"),
    ],
)
def test_a_film_that_cannot_be_is_refused_before_it_is_tried(side, density, said, rng):
    # Oxygen, 6 of LEDC's 161.9 g/mol, is packed most closely at 6.85 g/cm³.
    composition = MATRICES["LEDC"].composition
    with pytest.raises(ParameterError, match=said):
        amorphous_film(
            (side, 100.0), 100.0, composition=composition, density_g_per_cm3=density, rng=rng
        )


@pytest.mark.parametrize("seed", [None, -1, 1.0])
def test_a_scene_can_be_made_again(seed):
    with pytest.raises(ParameterError, match="expected an integer >= 0"):
        film_scene((30.0, 30.0), 20.0, seed=seed)
    with pytest.raises(ParameterError, match="expected an integer >= 0"):
        scene_from_bodies([], size_a=(30.0, 30.0), thickness_a=20.0, seed=seed)


@pytest.mark.parametrize(
    ("diameters", "gap", "said"),
    [([-20.0], 5.0, "diameters_a"), ([0.0], 5.0, "diameters_a"), ([20.0], NAN, "gap_a is nan")],
)
def test_places_are_drawn_for_real_crystallites_only(diameters, gap, said, rng):
    with pytest.raises(ParameterError, match=said):
        draw_centres((100.0, 100.0), 40.0, diameters, gap_a=gap, rng=rng)


@pytest.mark.parametrize(
    ("size", "thickness", "place", "said"),
    [
        ((NAN, 9.0), 9.0, 1.0, "size_a"),
        ((9.0, 9.0), 0.0, 1.0, "thickness_a"),
        ((9.0, 9.0), 9.0, NAN, "1 of 1 atoms have no finite position"),
    ],
)
def test_a_scene_has_an_extent_and_its_atoms_a_place(size, thickness, place, said):
    from ase import Atoms

    atoms = Atoms("Li", positions=[(1.0, place, 1.0)])
    with pytest.raises(ParameterError, match=said):
        Scene(atoms=atoms, size_a=size, thickness_a=thickness, matrix="vacuum")


def test_a_box_has_its_low_corner_below_its_high_one():
    for low in (2.0, NAN):
        with pytest.raises(ParameterError, match="give `low_a` below `high_a`"):
            Box(low_a=(low, 0.0, 0.0), high_a=(1.0, 1.0, 1.0))
