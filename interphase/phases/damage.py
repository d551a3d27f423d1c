"""What the beam does to a phase, and whether a place had received the dose for it.

`damage_facts` and `beam_origins` read the table ``data/damage.toml``; `dose_verdict` holds a
phase against what an `Acquisition` knows of its place.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from interphase.acquisition import Acquisition
from interphase.electron import collision_stopping_power
from interphase.errors import ParameterError

# The ratio of stopping powers at two energies hardly knows the material: water stands for all.
_WATER = {"charge_per_mass_mol_g": 0.5551, "mean_excitation_ev": 75.0}
# Beam energies closer than this are the same (fraction).
_SAME_ENERGY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageFact:
    """One thing the beam does to one phase, as one source gives it."""

    phase: str
    """Identifier of the phase, or ``SEI`` for an interphase whose phase was not named."""
    process: str
    """What happens."""
    criterion: str
    """How the change was seen; another criterion gives another dose."""
    grade: str
    """Trust in the number: A read in a source, B at second hand, recomputed or carried over from a
    like material, C remembered."""
    source: str
    """Who says so."""
    product: str | None = None
    """Identifier of the phase that the beam makes."""
    value_e_per_a2: float | None = None
    """Critical dose [e/Å²]; ``None`` where the source gives a bracket only, or nothing."""
    low_e_per_a2: float | None = None
    """Lower end of the bracket [e/Å²]: no change is known below."""
    high_e_per_a2: float | None = None
    """Upper end of the bracket [e/Å²]: from here on the change is reported."""
    beam_energy_kev: float | None = None
    """Beam energy of the measurement [keV]; ``None`` where the source does not state it."""
    temperature_k: float | None = None
    """Temperature of the measurement [K]; ``None`` where the source does not state it."""
    dose_rate_e_per_a2_s: float | None = None
    """Dose rate of the measurement [e/Å²/s]; ``None`` where the source does not state it."""
    conditions: str = ""
    """What else of the conditions matters."""
    missing: str = ""
    """Where there is no number, the word for that."""
    doi: str | None = None
    """Digital object identifier of the source."""
    note: str = ""
    """What a reader should know besides."""

    def __post_init__(self) -> None:
        numbers = [
            dose
            for dose in (self.low_e_per_a2, self.value_e_per_a2, self.high_e_per_a2)
            if dose is not None
        ]
        if numbers != sorted(numbers) or any(not 0 < dose < float("inf") for dose in numbers):
            raise ParameterError(
                f"doses of {self.phase} are {numbers!r} e/Å²: expected 0 < low <= value <= high"
            )
        if bool(numbers) == bool(self.missing):
            raise ParameterError(
                f"{self.phase} ({self.process}) needs either a dose or the word why there is none"
            )

    @property
    def bracket_e_per_a2(self) -> tuple[float | None, float | None]:
        """Dose below which no change is known and dose from which on it is reported [e/Å²]."""
        low = self.low_e_per_a2 if self.low_e_per_a2 is not None else self.value_e_per_a2
        high = self.high_e_per_a2 if self.high_e_per_a2 is not None else self.value_e_per_a2
        return low, high


class DoseLevel(StrEnum):
    """Where the dose of a place lies beside a known limit."""

    BELOW = "below"
    """Less than any dose at which the change is known."""
    WITHIN = "within"
    """Between the largest dose without and the smallest with the change."""
    ABOVE = "above"
    """At least a dose at which the change is reported."""
    UNKNOWN_DOSE = "unknown_dose"
    """There is a limit, but what the place received is not known well enough."""
    NO_KNOWN_LIMIT = "no_known_limit"
    """No limit is known, or the place received more than the lower bound that is all there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseVerdict:
    """What the beam may have done to a phase at a place."""

    phase: str | None
    """The phase the verdict is about; ``None`` for a crystal that was not named."""
    received_before_e_per_a2: float | None
    """What the place had received before this exposure [e/Å²]; ``None`` if not known."""
    received_after_e_per_a2: float | None
    """What it had received at the end of this exposure [e/Å²]; ``None`` if not known."""
    at_least_e_per_a2: float | None
    """What it had received at the end at the least [e/Å²]; ``None`` if nothing is known."""
    level: DoseLevel
    """That dose beside the one at which the phase is damaged."""
    limit: DamageFact | None
    """The lowest known limit of the phase, or what is known of its damage without a number."""
    made_level: DoseLevel
    """That dose beside the one at which the beam makes this phase out of others;
    ``no_known_limit`` also where it is not known to."""
    made_from: tuple[DamageFact, ...] = ()
    """The facts by which the beam makes this phase out of others."""
    sentence: str = ""
    """The verdict in words, with the conditions of the limit."""

    @property
    def made_bracket_e_per_a2(self) -> tuple[float | None, float | None]:
        """Doses below which the beam is not known to make this phase and from which it is [e/Å²].

        One phase out of which it is known to make this one is enough.
        """
        return _joined(self.made_from)


@cache
def _facts() -> tuple[DamageFact, ...]:
    text = files("interphase.phases").joinpath("data/damage.toml").read_text(encoding="utf-8")
    return tuple(DamageFact(**row) for row in tomllib.loads(text)["fact"])


def damage_facts(phase: str) -> tuple[DamageFact, ...]:
    """Return what is known of the damage of a phase; empty where nothing could be sourced.

    Parameters
    ----------
    phase
        Identifier of the phase, or ``SEI``.

    Returns
    -------
    tuple of DamageFact
        Facts with a dose first, the lowest dose first.

    Examples
    --------
    >>> fact = damage_facts("Li2CO3")[0]
    >>> fact.bracket_e_per_a2, fact.beam_energy_kev, fact.product, fact.grade
    ((500, 750), 200, 'Li2O', 'A')
    >>> damage_facts("LiOH")
    ()
    """
    return tuple(
        sorted(
            (fact for fact in _facts() if fact.phase == phase),
            key=lambda fact: (bool(fact.missing), fact.bracket_e_per_a2[0] or 0.0),
        )
    )


def beam_origins(phase: str) -> tuple[DamageFact, ...]:
    """Return the facts by which the beam makes a phase out of others.

    >>> [fact.phase for fact in beam_origins("Li2O")]
    ['Li2CO3', 'SEI', 'Li2O2']
    """
    return tuple(fact for fact in _facts() if fact.product == phase)


def _joined(facts: Sequence[DamageFact]) -> tuple[float | None, float | None]:
    """Return the bracket of whichever of the facts comes first: one is enough."""
    brackets = [fact.bracket_e_per_a2 for fact in facts if not fact.missing]
    lows = [low for low, _ in brackets if low is not None]
    high = min((high for _, high in brackets if high is not None), default=None)
    # A fact without a lower end may come at any dose.
    return min(lows) if lows and len(lows) == len(brackets) else None, high


def dose_level(
    bracket_e_per_a2: tuple[float | None, float | None],
    *,
    received_e_per_a2: float | None,
    at_least_e_per_a2: float | None,
) -> DoseLevel:
    """Return where a dose lies beside a bracket.

    Parameters
    ----------
    bracket_e_per_a2
        Dose without and dose with a change [e/Å²], as `DamageFact.bracket_e_per_a2` gives them.
    received_e_per_a2
        What the place received [e/Å²]; ``None`` if not known.
    at_least_e_per_a2
        What it received at the least [e/Å²]; enough to say that a limit was passed.

    Examples
    --------
    >>> dose_level((500, 750), received_e_per_a2=None, at_least_e_per_a2=800).value
    'above'
    >>> dose_level((500, 750), received_e_per_a2=None, at_least_e_per_a2=600).value
    'unknown_dose'
    """
    low, high = bracket_e_per_a2
    if low is None and high is None:
        return DoseLevel.NO_KNOWN_LIMIT
    if high is not None and at_least_e_per_a2 is not None and at_least_e_per_a2 >= high:
        return DoseLevel.ABOVE
    if received_e_per_a2 is None:
        return DoseLevel.UNKNOWN_DOSE
    if low is not None and received_e_per_a2 < low:
        return DoseLevel.BELOW
    return DoseLevel.NO_KNOWN_LIMIT if high is None else DoseLevel.WITHIN


def dose_at_energy(dose_e_per_a2: float, *, from_kev: float, to_kev: float) -> float:
    r"""Return the dose that deposits as much energy at another beam energy.

    Right where radiolysis follows the energy deposited; it knows nothing of dose rate,
    temperature or knock-on.

    Parameters
    ----------
    dose_e_per_a2
        Dose at the first beam energy [e/Å²].
    from_kev
        The first beam energy [keV].
    to_kev
        The other [keV].

    Returns
    -------
    float
        Dose at the other beam energy [e/Å²].

    Notes
    -----
    :math:`D_2 = D_1 S(E_1) / S(E_2)` with Bethe's stopping power of water; another mean
    excitation energy changes the ratio of 100 and 300 keV by some tenths of a per cent.

    Examples
    --------
    >>> round(dose_at_energy(1.0, from_kev=200, to_kev=300), 3)
    1.186
    """
    deposited, deposits = (
        float(collision_stopping_power(energy, **_WATER)) for energy in (from_kev, to_kev)
    )
    return dose_e_per_a2 * deposited / deposits


def dose_verdict(phase: str | None, acquisition: Acquisition) -> DoseVerdict:
    """Return what the beam may have done to a phase at the place that was exposed.

    Parameters
    ----------
    phase
        Identifier of the phase that was found; ``None`` for a crystal that was not named.
    acquisition
        What is known of the exposure: its dose, the dose before it, its beam energy.

    Returns
    -------
    DoseVerdict
        Levels by the doses of the table as they are; a value scaled to the beam energy of the
        exposure stands in the sentence beside it.

    Notes
    -----
    What no source states of the dose makes the total a lower bound. A lower bound can say that a
    limit was passed, and never that it was not.

    Examples
    --------
    >>> from interphase.acquisition import Kind
    >>> exposure = Acquisition(
    ...     kind=Kind.IMAGE, dose_e_per_a2=60.0, prior_dose_e_per_a2=500.0, beam_energy_kev=200.0
    ... )
    >>> verdict = dose_verdict("Li2O", exposure)
    >>> verdict.level.value, verdict.made_level.value, verdict.made_bracket_e_per_a2
    ('no_known_limit', 'above', (178, 450))
    """
    before, dose = acquisition.prior_dose_e_per_a2, acquisition.dose_e_per_a2
    after = None if before is None or dose is None else before + dose
    known = [part for part in (before, dose) if part is not None]
    at_least = sum(known) if known else None
    facts = damage_facts(phase) if phase else ()
    limit = facts[0] if facts else None
    origins = beam_origins(phase) if phase else ()
    level, made_level = (
        dose_level(bracket, received_e_per_a2=after, at_least_e_per_a2=at_least)
        for bracket in (limit.bracket_e_per_a2 if limit else (None, None), _joined(origins))
    )
    parts = [
        _received_words(before, dose),
        _limit_words(phase, limit, level, acquisition.beam_energy_kev),
        _origin_words(phase, origins, made_level),
    ]
    return DoseVerdict(
        phase=phase,
        received_before_e_per_a2=before,
        received_after_e_per_a2=after,
        at_least_e_per_a2=at_least,
        level=level,
        limit=limit,
        made_level=made_level,
        made_from=origins,
        sentence=" ".join(part for part in parts if part),
    )


def _received_words(before: float | None, dose: float | None) -> str:
    if before is not None and dose is not None:
        return f"Received {before:.4g} e/Å² before and {before + dose:.4g} e/Å² by the end."
    if dose is not None:
        return f"Received {dose:.4g} e/Å² here; what came before is not stated."
    if before is not None:
        return f"Received {before:.4g} e/Å² before; the dose of this exposure is unknown."
    return "The dose is unknown."


_LEVEL_WORDS = {
    DoseLevel.BELOW: "not reached",
    DoseLevel.WITHIN: "it may have changed",
    DoseLevel.ABOVE: "passed, so it may have changed and this may be what is left",
    DoseLevel.UNKNOWN_DOSE: "whether that was reached is not known",
    DoseLevel.NO_KNOWN_LIMIT: "more was never looked at",
}

_MADE_WORDS = {
    DoseLevel.BELOW: "not reached",
    DoseLevel.WITHIN: "it may be the beam's product",
    DoseLevel.ABOVE: "passed, so it may be the beam's product",
    DoseLevel.UNKNOWN_DOSE: "whether that was reached is not known",
    DoseLevel.NO_KNOWN_LIMIT: "at which dose is not known",
}


def dose_range(bracket_e_per_a2: tuple[float | None, float | None]) -> str:
    """Write a bracket in e/Å², as it is.

    >>> dose_range((450, 600)), dose_range((30000, None)), dose_range((750, 750))
    ('450 to 600 e/Å²', 'above 30000 e/Å²', '750 e/Å²')
    """
    low, high = bracket_e_per_a2
    if low is None or high is None:
        end, word = (low, "above") if high is None else (high, "up to")
        return "" if end is None else f"{word} {end:.5g} e/Å²"
    return f"{low:.5g} e/Å²" if low == high else f"{low:.5g} to {high:.5g} e/Å²"


def _limit_words(
    phase: str | None, limit: DamageFact | None, level: DoseLevel, beam_energy_kev: float | None
) -> str:
    if phase is None:
        return "No limit is known for a crystal that is not named."
    if limit is None:
        return f"No dose that damages {phase} is known."
    if limit.missing:
        product = f" makes {limit.product}" if limit.product else " is known"
        return f"In {phase}, {limit.process}{product}; {limit.missing}."
    low, high = limit.bracket_e_per_a2
    conditions = [limit.criterion]
    if limit.beam_energy_kev is not None:
        conditions.append(f"{limit.beam_energy_kev:g} keV")
    if limit.temperature_k is not None:
        conditions.append(f"{limit.temperature_k:g} K")
    if limit.dose_rate_e_per_a2_s is not None:
        conditions.append(f"{limit.dose_rate_e_per_a2_s:g} e/Å²/s")
    if limit.conditions:
        conditions.append(limit.conditions)
    conditions.append(f"grade {limit.grade}")
    stated = f"({'; '.join(conditions)})"
    if high is None:
        seen = limit.process != "none seen"
        change = f"{limit.process} below" if seen else "change up to"
        words = f"{phase} shows no {change} {low:.5g} e/Å² {stated}"
        if seen and level is DoseLevel.NO_KNOWN_LIMIT:
            words += ": passed, and from which dose on it does is not known."
        else:
            words += f": {_LEVEL_WORDS[level]}." if level is not DoseLevel.BELOW else "."
    else:
        words = f"{phase} changes at {dose_range((low, high))} {stated}: {_LEVEL_WORDS[level]}."
    measured = limit.beam_energy_kev
    if (
        measured is not None
        and beam_energy_kev is not None
        and abs(beam_energy_kev / measured - 1) > _SAME_ENERGY
    ):
        scaled = dose_range(
            (
                None if low is None else _two_digits(low, measured, beam_energy_kev),
                None if high is None else _two_digits(high, measured, beam_energy_kev),
            )
        )
        words += (
            f" That is for {measured:g} keV; scaled by stopping power to {beam_energy_kev:g} keV "
            f"it is {scaled}."
        )
    return words


def _two_digits(dose: float, measured_kev: float, beam_energy_kev: float) -> float:
    return float(f"{dose_at_energy(dose, from_kev=measured_kev, to_kev=beam_energy_kev):.2g}")


def _origin_words(phase: str | None, origins: Sequence[DamageFact], level: DoseLevel) -> str:
    if not origins:
        return ""
    numbered = [fact for fact in origins if not fact.missing]
    *first, last = dict.fromkeys(
        "the interphase" if fact.phase == "SEI" else fact.phase for fact in numbered or origins
    )
    named = f"{', '.join(first)} and {last}" if first else last
    words = f"The beam makes {phase} from {named}"
    if numbered:
        low, high = _joined(numbered)
        ends = [] if high is None else [f"known from {high:.5g} e/Å² on"]
        ends += [] if low is None else [f"not known below {low:.5g} e/Å²"]
        grades = "/".join(dict.fromkeys(fact.grade for fact in numbered))
        words += f", {', '.join(ends)} (grade {grades})"
    return f"{words}: {_MADE_WORDS[level]}."
