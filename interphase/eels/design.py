"""The shared design matrix: what one unit of each parameter adds to each bin of channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interphase.eels.background import Background
from interphase.eels.cross_sections import Edge

FOOT_EV = 4.0
"""How far below an onset its near-edge structure and a wrong energy axis may reach [eV]."""
_VARIATION = 0.1
"""Relative change of a column over one bin. Summing its channels loses the information that lies in
the change: about a twelfth of this value's square, and no counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Linear model of binned spectra, for each class of thickness."""

    starts: np.ndarray
    """First channel of each bin, shape (B,)."""
    channels: int
    """Number of channels; the last bin ends here."""
    matrix: np.ndarray
    """Counts per bin and unit of a parameter, shape (C, B, P): first elements whose strength is a
    number of atoms, then others, then what near-edge structure is free to do, then the
    background."""
    quantified: int
    """Number K of elements whose strength is a number of atoms."""
    background: Background
    """What the last parameters mean."""

    def binned(self, spectra: np.ndarray) -> np.ndarray:
        """Return the counts of the bins of spectra (..., E), shape (..., B)."""
        return np.add.reduceat(spectra, self.starts, axis=-1)

    @property
    def widths(self) -> np.ndarray:
        """Channels of each bin, shape (B,)."""
        return np.diff(self.starts, append=self.channels)


def loss_kernel(
    low_loss: np.ndarray, low_loss_energy_ev: np.ndarray, step_ev: float
) -> tuple[np.ndarray, int]:
    """Return a low loss on another step, its sum 1, and the place of zero loss in it."""
    low_step = (low_loss_energy_ev[-1] - low_loss_energy_ev[0]) / (len(low_loss_energy_ev) - 1)
    before = int(max(0.0, -low_loss_energy_ev[0]) / step_ev)
    after = int(max(0.0, low_loss_energy_ev[-1]) / step_ev)
    at = step_ev * np.arange(-before, after + 1)
    if step_ev > low_step:
        # Interpolating the running sum keeps the counts of narrow peaks between coarse channels.
        edges = np.append(low_loss_energy_ev - low_step / 2, low_loss_energy_ev[-1] + low_step / 2)
        running = np.append(0.0, np.cumsum(low_loss))
        kernel = np.diff(
            np.interp(np.append(at - step_ev / 2, at[-1] + step_ev / 2), edges, running)
        )
    else:
        kernel = np.interp(at, low_loss_energy_ev, low_loss)
    return kernel / kernel.sum(), before


def scattered(shape: np.ndarray, kernel: np.ndarray, zero_loss: int, channels: int) -> np.ndarray:
    """Return an edge after plural scattering; its shape goes on `zero_loss` channels beyond."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(shape, kernel)[zero_loss : zero_loss + channels])


def bin_starts(
    columns: np.ndarray, energy_ev: np.ndarray, onsets_ev: Sequence[float], near_edge_ev: float
) -> np.ndarray:
    """Return the first channels of bins within which no column changes by much.

    The near-edge structure of an edge moves its events about within a window. The window is one
    bin, up to where another begins, so the structure cannot matter and need not be known.

    Parameters
    ----------
    columns
        Counts per unit of each parameter, shape (E, P).
    energy_ev
        Energy losses of the channels [eV], shape (E,).
    onsets_ev
        Onsets of the edges [eV].
    near_edge_ev
        Width of the windows above the onsets [eV]; with 0 the columns are trusted channel by
        channel.

    Returns
    -------
    ndarray
        Indices of channels, the first of them 0.
    """
    middle = (columns[1:] + columns[:-1]) / 2 + 0.02 * columns.max(axis=0)
    change = np.max(np.abs(np.diff(columns, axis=0)) / middle, axis=1)
    begins = np.append(True, np.diff(np.floor(np.cumsum(change) / _VARIATION), prepend=0) > 0)
    if near_edge_ev > 0 and len(onsets_ev):
        windows = [
            (energy_ev >= onset - FOOT_EV) & (energy_ev < onset + near_edge_ev)
            for onset in onsets_ev
        ]
        within = np.any(windows, axis=0)
        begins &= ~within
        begins[1:] |= within[:-1] & ~within[1:]
        begins[[int(np.argmax(window)) for window in windows]] = True
        begins[0] = True
    return np.flatnonzero(begins)


def exchanges(
    starts: np.ndarray, energy_ev: np.ndarray, onsets_ev: Sequence[float], near_edge_ev: float
) -> np.ndarray:
    """Return what lets near-edge structure move events into the window of a later edge.

    Parameters
    ----------
    starts
        First channel of each bin.
    energy_ev
        Energy losses of the channels [eV], shape (E,).
    onsets_ev
        Onsets of the edges in the model [eV].
    near_edge_ev
        Width of the windows above the onsets [eV].

    Returns
    -------
    ndarray
        One column for each bin's start within a window, +1 in the bin before it and -1 in the
        bin that begins there, shape (B, cuts).
    """
    columns = []
    for b in range(1, len(starts)):
        energy = energy_ev[starts[b]]
        before = energy_ev[starts[b] - 1]
        # At the end of a window near-edge structure ends too.
        if near_edge_ev > 0 and any(
            before >= onset - FOOT_EV and energy < onset + near_edge_ev for onset in onsets_ev
        ):
            column = np.zeros(len(starts))
            column[b - 1], column[b] = 1.0, -1.0
            columns.append(column)
    return np.stack(columns, axis=1) if columns else np.zeros((len(starts), 0))


def free_windows(
    starts: np.ndarray, energy_ev: np.ndarray, onsets_ev: Sequence[float], near_edge_ev: float
) -> np.ndarray:
    """Return what frees the sum of a near-edge window from the edge: white lines are no part of it.

    Parameters
    ----------
    starts
        First channel of each bin.
    energy_ev
        Energy losses of the channels [eV], shape (E,).
    onsets_ev
        Onsets of the edges with white lines [eV].
    near_edge_ev
        Width of the windows above the onsets [eV].

    Returns
    -------
    ndarray
        One column for each such edge, 1 in the first bin of its window, shape (B, edges).
    """
    number = len(onsets_ev) if near_edge_ev > 0 else 0
    columns = np.zeros((len(starts), number))
    for column, onset in zip(columns.T, onsets_ev, strict=False):
        column[np.searchsorted(energy_ev[starts], onset - FOOT_EV)] = 1.0
    return columns


def shared_design(
    edges: Mapping[str, Sequence[Edge]],
    background: Background,
    *,
    kernels: Sequence[tuple[np.ndarray, int]],
    near_edge_ev: float,
    starts: np.ndarray | None = None,
) -> Design:
    """Return the model of some elements on a background, for each class of thickness.

    Parameters
    ----------
    edges
        Element → its edges, on the channels of the background and those beyond that a kernel
        reaches; they share one strength. Elements that are no number of atoms come last.
    background
        Shape on the channels.
    kernels
        Low loss of each class and its channel of zero loss, from `loss_kernel`.
    near_edge_ev
        Width of the near-edge windows [eV].
    starts
        Bins, where other models are to be compared with this one.

    Returns
    -------
    Design
        In counts per 1/nm² and electron for elements.
    """
    energy = background.energy_ev
    smooth = background.columns
    elements = np.stack(
        [
            np.stack(
                [
                    scattered(
                        np.sum([edge.per_channel_nm2 for edge in own], axis=0),
                        kernel,
                        zero_loss,
                        len(energy),
                    )
                    for own in edges.values()
                ],
                axis=1,
            )
            if edges
            else np.zeros((len(energy), 0))
            for kernel, zero_loss in kernels
        ]
    )
    onsets = [edge.onset_ev for own in edges.values() for edge in own]
    if starts is None:
        positive = np.concatenate([*elements, background.columns[:, :1]], axis=1)
        starts = bin_starts(positive, energy, onsets, near_edge_ev)
    lines = [e.onset_ev for own in edges.values() for e in own if e.white_lines]
    cuts = exchanges(starts, energy, onsets, near_edge_ev)
    free = free_windows(starts, energy, lines, near_edge_ev)
    common = np.concatenate([cuts, free, np.add.reduceat(smooth, starts, axis=0)], axis=1)
    matrix = np.stack(
        [np.concatenate([np.add.reduceat(own, starts, axis=0), common], axis=1) for own in elements]
    )
    return Design(
        starts=starts,
        channels=len(energy),
        matrix=np.ascontiguousarray(matrix),
        quantified=sum(all(edge.quantitative for edge in own) for own in edges.values()),
        background=background,
    )
