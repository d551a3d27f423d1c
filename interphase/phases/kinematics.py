"""Where a phase diffracts, and how strongly an electron wave is diffracted there."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from interphase.errors import ParameterError, PhaseError
from interphase.phases.elements import annular_dark_field_factor, scattering_factor
from interphase.phases.table import Phase, check_phase

_FORBIDDEN = 1e-9
"""|F|² below this share of all atoms scattering in step counts as extinct."""
_CHUNK = 4_000_000
_MOST_REFLECTIONS = 2_000_000


class Contrast(StrEnum):
    """What makes an atom bright."""

    ELECTRON = "electron"
    """Elastic scattering of a plane wave: TEM images and diffraction patterns."""
    DARK_FIELD = "dark field"
    """Incoherent annular dark field: scanned images, roughly also the annular bright field."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reflections:
    """Allowed reflections of one phase, both of each Friedel pair, longest spacing first."""

    identifier: str
    """The phase."""
    hkl: np.ndarray
    """Miller indices in the conventional cell, int, shape (R, 3)."""
    g_per_a: np.ndarray
    """Reciprocal vectors in the frame of ``Phase.reciprocal_vectors`` [1/Å], shape (R, 3)."""
    d_a: np.ndarray
    """Spacings [Å], shape (R,)."""
    intensity: np.ndarray
    """Kinematic |F|² per conventional cell [Å²], shape (R,)."""
    relative: np.ndarray
    """`intensity` over the strongest of the set, shape (R,)."""


def reflections(
    phase: Phase,
    *,
    d_min_a: float,
    relative_min: float = 0.0,
    contrast: Contrast = Contrast.ELECTRON,
) -> Reflections:
    r"""Return every reflection of a phase down to a spacing, with kinematic electron intensity.

    Intensities are those of a thin crystal of neutral atoms at rest; in a real crystallite
    they vary with thickness and tilt, so treat them as strong, weak or absent. Reflections
    that symmetry forbids are left out, those that are weak by accident stay.

    Parameters
    ----------
    phase
        The phase.
    d_min_a
        Shortest spacing [Å].
    relative_min
        Leave out reflections weaker than this share of the strongest.
    contrast
        What makes an atom bright; the Fourier components of a scanned image are not those of
        a diffraction pattern.

    Returns
    -------
    Reflections
        R reflections, both Friedel mates.

    Raises
    ------
    ParameterError
        `d_min_a` is not positive, or so short that more than two million would result.

    Notes
    -----
    :math:`F(hkl) = \sum_j o_j f_j(g/2) \exp[2\pi i (h x_j + k y_j + l z_j)]`, with the
    factors of `scattering_factor`.

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> lif = reflections(load_phase("LiF"), d_min_a=2.0)
    >>> [(tuple(map(int, hkl)), round(float(d), 3)) for hkl, d in zip(lif.hkl[::8], lif.d_a[::8])]
    [((-1, -1, -1), 2.325), ((-2, 0, 0), 2.013)]
    """
    check_phase(phase)
    if not 0 < d_min_a < float("inf"):
        raise ParameterError(f"d_min_a is {d_min_a!r}: expected a spacing above 0 Å")
    if not 0 <= relative_min <= 1:
        raise ParameterError(f"relative_min is {relative_min!r}: expected a share from 0 to 1")
    half = _half_space(phase, d_min_a)
    g = half @ phase.reciprocal_vectors
    length = np.linalg.norm(g, axis=1)
    factor, all_in_step = structure_factors(phase, half, contrast=contrast)
    intensity = np.abs(factor) ** 2
    allowed = intensity > _FORBIDDEN * all_in_step**2
    half, g, length, intensity = half[allowed], g[allowed], length[allowed], intensity[allowed]
    if not len(half):
        raise PhaseError(
            f"{phase.identifier} has no reflection with d >= {d_min_a:g} Å: give a smaller d_min_a"
        )
    relative = intensity / intensity.max()
    strong = relative >= relative_min
    hkl, g = (np.concatenate([v[strong], -v[strong]]) for v in (half, g))
    length, intensity, relative = (np.tile(v[strong], 2) for v in (length, intensity, relative))
    order = np.lexsort((*hkl.T[::-1], np.round(length, 9)))
    return Reflections(
        identifier=phase.identifier,
        hkl=hkl[order],
        g_per_a=g[order],
        d_a=1 / length[order],
        intensity=intensity[order],
        relative=relative[order],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Families:
    """Reflections of one phase grouped as a powder ring shows them, longest spacing first."""

    identifier: str
    """The phase."""
    hkl: np.ndarray
    """One reflection of each family, int, shape (F, 3)."""
    d_a: np.ndarray
    """Spacings [Å], shape (F,)."""
    multiplicity: np.ndarray
    """Reflections in each family, both Friedel mates, int, shape (F,)."""
    intensity: np.ndarray
    """Sum of |F|² over the family [Å²], shape (F,)."""
    relative: np.ndarray
    """`intensity` over the strongest of the set, shape (F,)."""


def families(spots: Reflections, *, merge_rings: bool = False) -> Families:
    """Return reflections grouped by spacing and intensity, or by spacing alone.

    Equal spacing and equal kinematic intensity is what symmetry makes of equivalent
    reflections; different ones that share both by accident are grouped too.

    Parameters
    ----------
    spots
        Reflections of one phase.
    merge_rings
        Group by spacing alone, as a ring that cannot be resolved further does.

    Returns
    -------
    Families
        F families, with the intensity of the ring.

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> rings = families(reflections(load_phase("LiF"), d_min_a=1.4))
    >>> rings.d_a.round(3).tolist(), rings.multiplicity.tolist()
    ([2.325, 2.013, 1.424], [8, 6, 12])
    >>> (100 * rings.relative).round().astype(int).tolist()
    [18, 100, 96]
    """
    spacing = np.round(np.log(spots.d_a), 6)
    strength = np.zeros_like(spacing) if merge_rings else np.round(np.log(spots.intensity), 4)
    _, first, group, multiplicity = np.unique(
        np.stack([-spacing, strength], axis=1),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    group = group.ravel()
    intensity = np.bincount(group, weights=spots.intensity)
    hkl = np.array([max(map(tuple, spots.hkl[group == i])) for i in range(len(first))])
    return Families(
        identifier=spots.identifier,
        hkl=hkl,
        d_a=spots.d_a[first],
        multiplicity=multiplicity,
        intensity=intensity,
        relative=intensity / intensity.max(),
    )


def structure_factors(
    phase: Phase, hkl: np.ndarray, *, contrast: Contrast = Contrast.ELECTRON
) -> tuple[np.ndarray, np.ndarray]:
    """Return complex structure factors and what they were if all atoms scattered in step.

    Parameters
    ----------
    phase
        The phase.
    hkl
        Miller indices, shape (R, 3).
    contrast
        What makes an atom bright.

    Returns
    -------
    factor
        F, complex, shape (R,); [Å] for electron scattering, in powers of Z for dark field.
    all_in_step
        The same if all atoms of the cell scattered in step, shape (R,).
    """
    length = np.linalg.norm(hkl @ phase.reciprocal_vectors, axis=1)
    factor = np.zeros(len(hkl), dtype=complex)
    all_in_step = np.zeros(len(hkl))
    species = np.array(phase.species)
    for element in dict.fromkeys(phase.species):
        of_element = species == element
        position, occupancy = phase.fractional[of_element], phase.occupancies[of_element]
        f = (
            scattering_factor(element, length)
            if contrast is Contrast.ELECTRON
            else np.full(len(length), annular_dark_field_factor(element))
        )
        step = max(1, _CHUNK // len(position))
        for start in range(0, len(hkl), step):
            part = slice(start, start + step)
            waves = np.exp(2j * np.pi * (hkl[part] @ position.T))
            factor[part] += f[part] * (waves @ occupancy)
        all_in_step += f * occupancy.sum()
    return factor, all_in_step


def _half_space(phase: Phase, d_min_a: float) -> np.ndarray:
    """One hkl of each Friedel pair with spacing >= d_min_a, shape (R, 3)."""
    expected = 4 / 3 * np.pi * phase.volume_a3 / d_min_a**3
    if expected > _MOST_REFLECTIONS:
        raise ParameterError(
            f"{phase.identifier} has about {expected:.1g} reflections down to {d_min_a:g} Å: "
            f"expected at most {_MOST_REFLECTIONS:.0g}, give a larger d_min_a"
        )
    # |h| = |g . a| <= |a| / d
    h, k, l = (int(edge / d_min_a * (1 + 1e-9)) for edge in phase.lattice[:3])  # noqa: E741
    box = np.mgrid[0 : h + 1, -k : k + 1, -l : l + 1].reshape(3, -1).T
    first = (box[:, 0] > 0) | (
        (box[:, 0] == 0) & ((box[:, 1] > 0) | ((box[:, 1] == 0) & (box[:, 2] > 0)))
    )
    box = box[first]
    length = np.linalg.norm(box @ phase.reciprocal_vectors, axis=1)
    near: np.ndarray = box[length <= (1 + 1e-9) / d_min_a]
    return near
