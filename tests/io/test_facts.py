import pytest

from interphase.acquisition import Origin
from interphase.io.facts import Facts
from interphase.io.units import angstrom_per, ev_per, is_angle, per_angstrom_per


@pytest.fixture
def facts():
    return Facts(origin=Origin.HEADER, where="test header")


def test_a_value_knows_its_key_unit_and_source(facts):
    facts.add("beam_energy_kev", "300", "HT [kV]")
    assert facts.values == {"beam_energy_kev": 300.0}
    assert str(facts.sources["beam_energy_kev"]) == "file header: HT [kV] in the test header"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pixel_size_a", 1.1e7),
        ("pixel_size_a", 1e-4),
        ("pixel_size_a", -1.0),
        ("beam_energy_kev", 300_000),
        ("beam_energy_kev", 0.3),
        ("exposure_time_s", -0.4),
        ("dwell_time_s", float("nan")),
        ("magnification", "fifty thousand"),
    ],
)
def test_nonsense_is_refused_with_a_warning(facts, name, value):
    facts.add(name, value, "Key")
    assert name not in facts.values
    assert "not believed" in facts.missing[name]
    assert name in facts.warnings[0]


def test_zero_means_not_recorded_only_where_the_format_says_so(facts):
    facts.add("beam_current_pa", 0.0, "Probe Current (nA)", zero_is_missing=True)
    assert not facts.warnings
    assert "was not recorded" in facts.missing["beam_current_pa"]


def test_a_dose_of_zero_means_not_recorded(facts):
    facts.add_dose(0.0, "ExposureDose [e/Å²]")
    assert not facts.doses
    assert "not recorded, not that no electrons came" in facts.missing["dose_e_per_a2"]


def test_nothing_said_is_nothing_noted(facts):
    facts.add("pixel_size_a", None, "Key")
    facts.add("sample", "", "Key")
    assert not facts.values
    assert not facts.warnings
    assert not facts.missing


@pytest.mark.parametrize(
    ("unit", "angstrom"),
    [("nm", 10), ("µm", 1e4), ("um", 1e4), ("Å", 1), ("pm", 0.01), ("m", 1e10), ("meters", 1e10)],
)
def test_lengths_in_angstrom(unit, angstrom):
    assert angstrom_per(unit) == pytest.approx(angstrom)
    assert per_angstrom_per(f"1/{unit}") == pytest.approx(1 / angstrom)
    assert per_angstrom_per(f"{unit}^-1") == pytest.approx(1 / angstrom)
    assert per_angstrom_per(f"1 / {unit}") == pytest.approx(1 / angstrom)


@pytest.mark.parametrize("unit", ["", None, "px", "pixels", "inch", "s", "<undefined>", 3])
def test_what_is_no_length_is_none(unit):
    assert angstrom_per(unit) is None
    assert per_angstrom_per(unit) is None
    assert ev_per(unit) is None


def test_energies_in_ev():
    assert [ev_per(unit) for unit in ("meV", "eV", "keV", "MeV")] == [1e-3, 1, 1e3, 1e6]


def test_scattering_angles_are_told_from_lengths():
    assert is_angle("mrad")
    assert not is_angle("mm")
