"""Orientation relations and grain boundaries: known angles, symmetry, and chance."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from interphase.diffraction import (
    find_contacts,
    identify_image,
    measure_crystallites,
    relate_crystallites,
    relation_table,
)
from interphase.diffraction.crystallites import Contact, Crystallite
from interphase.diffraction.orientation_relations import (
    chance_of_relation,
    coincidence,
    coincidence_rotations,
    cubic_rotations,
    deviation,
    disorientation,
    find_electrode,
    ideal_relation,
    parallel_planes,
    rotation_about,
    variants,
)
from interphase.errors import ParameterError
from interphase.phases import candidates, load_phase, point_group_rotations
from interphase.simulation.models.crystallites import zone_axis_orientation

CUBIC = cubic_rotations()
FCC, BCC = load_phase("Cu"), load_phase("Li")


def grain(phase, zone, in_plane_deg, *, region=0, sigma_deg=0.5, diameter=60.0):
    """Return a crystallite whose orientation is known."""
    matrix = zone_axis_orientation(load_phase(phase), zone, in_plane_deg=in_plane_deg).matrix
    turned = np.diag([-1.0, -1.0, 1.0]) @ matrix
    group = point_group_rotations(load_phase(phase))
    same = np.einsum("ij,nji->n", matrix.T @ turned, group).max() > 2.999
    return Crystallite(
        region=region,
        phase=phase,
        probability=0.9,
        credible_set=(phase,),
        centre_a=(0.0, 60.0 * region),
        diameter_a=diameter,
        diameter_low_a=diameter - 5,
        diameter_high_a=diameter + 5,
        at_border=False,
        zone_axis=zone,
        orientations=(matrix,) if same else (matrix, turned),
        in_plane_sigma_deg=sigma_deg,
        tilt_sigma_deg=1.0,
        covariance=np.diag(np.radians([1.0, 1.0, sigma_deg]) ** 2),
    )


def touch(first, second):
    return Contact(
        first=first,
        second=second,
        distance_a=60.0,
        gap_a=0.0,
        gap_sigma_a=3.0,
        trace_a=((-20.0, 30.0), (20.0, 30.0)),
        trace_length_a=40.0,
    )


# The smallest angles that orix 0.15 finds for the same pairs under 432 and 622.
EULER = [[10, 20, 30], [200, 75, 310], [55, 100, 5], [123, 44, 260]]
ORIX = [
    ("Li2O", 0, 1, 48.692715),
    ("Li2O", 2, 3, 53.541895),
    ("Li2O", 1, 2, 50.302835),
    ("Li3P", 0, 1, 88.496182),
    ("Li3P", 2, 3, 84.126700),
    ("Li3P", 1, 2, 35.214250),
]


@pytest.mark.parametrize(("phase", "first", "second", "angle"), ORIX)
def test_misorientations_agree_with_another_program(phase, first, second, angle):
    rotation = Rotation.from_euler("ZXZ", EULER, degrees=True).as_matrix()
    group = point_group_rotations(load_phase(phase))
    found = disorientation(rotation[first], rotation[second], group, group)
    assert found.angle_deg == pytest.approx(angle, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(0, 23),
    second=st.integers(0, 23),
)
def test_misorientation_is_the_same_for_equivalent_crystals_either_way_and_from_any_side(
    seed, first, second
):
    a, b, view = Rotation.random(3, rng=np.random.default_rng(seed)).as_matrix()
    angle = disorientation(a, b, CUBIC, CUBIC).angle_deg
    assert angle <= 62.8
    others = [
        disorientation(a @ CUBIC[first], b @ CUBIC[second], CUBIC, CUBIC),
        disorientation(b, a, CUBIC, CUBIC),
        disorientation(view @ a, view @ b, CUBIC, CUBIC),
    ]
    assert [other.angle_deg for other in others] == pytest.approx([angle] * 3, abs=1e-5)


@pytest.mark.parametrize(
    ("planes", "directions", "angle", "axis", "number"),
    [
        # Kurdjumov-Sachs, Nishiyama-Wassermann, Bain, cube on cube, with their usual numbers.
        (((1, 1, 1), (0, 1, 1)), ((-1, 0, 1), (-1, -1, 1)), 42.85, (0.178, 0.178, 0.968), 24),
        (((1, 1, 1), (0, 1, 1)), ((1, 1, -2), (0, 1, -1)), 45.99, (0.083, 0.201, 0.976), 12),
        (((0, 0, 1), (0, 0, 1)), ((1, 0, 0), (1, 1, 0)), 45.0, (0, 0, 1), 3),
        (((0, 0, 1), (0, 0, 1)), ((1, 0, 0), (1, 0, 0)), 0.0, None, 1),
    ],
)
def test_named_relations_have_their_angles_axes_and_variants(
    planes, directions, angle, axis, number
):
    ideal = ideal_relation(FCC, BCC, planes=planes, directions=directions)
    found = disorientation(np.eye(3), ideal, CUBIC, CUBIC)
    assert found.angle_deg == pytest.approx(angle, abs=0.01)
    if axis:
        assert np.sort(np.abs(found.axis)) == pytest.approx(axis, abs=1e-3)
    assert variants(ideal, CUBIC, CUBIC) == 24 * number


def test_kurdjumov_sachs_and_nishiyama_wassermann_are_5_26_degrees_apart():
    ks = ideal_relation(
        FCC, BCC, planes=((1, 1, 1), (0, 1, 1)), directions=((-1, 0, 1), (-1, -1, 1))
    )
    nw = ideal_relation(
        FCC, BCC, planes=((1, 1, 1), (0, 1, 1)), directions=((1, 1, -2), (0, 1, -1))
    )
    assert deviation(ks, nw, CUBIC, CUBIC) == pytest.approx(5.26, abs=0.005)


def test_planes_and_directions_of_a_relation_are_parallel_in_any_lattice():
    first, second = load_phase("Li2CO3"), load_phase("Li3P")
    ideal = ideal_relation(
        first, second, planes=((0, 0, 2), (1, 0, 0)), directions=((1, 0, 0), (0, 0, 1))
    )
    normal = ideal @ np.array([1, 0, 0]) @ np.eye(3)
    assert np.linalg.norm(normal) == pytest.approx(1)
    normals = [
        (0, 0, 2) @ first.reciprocal_vectors,
        ideal @ ((1, 0, 0) @ second.reciprocal_vectors),
    ]
    along = [(1, 0, 0) @ first.lattice_vectors, ideal @ ((0, 0, 1) @ second.lattice_vectors)]
    for a, b in (normals, along):
        assert np.cross(a, b) == pytest.approx(0, abs=1e-9)
        assert a @ b > 0


def test_a_direction_outside_its_plane_is_an_error():
    with pytest.raises(ParameterError, match=r"\[1 1 1\] does not lie in \(1 1 1\) of Cu"):
        ideal_relation(FCC, BCC, planes=((1, 1, 1), (0, 1, 1)), directions=((1, 1, 1), (1, 1, -1)))


# Σ, angle [degrees] and axis as they stand in every table of coincidence rotations.
TABLE = """3 60.00 111, 5 36.87 100, 7 38.21 111, 9 38.94 110, 11 50.48 110, 13 22.62 100,
13 27.80 111, 15 48.19 210, 17 28.07 100, 17 61.93 221, 19 26.53 110, 19 46.83 111, 21 21.79 111,
21 44.42 211, 23 40.46 311, 25 16.26 100, 25 51.68 331, 27 31.59 110, 27 35.43 210, 29 43.60 100,
29 46.40 221"""


def test_coincidence_rotations_are_those_of_the_tables():
    expected = [entry.split() for entry in TABLE.replace("\n", " ").split(",")]
    found = coincidence_rotations()
    assert [sigma for sigma, _ in found] == [int(entry[0]) for entry in expected]
    for (_, matrix), (_, angle, axis) in zip(found, expected, strict=True):
        smallest = disorientation(np.eye(3), matrix, CUBIC, CUBIC)
        assert smallest.angle_deg == pytest.approx(float(angle), abs=0.006)
        unit = np.sort([int(n) for n in axis])
        assert np.sort(np.abs(smallest.axis)) == pytest.approx(
            unit / np.linalg.norm(unit), abs=1e-4
        )


@pytest.mark.parametrize("sigma", [3, 5, 9, 11])
def test_coincidence_ends_at_brandons_angle(rng, sigma):
    ideal = next(matrix for number, matrix in coincidence_rotations() if number == sigma)
    allowed = 15 / np.sqrt(sigma)
    for share in (0.0, 0.3, 0.95):
        turned = ideal @ rotation_about(rng.normal(size=3), share * allowed)
        number, off = coincidence(turned)
        # Another boundary may be nearer in terms of its own, narrower allowance.
        assert number == sigma or off / (15 / np.sqrt(number)) < share
    assert coincidence(np.eye(3)) is None


def test_the_chance_of_a_relation_is_how_often_random_crystals_come_near(rng):
    ideal = ideal_relation(
        FCC, BCC, planes=((1, 1, 1), (0, 1, 1)), directions=((-1, 0, 1), (-1, -1, 1))
    )
    number = 1500
    random = Rotation.random(number, rng=rng).as_matrix()
    for within in (4.0, 5.0):
        near = np.mean([deviation(m, ideal, CUBIC, CUBIC) <= within for m in random])
        stated = chance_of_relation(within, ideal, CUBIC, CUBIC)
        assert near <= stated + 4 * np.sqrt(stated / number)
        # Variants closer than twice the angle overlap; the bound is not far off.
        assert near > 0.6 * stated - 4 * np.sqrt(stated / number)


@pytest.mark.parametrize(
    ("first", "first_zone", "second", "second_zone"),
    [
        ("Li2O", (1, 1, 0), "Li", (1, 1, 1)),
        ("Li2O", (1, 1, 0), "LiF", (1, 1, 0)),
        ("Li2CO3", (0, 0, 1), "Li", (1, 0, 0)),
    ],
)
def test_a_random_turn_about_the_beam_seldom_has_a_small_chance(
    rng, first, first_zone, second, second_zone
):
    # No turn is preferred, so at most a share `a` of them may have a chance of at most `a`.
    fixed, phases = grain(first, first_zone, 0.0), (load_phase(first), load_phase(second))
    number = 600
    chances = np.array(
        [
            1.0 if found is None else found.chance
            for angle in rng.uniform(0, 360, number)
            for found in [
                parallel_planes(fixed, phases[0], grain(second, second_zone, angle), phases[1])
            ]
        ]
    )
    for a in (0.05, 0.1, 0.2):
        assert np.mean(chances <= a) <= a + 3 * np.sqrt(a * (1 - a) / number)
    # And it is no idle bound: small chances do come.
    assert chances.min() < 0.05


def test_nishiyama_wassermann_is_read_from_an_image_along_its_directions():
    # [1 1 -2] of fcc and [0 1 -1] of bcc along the beam, (1 1 1) and (0 1 1) parallel.
    fcc = grain("Cu", (1, 1, -2), 0.0)
    bcc = grain("Li", (0, 1, -1), 0.0)

    def azimuth(crystallite, phase, plane):
        x, y, _ = crystallite.orientations[0] @ (plane @ phase.reciprocal_vectors)
        return np.degrees(np.arctan2(y, x))

    turn = azimuth(fcc, FCC, (1, 1, 1)) - azimuth(bcc, BCC, (0, 1, 1))
    found = parallel_planes(fcc, FCC, grain("Li", (0, 1, -1), turn + 0.4), BCC)
    assert found.planes == ((1, 1, 1), (0, 1, 1))
    assert found.deviation_deg == pytest.approx(0.4, abs=1e-6)
    assert found.chance < 0.1


def test_a_twin_seen_edge_on_is_a_coincidence_boundary():
    twin = 70.5288
    grains = [grain("Li2O", (1, 1, 0), 5.0), grain("Li2O", (1, 1, 0), 5.0 + twin, region=1)]
    (relation,) = relate_crystallites(grains, [touch(0, 1)], candidates("Li2O"))
    assert relation.misorientation_deg == pytest.approx(60.0, abs=0.01)
    assert (relation.boundary, relation.coincidence) == ("high angle", 3)
    assert relation.planes is not None
    assert set(map(abs, np.ravel(relation.planes))) == {1}
    assert relation.other_misorientations_deg == ()
    assert relation.trace_length_a == 40.0
    assert "Σ3 within 0.0°" in relation.sentence
    # The axis in the plane of the image is uncertain by the tilts, so the angle is as well.
    assert relation.sigma_deg > 0.7


def test_a_twin_about_the_beam_cannot_be_seen_and_both_angles_are_given():
    grains = [grain("Li2O", (1, 1, 1), 0.0), grain("Li2O", (1, 1, 1), 1.0, region=1)]
    (relation,) = relate_crystallites(grains, [touch(0, 1)], candidates("Li2O"))
    assert relation.misorientation_deg == pytest.approx(1.0, abs=1e-6)
    assert relation.boundary == "low angle"
    assert relation.other_misorientations_deg == pytest.approx((59.0,), abs=1e-6)
    assert "The image allows 59.0° as well." in relation.sentence


def test_all_crystallites_are_related_to_the_electrode_and_only_touching_ones_to_each_other():
    grains = [
        grain("Li2O", (1, 1, 0), 0.0),
        grain("Li", (1, 1, 1), 0.0, region=1, diameter=200.0),
        grain("LiF", (1, 1, 0), 10.0, region=2),
    ]
    phases = candidates("Li2O,Li,LiF")
    found = relate_crystallites(grains, [touch(0, 1)], phases)
    assert [(r.first, r.second, r.touching, r.to_electrode) for r in found] == [
        (1, 0, True, True),
        (1, 2, False, True),
    ]
    assert all(r.boundary is None and r.coincidence is None for r in found)
    chosen = relate_crystallites(grains, [], phases, electrode=2)
    assert [(r.first, r.second) for r in chosen] == [(2, 0), (2, 1)]
    with pytest.raises(
        ParameterError, match="electrode is 7: expected a region of the map, 0 to 2"
    ):
        relate_crystallites(grains, [], phases, electrode=7)
    assert find_electrode(grains[:1], phases, [100.0]) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"candidates": candidates("LiF")}, "the map has Li2O, and candidates are LiF: give the"),
        ({"candidates": None}, "candidates are None: expected phases, such as"),
        ({"grains": None}, "grains are None: expected the result of measure_crystallites"),
        ({"grains": [1]}, r"grains are \[1\]: expected the result of measure_crystallites"),
        ({"touching": 5}, "touching are 5: expected the result of find_contacts"),
        ({"touching": [touch(0, 7)]}, "regions 0 and 7 touch, and are not both among the cryst"),
        ({"touching": [touch(1, 1)]}, "region 1 touches itself"),
        *(
            ({"grains": [replace(grain("Li", (1, 1, 1), 0.0), **wrong)]}, said)
            for wrong, said in (
                ({"orientations": (-np.eye(3),)}, "an orientation of region 0 is no rotation"),
                ({"orientations": (np.eye(3) * np.nan,)}, "an orientation of region 0 holds 9 val"),
                ({"orientations": (np.eye(2),)}, "an orientation of region 0 has the shape"),
                ({"covariance": np.eye(3) * np.nan}, "covariance of region 0 holds 9 values"),
                ({"covariance": -np.eye(3)}, "covariance of region 0 has a variance below 0"),
            )
        ),
        *(
            ({"tolerance_deg": angle}, "tolerance_deg is .* expected a number from 0 to 45")
            for angle in (-1, 46, np.nan, np.inf, None, "x")
        ),
        *(
            ({"electrode": region}, "electrode is .*: expected a region of the map, 0 to 1")
            for region in (-1, "x", [1], 0.5)
        ),
    ],
)
def test_misuse_is_named(change, words):
    given_ = {
        "grains": [grain("Li2O", (1, 1, 0), 0.0), grain("Li", (1, 1, 1), 0.0, region=1)],
        "touching": [touch(0, 1)],
        "candidates": candidates("Li2O,Li"),
        **change,
    }
    with pytest.raises(ParameterError, match=words):
        relate_crystallites(**given_)


def test_a_table_of_something_else_is_refused():
    with pytest.raises(ParameterError, match="relations are None: expected the result of relate"):
        relation_table(None)


def test_crystallites_without_an_orientation_have_no_relation():
    from dataclasses import replace

    bare = replace(grain("LiF", (1, 1, 0), 0.0, region=1), orientations=(), zone_axis=None)
    assert relate_crystallites([grain("Li", (1, 1, 1), 0.0), bare], [], candidates("Li,LiF")) == ()


def test_a_boundary_in_an_image_has_its_angle_within_the_error(rng, lattice_image):
    phases = candidates("Li2O,LiF,Li")
    turn = 25.0
    for start in (10.0, 70.0):
        lattice = [
            (
                "Li2O",
                zone_axis_orientation(load_phase("Li2O"), (1, 1, 0), in_plane_deg=a).matrix,
                c,
                76,
            )
            for a, c in ((start, (60, 45)), (start + turn, (60, 121)))
        ]
        image = lattice_image(rng, lattice, size=400)
        phase_map = identify_image(image, pixel_size_a=0.4, candidates=phases)
        grains = measure_crystallites(phase_map, phases)
        touching = find_contacts(phase_map, grains)
        relations = relate_crystallites(grains, touching, phases)
        relation = max(relations, key=lambda r: r.trace_length_a)
        assert relation.phases == ("Li2O", "Li2O")
        assert relation.boundary == "high angle"
        assert abs(relation.misorientation_deg - turn) < 3 * relation.sigma_deg
        assert relation.sigma_deg < 3
        rows = relation_table(relations)
        assert json.loads(json.dumps(rows)) == rows
        assert rows[0]["coincidence_sigma"] in (None, *(n for n, _ in coincidence_rotations()))
