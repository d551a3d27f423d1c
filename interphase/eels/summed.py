"""The sum of all spectra of a recording, brought to one zero loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_spectra
from interphase.eels.thickness import aligned_mean, measure_thickness
from interphase.eels.zero_loss import ZeroLoss, even_step, find_zero_loss

_FLOOR = 0.05
"""Channels by which the maximum of a zero-loss peak may be off, since losses stand on one flank; a
working value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummedSpectrum:
    """The sum of spectra, with what is known of its noise and of its axis."""

    counts: np.ndarray
    """Shape (E,) [counts]."""
    energy_ev: np.ndarray
    """Energy losses of the channels, from the zero loss where there is one, shape (E,) [eV]."""
    number: int
    """Spectra that were added up."""
    gain: float
    """Counts per electron."""
    read_noise: float
    """Standard deviation of the readout per channel of the sum [counts]."""
    zero: ZeroLoss | None = None
    """Zero losses of the single spectra on the axis of the file; ``None`` where there is none."""
    axis_error_ev: float | None = None
    """Standard error of the axis [eV]; ``None`` where nothing tells."""

    @classmethod
    def of(
        cls, counts: Any, energy_ev: np.ndarray, *, gain: float = 1.0, read_noise: float = 0.0
    ) -> "SummedSpectrum":
        """Add up spectra, those with a zero-loss peak aligned to it.

        Do not use it where spectra differ by more than their number of electrons: a map is made
        from the spectra themselves.

        Parameters
        ----------
        counts
            Spectra, shape (..., E), an array or a Dask array; those that hold NaN have no part.
        energy_ev
            Energy losses of the channels, shape (E,) [eV].
        gain
            Counts per electron.
        read_noise
            Standard deviation of the readout per channel of a spectrum [counts].

        Returns
        -------
        SummedSpectrum
            Its axis is counted from the zero loss; without one it is that of the file.

        Raises
        ------
        ParameterError
            The shapes do not fit or the axis does not rise.

        Examples
        --------
        >>> energy = np.arange(-5.0, 20.0, 0.5)
        >>> spectra = [1e4 * np.exp(-((energy - at) ** 2)) for at in (0.5, 1.0, 1.5)]
        >>> total = SummedSpectrum.of(np.round(spectra), energy)
        >>> total.number, round(float(total.energy_ev[total.counts.argmax()]), 1)
        (3, 0.0)
        """
        counts = check_spectra("counts", counts)
        energy = check_axis(energy_ev, counts.shape[-1])
        zero = find_zero_loss(counts, energy, gain=gain, read_noise=read_noise)
        if zero.assessment is Assessment.OK:
            mean, energy = aligned_mean(counts, energy, zero)
            number = int(np.isfinite(zero.position_ev).sum())
            statistical = np.nanmedian(zero.error_ev) / np.sqrt(number)
            return cls(
                counts=mean * number,
                energy_ev=energy,
                number=number,
                gain=gain,
                read_noise=read_noise * float(np.sqrt(number)),
                zero=zero,
                axis_error_ev=float(
                    np.linalg.norm([statistical, zero.common_error_ev, _FLOOR * even_step(energy)])
                ),
            )
        number, total = 0, np.zeros(len(energy))
        for _, block in blocks(counts):
            rows = block.reshape(-1, block.shape[-1])
            rows = rows[np.isfinite(rows).all(axis=1)]
            number, total = number + len(rows), total + rows.sum(axis=0)
        return cls(
            counts=total,
            energy_ev=energy,
            number=number,
            gain=gain,
            read_noise=read_noise * float(np.sqrt(number)),
        )

    @property
    def noise(self) -> dict[str, Any]:
        """Gain and read noise, as arguments of the functions that want both."""
        return {"gain": self.gain, "read_noise": self.read_noise}

    @property
    def zero_loss_ev(self) -> float | None:
        """Where the zero loss is on the axis of the file [eV]; ``None`` where there is none."""
        return None if self.zero is None else float(np.nanmedian(self.zero.position_ev))

    def relative_thickness(self, counts: Any) -> tuple[float, float] | None:
        """Return the mean t/λ of the spectra that were added up, and how sure or even it is.

        Parameters
        ----------
        counts
            The spectra themselves, shape (..., E).

        Returns
        -------
        tuple of float or None
            Mean and standard error of one spectrum, or mean and scatter over the pixels of an
            image; ``None`` where the zero loss does not tell.
        """
        if self.zero is None or self.zero_loss_ev is None:
            return None
        found = measure_thickness(
            counts,
            self.energy_ev + self.zero_loss_ev,
            self.zero,
            gain=self.gain,
            read_noise=self.read_noise / np.sqrt(self.number),
        )
        known = found.relative[np.isfinite(found.relative)]
        if not known.size:
            return None
        if np.ndim(counts) > 1:
            return float(known.mean()), float(known.std())
        return float(known.mean()), float(
            np.hypot(np.nanmean(found.relative_error), found.systematic)
        )
