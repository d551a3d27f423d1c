r"""Which species of lithium, carbon and ice a spectrum shows, and which it cannot tell.

Every hypothesis is up to two compounds and up to two kinds of carbon. What the table of
fingerprints leaves open is integrated over, so that a vague table gives vague answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_number, check_spectra
from interphase.eels.fingerprints import LOW_LOSS, FingerprintTable, fingerprint_table
from interphase.eels.shapes import ABOVE_EV, BELOW_EV
from interphase.eels.species_atoms import check_atoms
from interphase.eels.species_evidence import (
    PLASMONS_EV,
    POSSIBLE,
    Evidence,
    Hypotheses,
    windows_of,
)
from interphase.errors import ParameterError
from interphase.phases import (
    DamageFact,
    DoseLevel,
    beam_origins,
    damage_facts,
    dose_level,
    dose_range,
    known_phases,
)

# Misfit over counting noise from which it is said.
_MISFIT = 3.0
# Standard error of the axis beyond which fingerprints tell nothing [eV].
_AXIS_EV = 3.0
# Bytes of the spectra of a block of pixels.
_BLOCK_BYTES = 2**25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeciesMap:
    """Which species each spectrum shows."""

    species: tuple[str, ...]
    """Identifiers of the species, S of them."""
    probability: np.ndarray
    """Probability that each is there, shape (..., S). They do not sum to 1: several may be there.
    NaN where nothing can be said, for which `barred` has the reason."""
    remembered: np.ndarray
    """Whether all features of the table that decide of each are of grade C, remembered or
    approximate, shape (..., S): then its probability is no better than these."""
    barred: Mapping[str, str]
    """Species of which nothing can be said in some spectrum → why, and in how many."""
    edges: tuple[str, ...]
    """Edges that were looked at, G of them."""
    edge_counts: np.ndarray
    """Counts of each edge within 30 eV of its onset, shape (..., G)."""
    edge_error: np.ndarray
    """Their standard errors, with the misfit, shape (..., G)."""
    detection_limit: np.ndarray
    """Counts from which an edge is told from counting noise, shape (..., G)."""
    misfit: np.ndarray
    """Least squared misfit of any shape of the table over that of counting noise, shape (..., G);
    above 1 the probabilities are softened by it."""
    carbonate_peak: np.ndarray
    """Standard errors by which the peak of carbonate at 290 eV rises above its surroundings, shape
    (...); NaN where the C K edge was not looked at."""
    least_probability: float
    """Probability from which a species is claimed."""
    damage: tuple[str, ...]
    """What the beam may have to do with it; empty without a dose."""
    assessment: Assessment
    """``ok``: something is claimed. ``ambiguous``: edges are there, but species cannot be told.
    ``too_few_electrons``: no edge is above the noise. ``uncalibrated``: the energy axis is not
    known well enough. ``unusable``."""
    sentence: str
    """The same in words."""

    @property
    def claimed(self) -> np.ndarray:
        """Which species are claimed, shape (..., S)."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.probability >= self.least_probability)

    def of(self, species: str) -> np.ndarray:
        """Return the probability of one species, shape (...)."""
        if species not in self.species:
            raise ParameterError(
                f"{species!r} was not looked for: expected one of {', '.join(self.species)}"
            )
        return np.asarray(self.probability[..., self.species.index(species)])


def identify_species(
    net: Any = None,
    *,
    variance: Any = None,
    energy_ev: np.ndarray | None = None,
    axis_error_ev: float,
    resolution_ev: float,
    plasmon_ev: np.ndarray | float | None = None,
    plasmon_error_ev: np.ndarray | float | None = None,
    peaks: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    elements: Sequence[str] | None = None,
    atoms: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    atoms_relative_error: Mapping[str, float] | None = None,
    candidates: Sequence[str] | None = None,
    dose_e_per_a2: float | None = None,
    own: Sequence[DamageFact] | None = None,
    least_probability: float = 0.9,
) -> SpeciesMap:
    r"""Return the probabilities of the species of the table of fingerprints.

    From spectra without their background, from measured places of peaks, from plasmon energies, or
    from all of them, and from the atoms that there are. A lithium compound is claimed only where
    the Li K edge is seen (metal also by its plasmon) and no edge of `elements` lies under it, a
    kind of carbon only where the C K edge is, and carbonate only where its peak at 290 eV is.
    Spectra of one's own in `fit_references` tell more than this table does.

    Parameters
    ----------
    net
        Counts without background, single scattering, shape (..., E); a Dask array is read a chunk
        at a time.
    variance
        Variance of each channel, same shape, with that of the background.
    energy_ev
        Energy loss of each channel [eV], shape (E,).
    axis_error_ev
        Standard error of the energy axis [eV].
    resolution_ev
        Full width at half maximum of the zero-loss peak [eV].
    plasmon_ev, plasmon_error_ev
        Energy of the plasmon and its standard error [eV], shape (...); NaN where there is none.
    peaks
        Edge → energies of measured peaks and their standard errors [eV], each (..., n); NaN where
        a spectrum has fewer.
    elements
        Elements that are there; those with an edge under Li K forbid to claim lithium. If left out
        they are not known, and the sentence says so.
    atoms
        Element → areal density and its standard error, of one unit and each (...), as of
        `fit_elements`: what is not there speaks against the compounds that need it, as fluorine
        does against LiF. NaN where nothing is known; leave out what was not looked for.
    atoms_relative_error
        Element → relative error of its cross-section, as `ElementMaps.relative_uncertainty`; needed
        with `atoms`.
    candidates
        Identifiers of the species looked for; all of the table if left out.
    dose_e_per_a2
        Dose that the place had received [e/Å²], for what the beam may have made.
    own
        The user's own measurements of damage; those of the user's table if left out.
    least_probability
        Probability from which a species is claimed.

    Returns
    -------
    SpeciesMap
        Probabilities with what they rest on.

    Raises
    ------
    ParameterError
        There is neither a spectrum, a peak nor a plasmon; shapes differ; a variance is not above
        0; a candidate or an edge is not in the table.

    Notes
    -----
    The evidence of a hypothesis in an edge is the mean over shapes that the table allows, of the
    likelihood integrated over an even prior of the edge's counts, a constant and a slope; that of
    two species over their shares as well. Where no shape fits, the likelihood is softened by the
    least misfit per degree of freedom, and as far as too few of the drawn shapes fit. An edge that
    is not seen says nothing by itself. The evidence of edges is multiplied within each of 8 equally
    likely ranges of the axis' shift, which is one for all, and averaged over these; that of peaks,
    of the plasmon and of atoms multiplies it, where energies carry the error of the axis once more.
    Of 240 drawn salts with Li K and O K on axes off by 2 eV, the mean logarithm of the probability
    of what is true was -0.34; it was -0.38 where each edge had a shift of its own.

    Of atoms: compounds that account for all the lithium need at least as many atoms of a partner as
    their formulas say, carbonate that accounts for all the carbon three of oxygen. A number short
    by d standard errors, that of the cross-sections in them, has the likelihood
    :math:`0.05 + 0.95 e^{-d^2/2}`; more than is needed says nothing, since anything else may hold
    it, nor does a number below 0. An error of a cross-section makes no atoms of none. The 0.05 is
    for amounts that are wrong altogether, so that an edge that is surely missing counts for 20 to 1
    and none for more. Of 700 drawn spectra with cross-sections off by 15 %, atoms of other things
    and one number in 20 far too low, atoms brought the mean logarithm of the probability of what is
    true from -0.26 to -0.22; all of 96 claims were right.

    Nature's shapes are not the table's, so that the likelihood of an edge counts to the power of
    0.7. That was chosen on drawn edges of Li K and C K, half of them mixtures, whose peaks lie
    outside the table's ranges, lean and ripple. Of 3000 others with peaks off by 1 to 2 halves of a
    range, all of 48 claims with 0.9 were right, and of what was called 0.65 likely (0.5 to 0.9),
    0.85. Off by 2 to 3 halves, often where another species has its own peak, 8 of 19 claims were
    right, and 0.59 of what was called 0.64 likely. Of the table's own, all of 480 claims were right
    and probabilities of 0.3 to 0.9 are on the low side; by Li K alone nearly all are of lithium
    metal, and salts are hardly ever claimed. Of eight measured spectra without lithium none shows
    any. The ground under the peak of carbonate and where an unknown edge may rise were chosen on
    two of these. No measured spectrum of a lithium compound was at hand.

    Examples
    --------
    >>> found = identify_species(
    ...     plasmon_ev=7.3, plasmon_error_ev=0.1, axis_error_ev=0.1, resolution_ev=0.8
    ... )
    >>> found.sentence
    'Found: Li (0.91).'
    """
    table = fingerprint_table()
    check_number("axis_error_ev", axis_error_ev, 0, 20, "eV")
    check_number("resolution_ev", resolution_ev, 0.01, 20, "eV")
    check_number("least_probability", least_probability, 0.5, 1)
    names = _candidates(table, candidates)
    hypotheses = Hypotheses(names, table)
    places = _places(peaks, plasmon_ev, plasmon_error_ev, table)
    spectra = None
    if net is None and not places:
        raise ParameterError("there is nothing to identify: give `net`, `peaks` or `plasmon_ev`")
    if net is not None:
        if energy_ev is None or variance is None:
            raise ParameterError("net needs `energy_ev` [eV] and `variance`: give both")
        spectra = check_spectra("net", net)
        if np.shape(variance) != spectra.shape:
            raise ParameterError(
                f"variance has shape {np.shape(variance)} and net {spectra.shape}: expected one"
            )
        energy_ev = check_axis(energy_ev, spectra.shape[-1])
    shapes = {values[0].shape[:-1] for values in places.values()}
    shapes |= {spectra.shape[:-1]} if spectra is not None else set()
    if len(shapes) > 1:
        raise ParameterError(f"spectra, peaks and plasmons have shapes {shapes}: expected one")
    shape = shapes.pop()
    windows = windows_of(hypotheses, energy_ev, table, axis_error_ev, resolution_ev)
    found = Evidence(shape, hypotheses, windows)
    if spectra is not None:
        for where, block in blocks(spectra, most_bytes=_BLOCK_BYTES):
            spread = variance[where]
            spread = np.asarray(spread.compute() if hasattr(spread, "dask") else spread, float)
            found.look(where, block, spread)
    if atoms is not None:
        found.add_atoms(*check_atoms(atoms, atoms_relative_error, shape))
    for edge, (energy, error) in places.items():
        found.add_places(edge, energy, error, axis_error_ev)
    probability, barred = found.judge(elements or ())
    if axis_error_ev > _AXIS_EV:
        probability = np.full_like(probability, np.nan)
        barred = dict.fromkeys(names, f"the axis is off by up to {axis_error_ev:g} eV")
    remembered = found.remembered()
    assessment, sentence = _words(
        found, probability, remembered, barred, least_probability, axis_error_ev
    )
    with np.errstate(invalid="ignore"):
        possible = [n for i, n in enumerate(names) if (probability[..., i] > POSSIBLE).any()]
    if (
        elements is None
        and "Li_K" in found.seen
        and any(table.species[n].lithium for n in possible)
    ):
        under = ", ".join(table.overlap_ev["Li_K"])
        sentence += f" Edges of {under} can be taken for Li K: give `elements`."
    damage: tuple[str, ...] = ()
    if dose_e_per_a2 is not None:
        dose = check_number("dose_e_per_a2", dose_e_per_a2, 0, 1e9, "e/Å²")
        damage = tuple(words for name in possible for words in _damage(name, dose, own))
    return SpeciesMap(
        species=names,
        probability=probability,
        remembered=remembered,
        barred=barred,
        edges=tuple(window.edge for window in windows),
        edge_counts=found.counts,
        edge_error=found.error,
        detection_limit=found.limit,
        misfit=found.misfit,
        carbonate_peak=found.peak,
        least_probability=float(least_probability),
        damage=damage,
        assessment=assessment,
        sentence=sentence,
    )


def _candidates(table: FingerprintTable, candidates: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(table.species) if candidates is None else tuple(dict.fromkeys(candidates))
    unknown = [name for name in names if name not in table.species]
    if unknown or not names:
        raise ParameterError(
            f"candidates are {names!r}: expected some of {', '.join(table.species)}"
        )
    return names


Places = dict[str, tuple[np.ndarray, np.ndarray]]


def _places(
    peaks: Mapping[str, tuple[np.ndarray, np.ndarray]] | None,
    plasmon_ev: np.ndarray | float | None,
    plasmon_error_ev: np.ndarray | float | None,
    table: FingerprintTable,
) -> Places:
    """Return measured energies and errors, (..., n) of each edge, the plasmon as one of them."""
    given = dict(peaks or {})
    for edge in given:
        if edge not in table.onset_ev:
            raise ParameterError(
                f"peaks are given of {edge!r}: expected edges out of {', '.join(table.onset_ev)}"
            )
    if (plasmon_ev is None) != (plasmon_error_ev is None):
        raise ParameterError("plasmon_ev needs plasmon_error_ev, and it needs plasmon_ev")
    if plasmon_ev is not None and plasmon_error_ev is not None:
        given[LOW_LOSS] = (np.asarray(plasmon_ev)[..., None], np.asarray(plasmon_error_ev))
    places = {}
    for edge, (energy, error) in given.items():
        place = np.atleast_1d(np.asarray(energy, dtype=float))
        spread = np.asarray(error, dtype=float)
        spread = spread[..., None] if edge == LOW_LOSS and spread.ndim else spread
        spread = np.broadcast_to(spread, place.shape)
        seen = np.isfinite(place)
        if not ((spread[seen] > 0).all() and (place[seen] > 0).all()):
            raise ParameterError(
                f"peaks of {edge} have energies or errors that are not above 0: expected eV"
            )
        onset = table.onset_ev.get(edge, PLASMONS_EV[0])
        if seen.any() and np.abs(place[seen] - onset).max() > 50:
            raise ParameterError(
                f"peaks of {edge} lie from {place[seen].min():g} to {place[seen].max():g} eV: "
                f"expected energies near {onset:g} eV"
            )
        places[edge] = (place, spread)
    return places


def _damage(name: str, dose: float, own: Sequence[DamageFact] | None) -> list[str]:
    """Return what the beam may have to do with a species at a dose."""
    if name not in known_phases():
        return []
    words = []
    for fact, made in [
        *((f, True) for f in beam_origins(name, own=own)),
        *((f, False) for f in damage_facts(name, own=own) if f.product is not None),
    ]:
        level = dose_level(fact.bracket_e_per_a2, received_e_per_a2=dose, at_least_e_per_a2=dose)
        if level is DoseLevel.BELOW or not dose:
            continue
        what = (
            f"{name} may be what the beam made of {fact.phase}"
            if made
            else f"{fact.process} makes {fact.product} of {name}"
        )
        limit = fact.missing if fact.missing else f"known from {dose_range(fact.bracket_e_per_a2)}"
        words.append(f"{what} ({limit}; the place received {dose:g} e/Å²; {fact.source}).")
    return words


def _words(
    found: Evidence,
    probability: np.ndarray,
    remembered: np.ndarray,
    barred: Mapping[str, str],
    least: float,
    axis_error_ev: float,
) -> tuple[Assessment, str]:
    names = found.hypotheses.names
    if axis_error_ev > _AXIS_EV:
        return (
            Assessment.UNCALIBRATED,
            f"The energy axis is known to {axis_error_ev:g} eV only, and fingerprints need "
            f"{_AXIS_EV:g} eV or better: calibrate it on the zero loss or a known edge.",
        )
    if found.bad.all() and found.bad.size:
        return (
            Assessment.UNUSABLE,
            "Every spectrum holds what are no numbers: nothing was looked at.",
        )
    if not found.windows and not found.places:
        return (
            Assessment.UNUSABLE,
            "The axis covers no edge of the table from ahead of its onset, or in too few "
            f"channels: Li K needs about {55 - BELOW_EV:g} to {55 + ABOVE_EV:g} eV.",
        )
    seen = any(s.any() for s in found.seen.values()) or bool(found.places)
    if not seen:
        looked = ", ".join(w.edge.replace("_", " ") for w in found.windows) or "none"
        return (
            Assessment.TOO_FEW_ELECTRONS,
            f"No edge rises above the noise (looked at: {looked}): sum spectra or count more.",
        )
    with np.errstate(invalid="ignore"):
        there, possible = probability >= least, probability > POSSIBLE
    claimed = [n for i, n in enumerate(names) if there[..., i].any()]
    open_ = [n for i, n in enumerate(names) if n not in claimed and possible[..., i].any()]
    parts = []
    for words, where in (
        ("Found", there & ~remembered),
        ("Found on remembered energies (grade C)", there & remembered),
    ):
        some = [
            f"{n} ({_how_sure(probability[..., i], where[..., i])})"
            for i, n in enumerate(names)
            if where[..., i].any()
        ]
        if some:
            parts.append(f"{words}: {', '.join(some)}.")
    if open_:
        parts.append(f"Cannot tell whether there is {' or '.join(open_)}.")
    if not parts:
        parts.append("No species of the table fits with any confidence.")
    reasons: dict[str, list[str]] = {}
    for n, why in barred.items():
        if n not in claimed:
            reasons.setdefault(why, []).append(n)
    if reasons and not claimed:
        parts.append(
            " ".join(f"Nothing is said of {', '.join(ns)}: {why}." for why, ns in reasons.items())
        )
    misfit = found.misfit[np.isfinite(found.misfit)]
    if misfit.size and np.mean(misfit > _MISFIT) >= 0.5:
        parts.append("No shape of the table fits well, and the probabilities are softened.")
    return Assessment.OK if claimed else Assessment.AMBIGUOUS, " ".join(parts)


def _how_sure(probability: np.ndarray, claimed: np.ndarray) -> str:
    """Return the probability of a spectrum, or in how many of a map a species is claimed."""
    if not probability.ndim:
        return f"{probability:.2f}"
    return f"in {claimed.sum()} of {claimed.size} spectra"
