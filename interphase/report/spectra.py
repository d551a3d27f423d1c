"""What a card shows of energy-loss spectra: amounts place by place, and the figure."""

from collections.abc import Mapping
from typing import Any

from interphase.session.spectra_records import EelsResult, ElementAmount

POSSIBLE = 0.1
"""Probability from which a species is shown."""


def spectra_table(result: EelsResult) -> dict[str, Any] | None:
    """Return the amounts of a file's spectra as rows of a table; ``None`` where there are none.

    One row for all spectra, and one for each region that differs.
    """
    if not result.elements and result.relative_thickness is None and not result.species:
        return None
    rows = [_row("all spectra", result.spectra, result)]
    if len(result.regions) > 1:
        rows += [
            _row(f"region {k}", region.spectra, region)
            for k, region in enumerate(result.regions, start=1)
        ]
    return {
        "elements": list(result.elements),
        "rows": rows,
        "tables": ", ".join(dict.fromkeys(result.cross_sections.values())),
        "maps": [one.sentence for one in result.maps.values()],
        "notes": result.notes,
    }


def _row(name: str, spectra: int, result: Any) -> dict[str, Any]:
    likely = sorted(result.species.items(), key=lambda item: -item[1])
    return {
        "name": name,
        "spectra": spectra,
        "thickness": _thickness(result.relative_thickness),
        "amounts": [_amount(amount, result.ratios_to) for amount in result.elements.values()],
        "species": [f"{name.replace('_', ' ')} {p:.2f}" for name, p in likely if p >= POSSIBLE],
    }


def _thickness(relative: Mapping[str, float | None] | None) -> str:
    mean, spread = (relative or {}).get("mean"), (relative or {}).get("std")
    if mean is None:
        return "–"
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def _amount(amount: ElementAmount, to: str | None) -> dict[str, Any]:
    """Return an amount in words, and whether the element is there."""
    value, error, limit = (
        amount.areal_density_per_nm2,
        amount.standard_error,
        amount.detection_limit_per_nm2,
    )
    if value is not None and error is not None and amount.detected:
        words = f"{value:.3g} ± {error:.2g}"
    elif limit is not None:
        words = f"< {limit:.2g}"
    elif amount.detected and amount.ratio is not None and to is not None:
        words = f"{amount.ratio:.3g} per {to}"
    else:
        words = "detected" if amount.detected else "not detected"
    others = " or ".join(edge.replace("_", " ") for edge in amount.instead)
    return {
        "words": words,
        "there": amount.detected,
        "more": f"or {others}" if others else "",
        "title": "" if limit is None else f"detection limit {limit:.3g} /nm²",
    }
