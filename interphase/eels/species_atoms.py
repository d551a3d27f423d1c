"""Whether there are the atoms that a set of species needs."""

from collections.abc import Mapping, Sequence

import numpy as np

from interphase.eels.fingerprints import Fingerprint
from interphase.eels.shapes import LEAST_SHARE
from interphase.errors import ParameterError

Atoms = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Element → its areal density and the standard error of that, each (...)."""

# Probability that the amounts say nothing: a background taken for an edge, atoms that the beam has
# driven out, lithium of something that is not in the table. A working value.
AMOUNTS_WRONG = 0.05
# Shares of lithium that the first of two compounds may hold.
_SHARES = np.linspace(LEAST_SHARE, 1 - LEAST_SHARE, 8)


def check_atoms(
    atoms: Mapping[str, tuple[object, object]],
    relative_error: Mapping[str, float] | None,
    shape: tuple[int, ...],
) -> tuple[Atoms, Mapping[str, float]]:
    """Return amounts as arrays, or raise where they do not fit or say nothing."""
    if relative_error is None or not set(atoms) <= set(relative_error):
        raise ParameterError(
            f"atoms of {', '.join(atoms)} need `atoms_relative_error` of each: give the error of "
            "its cross-section, such as `ElementMaps.relative_uncertainty`"
        )
    if not set(atoms) & {"Li", "C"} or len(atoms) < 2:
        raise ParameterError(
            f"atoms are given of {', '.join(atoms) or 'no element'}: expected Li or C, and others "
            "that their compounds hold"
        )
    found = {}
    for element, pair in atoms.items():
        amount, error = (np.asarray(values, dtype=float) for values in pair)
        if amount.shape != shape or error.shape != shape:
            raise ParameterError(
                f"atoms of {element} have shapes {amount.shape} and {error.shape}: "
                f"expected {shape} of the spectra"
            )
        known = np.isfinite(amount) & np.isfinite(error)
        if not (error[known] > 0).all() or not 0 <= relative_error[element] < 1:
            raise ParameterError(
                f"atoms of {element} have errors down to {error[known].min():g} and a relative "
                f"error of {relative_error[element]:g}: expected more than 0, and from 0 to 1"
            )
        found[element] = np.where(known, amount, np.nan), np.where(known, error, np.nan)
    return found, relative_error


def atoms_evidence(
    sets: Sequence[tuple[Fingerprint, ...]], atoms: Atoms, relative_error: Mapping[str, float]
) -> np.ndarray:
    r"""Return the log evidence of amounts for each set of species, shape (..., S).

    Compounds that account for all the lithium, :math:`N`, need at least :math:`r N` atoms of a
    partner, with r by their formulas and shares; more may belong to something else, in any number.
    Of a measured :math:`M` the likelihood, with the best number of others, is

    .. math:: e^{-d^2 / 2}, \quad d = \min\left(0,
        \frac{M - r N}{\sqrt{\sigma_M^2 + r^2 \sigma_N^2 + \tau^2 M r N}}\right)

    where τ is the relative error of the cross-sections' ratio, and M or N below 0 is 0: noise of
    what is not there speaks for nothing. A factor between the two that is off by τ makes
    :math:`\ln (r N / M)`, nearly :math:`(r N - M) / \sqrt{M r N}`, off by as much, and no factor
    makes atoms of none. Less than is needed speaks against the compounds, more for nothing. It is
    averaged over shares, and with `AMOUNTS_WRONG` it is 1 whatever was measured. The same holds of
    kinds of carbon and all of C.
    """
    log = np.zeros((*next(iter(atoms.values()))[0].shape, len(sets)))
    for reference in ("Li", "C"):
        if reference not in atoms:
            continue
        holders = [
            tuple(s for s in one if reference in s.atoms and s.lithium == (reference == "Li"))
            for one in sets
        ]
        names = [tuple(s.identifier for s in some) for some in holders]
        for name in dict.fromkeys(names):
            here = [i for i, other in enumerate(names) if other == name]
            one = _evidence(holders[here[0]], reference, atoms, relative_error)
            log[..., here] += one[..., None]
    return log


def _evidence(
    holders: Sequence[Fingerprint],
    reference: str,
    atoms: Atoms,
    relative_error: Mapping[str, float],
) -> np.ndarray:
    """Return the log evidence if all of an element is in one or two species, or in none."""
    amount, error = (values[..., None] for values in atoms[reference])
    amount = np.maximum(amount, 0)
    shares = np.ones((1, 1)) if len(holders) < 2 else np.stack([_SHARES, 1 - _SHARES])
    each = np.ones((*amount.shape[:-1], shares.shape[1]))
    for element, (found, spread) in atoms.items():
        if element == reference:
            continue
        ratios = [s.atoms.get(element, 0.0) / s.atoms[reference] for s in holders] or [0.0]
        ratio = ratios @ shares
        here, need = np.maximum(found, 0)[..., None], ratio * amount
        relative = np.hypot(relative_error[element], relative_error[reference])
        variance = spread[..., None] ** 2 + (ratio * error) ** 2 + relative**2 * here * need
        short = np.minimum(here - need, 0) ** 2 / variance
        # What is not known says nothing.
        each *= np.exp(-np.nan_to_num(short) / 2)
    return np.asarray(np.log(AMOUNTS_WRONG + (1 - AMOUNTS_WRONG) * each.mean(axis=-1)))
