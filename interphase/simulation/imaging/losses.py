"""What one collision does to a beam's energy, and the stacking of many, per length of material."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from interphase.core_loss import cross_section, known_edges
from interphase.electron import BARN_A2, checked_energy
from interphase.errors import ParameterError
from interphase.inelastic import (
    angular_factor,
    drude_loss_function,
    mean_free_path_iakoubovskii,
    mean_free_path_malis,
)
from interphase.simulation.imaging.edges import BELOW_ONSET_EV, with_near_edge
from interphase.simulation.imaging.materials import LossMaterial

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
_STEPS_PER_FWHM = 5
"""The transform of a Gaussian of so many steps has fallen to 1e-9 at Nyquist's frequency."""
_PADDING_EV = 600.0
"""Losses this far above the last channel are followed, so that none wraps round to the first."""
_FARTHEST_EV = 1e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrometer:
    """How energy losses are collected."""

    beam_energy_kev: float
    """Beam energy [keV]."""
    collection_semi_angle_mrad: float
    """Collection semi-angle β [mrad]."""
    convergence_semi_angle_mrad: float
    """Convergence semi-angle α of the probe [mrad]."""
    resolution_fwhm_ev: float
    """Full width at half maximum of the zero-loss peak, a Gaussian [eV]."""
    mean_free_path: Literal["iakoubovskii", "malis"] = "iakoubovskii"
    """Which formula gives mean free paths; each is trusted within about 20 %."""

    def __post_init__(self) -> None:
        checked_energy(self.beam_energy_kev)
        for name in ("collection_semi_angle_mrad", "resolution_fwhm_ev"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ParameterError(f"{name} is {value!r}: expected a finite number above 0")
        if not 0 <= self.convergence_semi_angle_mrad < float("inf"):
            raise ParameterError(
                f"convergence_semi_angle_mrad is {self.convergence_semi_angle_mrad!r}: expected "
                "a finite number >= 0; 0 is a parallel beam"
            )
        if self.mean_free_path not in ("iakoubovskii", "malis"):
            raise ParameterError(
                f"mean_free_path is {self.mean_free_path!r}: expected 'iakoubovskii' or 'malis'"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyAxis:
    """The channels of a spectrum."""

    first_ev: float
    """Energy loss in the middle of the first channel [eV]."""
    dispersion_ev: float
    """Width of a channel [eV]."""
    channels: int
    """Number of channels E."""

    def __post_init__(self) -> None:
        if not (0 < self.dispersion_ev < float("inf") and self.channels >= 1):
            raise ParameterError(
                f"an axis of {self.channels!r} channels of {self.dispersion_ev!r} eV is empty: "
                "expected at least one channel and a width above 0"
            )
        if not 0 < self.last_ev < float("inf"):
            raise ParameterError(
                f"the axis ends at {self.last_ev:g} eV: expected energy losses above 0"
            )

    @property
    def last_ev(self) -> float:
        """Energy loss in the middle of the last channel [eV]."""
        return self.first_ev + (self.channels - 1) * self.dispersion_ev

    @property
    def energies_ev(self) -> np.ndarray:
        """Energy loss in the middle of every channel [eV], shape (E,)."""
        return self.first_ev + np.arange(self.channels) * self.dispersion_ev


def mean_free_path(material: LossMaterial, spectrometer: Spectrometer) -> float:
    """Return the inelastic mean free path in a material [Å], core losses included."""
    if spectrometer.mean_free_path == "malis":
        return mean_free_path_malis(
            material.atoms_per_a3,
            beam_energy_kev=spectrometer.beam_energy_kev,
            collection_semi_angle_mrad=spectrometer.collection_semi_angle_mrad,
        )
    return mean_free_path_iakoubovskii(
        material.density_g_per_cm3,
        beam_energy_kev=spectrometer.beam_energy_kev,
        collection_semi_angle_mrad=spectrometer.collection_semi_angle_mrad,
        convergence_semi_angle_mrad=spectrometer.convergence_semi_angle_mrad,
    )


class Grid(NamedTuple):
    """Energies i · `step_ev` on which losses are stacked, periodic after `length` of them."""

    step_ev: float
    """Distance of two energies, a whole fraction of a channel [eV]."""
    per_channel: int
    """Energies in a channel."""
    length: int
    """Number of energies, a fast length of Fourier transforms."""
    losses: int
    """Energies up to the last that a channel can show."""


def grid_for(axis: EnergyAxis, fwhm_ev: float, largest_shift_ev: float) -> Grid:
    """Return energies fine enough for a zero-loss peak and far enough for plural scattering."""
    from scipy.fft import next_fast_len

    per_channel = max(1, int(np.ceil(_STEPS_PER_FWHM * axis.dispersion_ev / fwhm_ev)))
    step = axis.dispersion_ev / per_channel
    margin = 3 * fwhm_ev + largest_shift_ev + axis.dispersion_ev
    top = axis.last_ev + margin
    extent = top + _PADDING_EV - min(axis.first_ev, 0.0) + margin
    return Grid(step, per_channel, next_fast_len(int(extent / step), real=True), int(top / step))


def losses_per_a(
    material: LossMaterial, spectrometer: Spectrometer, grid: Grid, *, near_edge: bool
) -> tuple[np.ndarray, float]:
    """Return the collisions per length [1/Å] for each loss of the grid, and for all losses."""
    energy = spectrometer.beam_energy_kev
    wider = max(spectrometer.collection_semi_angle_mrad, spectrometer.convergence_semi_angle_mrad)

    def valence(loss_ev: np.ndarray) -> np.ndarray:
        plasmon = drude_loss_function(
            loss_ev, peak_ev=material.plasmon_ev, fwhm_ev=material.plasmon_fwhm_ev
        )
        factor = angular_factor(loss_ev, beam_energy_kev=energy, semi_angle_mrad=wider)
        return np.asarray(plasmon * factor)

    rate = 1 / mean_free_path(material, spectrometer)
    core, core_rate = np.zeros(grid.losses), 0.0
    for element, atoms_per_a3 in material.atoms_per_a3.items():
        for edge, onset in known_edges(element).items():
            section = cross_section(
                edge,
                beam_energy_kev=energy,
                collection_semi_angle_mrad=spectrometer.collection_semi_angle_mrad,
                convergence_semi_angle_mrad=spectrometer.convergence_semi_angle_mrad,
            )
            peaks = tuple(peak for peak in material.near_edge if peak.edge == edge)
            if near_edge and peaks:
                section = with_near_edge(section, onset, peaks)
            per_step, total = _binned(section, onset - BELOW_ONSET_EV, grid)
            core += atoms_per_a3 * BARN_A2 * per_step
            core_rate += atoms_per_a3 * BARN_A2 * total
    if core_rate >= rate:
        raise ParameterError(
            f"core losses of {material.identifier} alone are more than its mean free path of "
            f"{1 / rate:.0f} Å allows: check its density"
        )
    per_step, total = _binned(valence, 0.0, grid)
    return (rate - core_rate) * per_step / total + core, rate


def _binned(
    density: Callable[[np.ndarray], np.ndarray], start_ev: float, grid: Grid
) -> tuple[np.ndarray, float]:
    """Return the integral of a density around each loss of the grid, and up to any loss."""
    from scipy.integrate import cumulative_trapezoid

    energy = start_ev + np.geomspace(1e-4, _FARTHEST_EV, 20001)
    integral = cumulative_trapezoid(density(energy), energy, initial=0)
    edges = (np.arange(grid.losses + 1) - 0.5) * grid.step_ev
    return np.diff(np.interp(edges, energy, integral, left=0)), float(integral[-1])


def stacking_kernel(
    per_step: np.ndarray, rate: np.ndarray, grid: Grid, *, axis: EnergyAxis, fwhm_ev: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from thicknesses to spectra.

    Parameters
    ----------
    per_step
        Collisions per length of K materials for each loss of the grid [1/Å], shape (K, L).
    rate
        Collisions per length for all losses, those beyond the grid too [1/Å], shape (K,).
    grid
        The losses.
    axis
        The channels.
    fwhm_ev
        Width of the zero-loss peak [eV].

    Returns
    -------
    callable
        Thicknesses [Å] and, last, the place of the zero-loss peak [eV], shape (P, K + 1) →
        share of the electrons in each channel, shape (P, E).
    """
    from scipy.fft import irfft, rfft, rfftfreq

    frequency = rfftfreq(grid.length, grid.step_ev)
    per_a = rfft(per_step, grid.length) - rate[:, None]
    first = axis.first_ev + (grid.step_ev - axis.dispersion_ev) / 2
    spread = 2 * (np.pi * fwhm_ev / FWHM_PER_SIGMA * frequency) ** 2
    # sinc integrates the peak over one step, so that channels hold electrons and not densities.
    in_step = np.log(np.sinc(frequency * grid.step_ev))
    zero_loss = 2j * np.pi * first * frequency - spread + in_step
    drift = -2j * np.pi * frequency

    def spectra(stack: np.ndarray) -> np.ndarray:
        exponent = stack[:, :-1] @ per_a + zero_loss
        if stack[:, -1].any():
            exponent += stack[:, -1:] * drift
        fine = irfft(np.exp(exponent, out=exponent), grid.length)
        used = fine[:, : axis.channels * grid.per_channel]
        shares: np.ndarray = used.reshape(len(stack), axis.channels, -1).sum(axis=-1)
        return shares.clip(0)

    return spectra
