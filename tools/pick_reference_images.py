"""Write a handful of members of the reference set as a session, for tests and pictures.

    interphase simulate interphase_reference
    python tools/pick_reference_images.py

takes of each class the smallest test member on lithium, from a liquid electrolyte and fine enough
in foil and pixels to show something, exposes it at 300 e/Å² and writes it, with its truth, into
``simulations/interphase_reference/images``.
"""

from pathlib import Path

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.simulation import (
    Reference,
    SimulatedExposure,
    Structure,
    load_references,
    write_session,
)

STUDY = Path(__file__).resolve().parents[1] / "simulations" / "interphase_reference"
DOSE_E_PER_A2 = 300.0
THICKEST_FOIL_A = 200.0
LARGEST_PIXEL_A = 0.55


def picked() -> dict[str, Reference]:
    """Return the smallest fitting member of each class."""
    best: dict[str, Reference] = {}
    for member in load_references(STUDY, half="test"):
        name = member.recipe.structure.value
        fine = member.conditions.pixel_size_a <= LARGEST_PIXEL_A
        thin = member.recipe.foil_thickness_a <= THICKEST_FOIL_A
        liquid = member.recipe.outside in ("vacuum", "electrolyte")
        if not (fine and thin and liquid and member.recipe.electrode == "Li"):
            continue
        if name not in best or member.image.size < best[name].image.size:
            best[name] = member
    return {structure.value: best[structure.value] for structure in Structure}


def exposure_of(name: str, member: Reference) -> SimulatedExposure:
    """Return a member as its camera records it."""
    conditions = member.conditions
    acquisition = Acquisition(
        kind=Kind.IMAGE,
        mode="TEM",
        pixel_size_a=conditions.pixel_size_a,
        beam_energy_kev=conditions.beam_energy_kev,
        dose_e_per_a2=DOSE_E_PER_A2,
        defocus_a=conditions.optics.defocus_a,
        electrode=member.recipe.electrode,
    )
    return SimulatedExposure(
        stem=name,
        counts=member.counts(np.random.default_rng(member.plan.seed), dose_e_per_a2=DOSE_E_PER_A2),
        acquisition=acquisition,
        truth=member.truth,
        recipe=member.recipe,
        seed=member.plan.seed,
    )


def main() -> None:
    """Write the session."""
    exposures = (exposure_of(name, member) for name, member in picked().items())
    write_session(STUDY / "images", exposures, facts={"phases": "lithium-sei"})


if __name__ == "__main__":
    main()
