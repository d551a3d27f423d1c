"""Rotations that leave a phase's diffraction unchanged, and zone axes unique under them."""

from functools import lru_cache
from itertools import product

import numpy as np

from interphase.errors import ParameterError, PhaseError
from interphase.phases.kinematics import structure_factors
from interphase.phases.table import Phase

_METRIC_TOLERANCE = 1e-4
_INTENSITY_TOLERANCE = 1e-3


def point_group_rotations(phase: Phase) -> np.ndarray:
    """Return the proper rotations that map a phase's diffraction onto itself.

    They are the Laue class without inversion, found from the cell's metric and the kinematic
    intensities, so a CIF needs no correct symmetry statement. Sample orientations in
    1/n of the sphere with them.

    Parameters
    ----------
    phase
        The phase.

    Returns
    -------
    ndarray
        Cartesian rotation matrices in the frame of ``Phase.lattice_vectors``, shape
        (n, 3, 3), the identity first; ``g @ rotation.T`` rotates row vectors.

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> [len(point_group_rotations(load_phase(name))) for name in ("Li2O", "Li2CO3", "ice-Ih")]
    [24, 2, 12]
    """
    cell = phase.lattice_vectors.T
    rotations = cell @ laue_matrices(phase) @ np.linalg.inv(cell)
    return np.asarray(rotations)


@lru_cache(maxsize=256)
def laue_matrices(phase: Phase) -> np.ndarray:
    """Return the proper rotations of the Laue class as integer matrices on [uvw] columns.

    Returns
    -------
    ndarray
        Shape (n, 3, 3), the identity first; ``hkl @ inverse(matrix)`` are equivalent indices.
    """
    metric = phase.lattice_vectors @ phase.lattice_vectors.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    # A vector of an axis' length with entries -1, 0, 1: enough for every conventional cell.
    box = np.array(list(product((-1, 0, 1), repeat=3)))
    lengths = np.einsum("ij,jk,ik->i", box, metric, box)
    columns = [
        box[np.abs(lengths - metric[i, i]) < _METRIC_TOLERANCE * metric[i, i]] for i in range(3)
    ]
    tested = _test_reflections(phase)
    factor, all_in_step = structure_factors(phase, tested)
    intensity = np.abs(factor) ** 2
    kept = []
    for triple in product(*columns):
        matrix = np.array(triple).T
        if round(np.linalg.det(matrix)) != 1:
            continue
        if np.any(np.abs(matrix.T @ metric @ matrix - metric) > _METRIC_TOLERANCE * scale):
            continue
        turned, _ = structure_factors(phase, tested @ matrix)
        if np.all(np.abs(np.abs(turned) ** 2 - intensity) < _INTENSITY_TOLERANCE * all_in_step**2):
            kept.append(matrix)
    kept.sort(key=lambda matrix: (-int(np.trace(matrix)), matrix.tolist()))
    matrices = np.array(kept)
    if not np.array_equal(matrices[0], np.eye(3)):
        raise PhaseError(f"{phase.identifier} has a cell without a symmetry: check its lattice")
    matrices.setflags(write=False)
    return matrices


def zone_axes(phase: Phase, max_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the zone axes that differ under the symmetry of the diffraction.

    Parameters
    ----------
    phase
        The phase.
    max_index
        Largest absolute index.

    Returns
    -------
    uvw
        Coprime direct-lattice directions, one of each class, int, shape (Z, 3).
    multiplicity
        Directions in each class, opposite ones counted as one, int, shape (Z,).

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> uvw, multiplicity = zone_axes(load_phase("LiF"), 1)
    >>> uvw.tolist(), multiplicity.tolist()
    ([[1, 0, 0], [1, 1, 0], [1, 1, 1]], [3, 6, 4])
    """
    if max_index < 1:
        raise ParameterError(f"max_index is {max_index!r}: expected an integer of at least 1")
    span = range(max_index, -max_index - 1, -1)
    axes = np.array([v for v in product(span, repeat=3) if np.gcd.reduce(v) == 1])
    turned = np.einsum("nij,aj->nai", laue_matrices(phase), axes)
    both = np.concatenate([turned, -turned])
    base = 2 * int(np.abs(both).max()) + 1
    keys = both @ np.array([base**2, base, 1])
    # The largest key names the class, whose own axis may lie outside the box of indices.
    _, unique = np.unique(-keys.max(axis=0), return_index=True)
    chosen = axes[unique]
    counts = np.array([len(np.unique(keys[:, i])) for i in unique]) // 2
    order = np.lexsort((*-chosen.T[::-1], np.abs(chosen).sum(axis=1)))
    return chosen[order], counts[order]


def _test_reflections(phase: Phase) -> np.ndarray:
    edges = np.array(phase.lattice[:3])
    h, k, l = np.minimum(np.ceil(edges / 0.9), 6).astype(int)  # noqa: E741
    box = np.mgrid[0 : h + 1, -k : k + 1, -l : l + 1].reshape(3, -1).T
    nonzero: np.ndarray = box[np.any(box != 0, axis=1)]
    return nonzero
