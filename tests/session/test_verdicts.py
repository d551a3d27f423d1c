"""What a file's result says of priors and doses, beside the phases."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction import Options
from interphase.files import to_plain
from interphase.io import read_session_config
from interphase.phases import DoseLevel, candidates
from interphase.session import FileResult, Task, measure, session_sentence
from interphase.session.store import from_plain
from interphase.session.tables import regions_csv, results_csv

Measured = Callable[..., FileResult]


@pytest.fixture
def measured(tmp_path: Path, rng: np.random.Generator, write_mrc: Callable[..., Path]) -> Measured:
    """Measure an image of Li2O fringes along [001] under a session.toml."""
    axes = np.indices((192, 192)) * 0.4
    lattice = np.cos(2 * np.pi * axes / (4.6114 / np.sqrt(8))).sum(axis=0)
    path = write_mrc(tmp_path / "oxide.mrc", rng.poisson(40 * (1 + 0.2 * lattice)))

    def measure_it(
        session: str = "", *, phases: str = "Li2O, Li2CO3, LiF", options: Options | None = None
    ) -> FileResult:
        (tmp_path / "session.toml").write_text(session)
        base = FileResult(file=path.name, assessment=Assessment.FAILED, sentence="not measured")
        task = Task(
            path=path,
            base=base,
            session=read_session_config(tmp_path),
            candidates=pickle.dumps(candidates(phases)),
            options=options,
        )
        return measure(task)[0]

    return measure_it


def test_without_a_prior_there_is_one_posterior(measured: Measured) -> None:
    result = measured()
    assert result.prior == ""
    assert result.phase_map is not None
    assert result.phase_map.parameters["prior"] is None
    assert all(region.informed == {} for region in result.phase_map.regions)


def test_the_electrolyte_gives_a_second_posterior_and_its_source(measured: Measured) -> None:
    result = measured('electrolyte = "LiTFSI in DME"')
    assert "by the electrolyte, LiTFSI in DME: LiF × 2; all others 1." in result.prior
    assert "grade C" in result.prior
    assert result.phase_map is not None
    assert result.phase_map.parameters["prior"] == {"LiF": 2}
    region = result.phase_map.regions[0]
    even, informed = region.alternatives, region.informed
    assert even == measured().phase_map.regions[0].alternatives  # type: ignore[union-attr]
    assert informed["LiF"] / informed["Li2O"] == pytest.approx(2 * even["LiF"] / even["Li2O"])


@pytest.mark.parametrize(
    ("session", "weights"),
    [
        ('electrolyte = "EC:DEC"\n[prior]\nLiF = 3.0', {"LiF": 3.0}),
        ('electrolyte = "EC:DEC"\n[prior]', None),
        ('electrolyte = "LiClO4 in DME"', None),
    ],
)
def test_a_stated_prior_replaces_that_of_the_electrolyte(
    measured: Measured, session: str, weights: dict[str, float] | None
) -> None:
    result = measured(session)
    assert result.phase_map is not None
    assert result.phase_map.parameters["prior"] == weights
    assert ("by session.toml: LiF × 3; all others 1." in result.prior) == bool(weights)


def test_the_callers_prior_goes_before_all(measured: Measured) -> None:
    result = measured("[prior]\nLiF = 3.0", options=Options(prior={"Li2O": 2.0}))
    assert "by the caller: Li2O × 2" in result.prior


def test_a_prior_of_what_is_no_candidate_is_doubted(measured: Measured) -> None:
    result = measured("[prior]\nLi2O = 2.0\nLi2C03 = 3.0")
    assert any("names Li2C03, which is no candidate" in doubt for doubt in result.warnings)
    assert result.prior == "Prior weights by session.toml: Li2O × 2; all others 1."
    # The table of electrolytes knows many phases: not all have to be candidates.
    quiet = measured('electrolyte = "LiPF6 in EC"', phases="Li2O, LiF")
    assert not any("candidate" in doubt for doubt in quiet.warnings)


def test_each_region_has_its_dose_verdict(measured: Measured) -> None:
    result = measured("dose_e_per_a2 = 60.0\nprior_dose_e_per_a2 = 500.0\nbeam_energy_kev = 300.0")
    assert result.phase_map is not None
    dose = result.phase_map.regions[0].dose
    assert dose is not None
    assert (dose.phase, dose.received_after_e_per_a2) == ("Li2O", 560.0)
    assert (dose.level, dose.made_level) == (DoseLevel.NO_KNOWN_LIMIT, DoseLevel.ABOVE)
    assert "By the dose received, Li2O may be the beam's product." in session_sentence([result])


def test_an_unknown_dose_gives_a_verdict_that_says_so(measured: Measured) -> None:
    result = measured()
    assert result.phase_map is not None
    dose = result.phase_map.regions[0].dose
    assert dose is not None
    assert dose.made_level is DoseLevel.UNKNOWN_DOSE
    assert dose.sentence.startswith("The dose is unknown.")
    assert "beam" not in session_sentence([result])


def test_verdicts_survive_the_store_and_stand_in_the_tables(measured: Measured) -> None:
    result = measured(
        'electrolyte = "EC:DEC"\ndose_e_per_a2 = 60.0\nprior_dose_e_per_a2 = 500.0\n'
        "beam_energy_kev = 300.0"
    )
    back = from_plain(FileResult, json.loads(json.dumps(to_plain(result))))
    assert back.prior == result.prior
    assert back.phase_map.regions[0].dose == result.phase_map.regions[0].dose  # type: ignore[union-attr]
    row = next(csv.DictReader(regions_csv([back]).splitlines()))
    assert (row["dose_before_e_per_a2"], row["dose_after_e_per_a2"]) == ("500", "560")
    assert (row["dose_level"], row["critical_dose_low_e_per_a2"]) == ("no_known_limit", "")
    assert (row["made_by_beam_level"], row["made_by_beam_low_e_per_a2"]) == ("above", "178")
    assert row["made_by_beam_high_e_per_a2"] == "450"
    assert row["dose_sentence"] == result.phase_map.regions[0].dose.sentence  # type: ignore[union-attr]
    with_prior = dict(pair.split("=") for pair in row["alternatives_with_prior"].split(";"))
    assert float(with_prior["Li2O"]) == pytest.approx(
        result.phase_map.regions[0].informed["Li2O"],  # type: ignore[union-attr]
        rel=1e-3,
    )
    (summed,) = csv.DictReader(results_csv([back]).splitlines())
    assert summed["phases_with_prior"].split(";")[0] == "Li2O"
    assert summed["probabilities_with_prior"]
