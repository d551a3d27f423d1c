"""Which lattice planes of a crystallite an image can show, and which places show them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from interphase.simulation.models.crystallites import CrystalliteTruth

if TYPE_CHECKING:
    from interphase.simulation.imaging.optics import Optics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPlanes:
    """Lattice planes of one crystallite that are near enough to the Bragg condition."""

    hkl: np.ndarray
    """Miller indices, one of each Friedel pair, shape (R, 3)."""
    k_per_a: np.ndarray
    """Spatial frequency (ky, kx) of their fringes [1/Å], shape (R, 2)."""
    excitation: np.ndarray
    """Kinematic intensity over that in the exact Bragg condition, shape (R,)."""
    mate_excitation: np.ndarray
    """The same of the weaker one of each Friedel pair, shape (R,)."""
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
    each = _excitation(2 * np.pi * error * truth.diameter_a)
    excitation = np.maximum(each, each[mates])
    relative = found.relative * excitation
    first = np.arange(len(mates)) < mates
    kept = first & (relative >= relative_min)
    return ShownPlanes(
        hkl=found.hkl[kept],
        k_per_a=g[kept][:, 1::-1],
        excitation=excitation[kept],
        mate_excitation=np.minimum(each, each[mates])[kept],
        relative=relative[kept],
    )


def fringe_transfer(
    planes: ShownPlanes, optics: "Optics", *, beam_energy_kev: float, diameter_a: float
) -> np.ndarray:
    r"""Return how much of the strongest possible contrast an image gives the fringes of planes.

    Parameters
    ----------
    planes
        Lattice planes of a crystallite.
    optics
        The microscope, round aberrations only; its defocus from the crystallite's middle.
    beam_energy_kev
        Beam energy [keV].
    diameter_a
        Diameter of the crystallite, a sphere [Å].

    Returns
    -------
    ndarray of shape (R,)
        0 to 1, root mean square over the fringes.

    Notes
    -----
    Beams g and -g, excited by :math:`a^2 \ge b^2`, make fringes that the lens moves by d in
    opposite directions (`interphase.electron.delocalisation`). Together their power is

    .. math:: \frac{E^2}{4 a^2} \left[a^2 + b^2 - 2 a b\,\gamma(2 d) \cos 2\chi\right]

    with both envelopes in E and :math:`\gamma` for how much of a projected sphere still lies upon
    its displaced image. Evenly excited and not displaced they give :math:`E |\sin\chi|`, the
    transfer of contrast; a single beam, or images that no longer overlap, know no zeros.
    """
    from interphase.electron import (
        aberration_phase,
        delocalisation,
        spatial_envelope,
        temporal_envelope,
    )

    k = np.linalg.norm(planes.k_per_a, axis=1)
    lens = {
        "beam_energy_kev": beam_energy_kev,
        "defocus_a": optics.defocus_a,
        "spherical_aberration_mm": optics.spherical_aberration_mm,
    }
    envelope = temporal_envelope(
        k, beam_energy_kev=beam_energy_kev, focal_spread_a=optics.focal_spread_a
    ) * spatial_envelope(k, **lens, semi_convergence_angle_mrad=optics.semi_convergence_mrad)
    ratio = np.sqrt(planes.mate_excitation / np.maximum(planes.excitation, 1e-30))
    together = _sphere_overlap(2 * delocalisation(k, **lens) / diameter_a) * np.cos(
        2 * aberration_phase(k, **lens)
    )
    return np.asarray(envelope / 2 * np.sqrt(1 + ratio**2 - 2 * ratio * together))


def _sphere_overlap(shift: np.ndarray) -> np.ndarray:
    """Return the overlap of a projected sphere with itself shifted, over its diameter.

    The projection of 1 - 3r/2 + r³/2, the overlap of two spheres r apart.
    """
    height = (np.arange(200) + 0.5) / 200
    apart = np.minimum(np.hypot(np.asarray(shift)[..., None], height), 1.0)
    return np.asarray((1 - 1.5 * apart + 0.5 * apart**3).mean(axis=-1) / 0.375)


def transferred_planes(
    truth: CrystalliteTruth,
    *,
    beam_energy_kev: float,
    optics: "Optics",
    thickness_a: float,
    pixel_size_a: float,
    d_min_a: float = 1.2,
    relative_min: float = 0.1,
    transfer_min: float = 0.3,
) -> ShownPlanes:
    """Return the lattice planes whose fringes an image shows, as the microscope stands.

    Parameters
    ----------
    truth
        The crystallite.
    beam_energy_kev
        Beam energy [keV].
    optics
        The microscope; its defocus from the lower surface of the film, as an exit wave has it.
    thickness_a
        Thickness of the film [Å].
    pixel_size_a
        Size of a pixel [Å]; what it cannot show does not count.
    d_min_a, relative_min
        Shortest spacing [Å] and weakest planes, see `shown_planes`.
    transfer_min
        Least `fringe_transfer` that counts.
    """
    planes = shown_planes(
        truth,
        beam_energy_kev=beam_energy_kev,
        d_min_a=max(d_min_a, 2 * pixel_size_a),
        relative_min=relative_min,
    )
    at_middle = replace(optics, defocus_a=optics.defocus_a - (thickness_a - truth.centre_a[2]))
    transfer = fringe_transfer(
        planes, at_middle, beam_energy_kev=beam_energy_kev, diameter_a=truth.diameter_a
    )
    kept = transfer >= transfer_min
    return ShownPlanes(**{name: getattr(planes, name)[kept] for name in ShownPlanes.__slots__})


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
    margin_a: float | Sequence[float] = 15.0,
    scale: float = 1.0,
) -> tuple[list[int | None], list[int]]:
    """Return which place of an image shows each crystallite, if any.

    A place shows a crystallite if its centre lies upon it, or at most `margin_a` beside it, and
    the crystallite's fringes hold as much of the power of the place's spots as its strongest spot
    has. Of several that no place before shows, the one is taken whose fringes hold most.

    Parameters
    ----------
    truths
        The crystallites.
    places
        What was found, most certain first.
    beam_energy_kev
        Beam energy [keV].
    margin_a
        Fringes are displaced by defocus and windows are coarse [Å]; one for all crystallites, or
        one for each.
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
    margins = np.broadcast_to(margin_a, len(truths))
    shown: list[int | None] = [None] * len(truths)
    spare = []
    for index, place in enumerate(places):
        centre = np.asarray(place.centre_a) / scale
        spots, strength = place.spots.k_per_a * scale, place.spots.strength
        held = {}
        for row, truth in enumerate(truths):
            away = float(np.linalg.norm(centre - truth.centre_a[:2]))
            if shown[row] is None and away <= truth.diameter_a / 2 + margins[row]:
                mine = _are_fringes(spots, planes[row], truth.diameter_a)
                if mine.any() and (power := float(strength[mine].sum())) >= strength.max():
                    held[row] = (power, -away)
        if held:
            shown[max(held, key=held.__getitem__)] = index
        else:
            spare.append(index)
    return shown, spare


def _are_fringes(spots: np.ndarray, k_per_a: np.ndarray, diameter_a: float) -> np.ndarray:
    """Return which spots lie where a crystallite's fringes do, shape (S,)."""
    both = np.concatenate([k_per_a, -k_per_a])
    off = np.linalg.norm(spots[:, None] - both, axis=2)
    near = 0.5 / diameter_a + 0.02 * np.linalg.norm(spots, axis=1)
    return np.asarray(off.min(axis=1, initial=np.inf) <= near)
