"""Reference sets hold what was planned, are made once, and say what is in them."""

from collections import Counter

import numpy as np
import pytest

from interphase.errors import ParameterError
from interphase.simulation import (
    Field,
    FieldPlan,
    Optics,
    crystallite_fields,
    load_field,
    make_field,
    plan_fields,
    reference,
    save_field,
)


@pytest.fixture(scope="module")
def field():
    (plan,) = plan_fields(
        phases=["Li2CO3"], diameters_a=[30], alignments=["zone"], repeats=1, empty=0, seed=11
    )
    return make_field(plan)


def quick_field(plan):
    """Stand in for the multislice, which other tests check."""
    return Field(
        name=plan.name,
        intensity=np.full((4, 4), plan.seed % 7, dtype=np.float32),
        pixel_size_a=0.4,
        beam_energy_kev=300.0,
        optics=Optics(defocus_a=100.0),
        thickness_a=70.0,
        matrix="LEDC",
        truths=(),
        plan=plan,
    )


def test_plan_holds_every_combination():
    plans = plan_fields(phases=["Li", "LiF"], diameters_a=[30, 50], repeats=3, empty=5, seed=1)
    combinations = Counter((p.phase, p.diameter_a, p.alignment) for p in plans)
    assert combinations.pop((None, None, None)) == 5
    assert len(combinations) == 8
    assert set(combinations.values()) == {3}
    assert len({p.seed for p in plans}) == len({p.name for p in plans}) == len(plans)


def test_sets_of_different_seeds_share_no_field():
    one, two = (plan_fields(phases=["Li"], diameters_a=[30], seed=seed) for seed in (1, 2))
    assert not {p.seed for p in one} & {p.seed for p in two}


def test_field_is_what_was_planned(field):
    assert field.intensity.shape == (450, 450)
    assert field.intensity.dtype == np.float32
    assert field.pixel_size_a == pytest.approx(0.4)
    assert field.intensity.mean() == pytest.approx(1, abs=0.02)
    assert 60 <= field.thickness_a <= 120
    assert 100 <= field.optics.defocus_a <= 800
    assert [t.phase for t in field.truths] == ["Li2CO3"] * 4
    assert all(t.tilt_deg <= 2 and t.zone_axis for t in field.truths)


def test_field_holds_the_lattice_where_the_truth_says(field):
    # Power at the lattice's spacings, between 2.4 and 4.3 Å, against the film around it.
    truth = max(field.truths, key=lambda t: -abs(t.tilt_deg))
    y, x = (round(c / field.pixel_size_a) for c in truth.centre_a[:2])
    taper = np.outer(np.hanning(64), np.hanning(64))

    def strongest(row, column):
        window = field.intensity[row - 32 : row + 32, column - 32 : column + 32]
        power = np.abs(np.fft.rfft2((window - window.mean()) * taper)) ** 2
        k = np.hypot(np.fft.fftfreq(64, 0.4)[:, None], np.fft.rfftfreq(64, 0.4))
        band = power[(k > 1 / 4.3) & (k < 1 / 2.0)]
        return band.max() / np.median(band)

    centres = np.array([t.centre_a[:2] for t in field.truths]) / field.pixel_size_a
    grid = [(r, c) for r in range(40, 411, 10) for c in range(40, 411, 10)]
    empty = [p for p in grid if np.hypot(*(centres - p).T).min() > 90]
    assert empty
    assert strongest(y, x) > max(strongest(*p) for p in empty)


def test_file_holds_the_whole_field(field, tmp_path):
    save_field(field, tmp_path / "one.npz")
    again = load_field(tmp_path / "one.npz")
    np.testing.assert_array_equal(again.intensity, field.intensity)
    for name in ("name", "pixel_size_a", "optics", "thickness_a", "matrix", "truths", "plan"):
        assert getattr(again, name) == getattr(field, name)


def test_made_fields_are_not_made_again(tmp_path, monkeypatch):
    plans = plan_fields(phases=["Li"], diameters_a=[30], repeats=2, empty=3, seed=5)
    monkeypatch.setattr(reference, "make_field", quick_field)
    odd = crystallite_fields(tmp_path, plans, part=(1, 2))
    assert [p.stem for p in odd] == [p.name for p in plans[1::2]]
    rest = crystallite_fields(tmp_path, plans)
    assert [p.stem for p in rest] == [p.name for p in plans[::2]]
    assert crystallite_fields(tmp_path, plans) == []
    assert sorted(p.stem for p in tmp_path.iterdir()) == sorted(p.name for p in plans)


def test_a_field_that_fails_leaves_nothing(tmp_path, monkeypatch):
    plan = FieldPlan(name="x", seed=1, phase=None, diameter_a=None, alignment=None)
    monkeypatch.setattr(np, "savez_compressed", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_field(quick_field(plan), tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_parts_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"part is \(2, 2\)"):
        crystallite_fields(tmp_path, [], part=(2, 2))
