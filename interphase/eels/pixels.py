"""What a fit of elements is told of each pixel, gathered block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interphase.eels.checks import NEGATIVE, blocks, check_axis, check_number, check_spectra
from interphase.eels.design import loss_kernel
from interphase.eels.likelihood import in_threads
from interphase.errors import ParameterError

GROUPS = 64
"""Sums of neighbouring pixels from which the background is chosen."""
_THICKNESS_STEP = 0.02
"""Width of a class of relative thickness, within which pixels share their plural scattering."""
_LOSS_STEP_EV = 0.5
"""Width of a class of mean loss [eV]: materials differ in it, and so do the tails of plasmons."""
_LOSSES_EV = (3.0, 50.0)
"""Range of losses that are averaged [eV]."""
_ENOUGH = 1000
"""Losses from which on their mean is known better than half such a class."""
Kernel = tuple[np.ndarray, int]
"""A low loss of sum 1 on the step of the spectra, and the place of zero loss in it."""


def rows_of_spectra(data: Any) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield spectra (..., E) in blocks of shape (N, E), and where each of them lies.

    Single precision is kept, all else becomes double.
    """
    kept = np.float32 if data.dtype == np.float32 else np.float64
    for where, block in blocks(data, dtype=kept):
        yield where, np.ascontiguousarray(block.reshape(-1, block.shape[-1]))


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of neighbouring spectra."""

    counts: np.ndarray
    """Counts over gain, shape (G, E)."""
    pixels: np.ndarray
    """Spectra in each sum, shape (G,)."""

    @classmethod
    def of(cls, data: Any, window: slice, gain: float, read_noise: float) -> "Sums":
        """Add up the usable spectra (..., E) of up to 64 runs of pixels."""
        from interphase.eels.fit_kernels import sum_spectra

        number = int(np.prod(data.shape[:-1]))
        groups, channels = min(GROUPS, number), window.stop - window.start
        counts, pixels = np.zeros((groups, channels)), np.zeros(groups)
        seen = 0
        for _, spectra in rows_of_spectra(data):
            labels = (seen + np.arange(len(spectra))) * groups // number
            seen += len(spectra)
            sums, numbers = in_threads(
                lambda part, own: sum_spectra(
                    part, own, groups, window.start, channels, -NEGATIVE * read_noise
                ),
                spectra,
                labels,
            )
            counts += sums.sum(axis=0)
            pixels += numbers.sum(axis=0)
        counts /= gain
        return cls(counts[pixels > 0], pixels[pixels > 0])


@dataclass(frozen=True, slots=True)
class LowLoss:
    """The low loss of classes of pixels, and the electrons of each pixel."""

    spectra: np.ndarray | None
    """Mean spectrum of each class, shape (C, L)."""
    energy_ev: np.ndarray | None
    classes: np.ndarray
    """Class of each pixel, shape (...)."""
    electrons: np.ndarray
    """Shape (...)."""

    @classmethod
    def of(
        cls,
        low_loss: Any,
        energy_ev: np.ndarray | None,
        ratio: float | None,
        electrons: float | np.ndarray | None,
        shape: tuple[int, ...],
        gain: float,
    ) -> "LowLoss":
        """Check what is given and gather it; a low loss is read once, block by block."""
        one_class = np.zeros(shape, dtype=np.intp)
        if low_loss is None:
            if ratio is not None or energy_ev is not None:
                raise ParameterError(
                    "exposure_ratio and low_loss_energy_ev belong to a low loss: give low_loss too"
                )
            given = np.asarray(np.nan if electrons is None else electrons, dtype=float)
            if np.any(given <= 0):
                raise ParameterError(
                    f"the smallest of electrons is {given.min():g}: expected numbers above 0"
                )
            try:
                return cls(None, None, one_class, np.broadcast_to(given, shape))
            except ValueError:
                raise ParameterError(
                    f"electrons has shape {given.shape}: expected a number or {shape}"
                ) from None
        if energy_ev is None or ratio is None or electrons is not None:
            raise ParameterError(
                "a low loss tells the electrons of each pixel: expected low_loss_energy_ev and "
                "exposure_ratio beside it, and no electrons"
            )
        check_number("exposure_ratio", ratio, 1e-9, 1e9)
        data = check_spectra("low_loss", low_loss)
        energy = check_axis(energy_ev, data.shape[-1], least=8)
        if data.shape[:-1] not in (shape, ()):
            raise ParameterError(
                f"low_loss has shape {data.shape}: expected {(*shape, len(energy))} or one spectrum"
            )
        peak = np.abs(energy) < 3
        if energy[0] > -1 or not peak.any():
            raise ParameterError(
                f"the low loss begins at {energy[0]:g} eV: expected its zero-loss peak, at 0 eV"
            )
        lost = (energy > _LOSSES_EV[0]) & (energy < _LOSSES_EV[1])
        total = np.empty(data.shape[:-1])
        sums: dict[int, np.ndarray] = {}
        labels = np.empty(data.shape[:-1], dtype=np.intp)
        for where, block in blocks(data):
            clean = np.nan_to_num(block)
            total[where] = clean.sum(axis=-1)
            losses = clean[..., lost].sum(axis=-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                depth = np.log(total[where] / clean[..., peak].sum(axis=-1)) / _THICKNESS_STEP
                mean = clean[..., lost] @ energy[lost] / losses / _LOSS_STEP_EV
            depth = np.nan_to_num(depth, nan=0.0, posinf=0.0).clip(0, 300).astype(int)
            enough = losses > _ENOUGH * gain
            labels[where] = 1000 * depth + np.where(enough, np.nan_to_num(mean), 0).astype(int)
            for label in np.unique(labels[where]):
                own = clean[labels[where] == label].reshape(-1, clean.shape[-1]).sum(axis=0)
                sums[int(label)] = sums.get(int(label), 0.0) + own
        if not any(spectrum.sum() > 0 for spectrum in sums.values()):
            raise ParameterError("the low loss holds no counts: leave it out")
        known = sorted(label for label, spectrum in sums.items() if spectrum.sum() > 0)
        index = np.searchsorted(known, labels).clip(0, len(known) - 1)
        number = total * (ratio / gain)
        return cls(
            np.stack([sums[label] for label in known]),
            energy,
            np.broadcast_to(index, shape),
            np.broadcast_to(np.where(number > 0, number, np.nan), shape),
        )

    def of_first(self) -> "LowLoss":
        """Return what is told of the first pixel alone."""
        return replace(self, classes=self.classes[0], electrons=self.electrons[0])

    def kernels(self, step_ev: float) -> list[Kernel]:
        """Return the low loss of each class on the step of the spectra."""
        if self.spectra is None or self.energy_ev is None:
            return [(np.ones(1), 0)]
        return [loss_kernel(spectrum, self.energy_ev, step_ev) for spectrum in self.spectra]

    def common(self, kernels: Sequence[Kernel]) -> Kernel:
        """Return the low loss of all classes together."""
        if self.spectra is None:
            return kernels[0]
        weights = self.spectra.sum(axis=1)
        return np.average([kernel for kernel, _ in kernels], axis=0, weights=weights), kernels[0][1]
