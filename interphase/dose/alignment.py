"""How far the specimen drifted in each frame of a movie, at doses at which no frame shows it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.dose.frames import each_frame, movie_shape
from interphase.dose.motion import Model, Spectra, Track, climb, fit
from interphase.dose.motion_search import find_track, settle

# Highest frequency that is looked at [1/px]; what is near Nyquist's costs time and says little.
HIGHEST = 0.35
# Periods longer than this share of the field are those of the illumination.
LONGEST = 1 / 8
# Largest side of the band in real space [px], and largest memory for the spectra [bytes].
LARGEST_BAND, LARGEST_SPECTRA = 1024, 2**28
# Share of the field's side over which its edges fade.
EDGE = 1 / 16
# Pixels whose sum over the movie is so many standard deviations off are the camera's.
HOT = 8.0
# A frame with a larger share of values that are not finite is not used.
MOST_LOST = 0.01
# Frequencies above this see the fixed pattern and no specimen [1/px].
BEYOND = 0.45
# Least significance of what one half of the frequencies sees at places found in the other.
SIGNIFICANT = 5.0
# By how much the power of the fixed pattern may be wrong.
PATTERN_ERROR = 1.5
# Powers that are so many standard deviations of noise above those around stand out.
STANDS_OUT = 5.0
# Searches that differ by more in any frame found different tracks [px].
DIFFERENT_PX = 1.0
# Median of the square of a normal variable over its variance.
MEDIAN_OF_CHI2 = 0.4549
# Side of the smallest frame that is aligned [px].
SMALLEST_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """Where the specimen lies in each frame of a movie."""

    assessment: Assessment
    """``ok``; ``ambiguous`` where two halves of the data say different things;
    ``too_few_electrons`` or ``unusable``, and then there are no shifts."""
    sentence: str
    """The verdict in words."""
    shifts_px: np.ndarray | None
    """How far the specimen is displaced (row, column) [px], shape (F, 2): frame f shows at pixel r
    what lies at r - s. Their mean over all frames is 0. ``None`` where it is not known."""
    sigma_px: np.ndarray | None
    """Standard deviation of each shift (row, column) [px], shape (F, 2)."""
    significance: float
    """Correlation of even and odd frames at places found without the frequencies in which they are
    compared, over its standard deviation in noise."""
    overlap_correlation: float
    """Correlation of the sums of even and odd frames at the places found, in the band in which
    the specimen is seen, without the fixed pattern; 1 for frames without noise."""
    unused: tuple[int, ...]
    """Frames that hold nothing that can be aligned; their shifts follow from the others."""

    @property
    def drift_px(self) -> float | None:
        """Largest distance of two frames [px]."""
        return None if self.shifts_px is None else _farthest(self.shifts_px)


def align_movie(frames: Any) -> Alignment:
    r"""Return how far the specimen drifted in each frame of a movie.

    For the motion of whole frames, at doses down to a fraction of an electron per pixel. What moves
    in parts, turns or changes its size is not followed, and what is too weak says so. The pattern
    that a wrong gain reference and hot pixels leave on every frame is told from the specimen by
    its staying in place; a specimen that stays there, too, is recognised only where it is stronger.

    Parameters
    ----------
    frames
        Counts, shape (F, M, N): an array of NumPy or Dask, or a sequence of images. They are read
        twice, one after another; what is kept of them is at most 0.5 GB.

    Returns
    -------
    Alignment
        Shifts with their uncertainty, or why there are none.

    Raises
    ------
    ParameterError
        There is but one frame, or the array is no movie of real numbers.

    Notes
    -----
    Shifts maximise the likelihood of frames that show one specimen of unknown structure under a
    fixed pattern of unknown structure, see `interphase.dose.motion`, with changes of velocity
    distributed by Student's t of a width that is estimated along the way. Half of the spatial
    frequencies find the shifts and the other half judge them, and the other way round: noise that
    was fitted in one half is not there in the other. How far the two halves differ also is the
    measure of uncertainty where it is larger than the likelihood has it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> specimen = rng.gamma(10.0, 1.0, (160, 160))
    >>> frames = [rng.poisson(specimen[16 + s : 144 + s, 16:144]) for s in (0, 4, 6, 7, 7, 7)]
    >>> found = align_movie(frames)
    >>> found.assessment.value, (found.shifts_px[0] - found.shifts_px)[:, 0].round(1).tolist()
    ('ok', [0.0, 4.0, 6.0, 7.0, 7.0, 7.0])
    >>> align_movie(rng.poisson(1.0, (6, 128, 128))).assessment.value
    'too_few_electrons'
    """
    shape = movie_shape(frames, least=2)
    if min(shape[1:]) < SMALLEST_PX:
        return _nothing(
            Assessment.UNUSABLE,
            f"Frames have {shape[1]} × {shape[2]} pixels; at least {SMALLEST_PX} along each side "
            "are needed.",
        )
    spectra, fault = read_spectra(frames)
    unused = () if spectra is None else tuple(map(int, np.flatnonzero(spectra.gain == 0)))
    if spectra is None:
        return _nothing(Assessment.UNUSABLE, fault)
    parity = (spectra.rows + spectra.columns) % 2 == 0
    halves = [spectra.part(parity), spectra.part(~parity)]
    tracks = [find_track(half) for half in halves]
    seen = [_significance(judge, track) for judge, track in zip(halves[::-1], tracks, strict=True)]
    significance = min(seen)
    if significance < SIGNIFICANT:
        return _nothing(
            Assessment.TOO_FEW_ELECTRONS,
            "The frames do not show enough of the specimen to be aligned: at places found with one "
            "half of the spatial frequencies, even and odd frames correlate in the other by "
            f"{significance:.1f} standard deviations of noise, and {SIGNIFICANT:g} are needed.",
            significance=significance,
            unused=unused,
        )
    every = range(len(spectra.values))
    found = [
        settle(climb(spectra, every, track.shifts_px, steps=15, still_px=0.01)) for track in tracks
    ]
    best = max(found, key=lambda track: track.model.log_likelihood)
    apart = tracks[0].shifts_px - tracks[1].shifts_px
    expected = np.square(tracks[0].sigma_px) + np.square(tracks[1].sigma_px)
    # The median does not know of a frame that one of the halves has lost.
    wider = max(1.0, float(np.median(np.square(apart) / expected)) / MEDIAN_OF_CHI2)
    sigma = best.sigma_px * np.sqrt(wider)
    # Both started from a half of their own, and saw the same.
    distance = np.hypot(*(found[0].shifts_px - found[1].shifts_px).T)
    ambiguous = float(distance.max()) > DIFFERENT_PX
    error = float(np.sqrt(np.square(sigma).sum(axis=1).mean()))
    sentence = (
        f"The specimen moved by {_farthest(best.shifts_px):.1f} px; its places are known to "
        f"{error:.2g} px."
    )
    if unused:
        sentence += f" {len(unused)} of {shape[0]} frames hold nothing and follow from the others."
    if ambiguous:
        sentence += (
            f" Two searches, each begun with half of the spatial frequencies, differ by "
            f"{distance.max():.1f} px in frame {distance.argmax()}."
        )
    return Alignment(
        assessment=Assessment.AMBIGUOUS if ambiguous else Assessment.OK,
        sentence=sentence,
        shifts_px=best.shifts_px,
        sigma_px=sigma,
        significance=significance,
        overlap_correlation=_overlap(best.model)[0],
        unused=unused,
    )


def read_spectra(frames: Any) -> tuple[Spectra | None, str]:
    """Return what is kept of a movie, or the sentence that says why nothing can be.

    Frames become contrast, their counts over their mean less 1, without pixels that are the
    camera's.
    """
    from scipy import fft

    from interphase.parallel import threads

    number, rows, columns = movie_shape(frames)
    mean, usual = _usual_pixels(frames)
    if (mean > 0).sum() < max(2, number / 2):
        return None, (f"{(mean <= 0).sum()} of {number} frames are empty, constant or not finite.")
    typical = float(mean[mean > 0].mean())
    gain = np.sqrt(np.maximum(mean, 0) / typical).astype(np.float32)
    window = np.outer(_edges(rows), _edges(columns)).astype(np.float32) * usual
    scale = np.sqrt(typical / np.square(window).sum())
    row, column, map_shape = _band(number, rows, columns)
    values = np.zeros((number, len(row)), dtype=np.complex64)
    together = np.zeros((rows, columns // 2 + 1), dtype=np.complex64)
    for f, frame in enumerate(each_frame(frames)):
        if not gain[f]:
            continue
        contrast = np.where(usual, frame / np.float32(mean[f]) - 1, 0).astype(np.float32)
        spectrum = fft.rfft2(contrast * (window * (gain[f] * scale)), workers=threads())
        values[f] = spectrum[row, column]
        together += gain[f] * spectrum
    total = float(np.square(gain).sum())
    ky, kx = np.abs(np.fft.fftfreq(rows))[:, None], np.fft.rfftfreq(columns)
    beyond = (np.hypot(ky, kx) > BEYOND) & (ky > 0) & (kx > 0) & (kx < 0.5)
    alone = np.mean(np.square(np.abs(values[gain > 0, :: max(1, len(row) // 4096)])))
    pattern = np.mean(np.square(np.abs(together[beyond]))) / total**2 - alone / total
    spectra = Spectra(
        values=values,
        gain=gain,
        rows=(row % map_shape[0]).astype(np.int32),
        columns=column.astype(np.int32),
        map_shape=map_shape,
        field_px=(rows, columns),
        white_pattern=max(float(pattern), 0.0),
    )
    return _tamed(spectra), ""


def _tamed(spectra: Spectra) -> Spectra:
    """Return spectra in which nothing stands out of its surroundings; those given are used up.

    Fringes of a crystal fit again and again, a spacing further each time; they would outvote the
    film between them, which fits once.
    """
    seen = np.flatnonzero(spectra.gain > 0)
    power = np.zeros(len(spectra.ring))
    for f in seen:
        power += np.square(np.abs(spectra.values[f]))
    excess = power / spectra.by_ring(power)[spectra.ring]
    stands_out = excess > 1 + STANDS_OUT / np.sqrt(len(seen))
    lower = np.where(stands_out, 1 / np.sqrt(excess), 1).astype(np.float32)
    for f in seen:
        spectra.values[f] *= lower
    return replace(spectra)


def _usual_pixels(frames: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each frame, 0 where it is of no use, and which pixels are good."""
    from scipy import ndimage

    number, rows, columns = movie_shape(frames)
    total = np.zeros((rows, columns))
    finite = np.ones((rows, columns), dtype=bool)
    mean = np.zeros(number)
    for f, frame in enumerate(each_frame(frames)):
        known = np.isfinite(frame)
        if known.mean() < 1 - MOST_LOST or frame.min() == frame.max():
            continue
        mean[f] = max(float(np.mean(frame, where=known, dtype=float)), 0.0)
        if mean[f]:
            finite &= known
            total += np.where(known, frame, 0)
    rest = total - ndimage.median_filter(total, 5)
    scatter = 1.4826 * float(np.median(np.abs(rest))) or float(rest.std())
    usual = finite & (np.abs(rest) <= HOT * scatter)
    return mean, usual


def _edges(size: int) -> np.ndarray:
    """Return weights that fade at both ends."""
    place = np.arange(size) + 0.5
    share = np.minimum(np.minimum(place, size - place) / (EDGE * size), 1)
    return np.asarray(np.sin(np.pi / 2 * share) ** 2)


def _band(frames: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return the frequencies that are kept, as (row, column) of the spectrum, and a map's shape.

    The axes are left out: edges and columns of the camera are there.
    """
    from scipy.fft import next_fast_len

    most = LARGEST_SPECTRA / (8 * frames)
    highest = min(
        HIGHEST,
        LARGEST_BAND / (2 * max(rows, columns)),
        np.sqrt(2 * most / (np.pi * rows * columns)),
    )
    top, right = int(highest * rows), int(highest * columns)
    row, column = np.mgrid[-top : top + 1, 1 : right + 1]
    k = np.hypot(row / rows, column / columns)
    kept = (row != 0) & (k <= highest) & (k > 1 / (LONGEST * min(rows, columns)))
    shape = (next_fast_len(2 * top + 1), next_fast_len(2 * right + 1, real=True))
    return row[kept], column[kept], shape


def _significance(judge: Spectra, track: Track) -> float:
    """Return the correlation of even and odd frames over its standard deviation in noise.

    Places and the powers that weigh the frequencies come from `track`, of other frequencies.
    """
    model = fit(judge, track.model.frames, track.shifts_px)
    u = track.model.specimen_ratio
    weight = (u / (1 + u * len(track.shifts_px)) / model.noise)[judge.ring]
    _, product, scatter = _overlap(model)
    strength = float(np.sqrt(np.square(weight * scatter).sum()))
    return float((weight * product).sum() / strength) if strength > 0 else 0.0


def _overlap(model: Model) -> tuple[float, np.ndarray, np.ndarray]:
    """Return how even and odd frames correlate: in all, by frequency, and its scatter in noise."""
    from interphase.dose.motion_kernels import half_sums

    s = model.spectra
    halves = np.zeros((2, len(s.ring)), dtype=np.complex64)
    overlap = np.zeros_like(halves)
    none = np.zeros(len(s.ring), dtype=np.complex64)
    half_sums(s.values, s.gain, *model.tables, s.rows, s.columns, none, halves)
    # Frames of nothing but a pattern of 1.
    ones = np.ones_like(s.values[:1])
    for f, g in enumerate(s.gain):
        along, across = (table[[f]] for table in model.tables)
        half = overlap[f % 2 : f % 2 + 1]
        half_sums(ones, np.array([g]), along, across, s.rows, s.columns, none, half)
    power = (model.pattern_ratio * model.noise)[s.ring]
    product = (halves[0].conj() * halves[1]).real
    product = product - PATTERN_ERROR * power * (overlap[0].conj() * overlap[1]).real
    power = [s.by_ring(np.square(np.abs(half))) for half in halves]
    scatter = np.sqrt(power[0] * power[1] / 2)[s.ring]
    weight = model.specimen_ratio[s.ring] > 0
    norm = np.sqrt((weight * power[0][s.ring]).sum() * (weight * power[1][s.ring]).sum())
    return float((weight * product).sum() / norm) if norm > 0 else 0.0, product, scatter


def _farthest(places: np.ndarray) -> float:
    """Return the largest distance of two places."""
    between = places[:, None] - places
    return float(np.hypot(between[..., 0], between[..., 1]).max())


def _nothing(
    assessment: Assessment,
    sentence: str,
    *,
    significance: float = 0.0,
    unused: tuple[int, ...] = (),
) -> Alignment:
    return Alignment(
        assessment=assessment,
        sentence=sentence,
        shifts_px=None,
        sigma_px=None,
        significance=significance,
        overlap_correlation=0.0,
        unused=unused,
    )
