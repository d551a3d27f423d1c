"""Reference sets hold what was planned and say what is in them."""

from collections import Counter

import numpy as np
import pytest

from interphase.errors import ParameterError, PhaseError
from interphase.simulation import (
    GrainPlan,
    fringe_powers,
    make_field,
    plan_fields,
    reference,
    transferred_planes,
)
from interphase.simulation.models.matrices import MATRICES, atom_counts


@pytest.fixture(scope="module")
def plan():
    (one,) = plan_fields(
        phases=["Li2CO3", "LiF"],
        diameters_a=[(30, 40)],
        alignments=["zone"],
        repeats=2,
        empty=0,
        seed=11,
    )
    return one


@pytest.fixture(scope="module")
def field(plan):
    return make_field(plan, with_film=True)


def test_plan_holds_every_combination():
    classes = [(20, 30), (50, 100)]
    plans = plan_fields(phases=["Li", "LiF"], diameters_a=classes, repeats=3, empty=5, seed=1)
    grains = [grain for plan in plans for grain in plan.grains]
    assert Counter((g.phase, g.alignment, g.diameter_a > 50) for g in grains) == {
        (phase, alignment, large): 3
        for phase in ("Li", "LiF")
        for alignment in ("zone", "random")
        for large in (False, True)
    }
    assert sum(not plan.grains for plan in plans) == 5
    assert max(len(plan.grains) for plan in plans) == 4
    assert len({p.seed for p in plans}) == len({p.name for p in plans}) == len(plans)


def test_crystallites_find_room_whatever_is_dealt(monkeypatch):
    # Stopped once they have their places.
    placed = []

    def stop(matrix, thickness_a, rng):
        placed.append(thickness_a)
        raise StopIteration

    monkeypatch.setattr(reference, "_film", stop)
    plans = plan_fields(
        phases=["Cu"], diameters_a=[(20, 50), (50, 100), (90, 100)], repeats=20, empty=0, seed=3
    )
    for plan in plans:
        with pytest.raises(StopIteration):
            make_field(plan)
    assert len(placed) == len(plans)


def test_fields_mix_phases_and_alignments():
    plans = plan_fields(
        phases=["Li", "LiF", "Li2O"], diameters_a=[(30, 40)], repeats=8, empty=0, seed=1
    )
    assert max(len({grain.phase for grain in plan.grains}) for plan in plans) == 3
    assert max(len({grain.alignment for grain in plan.grains}) for plan in plans) == 2


def test_sets_of_different_seeds_share_no_field():
    one, two = (plan_fields(phases=["Li"], diameters_a=[(30, 50)], seed=seed) for seed in (1, 2))
    assert not {p.seed for p in one} & {p.seed for p in two}
    assert not {p.grains for p in one} & {p.grains for p in two} - {()}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"phases": "LiF"}, ParameterError, r"phases is 'LiF': expected a list, such as \['LiF'\]"),
        ({"phases": ["Lif"]}, PhaseError, "'Lif' is not a phase"),
        ({"alignments": ["zones"]}, ParameterError, "alignments has 'zones': give"),
        ({"diameters_a": [(30.0, 20.0)]}, ParameterError, r"diameters_a has \(30.0, 20.0\)"),
        ({"diameters_a": [(30.0, 200.0)]}, ParameterError, "up to 100 Å"),
        ({"diameters_a": [30.0]}, ParameterError, r"diameters_a has 30.0: expected \(from, to\)"),
        ({"repeats": -1}, ParameterError, "repeats is -1"),
        ({"empty": 2.5}, ParameterError, "empty is 2.5: expected a whole number, at least 0"),
    ],
)
def test_plans_that_cannot_be_are_refused(given, error, said):
    with pytest.raises(error, match=said):
        plan_fields(**({"phases": ["LiF"], "diameters_a": [(30.0, 40.0)], "seed": 1} | given))


def test_a_crystallite_without_size_is_refused():
    with pytest.raises(ParameterError, match=r"diameter_a is 0\.0"):
        GrainPlan(phase="LiF", diameter_a=0.0, alignment="zone")


def test_field_is_what_was_planned(field, plan):
    assert 0.25 <= field.pixel_size_a <= 0.6
    assert field.intensity.shape == (int(200 / field.pixel_size_a),) * 2
    assert field.intensity.dtype == np.float32
    assert field.intensity.mean() == pytest.approx(1, abs=0.02)
    assert 50 <= field.thickness_a <= 200
    assert abs(field.optics.defocus_a) <= 1000
    assert 0 <= field.optics.spherical_aberration_mm + 0.01 <= 2.71
    assert field.matrix in reference.FILMS
    assert [t.phase for t in field.truths] == [g.phase for g in plan.grains]
    assert [t.diameter_a for t in field.truths] == [g.diameter_a for g in plan.grains]
    assert all(t.tilt_deg <= 2 and t.zone_axis for t in field.truths)
    for truth in field.truths:
        from_border = truth.diameter_a / 2 + reference.MARGIN_A
        assert all(from_border <= c <= 200 - from_border for c in truth.centre_a[:2])


def test_a_field_is_made_again_from_its_plan(field, plan):
    again = make_field(plan)
    np.testing.assert_array_equal(again.intensity, field.intensity)
    assert again.film is None
    assert again.optics == field.optics


def test_the_film_without_crystallites_is_the_same_film(field):
    # Where nothing was put in, nor delocalised to, both images are one; upon crystallites not.
    y, x = (np.arange(n) * field.pixel_size_a for n in field.intensity.shape)
    away = np.min(
        [
            np.hypot(y[:, None] - t.centre_a[0], x - t.centre_a[1]) - t.diameter_a / 2
            for t in field.truths
        ],
        axis=0,
    )
    changed = np.abs(field.intensity - field.film)
    assert changed[away > 40].mean() < 0.1 * changed[away < 0].mean()


def test_counts_follow_the_dose(field):
    counts = field.counts(100.0, np.random.default_rng(0))
    expected = 100 * field.pixel_size_a**2 * field.intensity.mean() * field.detector.dqe0
    assert counts.mean() == pytest.approx(expected, rel=0.01)


@pytest.fixture
def small_fields(monkeypatch):
    monkeypatch.setattr(reference, "FIELD_A", 40.0)
    monkeypatch.setattr(reference, "_BLOCK_A", 20.0)
    reference._network_block.cache_clear()
    yield
    reference._network_block.cache_clear()


def test_a_piled_film_has_its_density_and_no_copy_above_another(small_fields):
    film = reference._film("carbon", 55.0, np.random.default_rng(0))
    carbon = MATRICES["carbon"]
    wanted = atom_counts(
        carbon.composition,
        density_g_per_cm3=carbon.density_g_per_cm3,
        volume_a3=40.0 * 40.0 * 55.0,
    )["C"]
    assert len(film) == pytest.approx(wanted, rel=0.03)
    assert film.cell.lengths().tolist() == [40.0, 40.0, 55.0]
    z = film.positions[:, 2]
    assert 0 <= z.min()
    assert z.max() < 55
    # The lower layer is the upper one shifted across the beam, too.
    one, two = (film.positions[(z >= low) & (z < low + 20)][:, :2] for low in (0.0, 20.0))
    assert not np.isclose(np.sort(one[:, 0])[:50], np.sort(two[:, 0])[:50], atol=1e-6).any()


def test_field_holds_the_lattice_where_the_truth_says(field):
    # What the crystallites add to the film is fringes: power at their own spacings.
    for truth in field.truths:
        planes = transferred_planes(
            truth,
            beam_energy_kev=field.beam_energy_kev,
            optics=field.optics,
            thickness_a=field.thickness_a,
            pixel_size_a=field.pixel_size_a,
        )
        if not len(planes.hkl):
            continue
        powers = fringe_powers(
            field.intensity,
            field.film,
            planes.k_per_a,
            centre_a=truth.centre_a[:2],
            reach_a=truth.diameter_a / 2 + 15,
            spot_radius_per_a=1.2 / truth.diameter_a,
            pixel_size_a=field.pixel_size_a,
        )
        assert powers.signal.max() > 10 * powers.film.max()
