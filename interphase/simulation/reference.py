"""Reference sets: fields with known truth, made once and exposed at any dose afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_positive
from interphase.simulation.imaging.cost import Multislice
from interphase.simulation.imaging.images import image_from_exit_wave, resample
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.waves import exit_wave
from interphase.simulation.models.crystallites import (
    CrystalliteTruth,
    Orientation,
    near_zone_axis,
    random_orientation,
    strong_zone_axes,
)
from interphase.simulation.models.scene import Grain, draw_centres, film_scene

if TYPE_CHECKING:
    from interphase.phases import Phase

Alignment = Literal["zone", "random"]

PIXEL_SIZE_A = 0.4
WAVE_SAMPLING_A = PIXEL_SIZE_A * 2 / 3
"""Two thirds of the wave's band then hold every frequency an image of `PIXEL_SIZE_A` can show."""
_SETTINGS = Multislice(sampling_a=WAVE_SAMPLING_A, projection="infinite")
LARGEST_TILT_DEG = 2.0
"""How far from its zone axis an aligned crystallite may lie [degrees]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """One field of a reference set; everything else is drawn from its seed."""

    name: str
    """Name of the field, unique in its set."""
    seed: int
    """Seed of everything that is drawn."""
    phase: str | None
    """Phase of its crystallites; ``None`` for pure film."""
    diameter_a: float | None
    """Diameter of its crystallites [Å]."""
    alignment: Alignment | None
    """Whether they lie near a strong zone axis or anyhow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One field of a reference set, noiseless, with its truth."""

    intensity: np.ndarray
    """Expected intensity, 1 in vacuum, shape (M, N)."""
    pixel_size_a: float
    """True size of a pixel [Å]."""
    beam_energy_kev: float
    """Beam energy [keV]."""
    optics: Optics
    """The microscope it was imaged with."""
    thickness_a: float
    """Thickness of the film [Å]."""
    matrix: str
    """Identifier of the film's material."""
    truths: tuple[CrystalliteTruth, ...]
    """The crystallites."""
    plan: FieldPlan
    """What was asked for."""


def plan_fields(
    *,
    phases: Sequence[str],
    diameters_a: Sequence[float],
    alignments: Sequence[Alignment] = ("zone", "random"),
    repeats: int = 3,
    empty: int = 30,
    seed: int,
) -> list[FieldPlan]:
    """Return the fields of a set: every combination `repeats` times, and `empty` pure films.

    Parameters
    ----------
    phases
        Identifiers of the phases.
    diameters_a
        Diameters of the crystallites [Å].
    alignments
        How they lie.
    repeats
        Fields of each combination.
    empty
        Fields of pure film.
    seed
        Seed of the set; each field gets a seed of its own, whatever the order of making.

    Raises
    ------
    ParameterError
        A number cannot be, an alignment is unknown, or one name stands where a list is expected.
    PhaseError
        A phase is unknown; the message names the closest.
    """
    from interphase.phases import load_phase

    for name, given in (("phases", phases), ("alignments", alignments)):
        if isinstance(given, str):
            raise ParameterError(f"{name} is {given!r}: expected a list, such as [{given!r}]")
    for phase in phases:
        load_phase(phase)
    if unknown := set(alignments) - set(get_args(Alignment)):
        raise ParameterError(
            f"alignments has {', '.join(map(repr, unknown))}: give 'zone', 'random' or both"
        )
    check_positive(diameters_a=diameters_a)
    check_count(0, repeats=repeats, empty=empty)
    wanted: list[tuple[str, str | None, float | None, Alignment | None]] = [
        (f"{phase}-{diameter:g}-{alignment}-{i}", phase, diameter, alignment)
        for i in range(repeats)
        for phase in phases
        for diameter in diameters_a
        for alignment in alignments
    ]
    wanted += [(f"film-{i}", None, None, None) for i in range(empty)]
    seeds = np.random.SeedSequence(seed).generate_state(len(wanted), dtype=np.uint32)
    return [
        FieldPlan(name=name, seed=int(s), phase=phase, diameter_a=diameter, alignment=alignment)
        for (name, phase, diameter, alignment), s in zip(wanted, seeds, strict=True)
    ]


def make_field(plan: FieldPlan) -> Field:
    """Return one field, its nuisances drawn from the plan's seed.

    Crystallites up to 60 Å come in fours in a field of 180 Å, larger ones in twos in 216 Å.
    Film 60 to 120 Å thick (thicker where the crystallite needs it), 300 keV, underfocus 100
    to 800 Å, spherical aberration 0 to 1.2 mm, focal spread 20 to 40 Å.

    Parameters
    ----------
    plan
        What is wanted.
    """
    from interphase.phases import load_phase

    rng = np.random.default_rng(plan.seed)
    diameter = plan.diameter_a or 0.0
    many = 0 if plan.phase is None else 4 if diameter <= 60 else 2
    size = 180.0 if diameter <= 60 else 216.0
    thickness = max(float(rng.uniform(60, 120)), diameter + 4)
    grains: list[Grain] = []
    if plan.phase is not None:
        phase = load_phase(plan.phase)
        centres = draw_centres((size, size), thickness, [diameter] * many, gap_a=15.0, rng=rng)
        grains = [
            Grain(
                phase=phase,
                diameter_a=diameter,
                centre_a=centre,
                orientation=_draw_orientation(phase, plan.alignment, rng),
            )
            for centre in centres
        ]
    optics = Optics(
        defocus_a=float(rng.uniform(100, 800)),
        spherical_aberration_mm=float(rng.uniform(0, 1.2)),
        focal_spread_a=float(rng.uniform(20, 40)),
        semi_convergence_mrad=0.1,
    )
    scene = film_scene((size, size), thickness, grains, seed=int(rng.integers(2**32)))
    wave = exit_wave(scene, beam_energy_kev=300.0, settings=_SETTINGS)
    pixels = round(size / PIXEL_SIZE_A)
    return Field(
        intensity=resample(image_from_exit_wave(wave, optics), (pixels, pixels)),
        pixel_size_a=size / pixels,
        beam_energy_kev=300.0,
        optics=optics,
        thickness_a=thickness,
        matrix=scene.matrix,
        truths=scene.truths,
        plan=plan,
    )


def _draw_orientation(
    phase: "Phase", alignment: Alignment | None, rng: np.random.Generator
) -> Orientation:
    if alignment == "random":
        return random_orientation(rng)
    axes = strong_zone_axes(phase)
    uvw = axes[int(rng.integers(len(axes)))]
    # Uniform over the cap of directions around the axis.
    return near_zone_axis(phase, uvw, LARGEST_TILT_DEG * float(np.sqrt(rng.random())), rng)
