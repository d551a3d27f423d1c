"""Candidates from CIFs."""

import re

import numpy as np
import pytest

from interphase.errors import PhaseError
from interphase.phases import candidates, load_phase, phase_from_cif, reflections

ROCK_SALT = """data_mgo
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha {angle}
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{first} {first} 0 0 0 {occupancy}
O1 O 0.5 0.5 0.5 1
"""


def _write(folder, name="periclase.cif", **values):
    text = ROCK_SALT.format(**{"a": 4.212, "angle": 90, "first": "Mg", "occupancy": 1} | values)
    path = folder / name
    path.write_text(text)
    return path


def test_a_cif_becomes_a_candidate_named_by_its_stem(tmp_path):
    path = _write(tmp_path)
    (phase,) = candidates(str(path))
    assert phase.identifier == "periclase"
    assert phase.formula == "MgO"
    assert phase.space_group == "Fm-3m"
    assert len(phase.species) == 8
    assert phase.density_g_cm3 == pytest.approx(3.58, abs=0.01)
    assert phase.temperature_k is None
    assert reflections(phase, d_min_a=2.0).d_a.max() == pytest.approx(4.212 / np.sqrt(3))


def test_a_written_structure_comes_back(tmp_path):
    original = load_phase("Li2CO3")
    original.structure().to(str(tmp_path / "carbonate.cif"))
    spots = reflections(phase_from_cif(tmp_path / "carbonate.cif"), d_min_a=1.5)
    expected = reflections(original, d_min_a=1.5)
    # The writer keeps eight decimals.
    assert (
        spots.hkl[spots.relative > 1e-6].tolist() == expected.hkl[expected.relative > 1e-6].tolist()
    )
    strong = expected.relative > 1e-6
    assert spots.intensity[spots.relative > 1e-6] == pytest.approx(
        expected.intensity[strong], rel=1e-3
    )


def test_partial_occupancy_is_used_and_said(tmp_path):
    half = phase_from_cif(_write(tmp_path, occupancy=0.5))
    assert "partly occupied" in half.note
    assert dict(half.atoms_per_cell) == {"Mg": 2.0, "O": 4.0}


def test_temperature_of_the_file_is_kept(tmp_path):
    path = _write(tmp_path)
    path.write_text(path.read_text() + "\n_diffrn_ambient_temperature 100(2)\n")
    assert phase_from_cif(path).temperature_k == 100


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 0.4212}, "cell edges 0.4212, 0.4212, 0.4212 Å: expected 1.5 to 150"),
        ({"a": 421.2}, "cell edges 421.2"),
        ({"a": 40}, "8e\\+03 Å³ per atom"),
        ({"angle": 179}, "cell angles 179, 90, 90 degrees"),
        ({"first": "Xx"}, "bad.cif"),
        ({"a": "wide"}, "bad.cif holds no usable crystal structure"),
    ],
)
def test_absurd_structures_are_refused_by_name(tmp_path, values, message):
    with pytest.raises(PhaseError, match=message):
        phase_from_cif(_write(tmp_path, "bad.cif", **values))


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe" * 50, b"data_x\n_cell_length_a\n"])
def test_a_file_that_is_no_cif_is_refused_by_name(tmp_path, content):
    path = tmp_path / "noise.cif"
    path.write_bytes(content)
    with pytest.raises(PhaseError, match=r"noise\.cif"):
        phase_from_cif(path)


def test_a_cif_cut_at_any_place_is_a_phase_or_one_sentence(tmp_path):
    text = _write(tmp_path).read_text()
    for cut in range(0, len(text), 41):
        path = tmp_path / "cut.cif"
        path.write_text(text[:cut])
        try:
            assert len(phase_from_cif(path).species) > 0
        except PhaseError as error:
            assert "cut.cif" in str(error)  # noqa: PT017  either outcome is right


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("_cell_length_b 4.212", "_cell_length_b ?", r"_cell_length_b is '\?', expected a number"),
        ("_cell_length_b 4.212", "_cell_length_b 0", r"bad\.cif has _cell_length_b = 0"),
        ("_cell_length_b 4.212", "_cell_length_b -4.212", r"_cell_length_b = -4\.212"),
        ("O1 O 0.5", "O1 O ?", r"_atom_site_fract_x of 1 atoms open"),
        ("loop_", "", r"bad\.cif"),
    ],
)
def test_what_a_cif_leaves_open_is_named_in_one_sentence(tmp_path, before, after, message):
    path = _write(tmp_path, "bad.cif")
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(PhaseError, match=message) as caught:
        phase_from_cif(path)
    assert "\n" not in str(caught.value)


def test_a_cif_without_atoms_is_told_so(tmp_path):
    path = _write(tmp_path, "bad.cif")
    path.write_text(path.read_text().split("loop_")[0])
    with pytest.raises(PhaseError, match=r"bad\.cif lists no atoms"):
        phase_from_cif(path)


def test_the_first_of_several_structures_is_taken_and_said(tmp_path):
    path = _write(tmp_path)
    first = path.read_text()
    second = first.replace("data_mgo", "data_other").replace("4.212", "5.0").replace("Mg", "Ca")
    path.write_text("data_global\n_publ_author_name 'A'\n" + first + second)
    phase = phase_from_cif(path)
    assert phase.formula == "MgO"
    assert "The first of 2 structures" in phase.note


CUBIC = "_symmetry_space_group_name_H-M 'F m -3 m'"
RHOMBOHEDRAL = "_symmetry_space_group_name_H-M 'R -3 m'"


def _changed(folder, name="doubtful.cif", **changes):
    """Write the rock salt with some of its words replaced."""
    path = _write(folder, name)
    text = path.read_text()
    for before, after in changes.get("words", ()):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ([("0 0 0 1", "0 0 0 0.5")], "sites are partly occupied"),
        ([(CUBIC, ""), ("_symmetry_Int_Tables_number 225", "")], "it states no symmetry"),
        ([(CUBIC, ""), ("_symmetry_Int_Tables_number 225", "")], "below that of lithium"),
        ([("number 225", "number 62")], "it calls Fm-3m number 62, which is 225"),
        (
            [("_cell_length_c 4.212", "_cell_length_c 4.25")],
            "Fm-3m is cubic, and its cell 4.212, 4.212, 4.25 Å.* is taken as it stands",
        ),
        ([("Mg Mg 0 0 0 1", "Mg Mg 0 0 0 1\nS1 S 0 0 0 0")], "Missing elements S"),
    ],
)
def test_a_doubtful_structure_is_used_and_its_doubt_told(tmp_path, words, doubt):
    if "lithium" in doubt:
        words = [*words, ("Mg Mg", "Li Li"), ("4.212", "4.5")]
    phase = phase_from_cif(_changed(tmp_path, words=words))
    assert any(re.search(f"doubtful.cif: .*{doubt}.*", said) for said in phase.doubts)
    assert all(said.endswith(".") and "\n" not in said for said in phase.doubts)


def test_an_unsuspicious_structure_has_no_doubts(tmp_path):
    assert phase_from_cif(_write(tmp_path)).doubts == ()
    assert load_phase("Li2O").doubts == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([("0 0 0 1", "0 0 0 -0.5")], "fills a site to -0.5: expected an occupancy of 0 to 1"),
        ([("0 0 0 1", "0 0 0 1.4")], "fills a site to 1.4"),
        ([("0 0 0 1", "0 0 0 1\nS1 S 0 0 0 1")], r"fills one place with 2\.0 atoms: list each"),
        ([("0 0 0 1", "0 0 0 1\nS1 S 0.03 0 0 1")], r"atoms .* Å apart, which together fill more"),
        ([("0 0 0 1", "0 0 0 1\nVa Va 0.1 0.1 0.1 1")], "an atom called 'Va': expected chemical"),
        ([("0 0 0 1", "0 0 0 1\nX1 X 0.1 0.1 0.1 1")], "an atom called 'X'"),
        ([("0 0 0 1", "0 0 0 1\nDum Dum 0.1 0.1 0.1 1")], "an atom called 'Dum'"),
        ([("4.212", "3.3"), ("Mg Mg", "U U"), ("O1 O", "W1 W")], "has a density of .* 0.1 to 25"),
        ([("4.212", "15.5"), ("Mg Mg", "Li Li")], r"density of 0\.0"),
        ([("_cell_length_c 4.212", "_cell_length_c 5")], "contradicts itself: .*Fm-3m is cubic"),
        ([("gamma 90", "gamma 120")], "contradicts itself"),
        ([("O1 O 0.5", "O1 O nan")], "holds no usable crystal structure"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path, words, message):
    with pytest.raises(PhaseError, match=rf"doubtful\.cif .*{message}") as caught:
        phase_from_cif(_changed(tmp_path, words=words))
    assert "\n" not in str(caught.value)


def test_a_list_of_thousands_of_atoms_is_refused_before_it_is_read(tmp_path):
    many = "".join(
        f"C{i} C {i % 20 / 20} {i // 20 % 20 / 20} {i // 400 / 20} 1\n" for i in range(6000)
    )
    path = _changed(tmp_path, words=[("4.212", "90"), (CUBIC, "")])
    path.write_text(path.read_text() + many)
    with pytest.raises(PhaseError, match=r"lists 6002 atoms: expected .* at most 4000"):
        phase_from_cif(path)


@pytest.mark.parametrize("symbol", ["D", "T"])
def test_heavy_hydrogen_diffracts_like_hydrogen(tmp_path, symbol):
    heavy = phase_from_cif(_write(tmp_path, "heavy.cif", first=symbol))
    light = phase_from_cif(_write(tmp_path, "light.cif", first="H"))
    assert heavy.species == light.species
    assert reflections(heavy, d_min_a=1.2).intensity == pytest.approx(
        reflections(light, d_min_a=1.2).intensity
    )


def test_alternatives_that_share_a_place_are_an_average_atom(tmp_path):
    words = [("Mg Mg 0 0 0 1", "Mg Mg 0 0 0 0.5\nFe1 Fe 0 0 0 0.5\nO2 O 0.49 0.5 0.5 0.04")]
    phase = phase_from_cif(_changed(tmp_path, words=words))
    assert phase.atoms_per_cell["Mg"] == phase.atoms_per_cell["Fe"] == pytest.approx(2)


def test_a_name_and_a_text_in_any_script_are_read(tmp_path):
    words = [("data_mgo", "data_mgo\n_publ_author_name 'Gößwein, 李'")]
    path = _changed(tmp_path, "périclase-方.cif", words=words)
    assert phase_from_cif(path).identifier == "périclase-方"
    path.write_bytes(path.read_text(encoding="utf-8").replace("李", "").encode("latin-1"))
    assert phase_from_cif(path).formula == "MgO"


@pytest.mark.parametrize(
    ("edges", "angles"),
    [((3.0, 3.0, 14.0), (90, 90, 120)), ((5.0, 5.0, 5.0), (35, 35, 35))],
    ids=["hexagonal axes", "rhombohedral axes"],
)
def test_a_rhombohedral_group_allows_both_kinds_of_axes(tmp_path, edges, angles):
    words = [
        (CUBIC, RHOMBOHEDRAL),
        ("number 225", "number 166"),
        *(
            (f"length_{e} 4.212", f"length_{e} {value}")
            for e, value in zip("abc", edges, strict=True)
        ),
        *(
            (f"{name} 90", f"{name} {value}")
            for name, value in zip(("alpha", "beta", "gamma"), angles, strict=True)
        ),
    ]
    assert phase_from_cif(_changed(tmp_path, words=words)).doubts == ()
