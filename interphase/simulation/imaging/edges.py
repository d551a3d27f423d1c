"""Near-edge peaks on the cross-sections of core losses."""

import numpy as np

from interphase.core_loss import CrossSection
from interphase.core_loss import partial_cross_section as partial_cross_section
from interphase.errors import ParameterError
from interphase.simulation.imaging.materials import NearEdgePeak

WINDOW_EV = 50.0
"""Energies above an onset within which near-edge peaks take events from the rest of the edge."""
BELOW_ONSET_EV = 10.0
"""Energies below an onset that the foot of a near-edge peak may reach."""


def with_near_edge(
    section: CrossSection, onset_ev: float, peaks: tuple[NearEdgePeak, ...]
) -> CrossSection:
    """Return a cross-section with near-edge peaks and the same integral up to `WINDOW_EV`.

    What the peaks take is taken from the edge with a weight that falls linearly from the onset to
    the end of the window, so the edge stays continuous there.

    Parameters
    ----------
    section
        Energy loss [eV] → dσ/dE.
    onset_ev
        Where it begins [eV].
    peaks
        Gaussian peaks with their shares of the integral; some lie below the onset.

    Returns
    -------
    callable
        Energy loss [eV] → dσ/dE.

    Raises
    ------
    ParameterError
        The peaks take more than there is.
    """
    window = onset_ev + np.linspace(0, WINDOW_EV, 4001)

    def weight(energy: np.ndarray) -> np.ndarray:
        return np.clip(1 - (energy - onset_ev) / WINDOW_EV, 0, 1)

    area = float(np.trapezoid(section(window), window))
    weighted = float(np.trapezoid(section(window) * weight(window), window))
    taken = sum(peak.share for peak in peaks) * area / weighted
    if taken > 1:
        raise ParameterError(
            f"the peaks above {onset_ev:g} eV take {sum(peak.share for peak in peaks):.2f} of the "
            f"edge: expected at most {weighted / area:.2f}"
        )

    def shaped(energy: np.ndarray) -> np.ndarray:
        density = section(energy) * (1 - taken * weight(energy))
        for peak in peaks:
            sigma = peak.fwhm_ev / np.sqrt(8 * np.log(2))
            gaussian = np.exp(-(((energy - peak.peak_ev) / sigma) ** 2) / 2)
            density = density + peak.share * area * gaussian / (sigma * np.sqrt(2 * np.pi))
        return np.asarray(density)

    return shaped
