"""The path of a specimen through a movie, found from nothing.

No two frames of a low dose show where one lies upon the other, so all pairs within a stretch of the
movie are looked at together, on the assumption that the specimen moved evenly there. The
stretch that says most is where the search begins; from there frame after frame is laid upon what is
known so far, and in the end each frame upon all others.
"""

from typing import NamedTuple

import numpy as np

from interphase.dose.motion import Spectra, Track, climb, look_around

# Movies of more frames are first looked at in pairs.
MANY = 60
# Widths of Gaussian bands in which a stretch is looked at [1/px].
WIDTHS = (0.07, 0.15)
# Shares of a movie that a stretch may be, 1 over these.
STRETCHES = (2, 4, 8)
# A stretch of this significance is long enough, and shorter ones are not looked at.
ENOUGH = 8.0
# Fastest steady movement that is looked for [px/frame].
FASTEST_PX = 6.0
# Farthest movement within a stretch, over the field's side.
FARTHEST = 0.25
# How far frames lie from where those beside lead to, where a search begins [px].
EXPECTED_PX = 1.5
# Degrees of freedom of that distance.
TAIL = 3.0
# A frame is moved only if that is so much likelier, in units of log likelihood. With about 1000
# places to go to, chance offers one in e^10.
WORTH_MOVING = 10.0


class Stretch(NamedTuple):
    """Frames in which the specimen moved evenly."""

    significance: float
    """Standard deviations above what noise alone shows."""
    first: int
    """Its first frame."""
    length: int
    """Number of frames."""
    velocity_px: np.ndarray
    """Movement (row, column) [px/frame]."""


def find_track(spectra: Spectra) -> Track:
    """Return the most likely track of all frames that the search finds."""
    number = len(spectra.values)
    if number > MANY:
        # Frames say little each, and the specimen moves little from one to the next.
        pairs = find_track(spectra.in_pairs()).shifts_px
        place = (np.arange(number) - 0.5) / 2
        between = [np.interp(place, np.arange(len(pairs)), along) for along in pairs.T]
        start = np.stack(between, axis=1)
        return settle(climb(spectra, range(number), start, steps=15, still_px=0.01))
    best = best_stretch(spectra)
    frames = range(best.first, best.first + best.length)
    start = np.arange(best.length)[:, None] * best.velocity_px
    track = climb(spectra, frames, start, steps=8, still_px=0.05)
    while len(frames) < number:
        frames, shifts = _longer(track)
        track = climb(spectra, frames, shifts, steps=3, still_px=0.05)
    return settle(track)


def settle(track: Track) -> Track:
    """Return a track in which no frame alone finds a better place."""
    for _ in range(3):
        shifts = track.shifts_px.copy()
        for frame in track.model.frames:
            place, gained = _best_place(track, frame, _led_to(track.shifts_px, frame))
            if gained > WORTH_MOVING:
                shifts[frame] = place
        moved = bool((shifts != track.shifts_px).any())
        track = climb(track.model.spectra, track.model.frames, shifts, steps=15, still_px=0.01)
        if not moved:
            break
    return track


def best_stretch(spectra: Spectra) -> Stretch:
    """Return the stretch of a movie in which even movement is seen most clearly."""
    from scipy import fft

    s = spectra
    number, shape, step = len(s.values), s.map_shape, s.map_step_px
    power = s.power.mean(axis=0)
    white = (1 / np.sqrt(np.maximum(power, 1e-12)))[s.ring].astype(np.float32)
    length = np.hypot(*s.k)
    bands = [np.exp(-0.5 * np.square(length / w)).astype(np.float32) for w in WIDTHS]
    grid = np.zeros(s.grid, dtype=np.complex64)

    def correlation(product: np.ndarray) -> np.ndarray:
        grid[s.rows, s.columns] = product
        return np.asarray(fft.irfft2(grid, s=shape, norm="forward"))

    # What the fixed pattern adds to the correlation of each pair.
    pattern_power = s.white_pattern * float(np.square(s.gain).mean())
    fixed = [correlation(band * white**2 * pattern_power) for band in bands]
    best = None
    for size in sorted({min(number, max(3, number // n)) for n in STRETCHES}, reverse=True):
        if best is not None and best.significance > ENOUGH:
            break
        # Steps that move the last frame upon the first by a pixel or two.
        speed = 2.0 / (size - 1)
        fastest = min(FASTEST_PX, FARTHEST * min(s.field_px) / (size - 1))
        once = np.arange(-np.ceil(fastest / speed), np.ceil(fastest / speed) + 1) * speed
        for first in sorted({*range(0, number - size + 1, max(1, size // 2)), number - size}):
            part = s.values[first : first + size] * white
            scores = np.zeros((len(bands), len(once), len(once)))
            for lag in range(1, size):
                product = np.einsum("fk,fk->k", part[:-lag].conj(), part[lag:])
                y, x = (np.rint(lag * once / step[axis]).astype(int) for axis in (0, 1))
                near = (np.abs(y) < shape[0] // 2)[:, None] & (np.abs(x) < shape[1] // 2)
                place = np.ix_(y % shape[0], x % shape[1])
                for score, band, pattern in zip(scores, bands, fixed, strict=True):
                    score += near * (correlation(product * band) - (size - lag) * pattern)[place]
            for score, band in zip(scores, bands, strict=True):
                score /= np.sqrt(size * (size - 1) * np.square(band).sum())
                y, x = np.unravel_index(score.argmax(), score.shape)
                found = Stretch(float(score[y, x]), first, size, np.array([once[y], once[x]]))
                if best is None or found.significance > best.significance:
                    best = found
    assert best is not None
    return best


def _longer(track: Track) -> tuple[range, np.ndarray]:
    """Return frames that reach a tenth further to both ends, if there are more, and places."""
    frames, places = track.model.frames, list(track.shifts_px)
    more = max(1, len(frames) // 10)
    back = min(4, len(frames) - 1)
    after = range(frames.stop, min(frames.stop + more, len(track.model.spectra.values)))
    before = range(frames.start - 1, max(frames.start - more, 0) - 1, -1)
    for frame in after:
        led = places[-1] + (places[-1] - places[-1 - back]) / back
        places.append(_best_place(track, frame, led)[0])
    for frame in before:
        led = places[0] + (places[0] - places[back]) / back
        places.insert(0, _best_place(track, frame, led)[0])
    return range(frames.start - len(before), frames.stop + len(after)), np.array(places)


def _led_to(shifts: np.ndarray, frame: int) -> np.ndarray:
    """Return where the frames beside lead to."""
    last = len(shifts) - 1
    if last < 2:
        return np.asarray(shifts[frame])
    if frame == 0:
        return np.asarray(2 * shifts[1] - shifts[2])
    if frame == last:
        return np.asarray(2 * shifts[-2] - shifts[-3])
    return np.asarray((shifts[frame - 1] + shifts[frame + 1]) / 2)


def _best_place(track: Track, frame: int, expected: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the best place of a frame, and how much likelier than its present one it is."""
    s = track.model.spectra
    score = look_around(track, frame)
    places = [np.fft.fftfreq(n, 1 / n) * d for n, d in zip(s.map_shape, s.map_step_px, strict=True)]
    square = np.square(places[0] - expected[0])[:, None] + np.square(places[1] - expected[1])
    score -= (TAIL + 2) / 2 * np.log1p(square / (TAIL * EXPECTED_PX**2))
    y, x = np.unravel_index(score.argmax(), score.shape)
    gained = np.inf
    if frame in track.model.frames:
        now = track.shifts_px[frame - track.model.frames.start] / s.map_step_px
        gained = float(score[y, x]) - float(score[tuple(np.rint(now).astype(int) % s.map_shape)])
        # Beside the present place it is the same peak.
        if np.abs(np.rint(now) % s.map_shape - (y, x)).max() <= 1:
            gained = 0.0
    return np.array([places[0][y], places[1][x]]), gained
