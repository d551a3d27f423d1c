"""What a crystal of each candidate shows from every direction.

A template is the zero-layer pattern of one orientation: the reflections that a crystallite of
some thickness excites, projected along the beam. The templates of a phase cover all
orientations, with weights: those that show strong reflections are met more often among places
that are looked at, and low-index zone axes are among them exactly.
"""

from dataclasses import dataclass

import numpy as np

from interphase.errors import PhaseError
from interphase.phases import Contrast, Phase, point_group_rotations, reflections

# Reflections per template; the strongest are kept, one of each Friedel pair.
MAX_REFLECTIONS = 24
# Reflections weaker than this share of their template's strongest are not waited for.
WEAKEST = 0.002
# Orientations whose strongest reflection is weaker than this share of the phase's are not met.
BRIGHT = 0.005
# Intensity that dynamical scattering, or another contrast than that of electron diffraction, may
# lend to a reflection that is weak by accident, as a share of the phase's strongest.
LENT = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Patterns of one phase over all orientations, padded to a common length."""

    phase: str
    """The candidate's identifier."""
    g_per_a: np.ndarray
    """In-plane position (y, x) of each reflection [1/Å], shape (T, J, 2); NaN is padding."""
    share: np.ndarray
    """Intensity over the strongest reflection of the same template, shape (T, J); 0 is padding."""
    hkl: np.ndarray
    """Indices, shape (T, J, 3)."""
    zone_axis: np.ndarray
    """Beam direction rounded to small integers [u, v, w], shape (T, 3)."""
    weight: np.ndarray
    """Prior probability of the template among those of its phase, shape (T,)."""

    @property
    def modulus(self) -> np.ndarray:
        """Length of each reflection [1/Å], shape (T, J); NaN is padding."""
        return np.asarray(np.hypot(self.g_per_a[..., 0], self.g_per_a[..., 1]))


def make_templates(
    phase: Phase,
    *,
    d_min_a: float,
    d_max_a: float,
    contrast: Contrast = Contrast.ELECTRON,
    thickness_a: float = 40.0,
    spacing_deg: float = 3.0,
) -> Templates:
    """Return the templates of `phase` for all beam directions.

    Parameters
    ----------
    phase
        The candidate.
    d_min_a, d_max_a
        Range of spacings that the data can show [Å].
    contrast
        What makes an atom bright.
    thickness_a
        Length of the crystal along the beam [Å]: it sets how far from the exact orientation a
        reflection is still seen.
    spacing_deg
        Distance of neighbouring directions [degrees].

    Notes
    -----
    The Ewald sphere is taken as flat, which is right to the width of the spots of a few
    nanometres at 80 keV and above. A reflection whose excitation error is s [1/Å] keeps
    ``exp(-2.08 (s t)²)`` of its intensity: the Gaussian that falls to one half
    where the shape factor of a sphere of diameter t does.
    """
    try:
        table = reflections(phase, d_min_a=d_min_a, contrast=contrast)
    except PhaseError:
        return _nothing(phase.identifier)
    seen = table.d_a <= d_max_a
    g, hkl, intensity = table.g_per_a[seen], table.hkl[seen], table.intensity[seen]
    strongest = table.intensity.max()
    lent = np.maximum(intensity, LENT * strongest)
    directions = _asymmetric_directions(
        point_group_rotations(phase), phase.lattice_vectors, spacing_deg
    )
    if len(g) == 0:
        return _nothing(phase.identifier)
    excitation = directions @ g.T
    excited = np.exp(-2.08 * (excitation * thickness_a) ** 2)
    # Lent intensity adds spots to an orientation; it does not make one visible.
    brightest = (intensity * excited).max(axis=1)
    visible = lent * excited
    frame = _plane_frame(directions)
    flat = np.einsum("tic,rc->tri", frame, g)

    # Both Friedel mates are in the table; of each pair the one in the upper half plane is kept.
    upper = (flat[..., 0] > 0) | ((flat[..., 0] == 0) & (flat[..., 1] > 0))
    visible = np.where(upper, visible, 0)
    # Every template has the same number of places, so that phases can be joined.
    empty = max(0, MAX_REFLECTIONS - visible.shape[1])
    visible = np.pad(visible, ((0, 0), (0, empty)))
    flat = np.pad(flat, ((0, 0), (0, empty), (0, 0)))
    hkl = np.pad(hkl, ((0, empty), (0, 0)))
    order = np.argsort(-visible, axis=1, kind="stable")[:, :MAX_REFLECTIONS]
    visible = np.take_along_axis(visible, order, axis=1)
    share = visible / np.maximum(visible[:, :1], np.finfo(float).tiny)
    share = np.where(share < WEAKEST, 0, share)
    in_plane = np.take_along_axis(flat, order[..., None], axis=1)
    bright = brightest > BRIGHT * strongest
    # A place is looked at because it shows spots, so orientations that show strong ones are met
    # more often than their share of all orientations.
    weight = np.sqrt(brightest[bright])
    return Templates(
        phase=phase.identifier,
        g_per_a=np.where(share[..., None] > 0, in_plane, np.nan)[bright],
        share=share[bright],
        hkl=hkl[order][bright],
        zone_axis=_zone_axes(directions[bright], phase.lattice_vectors),
        weight=weight / weight.sum(),
    )


def _nothing(identifier: str) -> Templates:
    """Return no templates, for a phase that has no reflection in range."""
    return Templates(
        phase=identifier,
        g_per_a=np.zeros((0, MAX_REFLECTIONS, 2)),
        share=np.zeros((0, MAX_REFLECTIONS)),
        hkl=np.zeros((0, MAX_REFLECTIONS, 3), dtype=int),
        zone_axis=np.zeros((0, 3), dtype=int),
        weight=np.zeros(0),
    )


def _zone_axes(directions: np.ndarray, lattice_vectors: np.ndarray) -> np.ndarray:
    """Return the small-index lattice direction nearest to each unit vector, shape (T, 3).

    Among directions about equally near the one of smallest indices is meant: each unit of
    index counts like a degree.
    """
    uvw, vector = _lattice_directions(lattice_vectors, largest=4)
    angle = np.degrees(np.arccos(np.clip(directions @ vector.T, -1, 1)))
    return np.asarray(uvw[np.argmin(angle + np.abs(uvw).sum(axis=1), axis=1)])


def _lattice_directions(
    lattice_vectors: np.ndarray, *, largest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return all [u, v, w] up to an index, shape (D, 3), and their unit vectors."""
    axis = np.arange(-largest, largest + 1)
    uvw = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    uvw = uvw[np.gcd.reduce(uvw, axis=1) == 1]
    vector = uvw @ lattice_vectors
    return uvw, vector / np.linalg.norm(vector, axis=1, keepdims=True)


def _plane_frame(directions: np.ndarray) -> np.ndarray:
    """Return two unit vectors across each direction, right-handed with it, shape (T, 2, 3)."""
    helper = np.where(np.abs(directions[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(directions, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(directions, first)], axis=1)


def _asymmetric_directions(
    rotations: np.ndarray, lattice_vectors: np.ndarray, spacing_deg: float
) -> np.ndarray:
    """Return unit vectors spread evenly over the sphere, one of each equivalent set.

    Low-index zone axes are among them exactly, because that is where crystallites show most.
    Opposite directions show the mirror image of each other's pattern; matching looks at both, so
    they count as equivalent here.
    """
    number = int(np.ceil(4 * np.pi / np.radians(spacing_deg) ** 2))
    # A Fibonacci lattice: equal areas per point.
    index = np.arange(number) + 0.5
    height = 1 - 2 * index / number
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    even = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    points = np.concatenate([_lattice_directions(lattice_vectors, largest=2)[1], even])
    group = np.concatenate([rotations, -rotations])
    # The representative is the member of a set nearest to a direction of no symmetry.
    reference = np.array([0.9123, 0.3517, 0.2098])
    closeness = np.einsum("nij,pj,i->np", group, points, reference)
    return np.asarray(points[points @ reference >= closeness.max(axis=0) - 1e-9])
