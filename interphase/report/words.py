"""How numbers and names are written for people."""

import re
from collections.abc import Iterable
from datetime import datetime

from interphase.phases import DoseLevel, DoseVerdict, dose_range

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ"}
UNCERTAIN = {
    "unknown": "unknown crystal",
    "none": "nothing periodic",
    "undecided": "undecided",
}
"""Words for the verdicts that are no phases."""


def phase_name(identifier: str) -> str:
    """Write a phase's identifier as chemists do.

    Only what looks like a formula is changed; the name of somebody's CIF stays as it is.

    >>> [phase_name(p) for p in ("Li2CO3", "Li3PO4-beta", "LiOH.H2O", "ice-Ih", "my_cell2")]
    ['Li₂CO₃', 'β-Li₃PO₄', 'LiOH·H₂O', 'ice Ih', 'my_cell2']
    """
    if identifier in UNCERTAIN:
        return UNCERTAIN[identifier]
    if identifier.startswith("ice-"):
        return identifier.replace("-", " ")
    formula, _, suffix = identifier.partition("-")
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+(?:\.(?:[A-Z][a-z]?\d*)+)?", formula):
        return identifier
    written = formula.translate(_SUBSCRIPTS).replace(".", "·")
    if suffix in _GREEK:
        return f"{_GREEK[suffix]}-{written}"
    return f"{written} ({suffix})" if suffix else written


def with_names(sentence: str, identifiers: Iterable[str]) -> str:
    """Write the phases that a sentence names as chemists do.

    >>> with_names("Li2O in 1, LiOH.H2O in 2.", ["LiOH", "LiOH.H2O", "Li2O"])
    'Li₂O in 1, LiOH·H₂O in 2.'
    """
    longest_first = sorted(identifiers, key=len, reverse=True)
    if not longest_first:
        return sentence
    pattern = r"(?<![\w./-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w/-]|\.\w)"
    return re.sub(pattern, lambda match: phase_name(match[0]), sentence)


def spacings(values_a: Iterable[float], *, most: int = 5) -> str:
    r"""Write spacings [Å] once each, with how often they were seen.

    >>> spacings([2.481, 2.479, 1.43, 2.48])
    '2.48\u202f×3 · 1.43'
    """
    written = [f"{value:.2f}" for value in values_a]
    counted = {text: written.count(text) for text in dict.fromkeys(written)}
    return " · ".join(
        text if times == 1 else f"{text}\u202f×{times}"
        for text, times in list(counted.items())[:most]
    )


def number(value: float | None, unit: str = "", *, digits: int = 3) -> str:
    r"""Write a number with as many digits as are meant, or a dash where it is not known.

    >>> number(1234.5, "e/Å²"), number(0.66655, "Å"), number(None), number(2e-7)
    ('1230\u202fe/Å²', '0.667\u202fÅ', '–', '2 × 10⁻⁷')
    """
    if value is None:
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    else:
        text = f"{float(f'{value:.{digits}g}'):.12g}"
    return f"{text}\u202f{unit}" if unit else text


_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def probability(value: float) -> str:
    r"""Write a probability in per cent, never as a certainty.

    >>> [probability(p) for p in (0.934, 0.9996, 0.0002)]
    ['93\u202f%', '>\u202f99\u202f%', '<\u202f1\u202f%']
    """
    if value > 0.99:
        return ">\u202f99\u202f%"
    if value < 0.01:
        return "<\u202f1\u202f%"
    return f"{value:.0%}".replace("%", "\u202f%")


def instant(time: datetime | None) -> str:
    """Write a time to the second, or a dash."""
    return time.strftime("%Y-%m-%d %H:%M:%S") if time else "–"


def dose_verdict_words(verdict: DoseVerdict) -> tuple[str, str]:
    """Return what matters most of a dose verdict in a few words, and their tone."""
    for level, made, spoilt in (
        (DoseLevel.ABOVE, "may be made by the beam", "past its limit"),
        (DoseLevel.WITHIN, "may be made by the beam", "may be damaged"),
    ):
        tone = "bad" if level is DoseLevel.ABOVE else "poor"
        if verdict.made_level is level:
            return made, tone
        if verdict.level is level:
            return spoilt, tone
    levels = {verdict.level, verdict.made_level}
    if DoseLevel.UNKNOWN_DOSE in levels:
        return "dose not known", "fair"
    if DoseLevel.BELOW in levels:
        return "below known limits", "good"
    return "no limit known", "quiet"


def dose_comparison(verdict: DoseVerdict) -> str:
    """Write what a place received [e/Å²], and the limit it is held against.

    The limit is that of the phase, or the dose from which on the beam is known to make it.
    """
    if verdict.received_after_e_per_a2 is not None:
        received = number(verdict.received_after_e_per_a2)
    elif verdict.at_least_e_per_a2 is not None:
        received = f"≥\u202f{number(verdict.at_least_e_per_a2)}"
    else:
        received = "?"
    limit = verdict.limit.bracket_e_per_a2 if verdict.limit else (None, None)
    if limit != (None, None):
        return f"{received}, limit {dose_range(limit).removesuffix(' e/Å²')}"
    made = verdict.made_bracket_e_per_a2[1]
    return received if made is None else f"{received}, made from {made:.5g} on"
