"""Reference sets: fields with known truth, made once and exposed at any dose afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_positive
from interphase.simulation.imaging.cost import multislice_for
from interphase.simulation.imaging.detectors import (
    IDEAL_COUNTER,
    Detector,
    Transfer,
    record_counts,
)
from interphase.simulation.imaging.images import image_from_exit_wave, sample_window
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.waves import exit_wave
from interphase.simulation.models.crystallites import (
    CrystalliteTruth,
    Orientation,
    near_zone_axis,
    random_orientation,
    strong_zone_axes,
)
from interphase.simulation.models.matrices import MATRICES, fill_matrix
from interphase.simulation.models.scene import Grain, Scene, draw_centres, film_scene

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.phases import Phase

Alignment = Literal["zone", "random"]

FIELD_A = 200.0
"""Side of a field [Å]."""
MARGIN_A = 15.0
"""No crystallite is nearer to the border, beyond which the field repeats itself [Å]."""
GAP_A = 15.0
"""Shortest projected distance between the edges of crystallites that lie apart [Å]."""
CROWDED_SHARE = 0.25
"""Share of fields whose crystallites may cover each other."""
LARGEST_TILT_DEG = 2.0
"""How far from its zone axis an aligned crystallite may lie [degrees]."""
FILMS = ("LEDC", "LiPxOyFz", "polymer", "electrolyte", "carbon", "vitreous-ice")
"""Materials of the films, drawn evenly."""
BEAM_ENERGIES_KEV = (80.0, 200.0, 300.0)
"""Beam energies, drawn evenly [keV]."""
_ERROR = 0.04
"""Error of the multislice, see `multislice_for`; well below the spread of what is drawn."""
_LARGEST_A = 100.0
"""Larger crystallites would fill a field [Å]."""
_MOST_GRAINS = 4
_ROOM = 0.6
"""Share of a field that squares around crystallites and half their gaps may take; above, they are
seldom found places."""
_BLOCK_A = 45.0
"""Height of the blocks that films with a network are piled up from [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrainPlan:
    """One crystallite of a field; where and how it lies is drawn from the field's seed."""

    phase: str
    """Identifier of its phase."""
    diameter_a: float
    """Its diameter [Å]."""
    alignment: Alignment
    """Whether it lies near a strong zone axis or anyhow."""

    def __post_init__(self) -> None:
        check_positive(diameter_a=self.diameter_a)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """One field of a reference set; everything else is drawn from its seed."""

    name: str
    """Name of the field, unique in its set."""
    seed: int
    """Seed of everything that is drawn."""
    grains: tuple[GrainPlan, ...] = ()
    """Its crystallites; none for pure film."""


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
    detector: Detector
    """The camera."""
    thickness_a: float
    """Thickness of the film [Å]."""
    matrix: str
    """Identifier of the film's material."""
    truths: tuple[CrystalliteTruth, ...]
    """The crystallites, in the order of the plan."""
    plan: FieldPlan
    """What was asked for."""
    film: np.ndarray | None = None
    """Expected intensity of the same film with nothing in it, shape (M, N), where it was asked
    for."""

    def counts(self, dose_e_per_a2: float, rng: np.random.Generator) -> np.ndarray:
        """Return what the camera records at a dose [e/Å²], shape (M, N)."""
        return record_counts(
            self.intensity,
            dose_e_per_a2=dose_e_per_a2,
            pixel_size_a=self.pixel_size_a,
            detector=self.detector,
            rng=rng,
        )


def plan_fields(
    *,
    phases: Sequence[str],
    diameters_a: Sequence[tuple[float, float]],
    alignments: Sequence[Alignment] = ("zone", "random"),
    repeats: int = 3,
    empty: int = 30,
    seed: int,
) -> list[FieldPlan]:
    """Return the fields of a set: every combination `repeats` times, mixed, and pure films.

    Parameters
    ----------
    phases
        Identifiers of the phases.
    diameters_a
        Classes of diameters, each (from, to) [Å]; a crystallite's is drawn within its class.
    alignments
        How they lie.
    repeats
        Crystallites of each combination.
    empty
        Fields of pure film.
    seed
        Seed of the set; each field gets a seed of its own, whatever the order of making.

    Returns
    -------
    list
        Crystallites are mixed at random and dealt out, four to a field or as many as find room.

    Raises
    ------
    ParameterError
        A number cannot be, an alignment is unknown, or one name stands where a list is expected.
    PhaseError
        A phase is unknown; the message names the closest.

    Examples
    --------
    >>> plans = plan_fields(
    ...     phases=["LiF", "Li2O"], diameters_a=[(30, 50)], repeats=2, empty=1, seed=1
    ... )
    >>> [len(plan.grains) for plan in plans]
    [4, 4, 0]
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
    for limits in diameters_a:
        if np.shape(limits) != (2,) or not 0 < limits[0] <= limits[1] <= _LARGEST_A:
            raise ParameterError(
                f"diameters_a has {limits!r}: expected (from, to), above 0 and up to "
                f"{_LARGEST_A:g} Å"
            )
    check_count(0, repeats=repeats, empty=empty)
    of_grains, of_fields = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(of_grains)
    grains = [
        GrainPlan(phase=phase, diameter_a=float(rng.uniform(*limits)), alignment=alignment)
        for _ in range(repeats)
        for phase in phases
        for limits in diameters_a
        for alignment in alignments
    ]
    dealt: list[list[GrainPlan]] = []
    for i in rng.permutation(len(grains)):
        if not dealt or not _have_room([*dealt[-1], grains[i]]):
            dealt.append([])
        dealt[-1].append(grains[i])
    named: list[tuple[str, tuple[GrainPlan, ...]]] = [
        (f"field-{i}", tuple(some)) for i, some in enumerate(dealt)
    ]
    named += [(f"film-{i}", ()) for i in range(empty)]
    seeds = of_fields.generate_state(len(named), dtype=np.uint32)
    return [
        FieldPlan(name=name, seed=int(number), grains=some)
        for (name, some), number in zip(named, seeds, strict=True)
    ]


def _have_room(grains: Sequence[GrainPlan]) -> bool:
    needed = sum((grain.diameter_a + GAP_A) ** 2 for grain in grains)
    return len(grains) <= _MOST_GRAINS and needed <= _ROOM * (FIELD_A - 2 * MARGIN_A) ** 2


def make_field(plan: FieldPlan, *, with_film: bool = False) -> Field:
    """Return one field, its nuisances drawn from the plan's seed.

    A square of 200 Å of a film of one of `FILMS`, 50 to 200 Å thick (thicker where a crystallite
    needs it), at 80, 200 or 300 keV, in pixels of 0.25 to 0.6 Å. Defocus -1000 to 1000 Å; half of
    the microscopes have a corrector (spherical aberration up to 10 µm in size), the others 0 to
    2.7 mm; focal spread 20 to 40 Å, semi-convergence 0.03 to 0.3 mrad. Half of the cameras are
    ideal, the others have a detective quantum efficiency of 0.4 to 0.95 and a transfer of 0.55 to
    0.95 at half of Nyquist's frequency. In a quarter of the fields crystallites may cover each
    other. Those near a zone axis lie evenly in the cap of 2° around one of `strong_zone_axes`.

    Parameters
    ----------
    plan
        What is wanted.
    with_film
        Whether to image the film without its crystallites, too.

    Notes
    -----
    Films with a network of bonds, which take long to make, are piled up from one block that is
    shifted at random for every layer. The image holds every frequency that its pixels can show.
    """
    from interphase.phases import load_phase

    rng = np.random.default_rng(plan.seed)
    energy = float(rng.choice(BEAM_ENERGIES_KEV))
    pixel_size = float(rng.uniform(0.25, 0.6))
    optics, detector = _draw_optics(rng), _draw_detector(rng)
    diameters = [grain.diameter_a for grain in plan.grains]
    thickness = max(float(rng.uniform(50, 200)), max(diameters, default=0.0) + 4)
    crowded = bool(rng.random() < CROWDED_SHARE)
    centres = draw_centres(
        (FIELD_A - 2 * MARGIN_A,) * 2,
        thickness,
        diameters,
        gap_a=3.0 if crowded else GAP_A,
        in_projection=not crowded,
        rng=rng,
    )
    grains = []
    for wanted, (y, x, z) in zip(plan.grains, centres, strict=True):
        phase = load_phase(wanted.phase)
        grains.append(
            Grain(
                phase=phase,
                diameter_a=wanted.diameter_a,
                centre_a=(y + MARGIN_A, x + MARGIN_A, z),
                orientation=_draw_orientation(phase, wanted.alignment, rng),
            )
        )
    matrix = str(rng.choice(FILMS))
    film = _film(matrix, thickness, rng)
    settings = multislice_for(_ERROR, beam_energy_kev=energy)
    settings = replace(settings, sampling_a=min(settings.sampling_a, pixel_size))

    def expected(scene: Scene) -> np.ndarray:
        wave = exit_wave(scene, beam_energy_kev=energy, settings=settings)
        return sample_window(
            image_from_exit_wave(wave, optics),
            scene.size_a,
            origin_a=(0.0, 0.0),
            pixel_size_a=pixel_size,
            shape=(int(FIELD_A / pixel_size),) * 2,
        )

    asked: dict[str, Any] = {"seed": plan.seed, "matrix": matrix, "film": film}
    scene = film_scene((FIELD_A, FIELD_A), thickness, grains, **asked)
    bare = film_scene((FIELD_A, FIELD_A), thickness, **asked) if with_film else None
    return Field(
        intensity=expected(scene),
        pixel_size_a=pixel_size,
        beam_energy_kev=energy,
        optics=optics,
        detector=detector,
        thickness_a=thickness,
        matrix=matrix,
        truths=scene.truths,
        plan=plan,
        film=None if bare is None else expected(bare),
    )


def _draw_optics(rng: np.random.Generator) -> Optics:
    corrected = rng.random() < 0.5
    aberration = rng.uniform(-0.01, 0.01) if corrected else rng.uniform(0.0, 2.7)
    return Optics(
        defocus_a=float(rng.uniform(-1000, 1000)),
        spherical_aberration_mm=float(aberration),
        focal_spread_a=float(rng.uniform(20, 40)),
        semi_convergence_mrad=float(np.exp(rng.uniform(*np.log([0.03, 0.3])))),
    )


def _draw_detector(rng: np.random.Generator) -> Detector:
    if rng.random() < 0.5:
        return IDEAL_COUNTER
    half = float(rng.uniform(0.55, 0.95))
    transfer = Transfer(at_half_nyquist=half, at_nyquist=half * float(rng.uniform(0.4, 0.8)))
    return Detector(dqe0=float(rng.uniform(0.4, 0.95)), mtf=transfer)


def _draw_orientation(
    phase: "Phase", alignment: Alignment, rng: np.random.Generator
) -> Orientation:
    if alignment == "random":
        return random_orientation(rng)
    axes = strong_zone_axes(phase)
    uvw = axes[int(rng.integers(len(axes)))]
    # Uniform over the cap of directions around the axis.
    return near_zone_axis(phase, uvw, LARGEST_TILT_DEG * float(np.sqrt(rng.random())), rng)


def _film(matrix: str, thickness_a: float, rng: np.random.Generator) -> "Atoms":
    if MATRICES[matrix].network is None:
        return fill_matrix(matrix, (FIELD_A, FIELD_A), thickness_a, rng=rng)
    block = _network_block(matrix)
    film = block[:0]
    for layer in range(int(np.ceil(thickness_a / _BLOCK_A))):
        shifted = block.copy()  # type: ignore[no-untyped-call]
        box = shifted.cell.lengths()
        shifted.positions = (shifted.positions + rng.uniform(0, box)) % box
        shifted.positions[:, 2] += layer * _BLOCK_A
        film += shifted
    film.cell[2, 2] = thickness_a
    kept: Atoms = film[film.positions[:, 2] < thickness_a]
    return kept


@cache
def _network_block(matrix: str) -> "Atoms":
    return fill_matrix(matrix, (FIELD_A, FIELD_A), _BLOCK_A, rng=np.random.default_rng(0))
