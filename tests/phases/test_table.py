"""The table of candidate phases: rows, structures and sets."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from interphase.errors import ParameterError, PhaseError
from interphase.phases import (
    ambiguous_pairs,
    candidates,
    known_phases,
    load_phase,
    phase_rows,
    phase_sets,
    reflections,
)
from interphase.phases.table import _rows

ALL = known_phases()


def _shortest_bond(phase):
    """Elements and distance of the closest pair of sites, neighbouring cells included."""
    box = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T
    delta = phase.fractional[:, None] - phase.fractional[None]
    vectors = (delta[:, :, None] + box) @ phase.lattice_vectors
    length = np.linalg.norm(vectors, axis=-1)
    length[length < 1e-6] = np.inf
    # Sites of a split atom are never filled together.
    partial = phase.occupancies < 1
    length[np.ix_(partial, partial)] = np.inf
    i, j, _ = np.unravel_index(length.argmin(), length.shape)
    return sorted([phase.species[i], phase.species[j]]), length.min()


@pytest.mark.parametrize("identifier", ALL)
def test_row_gives_the_density_and_the_shortest_bond_it_states(identifier):
    phase, row = load_phase(identifier), _rows()[identifier]
    assert phase.density_g_cm3 == pytest.approx(row["density_g_cm3"], abs=0.006)
    elements, length = _shortest_bond(phase)
    assert elements == row["shortest_bond"][:2]
    assert length == pytest.approx(row["shortest_bond"][2], abs=0.006)


@pytest.mark.parametrize("identifier", ALL)
def test_cell_holds_whole_formula_units(identifier):
    from pymatgen.core.composition import Composition

    phase = load_phase(identifier)
    formula = Composition(phase.formula.replace(".H2O", "H2O"))
    cell = Composition(phase.atoms_per_cell)
    units = cell.num_atoms / formula.num_atoms
    assert units == pytest.approx(round(units))
    assert cell.almost_equals(formula * round(units))


@pytest.mark.parametrize("identifier", ALL)
def test_shipped_sites_are_what_pymatgen_expands(identifier):
    from fractions import Fraction

    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    phase, row = load_phase(identifier), _rows()[identifier]
    species, positions = [], []
    for site in row["sites"]:
        element, *numbers = site.split()
        x, y, z, occupancy = [*(float(Fraction(n)) for n in numbers), 1.0][:4]
        species.append({element: occupancy})
        positions.append((x, y, z))
    expanded = Structure.from_spacegroup(
        row["space_group"], Lattice.from_parameters(*row["cell"]), species, positions
    )
    shipped = phase.structure()
    assert len(shipped) == len(expanded)
    assert shipped.composition.almost_equals(expanded.composition)
    assert np.allclose(shipped.lattice.matrix, expanded.lattice.matrix, atol=1e-9)
    distance = expanded.lattice.get_all_distances(expanded.frac_coords, shipped.frac_coords)
    same = [site.species for site in expanded], [site.species for site in shipped]
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-6
    assert sorted(nearest) == list(range(len(shipped)))
    assert all(same[0][i] == same[1][j] for i, j in enumerate(nearest))


@pytest.mark.parametrize("identifier", ALL)
def test_every_row_says_where_it_comes_from_and_how_far_to_trust_it(identifier):
    phase = load_phase(identifier)
    assert len(phase.source) > 8
    assert phase.grade[0] in "ABC"
    assert phase.site_grade is None or phase.site_grade[0] in "ABC"
    assert phase.temperature_k > 0
    if phase.source.startswith("remembered:"):
        assert phase.grade != "A"


def test_silicon_has_eight_atoms_in_its_cell():
    assert len(load_phase("Si").species) == 8


def test_lattice_vectors_have_the_stated_edges_and_angles():
    phase = load_phase("Li2CO3")
    a, b, c = phase.lattice_vectors
    edges = [np.linalg.norm(v) for v in (a, b, c)]
    assert edges == pytest.approx(phase.lattice[:3])
    assert np.degrees(np.arccos(a @ c / edges[0] / edges[2])) == pytest.approx(114.83)
    assert phase.lattice_vectors @ phase.reciprocal_vectors.T == pytest.approx(np.eye(3))


def test_sets_hold_known_phases_and_the_impostors():
    for name, identifiers in phase_sets().items():
        assert set(identifiers) <= set(ALL), name
        assert len(set(identifiers)) == len(identifiers), name
        assert {"ice-Ih", "ice-Ic", "Cu", "Cu2O", "graphite"} <= set(identifiers), name
    assert set(phase_sets()["all"]) == set(ALL)


def test_sets_of_solid_electrolytes_lie_within_the_wide_one():
    sets = {name: set(identifiers) for name, identifiers in phase_sets().items()}
    for name in ("llzo", "lipon", "argyrodite"):
        assert sets[name] - sets["solid-electrolyte"] <= {"Li3N-beta"}, name
    assert {"Li2O", "Li3N-alpha", "Li3PO4-gamma", "Li3P"} <= sets["lipon"]
    assert {"Li2S", "LiCl", "LiBr", "Li3P"} <= sets["argyrodite"]


def test_the_carbonate_of_sodium_is_flat():
    # Its sites are remembered; a wrong one would bend or stretch the ion.
    structure = load_phase("Na2CO3").structure()
    carbon = next(site for site in structure if site.specie.symbol == "C")
    bonds = np.array([n.coords - carbon.coords for n in structure.get_neighbors(carbon, 1.6)])
    assert np.linalg.norm(bonds, axis=1) == pytest.approx([1.265] * 3, abs=0.01)
    unit = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    angles = np.degrees(np.arccos((unit @ unit.T)[np.triu_indices(3, 1)]))
    assert angles == pytest.approx([120] * 3, abs=1.5)
    assert abs(np.linalg.det(unit)) < 0.02


def test_candidates_take_sets_words_phases_and_sequences_and_drop_repetitions():
    lif = load_phase("LiF")
    assert candidates("lithium-sei")[0] is load_phase("Li")
    assert candidates(["LiF", lif, "Li2O,"[:4]]) == (lif, load_phase("Li2O"))
    assert candidates(lif) == (lif,)
    assert candidates("sodium-sei, LiF")[-1] is lif


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("Li2o3", "'Li2o3' is neither a phase, a set nor a .cif file: the closest are .*Li2O"),
        ("lithium-sie", "the closest are lithium-sei"),
        ("", "no candidate phase was given"),
        ([], "no candidate phase was given"),
        ("absent.cif", "absent.cif cannot be read: No such file"),
    ],
)
def test_unknown_candidates_are_named_with_the_closest(spec, message):
    with pytest.raises(PhaseError, match=message):
        candidates(spec)


def test_unknown_phase_names_the_closest():
    with pytest.raises(PhaseError, match="the closest are LiF"):
        load_phase("lif")


def test_two_structures_of_one_name_are_refused():
    with pytest.raises(PhaseError, match="two candidates are called 'Li'"):
        candidates([load_phase("Li"), load_phase("Li").at(90)])


def test_lithium_contracts_by_what_the_table_says():
    cold = load_phase("Li").at(90)
    assert cold.lattice[0] == pytest.approx(3.4873, abs=1e-4)
    assert cold.density_g_cm3 == pytest.approx(0.544, abs=0.001)
    assert cold.grade == "C"
    assert "0.65 % to 90 K" in cold.note
    assert cold.temperature_k == 90


def test_contraction_is_monotone_and_stops_where_nothing_is_known():
    edges = [load_phase("Au").at(t).lattice[0] for t in (280, 200, 120, 90, 20)]
    assert all(warm > cold for warm, cold in pairwise(edges[:4]))
    assert edges[3] == edges[4] == pytest.approx(4.0782 * (1 - 0.0027))


def test_unknown_contraction_leaves_the_cell_and_says_so():
    for phase, temperature in ((load_phase("Li2O"), 90), (load_phase("Li"), 400)):
        there = phase.at(temperature)
        assert there.lattice == phase.lattice
        assert f"to {temperature} K is unknown" in there.note


def test_a_cell_measured_near_the_temperature_is_kept():
    assert load_phase("ice-Ih").at(90) is load_phase("ice-Ih")


def test_impossible_temperature_is_refused():
    with pytest.raises(ParameterError, match="temperature_k is -3"):
        load_phase("Li").at(-3)


def test_phases_survive_pickling():
    copy = pickle.loads(pickle.dumps(load_phase("Li2CO3")))
    assert copy.lattice == load_phase("Li2CO3").lattice
    assert np.array_equal(copy.fractional, load_phase("Li2CO3").fractional)


def test_rows_are_plain():
    rows = phase_rows(candidates("lithium-sei"))
    assert rows[0]["identifier"] == "Li"
    assert all(isinstance(v, str | float | type(None)) for row in rows for v in row.values())


def test_reading_the_table_loads_no_pymatgen():
    import subprocess
    import sys

    code = (
        "import sys; from interphase.phases import candidates, reflections;"
        "[reflections(p, d_min_a=1.0) for p in candidates('all')];"
        "sys.exit('pymatgen' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_no_phase_is_said_so():
    for wrong in (None, 5, [5]):
        with pytest.raises(ParameterError, match="expected a"):
            candidates(wrong)
    with pytest.raises(PhaseError, match="None is not a phase of the table"):
        load_phase(None)
    with pytest.raises(ParameterError, match="temperature_k is '90'"):
        load_phase("Li").at("90")
    with pytest.raises(ParameterError, match="phase is 'Li': expected a Phase"):
        reflections("Li", d_min_a=1.0)
    with pytest.raises(ParameterError, match="phase is 'L': expected a Phase"):
        ambiguous_pairs("Li", tolerance=0.01)
