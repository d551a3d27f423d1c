r"""The likelihood that frames of a movie show one moving specimen under a fixed pattern.

At each spatial frequency k the frames are, in units in which their counting noise is alike,

.. math:: y_f(k) = g_f [S(k) e^{-2\pi i k \cdot s_f} + P(k)] + n_f(k),

with the specimen S, the camera's fixed pattern P, and :math:`g_f^2` the counts of a frame over
their mean. S, P and n are complex normal with variances that depend on the length of k alone;
integrating S and P out leaves a likelihood of the places :math:`s_f` in closed form, whose slope is
that of each frame without the pattern against the best estimate of the specimen. A pattern that
stays on the camera does not draw frames upon one another, once the specimen has moved by enough to
tell the two apart.
"""

from dataclasses import dataclass, field, replace

import numpy as np

# Rings of the spectrum in which variances are taken to be the same.
RINGS = 24
# Degrees of freedom of changes of velocity: a burst or a jump is rare, not impossible.
TAIL = 3.0
# Smallest standard deviation of a change of velocity from frame to frame [px]. A working value.
SMOOTHEST_PX = 0.05
# Distance over which changes of velocity are alike: a burst lasts some frames [frames].
ALIKE = 2.0
# Median of a squared length in the plane over its variance along an axis.
MEDIAN = 2 * np.log(2)
# Longest step of a frame in one round [px].
LONGEST_STEP_PX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """What is kept of the frames of a movie: their spectra in a band."""

    values: np.ndarray
    """Spectra y of the frames' contrast, noise about 1, shape (F, K), complex64."""
    gain: np.ndarray
    """g, shape (F,); 0 for a frame that cannot be used."""
    rows: np.ndarray
    """Row in the grid of each frequency, shape (K,)."""
    columns: np.ndarray
    """Column in the grid of each frequency, shape (K,)."""
    map_shape: tuple[int, int]
    """Rows and columns of the band in real space."""
    field_px: tuple[int, int]
    """Rows and columns of a frame [px]."""
    white_pattern: float
    """Power of the fixed pattern beyond the band, where no specimen is seen."""
    ring: np.ndarray = field(init=False)
    """Ring of each frequency, shape (K,)."""
    k: np.ndarray = field(init=False)
    """Frequencies (row, column) [1/px], shape (2, K)."""
    power: np.ndarray = field(init=False)
    """Mean power of each frame in each ring, shape (F, R)."""

    def __post_init__(self) -> None:
        top = self.grid[0]
        row = (self.rows + top // 2) % top - top // 2
        k = np.stack([row / self.field_px[0], self.columns / self.field_px[1]])
        length = np.hypot(*k)
        least = length.min()
        ring = ((length - least) / (length.max() - least) * RINGS).astype(int)
        ring = np.minimum(ring, RINGS - 1)
        object.__setattr__(self, "k", k.astype(np.float32))
        object.__setattr__(self, "ring", ring)
        power = [self.by_ring(np.square(np.abs(frame))) for frame in self.values]
        object.__setattr__(self, "power", np.array(power))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the half plane of frequencies, as of `rfft2`."""
        return self.map_shape[0], self.map_shape[1] // 2 + 1

    @property
    def map_step_px(self) -> np.ndarray:
        """Size of a pixel of the band in real space (row, column) [px of the frames]."""
        return np.array(self.field_px) / self.map_shape

    def part(self, chosen: np.ndarray) -> "Spectra":
        """Return some of the frequencies."""
        return replace(
            self,
            values=np.ascontiguousarray(self.values[:, chosen]),
            rows=self.rows[chosen],
            columns=self.columns[chosen],
        )

    def in_pairs(self) -> "Spectra":
        """Return the frames added up two by two; an odd one stays alone.

        Weighed with g, which leaves the noise as it was.
        """
        weighed = self.values[::2] * self.gain[::2, None]
        gain = np.square(self.gain[::2])
        pairs = len(self.values) // 2
        weighed[:pairs] += self.values[1::2] * self.gain[1::2, None]
        gain[:pairs] += np.square(self.gain[1::2])
        gain = np.sqrt(gain)
        weighed /= np.maximum(gain, np.float32(1e-6))[:, None]
        return replace(self, values=weighed, gain=gain)

    def phases(self, shifts_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what brings frames displaced by (row, column) to their places, for the kernels."""
        rows, columns = self.grid
        tables = (
            np.exp(
                2j
                * np.pi
                * np.outer(shifts_px[:, 0], np.fft.fftfreq(rows, 1 / rows) / self.field_px[0])
            ),
            np.exp(2j * np.pi * np.outer(shifts_px[:, 1], np.arange(columns) / self.field_px[1])),
        )
        return tables[0].astype(np.complex64), tables[1].astype(np.complex64)

    def by_ring(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values of frequencies in each ring, 0 in an empty one."""
        number = np.bincount(self.ring, minlength=RINGS)
        return np.bincount(self.ring, values, minlength=RINGS) / np.maximum(number, 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Specimen and pattern as some frames show them at given places."""

    spectra: Spectra
    frames: range
    """The frames."""
    tables: tuple[np.ndarray, np.ndarray]
    """Phases of these frames."""
    specimen_ratio: np.ndarray
    """Power of the specimen over the noise of one frame, by ring."""
    pattern_ratio: np.ndarray
    """Power of the pattern over it, by ring."""
    noise: np.ndarray
    """Power of the noise, by ring."""
    specimen: np.ndarray
    """Best estimate of S, shape (K,)."""
    pattern: np.ndarray
    """Best estimate of P, shape (K,)."""
    common: np.ndarray
    """What the normalisation adds to slopes, shape (K,)."""
    log_likelihood: float
    """Over that of noise alone."""
    pair_information: np.ndarray
    """Fisher information of a pair of mean frames on their distance [1/px²], shape (2, 2)."""

    def slope(self) -> np.ndarray:
        """Return the derivative of the log likelihood by the places, shape (n, 2)."""
        from interphase.dose.motion_kernels import slopes

        s = self.spectra
        slope = np.empty((len(self.frames), 2))
        slopes(
            s.values[_slice(self.frames)],
            s.gain[_slice(self.frames)],
            *self.tables,
            s.rows,
            s.columns,
            (self.specimen.conj() / self.noise[s.ring]).astype(np.complex64),
            self.pattern,
            self.common,
            np.float32(4 * np.pi) * s.k[0],
            np.float32(4 * np.pi) * s.k[1],
            slope,
        )
        return slope

    def pairs(self) -> np.ndarray:
        """Return how much the pairs of frames count, shape (n, n).

        The Fisher information on places is its Kronecker product with `pair_information`.
        """
        g2 = np.square(self.spectra.gain[_slice(self.frames)]).astype(float)
        return np.asarray(np.diag(g2 * g2.sum()) - np.outer(g2, g2))


def fit(spectra: Spectra, frames: range, shifts_px: np.ndarray) -> Model:
    """Return specimen, pattern and their powers for frames at places [px], shape (n, 2)."""
    from interphase.dose.motion_kernels import sums

    s = spectra
    tables = s.phases(shifts_px)
    moving, fixed, overlap = np.zeros((3, s.values.shape[1]), dtype=np.complex64)
    values, gain = s.values[_slice(frames)], s.gain[_slice(frames)]
    sums(values, gain, *tables, s.rows, s.columns, moving, fixed, overlap)
    total = float(np.square(gain).sum())
    specimen_power, pattern_power, noise = _powers(
        s, gain, s.power[_slice(frames)], moving, fixed, overlap
    )
    u_ring, v_ring = specimen_power / noise, pattern_power / noise
    u, v = (x[s.ring].astype(np.float32) for x in (u_ring, v_ring))
    determinant = (1 + u * total) * (1 + v * total) - u * v * np.square(np.abs(overlap))
    specimen = u * ((1 + v * total) * moving - v * overlap * fixed) / determinant
    pattern = v * ((1 + u * total) * fixed - u * overlap.conj() * moving) / determinant
    gained = (moving.conj() * specimen + fixed.conj() * pattern).real
    told_apart = 1 - v / (1 + v * total) * np.square(np.abs(overlap)) / total
    density = 8 * np.pi**2 * np.square(u) / (1 + u * total) * told_apart
    return Model(
        spectra=s,
        frames=frames,
        tables=tables,
        specimen_ratio=u_ring,
        pattern_ratio=v_ring,
        noise=noise,
        specimen=specimen,
        pattern=pattern,
        common=u * v * overlap.conj() / determinant,
        log_likelihood=float(
            (gained / noise[s.ring]).sum(dtype=float) - np.log(determinant).sum(dtype=float)
        ),
        pair_information=np.einsum("ik,jk,k->ij", s.k, s.k, density).astype(float),
    )


def _powers(
    s: Spectra,
    gain: np.ndarray,
    own_power: np.ndarray,
    moving: np.ndarray,
    fixed: np.ndarray,
    overlap: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the power of specimen, pattern and noise in each ring by the method of moments.

    The pattern is white; where the specimen hardly moved and cannot be told from it, its power
    is that beyond the band.
    """
    seen = gain > 0
    total = float(np.square(gain).sum())
    scale = total / seen.sum()
    each = own_power[seen].mean(axis=0)
    # What frames have in common, beyond the noise of each by itself.
    own = np.square(gain / total) @ own_power
    common_moving = s.by_ring(np.square(np.abs(moving))) / total**2 - own
    common_fixed = s.by_ring(np.square(np.abs(fixed))) / total**2 - own
    q = s.by_ring(np.square(np.abs(overlap))) / total**2
    itself = float((gain**4).sum()) / total**2
    alone = 1 - itself
    mixed = q - itself
    number = np.bincount(s.ring, minlength=RINGS)
    apart = alone**2 - mixed**2
    by_ring = np.divide(
        common_fixed * alone - common_moving * mixed, apart, out=np.zeros(RINGS), where=apart > 0.1
    )
    weight = number * np.clip(apart, 0, None) ** 2
    prior = 0.02 * number.sum()
    white = (weight @ by_ring + prior * s.white_pattern) / (weight.sum() + prior)
    pattern = np.full(RINGS, max(white, 0.0))
    specimen = (common_moving - pattern * mixed) / alone
    # Rings have few frequencies inside, and the specimen's power changes slowly.
    padded = np.pad(specimen * number, 1)
    counts = np.pad(number, 1)
    smooth = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    specimen = np.maximum(smooth / np.maximum(counts[:-2] + 2 * counts[1:-1] + counts[2:], 1), 0.0)
    noise = np.maximum(each - scale * (specimen + pattern), 0.05 * each) + 1e-12
    return specimen, pattern, noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """Places of some successive frames and how sure they are."""

    shifts_px: np.ndarray
    """Places (row, column), their mean is 0, shape (n, 2)."""
    sigma_px: np.ndarray
    """Their standard deviations, shape (n, 2)."""
    model: Model
    """Specimen and pattern at these places."""


def climb(
    spectra: Spectra, frames: range, shifts_px: np.ndarray, *, steps: int, still_px: float
) -> Track:
    """Return places near those given at which likelihood times smoothness is greatest.

    Parameters
    ----------
    spectra
        The frames.
    frames
        Those to use, n of them.
    shifts_px
        Where to start [px], shape (n, 2).
    steps
        Largest number of steps.
    still_px
        Root mean square change of a step that is the last [px].

    Notes
    -----
    Each step solves for the places with the Fisher information, and estimates anew how changes of
    velocity are distributed: by Student's t with three degrees of freedom, as a mixture of normal
    laws by expectation and maximisation.
    """
    n = len(frames)
    shifts = shifts_px - shifts_px.mean(axis=0)
    bend = np.diff(np.eye(n), 2, axis=0)
    spread = np.zeros(len(bend))
    apart = np.subtract.outer(np.arange(len(bend)), np.arange(len(bend)))
    near = np.exp(-0.5 * np.square(apart / ALIKE))
    near /= near.sum(axis=1, keepdims=True)
    unsure = np.zeros(n)
    sigma = np.zeros((n, 2))
    model = fit(spectra, frames, shifts)
    for _ in range(steps):
        square = np.square(bend @ shifts).sum(axis=1) + unsure[: len(bend)]
        if not spread.any():
            spread = np.full(len(bend), np.median(square) / MEDIAN if n > 2 else np.inf)
        for _ in range(5):
            weight = (TAIL + 2) / (TAIL + square / np.maximum(spread, SMOOTHEST_PX**2))
            spread = near @ (weight * square) / 2
        spread = np.maximum(spread, SMOOTHEST_PX**2)
        smoothness = bend.T @ (bend * (weight / spread)[:, None])
        push = model.slope() - smoothness @ shifts
        step, sigma, unsure = np.zeros((n, 2)), np.zeros((n, 2)), np.zeros(n)
        # Along the axes of the information of a pair the two coordinates are independent.
        for strength, axis in zip(*_axes(model.pair_information), strict=True):
            # The likelihood does not know the mean of all places: it is held at 0.
            precision = strength * model.pairs() + smoothness + 1 / n
            covariance = np.linalg.inv(precision) - 1 / n
            step += np.outer(covariance @ (push @ axis), axis)
            sigma += np.outer(np.diag(covariance), axis**2)
            unsure[: len(bend)] += np.einsum("ij,ij->i", bend @ covariance, bend)
        sigma = np.sqrt(sigma)
        step /= max(1.0, float(np.hypot(*step.T).max()) / LONGEST_STEP_PX)
        shifts = shifts + step - step.mean(axis=0)
        model = fit(spectra, frames, shifts)
        if np.sqrt(np.square(step).mean()) < still_px:
            break
    return Track(shifts_px=shifts, sigma_px=sigma, model=model)


def _axes(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, above 0, and eigenvectors, one a row."""
    values, vectors = np.linalg.eigh(information)
    return np.maximum(values, 1e-9), vectors.T


def look_around(track: Track, frame: int) -> np.ndarray:
    """Return the log likelihood of each place of a frame, of the shape of the band's grid.

    The frame's own part in the specimen is left out; places are counted from 0 as of `irfft2`.
    """
    from scipy import fft

    s, model = track.model.spectra, track.model
    g = s.gain[frame]
    rest = s.values[frame] - g * model.pattern
    specimen = model.specimen
    if frame in model.frames:
        u = model.specimen_ratio
        total = float(np.square(s.gain[_slice(model.frames)]).sum())
        along, across = (table[frame - model.frames.start] for table in model.tables)
        own = (u / (1 + u * total)).astype(np.float32)[s.ring]
        specimen = specimen - own * g * along[s.rows] * across[s.columns] * rest
    product = specimen.conj() * rest * (g / model.noise).astype(np.float32)[s.ring]
    grid = np.zeros(s.grid, dtype=np.complex64)
    # The grid's inverse sums both halves of the plane, hence each term twice.
    grid[s.rows, s.columns] = product
    return np.asarray(fft.irfft2(grid, s=s.map_shape, norm="forward"))


def _slice(frames: range) -> slice:
    return slice(frames.start, frames.stop)
