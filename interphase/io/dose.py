"""Arithmetic of the dose: conversions, and what to believe when statements differ."""

from collections.abc import Sequence

from interphase.electron import dose_from_current
from interphase.io.facts import DoseClaim

E_PER_A2_PER_E_PER_M2 = 1e-20
"""1 e/m² in e/Å²; exact."""
AGREEMENT = 0.2
"""Two statements of one dose whose ratio is above 1 + this contradict each other.

Calibrated statements of one exposure agree to a few per cent; a factor of a unit, a binning or a
number of frames is far above.
"""


def scan_dose(
    *, beam_current_pa: float, dwell_time_s: float, step_a: float, scans: int = 1
) -> float:
    """Dose of a scanned exposure: every electron of the probe, spread over the scanned cells.

    The probe may be much smaller than the step; the dose is then the mean over the cell and the
    dose under the probe is higher: `interphase.dose.dose_of_scan` gives both.

    Parameters
    ----------
    beam_current_pa
        Probe current [pA].
    dwell_time_s
        Time per position and scan [s].
    step_a
        Distance of neighbouring positions [Å].
    scans
        How often the frame was scanned.

    Returns
    -------
    float
        Mean fluence [e/Å²].

    Notes
    -----
    .. math:: D = n I t / (e a^2)

    Examples
    --------
    10 pA for 10 µs on a pixel of 1 Å:

    >>> round(scan_dose(beam_current_pa=10.0, dwell_time_s=1e-5, step_a=1.0), 1)
    624.2
    """
    return dose_from_current(
        current_pa=beam_current_pa, dwell_time_s=scans * dwell_time_s, pixel_area_a2=step_a**2
    )


def reconcile(claims: Sequence[DoseClaim]) -> tuple[DoseClaim | None, list[str]]:
    """Choose the dose of an exposure among all that is said about it.

    Statements about the specimen must agree among each other; where they do, the first is taken,
    so readers name the most direct one first. A statement made at the camera is an upper check:
    electrons are lost in the specimen and in an energy filter, never won, so it contradicts the
    others only when it is higher, and it is taken only when nothing else is said.

    Parameters
    ----------
    claims
        Every statement of one exposure's dose, most direct first.

    Returns
    -------
    chosen : DoseClaim or None
        The statement believed; ``None`` where there is none, or where they contradict.
    warnings : list of str
        One sentence for each doubt.
    """
    at_specimen = [claim for claim in claims if not claim.at_camera]
    at_camera = [claim for claim in claims if claim.at_camera]
    for group in (at_specimen, at_camera):
        if not group:
            continue
        doses = [claim.dose_e_per_a2 for claim in group]
        if max(doses) > (1 + AGREEMENT) * min(doses):
            return None, [_contradiction(group)]
    if not at_specimen or not at_camera:
        return (claims[0] if claims else None), []
    chosen, counted = at_specimen[0], at_camera[0]
    ratio = counted.dose_e_per_a2 / chosen.dose_e_per_a2
    if ratio > 1 + AGREEMENT:
        return None, [_contradiction([counted, chosen])]
    if ratio < 1 / (1 + AGREEMENT):
        return chosen, [
            f"the camera counted {_said(counted)}, {ratio:.0%} of {_said(chosen)}: the rest was "
            "lost in the specimen or an energy filter, or a calibration is wrong"
        ]
    return chosen, []


def _said(claim: DoseClaim) -> str:
    return f"{claim.dose_e_per_a2:.4g} e/Å² ({claim.detail})"


def _contradiction(claims: Sequence[DoseClaim]) -> str:
    said = " against ".join(_said(claim) for claim in claims)
    return (
        f"the dose is contradictory: {said}; none is chosen, give `dose_e_per_a2` in session.toml"
    )
