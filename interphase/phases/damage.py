"""What the beam does to a phase, and whether a place had received the dose for it.

`damage_facts` and `beam_origins` look into the table of the package and the user's own;
`dose_verdict` holds a phase against what an `Acquisition` knows of its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log
from numbers import Real

from interphase.acquisition import Acquisition, Origin
from interphase.electron import collision_stopping_power, velocity_ratio
from interphase.errors import ParameterError
from interphase.phases.damage_table import DamageFact, own_facts, table_facts
from interphase.phases.table import Phase, closest, known_phases

# Stands in the table for an interphase whose phase was not named.
_INTERPHASE = "SEI"
# The ratio of stopping powers at two energies knows the material to some per cent at the most:
# water stands for all.
_WATER = {"charge_per_mass_mol_g": 0.5551, "mean_excitation_ev": 75.0}
# Beam energies closer than this are the same (fraction).
_SAME_ENERGY = 0.02
# Temperatures closer than this are the same [K].
_SAME_TEMPERATURE_K = 30.0
# Damage per electron at 100 keV over that at 300 keV, and these energies [keV].
_MEASURED_RATIO, _MEASURED_KEV = 1.57, (100.0, 300.0)


class EnergyScaling(StrEnum):
    """How the damage per electron depends on the beam energy."""

    BETHE = "bethe"
    """As the energy deposited, Bethe's stopping power."""
    BETA_SQUARED = "beta_squared"
    """As 1/v², what stopping power comes to if its logarithm were constant: 2.01 between 100 and
    300 keV. The factor 0.8 for 200 keV of dose weighting is this."""
    MEASURED = "measured"
    """As it was measured on paraffin and bacteriorhodopsin, 1.57 between 100 and 300 keV; in
    between a power of the stopping power, and beyond not known."""


class DoseLevel(StrEnum):
    """Where the dose of a place lies beside a known limit."""

    BELOW = "below"
    """Less than any dose at which the change is known."""
    WITHIN = "within"
    """Between the largest dose without and the smallest with the change, or so by the beam energy
    at which these were measured or by that of the exposure."""
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


def _identifier(phase: str | Phase, own: Sequence[DamageFact]) -> str:
    """Return what the tables call a phase; a name that is nowhere is a slip of the pen."""
    if isinstance(phase, Phase):
        return phase.identifier
    known = dict.fromkeys((*known_phases(), _INTERPHASE, *(fact.phase for fact in own)))
    if phase not in known:
        raise ParameterError(
            f"phase is {phase!r}, which is no phase of the table: {closest(str(phase), known)}; "
            "for one from a CIF give the Phase itself"
        )
    return phase


def damage_facts(
    phase: str | Phase, *, own: Sequence[DamageFact] | None = None
) -> tuple[DamageFact, ...]:
    """Return what is known of the damage of a phase; empty where nothing could be sourced.

    Parameters
    ----------
    phase
        Identifier of a phase of the table, ``SEI``, or a `Phase`.
    own
        The user's own measurements, as `own_facts` gives them; if left out, those of the user's
        table. ``()``: the table of the package alone.

    Returns
    -------
    tuple of DamageFact
        Facts with a dose first: the user's own, those with a dose that does damage, and lower
        bounds; of each the lowest first. A lower bound of the user's outranks nothing.

    Raises
    ------
    ParameterError
        The tables know no such phase; the message names the closest.
    ConfigurationError
        The user's table cannot be understood.

    Examples
    --------
    >>> fact = damage_facts("Li2CO3", own=())[0]
    >>> fact.bracket_e_per_a2, fact.beam_energy_kev, fact.product, fact.grade
    ((500, 750), 200, 'Li2O', 'A')
    >>> damage_facts("LiOH", own=())
    ()
    """
    own = own_facts() if own is None else own
    name = _identifier(phase, own)
    return tuple(
        sorted(
            (fact for fact in (*own, *table_facts()) if fact.phase == name),
            key=lambda fact: (
                bool(fact.missing),
                not _outranks(fact),
                fact.bracket_e_per_a2[1] is None,
                fact.bracket_e_per_a2[0] or 0.0,
            ),
        )
    )


def beam_origins(
    phase: str | Phase, *, own: Sequence[DamageFact] | None = None
) -> tuple[DamageFact, ...]:
    """Return the facts by which the beam makes a phase out of others.

    Takes and raises what `damage_facts` does. Where the user measured how it is made of a phase,
    what the table says of that phase is set aside.

    >>> [fact.phase for fact in beam_origins("Li2O", own=())]
    ['Li2CO3', 'SEI', 'Li2O2']
    """
    own = own_facts() if own is None else own
    name = _identifier(phase, own)
    measured = [fact for fact in own if fact.product == name]
    settled = {fact.phase for fact in measured if _outranks(fact)}
    return (
        *measured,
        *(fact for fact in table_facts() if fact.product == name and fact.phase not in settled),
    )


def _joined(
    facts: Sequence[DamageFact], to_kev: float | None = None
) -> tuple[float | None, float | None]:
    """Return the bracket of whichever of the facts comes first: one is enough."""
    brackets = [_at_energy(fact, to_kev) for fact in facts if not fact.missing]
    lows = [low for low, _ in brackets if low is not None]
    high = min((high for _, high in brackets if high is not None), default=None)
    # A fact without a lower end may come at any dose.
    return min(lows) if lows and len(lows) == len(brackets) else None, high


def _at_energy(fact: DamageFact, to_kev: float | None) -> tuple[float | None, float | None]:
    """Return a bracket scaled to another beam energy, to two digits; as it is at its own."""
    measured, (low, high) = fact.beam_energy_kev, fact.bracket_e_per_a2
    if measured is None or to_kev is None or abs(to_kev / measured - 1) <= _SAME_ENERGY:
        return low, high
    return (
        None if low is None else _two_digits(low, measured, to_kev),
        None if high is None else _two_digits(high, measured, to_kev),
    )


def _agreed(levels: Sequence[DoseLevel]) -> DoseLevel:
    """Return the level that two brackets give, or the one between them."""
    first, second = levels
    if first is second:
        return first
    # What is not known of the dose, or of an upper end, leaves it as open.
    open_ends = (DoseLevel.UNKNOWN_DOSE, DoseLevel.NO_KNOWN_LIMIT)
    return next((level for level in open_ends if level in levels), DoseLevel.WITHIN)


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


def dose_at_energy(
    dose_e_per_a2: float,
    *,
    from_kev: float,
    to_kev: float,
    scaling: EnergyScaling = EnergyScaling.BETHE,
) -> float:
    r"""Return the dose that does as much damage at another beam energy.

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
    scaling
        How the damage per electron depends on the beam energy.

    Returns
    -------
    float
        Dose at the other beam energy [e/Å²].

    Raises
    ------
    ParameterError
        The dose is no finite number of at least 0, or an energy is not within 1 to 3000 keV, or,
        for ``measured``, not within the 100 to 300 keV of the measurement.

    Notes
    -----
    :math:`D_2 = D_1 S(E_1) / S(E_2)` with Bethe's stopping power of water, 1.748 between 100 and
    300 keV; a mean excitation energy of 40 eV (lithium) makes that 1 % more, one of 88 eV (Li2CO3)
    0.3 % less and one of 300 eV (LLZO) 3 % less.
    ``measured`` is :math:`D_2 = D_1 [S(E_1) / S(E_2)]^p` with
    :math:`p = \ln 1.57 / \ln[S(100) / S(300)] = 0.81`, so that the two ends are what Peet et
    al. [1]_ measured; a power of β² through them differs by 0.5 % at 200 keV.

    References
    ----------
    .. [1] M. J. Peet, R. Henderson and C. J. Russo, Ultramicroscopy 203, 125 (2019),
           doi:10.1016/j.ultramic.2019.02.007

    Examples
    --------
    >>> round(dose_at_energy(1.0, from_kev=200, to_kev=300), 3)
    1.186
    >>> round(dose_at_energy(1.0, from_kev=100, to_kev=300, scaling=EnergyScaling.MEASURED), 3)
    1.57
    """
    if not (isinstance(dose_e_per_a2, Real) and 0 <= dose_e_per_a2 < float("inf")):
        raise ParameterError(
            f"dose_e_per_a2 is {dose_e_per_a2!r}: expected a finite number of e/Å², at least 0"
        )
    if scaling is EnergyScaling.BETA_SQUARED:
        return dose_e_per_a2 * float(velocity_ratio(to_kev) / velocity_ratio(from_kev)) ** 2
    ratio = _deposited(from_kev) / _deposited(to_kev)
    if scaling is EnergyScaling.BETHE:
        return dose_e_per_a2 * ratio
    low, high = _MEASURED_KEV
    if scaling is not EnergyScaling.MEASURED:
        raise ParameterError(
            f"scaling is {scaling!r}: expected one of {', '.join(map(repr, EnergyScaling))}"
        )
    if not (low <= from_kev <= high and low <= to_kev <= high):
        raise ParameterError(
            f"from_kev is {from_kev!r} and to_kev is {to_kev!r}: the scaling was measured between "
            f"{low:g} and {high:g} keV only; use EnergyScaling.BETHE beyond"
        )
    power = log(_MEASURED_RATIO) / log(_deposited(low) / _deposited(high))
    return dose_e_per_a2 * ratio**power


def _deposited(energy_kev: float) -> float:
    return float(collision_stopping_power(energy_kev, **_WATER))


def dose_verdict(
    phase: str | Phase | None,
    acquisition: Acquisition,
    *,
    own: Sequence[DamageFact] | None = None,
) -> DoseVerdict:
    """Return what the beam may have done to a phase at the place that was exposed.

    Parameters
    ----------
    phase
        The phase that was found, as `damage_facts` takes it; ``None`` for a crystal that was not
        named.
    acquisition
        What is known of the exposure: its dose, the dose before it, its beam energy and the
        temperature.
    own
        The user's own measurements, as `own_facts` gives them; if left out, those of the user's
        table. They outrank the table of the package; of several, one at the temperature of the
        exposure comes first.

    Returns
    -------
    DoseVerdict
        A level that both the doses of the tables as they are and those scaled to the beam energy
        of the exposure give; where they differ, ``within``, or ``unknown_dose`` if the dose is
        known in part. The scaled ones stand in the sentence beside them.

    Raises
    ------
    ParameterError
        The tables know no such phase, or what is given is no `Acquisition`.
    ConfigurationError
        The user's table cannot be understood.

    Notes
    -----
    What no source states of the dose makes the total a lower bound, and so does a dose before that
    the ledger summed up, unless all exposures are known to be in it, or that a file states, which
    counts what was recorded, but not search and focus. A lower bound can say that a limit was
    passed, and never that it was not.

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
    if not isinstance(acquisition, Acquisition):
        raise ParameterError(
            f"acquisition is {acquisition!r}: expected an Acquisition, such as "
            "interphase.read_acquisition(path)"
        )
    before, dose = acquisition.prior_dose_e_per_a2, acquisition.dose_e_per_a2
    known = [part for part in (before, dose) if part is not None]
    at_least = sum(known) if known else None
    most = _most_before(acquisition)
    at_most = None if most is None or dose is None else most + dose
    exact = most == before
    own = own_facts() if own is None else own
    facts = () if phase is None else damage_facts(phase, own=own)
    limit = _limit(facts, acquisition.temperature_k)
    origins = () if phase is None else beam_origins(phase, own=own)
    name = None if phase is None else _identifier(phase, own)
    kev = acquisition.beam_energy_kev
    levels, made_levels = (
        [
            dose_level(_joined(of, to), received_e_per_a2=at_most, at_least_e_per_a2=at_least)
            for to in (None, kev)
        ]
        for of in ((limit,) if limit else (), origins)
    )
    level, made_level = _agreed(levels), _agreed(made_levels)
    parts = [
        _received_words(before, dose) if exact else _bracket_words(acquisition, most),
        _limit_words(name, limit, level, kev, agree=levels[0] is levels[1]),
        _own_words(limit, facts, acquisition.temperature_k),
        _origin_words(name, origins, made_level, kev),
    ]
    return DoseVerdict(
        phase=name,
        received_before_e_per_a2=before if exact else None,
        received_after_e_per_a2=at_most if exact else None,
        at_least_e_per_a2=at_least,
        level=level,
        limit=limit,
        made_level=made_level,
        made_from=origins,
        sentence=" ".join(part for part in parts if part),
    )


def _limit(facts: Sequence[DamageFact], temperature_k: float | None) -> DamageFact | None:
    """Return the fact to hold a dose against: an own one of that temperature, or the first."""
    here = (
        fact
        for fact in facts
        if _outranks(fact) and _same_temperature(fact.temperature_k, temperature_k)
    )
    return next(here, facts[0] if facts else None)


def _outranks(fact: DamageFact) -> bool:
    return fact.own and fact.bracket_e_per_a2[1] is not None


def _same_temperature(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SAME_TEMPERATURE_K


def _most_before(acquisition: Acquisition) -> float | None:
    """Return what a place had received before at the most.

    What a ledger sums up may not be all, nor what a file states: search and focus are in none.
    """
    source = acquisition.sources.get("prior_dose_e_per_a2")
    if source is not None and source.origin in (Origin.LEDGER, Origin.HEADER, Origin.SIDECAR):
        return acquisition.prior_dose_at_most_e_per_a2
    return acquisition.prior_dose_e_per_a2


def _bracket_words(acquisition: Acquisition, most: float | None) -> str:
    """Say what a place received where ledger or file know it within bounds."""
    before, dose = acquisition.prior_dose_e_per_a2 or 0.0, acquisition.dose_e_per_a2

    def bounds(less: float, more: float | None) -> str:
        return f"at least {less:.4g} e/Å²" if more is None else f"{less:.4g} to {more:.4g} e/Å²"

    source = str(acquisition.sources["prior_dose_e_per_a2"]).rstrip(".")
    words = f"Received {bounds(before, most)} before ({source})"
    if dose is None:
        return f"{words}; the dose of this exposure is unknown."
    after = None if most is None else most + dose
    return f"{words} and {bounds(before + dose, after)} by the end."


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
    phase: str | None,
    limit: DamageFact | None,
    level: DoseLevel,
    beam_energy_kev: float | None,
    *,
    agree: bool,
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
    conditions.append("your own measurement" if limit.own else f"grade {limit.grade}")
    stated = f"({'; '.join(conditions)})"
    if high is None:
        seen = limit.process != "none seen"
        change = f"{limit.process} below" if seen else "change up to"
        words = f"{phase} shows no {change} {low:.5g} e/Å² {stated}"
        if not agree:
            words += "."
        elif seen and level is DoseLevel.NO_KNOWN_LIMIT:
            words += ": passed, and from which dose on it does is not known."
        else:
            words += f": {_LEVEL_WORDS[level]}." if level is not DoseLevel.BELOW else "."
    else:
        words = f"{phase} changes at {dose_range((low, high))} {stated}: {_LEVEL_WORDS[level]}."
    scaled = _at_energy(limit, beam_energy_kev)
    if scaled != (low, high):
        words += (
            f" That is for {limit.beam_energy_kev:g} keV; scaled by stopping power to "
            f"{beam_energy_kev:g} keV it is {dose_range(scaled)}"
        )
        words += "." if agree or high is not None else ", so that it is open which was passed."
    return words


def _own_words(
    limit: DamageFact | None, facts: Sequence[DamageFact], temperature_k: float | None
) -> str:
    """Say what an own measurement outranks, and where it may not hold."""
    if limit is None or not _outranks(limit):
        return ""
    table = next((fact for fact in facts if not fact.own and not fact.missing), None)
    words = f"It outranks the table's {dose_range(table.bracket_e_per_a2)}." if table else ""
    measured = limit.temperature_k
    if None not in (measured, temperature_k) and not _same_temperature(measured, temperature_k):
        words += f" It was measured at {measured:g} K; at {temperature_k:g} K it may be another."
    return words.strip()


def _two_digits(dose: float, measured_kev: float, beam_energy_kev: float) -> float:
    return float(f"{dose_at_energy(dose, from_kev=measured_kev, to_kev=beam_energy_kev):.2g}")


def _origin_words(
    phase: str | None,
    origins: Sequence[DamageFact],
    level: DoseLevel,
    beam_energy_kev: float | None,
) -> str:
    if not origins:
        return ""
    numbered = [fact for fact in origins if not fact.missing]
    *first, last = dict.fromkeys(
        "the interphase" if fact.phase == _INTERPHASE else fact.phase
        for fact in numbered or origins
    )
    named = f"{', '.join(first)} and {last}" if first else last
    words = f"The beam makes {phase} from {named}"
    if numbered:
        low, high = _joined(numbered)
        ends = [] if high is None else [f"known from {high:.5g} e/Å² on"]
        ends += [] if low is None else [f"not known below {low:.5g} e/Å²"]
        grades = "/".join(dict.fromkeys(fact.grade for fact in numbered))
        words += f", {', '.join(ends)} (grade {grades})"
        scaled = _joined(numbered, beam_energy_kev)
        if scaled != (low, high):
            words += f", scaled by stopping power to {beam_energy_kev:g} keV {dose_range(scaled)}"
    return f"{words}: {_MADE_WORDS[level]}."
