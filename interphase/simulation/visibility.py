"""Which lattice planes of a crystallite an image can show, and which places show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from interphase.simulation.models.crystallites import CrystalliteTruth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPlanes:
    """Lattice planes of one crystallite that are near enough to the Bragg condition."""

    hkl: np.ndarray
    """Miller indices, one of each Friedel pair, shape (R, 3)."""
    k_per_a: np.ndarray
    """Spatial frequency (ky, kx) of their fringes [1/Å], shape (R, 2)."""
    excitation: np.ndarray
    """Kinematic intensity over that in the exact Bragg condition, shape (R,)."""
    relative: np.ndarray
    """Kinematic intensity over that of the phase's strongest planes, `excitation` included,
    shape (R,)."""


def shown_planes(
    truth: CrystalliteTruth,
    *,
    beam_energy_kev: float,
    d_min_a: float = 1.2,
    relative_min: float = 0.1,
) -> ShownPlanes:
    r"""Return the lattice planes whose fringes a crystallite can show as it lies.

    Without regard to the contrast transfer, the film around it and other crystallites: what is
    missing here no image shows, what is here an image may show.

    Parameters
    ----------
    truth
        The crystallite; taken for a sphere of its diameter.
    beam_energy_kev
        Beam energy [keV].
    d_min_a
        Shortest spacing [Å].
    relative_min
        Weakest planes, as a share of the phase's strongest in the exact Bragg condition.

    Returns
    -------
    ShownPlanes
        Perhaps none: the crystallite is invisible.

    Notes
    -----
    The excitation error is :math:`s = -(g_z + \lambda g^2 / 2)` for a beam along z. A column of
    height t diffracts :math:`[\sin(\pi s t) / \pi s]^2` (D. B. Williams, C. B. Carter,
    Transmission Electron Microscopy (2009), chapter 13); the columns of a sphere of diameter D
    together, over what they do at s = 0,

    .. math:: \frac{16}{x^2} \left[\frac14 - \frac{\sin x}{2x} + \frac{1 - \cos x}{2x^2}\right],
       \quad x = 2\pi s D.

    A fringe needs one of g and -g.

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> from interphase.simulation.models.crystallites import zone_axis_orientation
    >>> lies = zone_axis_orientation(load_phase("LiF"), (0, 0, 1))
    >>> row = CrystalliteTruth(
    ...     phase="LiF",
    ...     centre_a=(0.0, 0.0, 0.0),
    ...     diameter_a=30.0,
    ...     orientation=tuple(map(tuple, lies.matrix.tolist())),
    ...     zone_axis=(0, 0, 1),
    ...     tilt_deg=0.0,
    ... )
    >>> planes = shown_planes(row, beam_energy_kev=300.0, d_min_a=1.4)
    >>> planes.hkl.tolist()
    [[-2, 0, 0], [0, -2, 0], [-2, -2, 0], [-2, 2, 0]]
    """
    from interphase.electron import wavelength_from_energy
    from interphase.phases import load_phase, reflections

    phase = load_phase(truth.phase)
    found = reflections(phase, d_min_a=d_min_a)
    g = found.g_per_a @ np.asarray(truth.orientation).T
    wavelength = float(wavelength_from_energy(beam_energy_kev))
    error = g[:, 2] + wavelength * np.einsum("ij,ij->i", g, g) / 2
    # Both of each pair are in the table: the better one makes the fringe.
    mate = {tuple(hkl): i for i, hkl in enumerate(found.hkl.tolist())}
    mates = np.array([mate[tuple(-hkl)] for hkl in found.hkl])
    excitation = _excitation(2 * np.pi * error * truth.diameter_a)
    excitation = np.maximum(excitation, excitation[mates])
    relative = found.relative * excitation
    first = np.arange(len(mates)) < mates
    kept = first & (relative >= relative_min)
    return ShownPlanes(
        hkl=found.hkl[kept],
        k_per_a=g[kept][:, 1::-1],
        excitation=excitation[kept],
        relative=relative[kept],
    )


def _excitation(x: np.ndarray) -> np.ndarray:
    # Below 0.03 the terms cancel in double precision, and the series is exact to 1e-7.
    small = np.abs(x) < 0.03
    x = np.where(small, 1.0, x) * 1.0
    whole = 16 / x**2 * (0.25 - np.sin(x) / (2 * x) + (1 - np.cos(x)) / (2 * x**2))
    result: np.ndarray = np.where(small, 1.0, whole)
    return result


class SpotsLike(Protocol):
    """Spots of a place, as `interphase.diffraction.Spots` has them."""

    @property
    def k_per_a(self) -> np.ndarray:
        """Position (ky, kx) of each spot [1/Å], shape (S, 2)."""
        ...

    @property
    def strength(self) -> np.ndarray:
        """Power over the noise floor, shape (S,)."""
        ...


class PlaceLike(Protocol):
    """A crystalline place found in an image, as `interphase.diffraction.Region` is one."""

    @property
    def centre_a(self) -> tuple[float, float] | None:
        """(y, x) of its centre, from the image's first pixel [Å]."""
        ...

    @property
    def spots(self) -> SpotsLike:
        """Its spots."""
        ...


def match_places(
    truths: Sequence[CrystalliteTruth],
    places: Sequence[PlaceLike],
    *,
    beam_energy_kev: float,
    margin_a: float = 15.0,
    scale: float = 1.0,
) -> tuple[list[int | None], list[int]]:
    """Return which place of an image shows each crystallite, if any.

    A place shows a crystallite if its centre lies upon it, or at most `margin_a` beside it, and
    the place's strongest spot is one of the crystallite's fringes. Of several, the nearest
    crystallite that no place before shows is taken.

    Parameters
    ----------
    truths
        The crystallites.
    places
        What was found, most certain first.
    beam_energy_kev
        Beam energy [keV].
    margin_a
        Fringes are displaced by defocus and windows are coarse [Å].
    scale
        What lengths were multiplied by before the image was analysed.

    Returns
    -------
    shown
        Index of the place that shows each crystallite, one per crystallite.
    spare
        Indices of the places that show none.

    Notes
    -----
    A spot matches within 0.5 / diameter + 2 %, half the width that the crystallite's size gives it.
    """
    planes = [
        shown_planes(truth, beam_energy_kev=beam_energy_kev, relative_min=0.01).k_per_a
        for truth in truths
    ]
    shown: list[int | None] = [None] * len(truths)
    spare = []
    for index, place in enumerate(places):
        centre = np.asarray(place.centre_a) / scale
        spot = place.spots.k_per_a[np.argmax(place.spots.strength)] * scale
        away = [float(np.linalg.norm(centre - truth.centre_a[:2])) for truth in truths]
        near = [
            row
            for row, truth in enumerate(truths)
            if shown[row] is None
            and away[row] <= truth.diameter_a / 2 + margin_a
            and _is_fringe(spot, planes[row], truth.diameter_a)
        ]
        if near:
            shown[min(near, key=away.__getitem__)] = index
        else:
            spare.append(index)
    return shown, spare


def _is_fringe(spot: np.ndarray, k_per_a: np.ndarray, diameter_a: float) -> bool:
    if not len(k_per_a):
        return False
    off = np.linalg.norm(np.concatenate([k_per_a - spot, k_per_a + spot]), axis=1)
    return bool(off.min() <= 0.5 / diameter_a + 0.02 * float(np.linalg.norm(spot)))
