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
_SINGULAR = 1e-5
"""Least singular value over the largest of a model that can be fitted, with columns of length 1."""


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
    edges: np.ndarray
    """The first N of these columns channel by channel, shape (C, E, N)."""
    near_edge: np.ndarray
    """Whether a channel lies in a near-edge window, shape (E,)."""
    quantified: int
    """Number K of elements whose strength is a number of atoms."""
    backgrounds: Sequence[Background]
    """What the last parameters mean in each class."""

    def binned(self, spectra: np.ndarray) -> np.ndarray:
        """Return the counts of the bins of spectra (..., E), shape (..., B)."""
        return np.add.reduceat(spectra, self.starts, axis=-1)

    def confused(self) -> list[int]:
        """Return which of the first N parameters the bins cannot tell apart, none if they can."""
        matrix = self.matrix.mean(axis=0)
        _, values, rows = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0))
        if len(values) == matrix.shape[1] and values[-1] > _SINGULAR * values[0]:
            return []
        edges = np.abs(rows[-1, : self.edges.shape[-1]])
        return [int(k) for k in np.flatnonzero(edges > 0.1 * edges.max())]

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
    """Return losses (E, ...) after plural scattering; they go on `zero_loss` channels beyond."""
    from scipy.signal import fftconvolve

    if not shape.size:
        return shape[:channels]
    along = kernel.reshape(-1, *[1] * (shape.ndim - 1))
    return np.asarray(fftconvolve(shape, along, axes=0)[zero_loss : zero_loss + channels])


def near_edge_windows(
    energy_ev: np.ndarray, onsets_ev: Sequence[float], near_edge_ev: float
) -> np.ndarray:
    """Return which channels lie in the window of each onset, shape (onsets, E)."""
    onsets = np.array(onsets_ev if near_edge_ev > 0 else [], dtype=float)[:, np.newaxis]
    return np.asarray((energy_ev >= onsets - FOOT_EV) & (energy_ev < onsets + near_edge_ev))


def bin_starts(
    columns: np.ndarray,
    energy_ev: np.ndarray,
    onsets_ev: Sequence[float],
    near_edge_ev: float,
    parts: int = 1,
) -> np.ndarray:
    """Return the first channels of bins within which no column changes by much.

    The near-edge structure of an edge moves its events about within a window. The window is one
    bin, up to where another begins, so the structure cannot matter and need not be known; or it
    is a few, between which events are free to move.

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
    parts
        Bins of a window.

    Returns
    -------
    ndarray
        Indices of channels, the first of them 0.
    """
    middle = (columns[1:] + columns[:-1]) / 2 + 0.02 * columns.max(axis=0)
    change = np.max(np.abs(np.diff(columns, axis=0)) / middle, axis=1)
    begins = np.append(True, np.diff(np.floor(np.cumsum(change) / _VARIATION), prepend=0) > 0)
    windows = near_edge_windows(energy_ev, onsets_ev, near_edge_ev)
    within = np.asarray(windows.any(axis=0))
    begins &= ~within
    begins[1:] |= within[:-1] & ~within[1:]
    for window in windows:
        begins[[part[0] for part in np.array_split(np.flatnonzero(window), parts) if len(part)]] = (
            True
        )
    begins[0] = True
    return np.flatnonzero(begins)


def exchanges(starts: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return what lets near-edge structure move events from one bin of windows to the next.

    Parameters
    ----------
    starts
        First channel of each bin.
    windows
        Which channels lie in the near-edge window of each edge in the model, shape (edges, E).

    Returns
    -------
    ndarray
        One column for each bin that begins within a window, of sum 1 in the bin before it and of
        sum -1 in itself, shape (E, cuts).
    """
    # At the end of a window near-edge structure ends too.
    cuts = [
        b for b in range(1, len(starts)) if windows[:, starts[b] - 1 : starts[b] + 1].all(1).any()
    ]
    ends = np.append(starts[1:], windows.shape[1])
    columns = np.zeros((windows.shape[1], len(cuts)))
    for column, b in zip(columns.T, cuts, strict=True):
        column[starts[b - 1] : starts[b]] = 1 / (starts[b] - starts[b - 1])
        column[starts[b] : ends[b]] = -1 / (ends[b] - starts[b])
    return columns


def free_windows(starts: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return what frees the sum of a near-edge window from the edge: white lines are no part of it.

    Parameters
    ----------
    starts
        First channel of each bin.
    windows
        Which channels lie in the near-edge window of each edge with white lines, shape (edges, E).

    Returns
    -------
    ndarray
        One column for each such edge, of sum 1 in the first bin of its window, shape (E, edges).
    """
    columns = np.zeros(windows.T.shape)
    for column, window in zip(columns.T, windows, strict=True):
        first = int(np.argmax(window))
        after = starts[starts > first]
        end = after[0] if len(after) else len(window)
        column[first:end] = 1 / (end - first)
    return columns


def _independent(columns: np.ndarray) -> np.ndarray:
    """Return columns (E, M) without those that are sums of others before them.

    White lines in windows between which events are free to move are one freedom.
    """
    kept: list[int] = []
    for m in range(columns.shape[1]):
        if np.linalg.matrix_rank(columns[:, [*kept, m]]) > len(kept):
            kept.append(m)
    return columns[:, kept]


def shared_design(
    edges: Mapping[str, Sequence[Edge]],
    backgrounds: Sequence[Background],
    *,
    kernels: Sequence[tuple[np.ndarray, int]],
    near_edge_ev: float,
    parts: int = 1,
    starts: np.ndarray | None = None,
) -> Design:
    """Return the model of some elements on a background, for each class of thickness.

    Parameters
    ----------
    edges
        Element → its edges, on the channels of the background and those beyond that a kernel
        reaches; they share one strength. Elements that are no number of atoms come last.
    backgrounds
        Shapes on the channels for each class.
    kernels
        Low loss of each class and its channel of zero loss, from `loss_kernel`.
    near_edge_ev
        Width of the near-edge windows [eV].
    parts
        Bins of a window, see `bin_starts`.
    starts
        Bins, where other models are to be compared with this one.

    Returns
    -------
    Design
        In counts per 1/nm² and electron for elements.
    """
    energy = backgrounds[0].energy_ev
    atoms = np.stack(
        [np.sum([edge.per_channel_nm2 for edge in own], axis=0) for own in edges.values()], axis=1
    )
    elements = np.stack([scattered(atoms, *kernel, len(energy)) for kernel in kernels])
    onsets = [edge.onset_ev for own in edges.values() for edge in own]
    if starts is None:
        positive = np.concatenate([*elements, *(b.columns[:, :1] for b in backgrounds)], axis=1)
        starts = bin_starts(positive, energy, onsets, near_edge_ev, parts)
    windows = near_edge_windows(energy, onsets, near_edge_ev)
    lines = near_edge_windows(
        energy, [e.onset_ev for own in edges.values() for e in own if e.white_lines], near_edge_ev
    )
    moved = _independent(
        np.concatenate([exchanges(starts, windows), free_windows(starts, lines)], axis=1)
    )
    matrix = [
        np.concatenate([own, scattered(moved, *kernel, len(energy)), background.columns], axis=1)
        for own, kernel, background in zip(elements, kernels, backgrounds, strict=True)
    ]
    return Design(
        starts=starts,
        channels=len(energy),
        matrix=np.ascontiguousarray(np.add.reduceat(matrix, starts, axis=1)),
        edges=elements,
        near_edge=np.any(windows, axis=0),
        quantified=sum(all(edge.quantitative for edge in own) for own in edges.values()),
        backgrounds=backgrounds,
    )
