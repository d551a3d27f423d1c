"""Which phases diffraction cannot tell apart."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.phases import (
    ambiguity_rows,
    ambiguous_pairs,
    candidates,
    coincident_spacings,
    load_phase,
)
from interphase.phases.ambiguity import _voronoi_lengths


def _named(pairs):
    return {frozenset((pair.first, pair.second)): pair for pair in pairs}


def test_fluoride_and_hydride_are_inseparable_once_the_scale_may_be_off_by_their_difference():
    both = candidates("LiF, LiH")
    assert ambiguous_pairs(both, tolerance=0.013) == ()
    (pair,) = ambiguous_pairs(both, tolerance=0.015)
    assert pair.scale_difference == pytest.approx(0.0142, abs=1e-4)
    assert pair.intensities_agree
    assert "a scale known to better than 0.71 %" in pair.breaks
    assert ambiguous_pairs(both[::-1], tolerance=0.015)[0].scale_difference < 0


def test_calibrants_pass_for_hydride_and_fluoride():
    pairs = _named(ambiguous_pairs(candidates("Au, Al, LiH, LiF"), tolerance=0.006))
    assert pairs.keys() == {frozenset({"Au", "LiH"}), frozenset({"Al", "LiF"})}
    assert pairs[frozenset({"Au", "LiH"})].scale_difference == pytest.approx(0.0013, abs=1e-4)


def test_sodium_fluoride_and_lithium_oxide_differ_in_intensity_alone():
    (pair,) = ambiguous_pairs(candidates("NaF, Li2O"), tolerance=0.01)
    assert not pair.intensities_agree
    assert "(2 0 0) is strong in NaF and weak in Li2O" in pair.breaks


def test_different_lattices_are_never_ambiguous():
    sei = candidates("Li, Li2O, Li2CO3, LiOH, ice-Ih, Li3N-alpha, Li3N-beta, graphite, Li2O2")
    assert ambiguous_pairs(sei, tolerance=0.3) == ()


def test_polytypes_of_ice_differ():
    assert ambiguous_pairs(candidates("ice-Ih, ice-Ic"), tolerance=0.9) == ()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_lattice_is_recognised_in_any_setting(data):
    phase = load_phase(data.draw(st.sampled_from(["Li2CO3", "Li3PO4-beta", "Li2O2", "LiNO3"])))
    entries = st.integers(-1, 1)
    lower = np.array([[1, 0, 0], [data.draw(entries), 1, 0], [*(data.draw(entries),) * 2, 1]])
    cell = lower @ phase.lattice_vectors
    edges = np.linalg.norm(cell, axis=1)
    cosines = cell @ cell.T / np.outer(edges, edges)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    other = replace(
        phase,
        identifier="other setting",
        lattice=(*edges, *angles),
        fractional=phase.fractional @ np.linalg.inv(lower),
    )
    assert _voronoi_lengths(other) == pytest.approx(_voronoi_lengths(phase), rel=1e-6)
    (pair,) = ambiguous_pairs([phase, other], tolerance=1e-4)
    assert pair.intensities_agree


def test_rows_of_pairs_are_plain_and_sorted():
    rows = ambiguity_rows(ambiguous_pairs(candidates("all"), tolerance=0.02))
    sizes = [abs(row["scale_difference_percent"]) for row in rows]
    assert sizes == sorted(sizes)
    assert len(rows) >= 5
    assert {"first": "LiF", "second": "LiH"}.items() <= rows[
        [(row["first"], row["second"]) for row in rows].index(("LiF", "LiH"))
    ].items()


def test_impossible_tolerance_is_refused():
    with pytest.raises(ParameterError, match=r"tolerance is 1\.5: expected a fraction"):
        ambiguous_pairs(candidates("LiF, LiH"), tolerance=1.5)


def test_coincident_spacings_grow_with_the_tolerance_and_never_pair_a_phase_with_itself():
    phases = candidates("lithium-sei")
    counts = [len(coincident_spacings(phases, tolerance=t)) for t in (0.005, 0.01, 0.02, 0.03)]
    assert counts == sorted(counts)
    assert counts[0] > 0
    pairs = coincident_spacings(phases, tolerance=0.01)
    assert all(pair.first != pair.second for pair in pairs)
    assert all(abs(pair.difference) <= 0.0101 for pair in pairs)
