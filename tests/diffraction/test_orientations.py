"""Orientations from spots: exact where nothing is in the way, honest where something is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from interphase.diffraction import match_orientation, misorientation_deg
from interphase.diffraction.orientations import FIRST_THICKNESS_A
from interphase.electron import wavelength_from_energy
from interphase.errors import ParameterError
from interphase.phases import load_phase, point_group_rotations, reflections

KEV, D_MIN_A, K_MIN = 300.0, 1.1, 0.12
SETTINGS = {
    "beam_energy_kev": KEV,
    "sigma_per_a": 0.005,
    "d_min_a": D_MIN_A,
    "k_range_per_a": (K_MIN, 1 / D_MIN_A),
}


def spots_of(identifier, rotation, *, thickness_a=50.0, weakest=0.002, curved=True):
    """Return the spots (ky, kx) and kinematic intensities of a crystal in an orientation."""
    table = reflections(load_phase(identifier), d_min_a=D_MIN_A)
    g = table.g_per_a @ rotation.T
    excitation = g[:, 2] + curved * wavelength_from_energy(KEV) / 2 * (g**2).sum(axis=1)
    intensity = table.relative * np.exp(-2.08 * (excitation * thickness_a) ** 2)
    k = g[:, 1::-1]
    length = np.hypot(*k.T)
    seen = (length > K_MIN) & (length < 1 / D_MIN_A) & (intensity > weakest)
    return k[seen], intensity[seen]


def rotations(number, seed):
    return Rotation.random(number, random_state=np.random.default_rng(seed)).as_matrix()


def rich_patterns(identifier, number, *, seed, least=8, thickness_a=30.0):
    """Return orientations that show some spots in two directions, and the spots."""
    found = []
    for rotation in rotations(400, seed):
        k, intensity = spots_of(identifier, rotation, thickness_a=thickness_a)
        if len(k) >= least and np.linalg.svd(k)[1][1] > 0.4:
            found.append((rotation, k, intensity))
        if len(found) == number:
            break
    return found


def found_off_deg(identifier, rotation, k, intensity, *, worse_by=0.0):
    """Return the angle to the nearest of the orientations that are as likely as the best."""
    phase = load_phase(identifier)
    found = match_orientation(k, intensity, phase=phase, most=4, **SETTINGS)
    return min(
        misorientation_deg(one.rotation, rotation, point_group_rotations(phase))
        for one in found
        if one.log_odds >= found[0].log_odds - worse_by
    )


@pytest.mark.parametrize("identifier", ["Li2CO3", "Li2O", "LiF"])
def test_orientations_of_clean_patterns_are_found_to_a_fraction_of_a_degree(identifier):
    patterns = rich_patterns(identifier, 30, seed=2)
    # The reflections of one zone look alike from either side of it: two answers may be equal.
    off = np.array([found_off_deg(identifier, *pattern, worse_by=0.5) for pattern in patterns])
    assert len(off) == 30
    assert np.median(off) < 0.7
    assert np.mean(off < 3) >= 0.9


@pytest.mark.parametrize("identifier", ["Li2CO3", "Li2O"])
def test_missing_moved_and_foreign_spots_are_borne(identifier):
    rng = np.random.default_rng(5)
    off = []
    for rotation, k, intensity in rich_patterns(identifier, 25, seed=3, least=10):
        kept = rng.random(len(k)) > 0.15
        foreign = rng.uniform(-0.6, 0.6, (3, 2))
        seen = np.concatenate([k[kept] + 0.004 * rng.standard_normal((kept.sum(), 2)), foreign])
        strong = intensity[kept] * np.exp(0.5 * rng.standard_normal(kept.sum()))
        strong = np.concatenate([strong, rng.choice(strong, 3)])
        off.append(found_off_deg(identifier, rotation, seen, strong))
    assert len(off) >= 20
    assert np.median(off) < 1.5
    assert np.mean(np.array(off) < 3) >= 0.7


@settings(max_examples=15, deadline=None)
@given(turn_deg=st.floats(-180, 180), number=st.integers(0, 5))
def test_turning_the_pattern_turns_the_crystal(turn_deg, number):
    _, k, intensity = rich_patterns("Li2CO3", 6, seed=11, thickness_a=50.0)[number]
    turn = Rotation.from_rotvec([0, 0, np.radians(turn_deg)]).as_matrix()
    # (x, y) of the spots are the columns (1, 0) of k.
    turned = (k[:, ::-1] @ turn[:2, :2].T)[:, ::-1]
    phase = load_phase("Li2CO3")
    before = match_orientation(k, intensity, phase=phase, **SETTINGS)[0]
    after = match_orientation(turned, intensity, phase=phase, **SETTINGS)[0]
    symmetry = point_group_rotations(phase)
    assert misorientation_deg(after.rotation, turn @ before.rotation, symmetry) < 0.7
    assert after.log_odds == pytest.approx(before.log_odds, abs=1.5)


def test_a_zone_axis_pattern_is_described_as_such():
    phase = load_phase("Li2CO3")
    axis = np.array([1, 0, 1]) @ phase.lattice_vectors
    to_beam, _ = Rotation.align_vectors([[0, 0, 1]], [axis])
    k, intensity = spots_of("Li2CO3", to_beam.as_matrix(), curved=False)
    (best,) = match_orientation(k, intensity, phase=phase, **SETTINGS)
    assert best.phase == "Li2CO3"
    # Li2CO3 has [u v w] and [-u v -w] alike, and half a turn reverses neither.
    assert tuple(np.abs(best.zone_axis)) == (1, 0, 1)
    assert best.zone_axis_off_deg < 1.0
    assert len(best.matched) == len(k)
    for spot, hkl in best.matched:
        assert np.array(hkl) @ best.zone_axis == 0
        length = np.linalg.norm(np.array(hkl) @ phase.reciprocal_vectors)
        assert length == pytest.approx(np.hypot(*k[spot]), abs=0.01)


def test_the_curvature_of_the_sphere_tells_half_turns_apart_at_low_energy():
    energy = 20.0
    phase, symmetry = load_phase("Li2CO3"), point_group_rotations(load_phase("Li2CO3"))
    table = reflections(phase, d_min_a=D_MIN_A)
    off = []
    for rotation in rotations(12, seed=4):
        g = table.g_per_a @ rotation.T
        excitation = g[:, 2] + wavelength_from_energy(energy) / 2 * (g**2).sum(axis=1)
        intensity = table.relative * np.exp(-2.08 * (excitation * 60.0) ** 2)
        seen = (intensity > 0.002) & (np.hypot(g[:, 0], g[:, 1]) > K_MIN)
        found = match_orientation(
            g[seen, 1::-1],
            intensity[seen],
            phase=phase,
            **{**SETTINGS, "beam_energy_kev": energy},
        )
        off.append(misorientation_deg(found[0].rotation, rotation, symmetry, half_turn=False))
    assert np.median(off) < 1.0


def test_thickness_comes_out_with_the_orientation():
    rotation = rotations(1, seed=21)[0]
    thick = []
    for thickness_a in (30.0, 100.0):
        k, intensity = spots_of("Li2CO3", rotation, thickness_a=thickness_a)
        (best,) = match_orientation(k, intensity, phase=load_phase("Li2CO3"), **SETTINGS)
        thick.append(best.thickness_a)
        assert thickness_a / 2 < best.thickness_a < 2 * thickness_a
    assert thick[0] < FIRST_THICKNESS_A < thick[1]


def test_a_scale_error_is_found_if_one_is_allowed():
    rotation = rotations(1, seed=8)[0]
    k, intensity = spots_of("Li2CO3", rotation)
    phase = load_phase("Li2CO3")
    (best,) = match_orientation(1.015 * k, intensity, phase=phase, scale_sigma=0.01, **SETTINGS)
    assert best.scale_error == pytest.approx(0.015, abs=0.004)
    assert misorientation_deg(best.rotation, rotation, point_group_rotations(phase)) < 1.5


def test_stated_uncertainties_cover_the_errors():
    """Two of three turns about the beam lie within the stated standard deviation, about."""
    phase, symmetry = load_phase("Li2CO3"), point_group_rotations(load_phase("Li2CO3"))
    rng = np.random.default_rng(6)
    ratio = []
    for rotation in rotations(80, seed=9):
        k, intensity = spots_of("Li2CO3", rotation)
        if len(k) < 10:
            continue
        moved = k + SETTINGS["sigma_per_a"] * rng.standard_normal(k.shape)
        (best,) = match_orientation(moved, intensity, phase=phase, **SETTINGS)
        if misorientation_deg(best.rotation, rotation, symmetry) > 4:
            continue
        angles = []
        for turn in (np.eye(3), np.diag([-1.0, -1.0, 1.0])):
            for rotated in symmetry:
                step = Rotation.from_matrix(turn @ best.rotation @ rotated @ rotation.T)
                angles.append(step.as_rotvec(degrees=True))
        about_beam = min(angles, key=np.linalg.norm)[2]
        if np.isfinite(best.in_plane_sigma_deg):
            ratio.append(abs(about_beam) / best.in_plane_sigma_deg)
    assert len(ratio) >= 25
    assert 0.45 < np.mean(np.array(ratio) < 1) < 0.9


def test_a_single_row_of_spots_leaves_the_turn_about_it_open():
    k = np.array([[0.0, 0.43], [0.0, -0.43]])
    found = match_orientation(k, np.ones(2), phase=load_phase("LiF"), most=3, **SETTINGS)
    assert len(found) == 3
    assert found[0].log_odds - found[2].log_odds < 3


def test_what_no_reflection_reaches_has_no_orientation():
    empty = match_orientation(np.zeros((0, 2)), np.zeros(0), phase=load_phase("LiF"), **SETTINGS)
    short = np.array([[0.0, 0.2], [0.2, 0.0]])
    assert empty == ()
    assert match_orientation(short, np.ones(2), phase=load_phase("LiF"), **SETTINGS) == ()


def test_equal_orientations_are_no_angle_apart():
    rng = np.random.default_rng(0)
    symmetry = point_group_rotations(load_phase("LiF"))
    first = rotations(1, seed=1)[0]
    for rotation in symmetry[rng.integers(len(symmetry), size=5)]:
        assert misorientation_deg(first, first @ rotation, symmetry) == pytest.approx(0, abs=1e-5)
    half = np.diag([-1.0, -1.0, 1.0])
    assert misorientation_deg(half @ first, first, symmetry) == pytest.approx(0, abs=1e-5)
    assert misorientation_deg(half @ first, first, symmetry, half_turn=False) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k_per_a": np.zeros((3, 3))}, r"k_per_a has the shape \(3, 3\) .* \(ky, kx\) per spot"),
        ({"k_per_a": [[1, 2], [3]]}, r"k_per_a is .* expected a row \(ky, kx\)"),
        ({"k_per_a": "x"}, r"k_per_a is 'x': expected a row"),
        ({"k_per_a": np.ones((2, 2)) * 1j}, "k_per_a has the shape .* type complex128"),
        ({"k_per_a": np.full((2, 2), np.nan)}, "k_per_a holds 4 values that are not finite"),
        ({"intensity": np.ones(3)}, "intensity is .*expected 2 numbers, one per spot"),
        ({"intensity": [1.0, np.inf]}, "intensity holds 1 values that are not finite"),
        ({"phase": "LiF"}, "phase is 'LiF': expected a phase, such as"),
        ({"phase": None}, "phase is None: expected a phase"),
        ({"beam_energy_kev": 3e5}, r"is 300000.0 keV \(not eV\): expected a number from 1 to 3000"),
        *(
            ({"sigma_per_a": sigma}, "sigma_per_a is .* 1/Å: expected a number from 1e-06 to 0.1")
            for sigma in (0.0, -1, np.nan, np.inf, 1e-300, 1e9, None, "x", True, [0.1])
        ),
        *(
            ({"d_min_a": d}, "d_min_a is .* Å: expected a number from 0.05 to 100")
            for d in (0, -1, np.nan, np.inf, None, "x")
        ),
        *(
            ({"k_range_per_a": k}, "k_range_per_a is .* expected")
            for k in (5, (), (1, 0.2), (-1, 1), (0, 0), (0, 1e9), ("a", "b"), (0, 1, 2))
        ),
        ({"k_range_per_a": (0, np.inf)}, "k_range_per_a holds 1 values that are not finite"),
        ({"scale_sigma": 0.5}, "scale_sigma is 0.5: expected a number from 0 to 0.1"),
        ({"scale_sigma": None}, "scale_sigma is None"),
        *(
            ({"most": most}, "most is .*: expected a whole number from 1 to 1000")
            for most in (0, 1.5, np.nan, 10**9, "x", True)
        ),
    ],
)
def test_misuse_is_named(change, words):
    given_ = {
        "k_per_a": np.ones((2, 2)),
        "intensity": np.ones(2),
        "phase": load_phase("LiF"),
        **SETTINGS,
        **change,
    }
    with pytest.raises(ParameterError, match=words):
        match_orientation(**given_)


@pytest.mark.parametrize(
    ("first", "symmetry", "words"),
    [
        (None, np.eye(3)[None], r"first is None: expected a rotation, shape \(3, 3\)"),
        (np.eye(2), np.eye(3)[None], r"first has the shape \(2, 2\)"),
        (np.eye(3), np.eye(3), r"symmetry has the shape \(3, 3\) .* expected rotations"),
        (np.eye(3), np.zeros((0, 3, 3)), "is no rotation: expected Orientation.rotation"),
        (2 * np.eye(3), np.eye(3)[None], "is no rotation: expected Orientation.rotation"),
        (-np.eye(3), np.eye(3)[None], "is no rotation: expected Orientation.rotation"),
        (np.full((3, 3), np.nan), np.eye(3)[None], "first holds 9 values that are not finite"),
    ],
)
def test_what_is_no_rotation_has_no_misorientation(first, symmetry, words):
    with pytest.raises(ParameterError, match=words):
        misorientation_deg(first, np.eye(3), symmetry)
