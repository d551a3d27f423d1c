"""What spectra, peaks and plasmons say of every set of species, edge by edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from interphase.eels.fingerprints import (
    LOW_LOSS,
    Feature,
    Fingerprint,
    FingerprintTable,
    fingerprint_table,
)
from interphase.eels.likelihood import in_threads
from interphase.eels.shapes import (
    ABOVE_EV,
    BELOW_EV,
    DRAWN,
    FWHM,
    MOST_DRAWN,
    SHIFTS,
    shapes_of,
    weigh,
)
from interphase.eels.species_atoms import Atoms, atoms_evidence
from interphase.errors import ParameterError

CARBON = "C_K"
# Probability of no, one and two compounds, and of no, one and two kinds of carbon, before any
# spectrum is seen. Working values.
_COMPOUNDS, _CARBONS = (0.2, 0.5, 0.3), (0.15, 0.55, 0.3)
# Standard errors above the noise from which an edge, and the peak of carbonate, is there.
_EDGE, _PEAK = 4.0, 3.0
# Probability below which a species is not worth a word.
POSSIBLE = 0.1
# Channels of an edge that are compared: no narrower than this [eV], and no fewer.
_CHANNEL_EV, _CHANNELS = 0.5, 12
# Energies about the peak of carbonate to which it must add [eV], and its natural width.
_ABOUT_EV, _PEAK_WIDTH_EV = (286.5, 295.0), 1.0
# Plasmons of what is not in the table, mean and scatter [eV], those of the table have 18 and 6; and
# the share of measured peaks that are none.
PLASMONS_EV, _WRONG = (18.0, 7.0), 0.1
# Shapes among the best that count alike, a share of all and a least number: fewer would be a matter
# of which were drawn.
_ALIKE, _LEAST_ALIKE = 0.0025, 10
# Power of the likelihood of an edge: the shapes of nature are not those of the table. Chosen on
# drawn shapes whose places, widths and shares lie outside the table's ranges.
_TRUST = 0.7
# Spectra that are judged at once.
_AT_ONCE = 4096


class Hypotheses:
    """What may be there: up to two compounds and up to two kinds of carbon."""

    def __init__(self, names: tuple[str, ...], table: FingerprintTable) -> None:
        self.names, self.table = names, table
        prints = [table.species[name] for name in names]
        carbons = [p for p in prints if not p.lithium and p.of(CARBON)]
        compounds = [p for p in prints if p not in carbons]
        self.sets: list[tuple[Fingerprint, ...]] = []
        logs = []
        for some, before in _subsets(compounds, _COMPOUNDS):
            for kinds, and_before in _subsets(carbons, _CARBONS):
                self.sets.append((*some, *kinds))
                logs.append(np.log(before * and_before))
        self.log_prior = np.array(logs)
        # A compound of carbon holds its kind of carbon as well.
        held = [{name for p in one for name in (p.identifier, p.carbon_as)} for one in self.sets]
        self.holds = np.array([[float(name in one) for name in names] for one in held])

    def label(self, some: tuple[Fingerprint, ...], edge: str) -> tuple[str, ...]:
        """Return the species of a set whose shapes an edge of it shows."""
        shown = [p.carbon_as if edge == CARBON and p.carbon_as else p.identifier for p in some]
        known = {name for name in shown if self.table.species[name].of(edge)}
        return tuple(name for name in self.table.species if name in known)

    def labels(self, edge: str) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """Return what an edge may show, and which of it each hypothesis makes it show."""
        each = [self.label(some, edge) for some in self.sets]
        found = list(dict.fromkeys(each))
        return found, np.array([found.index(label) for label in each])


def _subsets(
    prints: Sequence[Fingerprint], before: tuple[float, ...]
) -> list[tuple[tuple[Fingerprint, ...], float]]:
    """Return none, one and two of some, and the probability of each."""
    found = []
    for size, probability in enumerate(before):
        some = list(combinations(prints, size))
        found += [(one, probability / len(some)) for one in some]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """An edge with the shapes it may have."""

    edge: str
    starts: np.ndarray
    stop: int
    energy_ev: np.ndarray
    shapes: np.ndarray
    labels: list[tuple[str, ...]]
    of_hypothesis: np.ndarray
    peak: tuple[np.ndarray, np.ndarray] | None


def windows_of(
    hypotheses: Hypotheses,
    energy_ev: np.ndarray | None,
    table: FingerprintTable,
    axis_error_ev: float,
    resolution_ev: float,
) -> list[Window]:
    """Return the edges that an axis covers."""
    if energy_ev is None:
        return []
    windows = []
    for edge, onset in table.onset_ev.items():
        labels, of_hypothesis = hypotheses.labels(edge)
        inside = np.flatnonzero((energy_ev >= onset - BELOW_EV) & (energy_ev <= onset + ABOVE_EV))
        covered = energy_ev[0] <= onset - BELOW_EV / 2 and energy_ev[-1] >= onset + ABOVE_EV / 2
        if not covered or len(inside) < _CHANNELS or labels == [()]:
            continue
        width = float(np.median(np.diff(energy_ev[inside])))
        together = max(1, int(_CHANNEL_EV / width + 1e-6))
        starts = inside[0] + np.arange(len(inside) // together) * together
        if len(starts) < _CHANNELS:
            continue
        energy = np.array([energy_ev[s : s + together].mean() for s in starts])
        drawn = 2 ** int(np.log2(min(DRAWN / len(labels), MOST_DRAWN)))
        shapes = [
            shapes_of(
                [table.species[name] for name in label][:2],
                edge,
                energy,
                table=table,
                axis_error_ev=axis_error_ev,
                resolution_ev=resolution_ev,
                drawn=drawn,
            )
            for label in labels
        ]
        stop = int(starts[-1] + together)
        windows.append(
            Window(
                edge=edge,
                starts=starts,
                stop=stop,
                energy_ev=energy,
                shapes=np.stack(shapes),
                labels=labels,
                of_hypothesis=of_hypothesis,
                peak=_peak_shapes(energy, axis_error_ev, resolution_ev) if edge == CARBON else None,
            )
        )
    return windows


def _peak_shapes(
    energy_ev: np.ndarray, axis_error_ev: float, resolution_ev: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where the peak of carbonate is looked for, and it at some places on some grounds.

    A ground is curved and may rise by a step, as where σ* of other carbon begins; the columns are
    of shape (places, grounds, E, 5), the peak first.
    """
    from scipy.special import ndtr

    feature = fingerprint_table().species["carbonate"].of(CARBON)[0]
    about = (energy_ev >= _ABOUT_EV[0]) & (energy_ev <= _ABOUT_EV[1])
    if about.sum() < 8:
        return None
    energy = energy_ev[about]
    sigma = np.hypot(resolution_ev, _PEAK_WIDTH_EV) / FWHM
    middle = (feature.low_ev + feature.high_ev) / 2
    reach = min(2 * axis_error_ev, 1.0)
    curve = np.vander((energy - np.mean(_ABOUT_EV)) / (_ABOUT_EV[1] - _ABOUT_EV[0]), 3)
    columns = [
        [
            np.column_stack(
                [
                    np.exp(-(((energy - middle - off) / sigma) ** 2) / 2),
                    curve,
                    ndtr((energy - place) / np.hypot(width / FWHM, sigma)),
                ]
            )
            for place in np.arange(288.5, 292.0, 0.5)
            for width in (0.5, 1.5, 3.0)
        ]
        for off in (np.linspace(-reach, reach, 5) if reach else [0.0])
    ]
    return np.flatnonzero(about), np.array(columns)


class Evidence:
    """What spectra, peaks and plasmons say, gathered block by block."""

    def __init__(
        self, shape: tuple[int, ...], hypotheses: Hypotheses, windows: list[Window]
    ) -> None:
        self.hypotheses, self.windows = hypotheses, windows
        self.log = np.zeros((*shape, len(hypotheses.sets)))
        self.bad = np.zeros(shape, dtype=bool)
        self.peak = np.full(shape, np.nan)
        size = (*shape, len(windows))
        self.counts, self.error = np.full(size, np.nan), np.full(size, np.nan)
        self.misfit, self.limit = np.full(size, np.nan), np.full(size, np.nan)
        self.seen = {window.edge: np.zeros(shape, dtype=bool) for window in windows}
        self.plasmon, self.metal = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.places: list[str] = []

    def look(self, where: tuple[slice, ...], net: np.ndarray, variance: np.ndarray) -> None:
        """Take in what a block of spectra says."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        channels = net.shape[-1]
        flat, spread = net.reshape(-1, channels), variance.reshape(-1, channels)
        good = np.isfinite(flat).all(axis=1) & np.isfinite(spread).all(axis=1)
        if (spread[good] <= 0).any():
            raise ParameterError(
                f"variance goes down to {spread[good].min():g}: expected more than 0; where "
                "nothing was counted it is that of what the fit expects"
            )
        self.bad[where] = ~good.reshape(net.shape[:-1])
        log = np.zeros((len(flat), len(self.hypotheses.sets)))
        values = np.full((len(flat), len(self.windows), 5), np.nan)
        if good.any() and self.windows:
            # Spectra are shared out among the cores, their products are not once more.
            with threadpool_limits(1):
                log[good], values[good] = in_threads(
                    partial(_look_at, self.windows), flat[good], spread[good]
                )
        shape = self.bad[where].shape
        self.log[where] += log.reshape(*shape, -1)
        counts, error, misfit, noise, rise = np.moveaxis(values.reshape(*shape, -1, 5), -1, 0)
        self.counts[where], self.error[where], self.misfit[where] = counts, error, misfit
        self.limit[where] = _EDGE * noise
        for number, window in enumerate(self.windows):
            seen = counts[..., number] > self.limit[where][..., number]
            self.seen[window.edge][where] = seen
            if window.edge == CARBON:
                self.peak[where] = np.where(seen, rise[..., number], np.nan)

    def add_places(
        self, edge: str, energy: np.ndarray, error: np.ndarray, axis_error_ev: float
    ) -> None:
        """Take in where peaks, or the plasmon, were found."""
        self.places.append(edge)
        table = self.hypotheses.table
        labels, of_hypothesis = self.hypotheses.labels(edge)
        seen = np.isfinite(energy)
        spread2 = error**2 + axis_error_ev**2
        even = np.full(energy.shape, 1 / ABOVE_EV)
        if edge == LOW_LOSS:
            off = (energy - PLASMONS_EV[0]) / PLASMONS_EV[1]
            even = np.exp(-(off**2) / 2) / PLASMONS_EV[1] / np.sqrt(2 * np.pi)
        log = np.zeros((*energy.shape[:-1], len(labels)))
        for number, label in enumerate(labels):
            features = [f for name in label for f in table.species[name].of(edge)]
            if edge == LOW_LOSS and len(label) > 1:
                # The plasmon of a mixture lies between those of its parts.
                features = [_joined(features)]
            density = even
            if features:
                each = [_density(energy, spread2, f, table) for f in features]
                density = _WRONG * even + (1 - _WRONG) * np.mean(each, axis=0)
            log[..., number] = np.log(np.where(seen, density, 1.0)).sum(axis=-1)
        self.log += log[..., of_hypothesis]
        if edge == LOW_LOSS:
            self.plasmon = seen.any(axis=-1)
            metal = table.species["Li"].of(LOW_LOSS)[0]
            reach = 2 * np.sqrt(spread2[..., 0])
            inside = (energy[..., 0] >= metal.low_ev - reach) & (
                energy[..., 0] <= metal.high_ev + reach
            )
            self.metal = inside & (reach < 1.0)
            return
        self.seen[edge] = self.seen.get(edge, False) | seen.any(axis=-1)
        if edge == CARBON:
            peak = table.species["carbonate"].of(CARBON)[0]
            off = np.maximum(peak.low_ev - energy, energy - peak.high_ev).clip(0)
            near = (seen & (off < 2 * np.sqrt(spread2))).any(axis=-1)
            # A peak that was measured there counts as seen; one that was not, not.
            self.peak = np.where(near, np.inf, np.where(np.isnan(self.peak), 0.0, self.peak))

    def add_atoms(self, atoms: Atoms, relative_error: Mapping[str, float]) -> None:
        """Take in how many atoms there are."""
        log = self.log.reshape(-1, self.log.shape[-1])
        flat = {e: tuple(np.ravel(values) for values in pair) for e, pair in atoms.items()}
        for start in range(0, len(log), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            here = {e: (amount[part], error[part]) for e, (amount, error) in flat.items()}
            log[part] += atoms_evidence(self.hypotheses.sets, here, relative_error)

    def judge(self, elements: Sequence[str]) -> tuple[np.ndarray, dict[str, str]]:
        """Return the probability of each species (..., S), and which are barred and why."""
        table, names = self.hypotheses.table, self.hypotheses.names
        probability = np.empty((*self.bad.shape, len(names)))
        rows, log = probability.reshape(-1, len(names)), self.log.reshape(-1, self.log.shape[-1])
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            weight = log[part] + self.hypotheses.log_prior
            weight = np.exp(weight - weight.max(axis=1, keepdims=True))
            rows[part] = weight / weight.sum(axis=1, keepdims=True) @ self.hypotheses.holds
        probability[self.bad] = np.nan
        under = [e for e in elements if e in table.overlap_ev["Li_K"]]
        nowhere = np.zeros(self.bad.shape, dtype=bool)
        lithium = self.seen.get("Li_K", nowhere) & (not under)
        barred: dict[str, str] = {}
        for i, name in enumerate(names):
            species = table.species[name]
            edge = "Li_K" if species.lithium else species.features[0].edge
            here = lithium if species.lithium else self.seen.get(edge, nowhere)
            here = here | self.metal if name == "Li" else here
            hidden = ~here & ~self.bad
            reasons = []
            if hidden.any():
                probability[..., i][hidden] = np.nan
                why = f"the {edge.replace('_', ' ')} edge is not seen{_in_some(hidden)}"
                if species.lithium and under:
                    why = f"edges of {', '.join(under)} lie under Li K"
                reasons.append(why)
            if species.needs is not None:
                looked = self.seen.get(CARBON, nowhere)
                shown = looked & (np.nan_to_num(self.peak) >= _PEAK)
                probability[..., i][~looked] = np.nan
                without = ~shown & looked & (np.nan_to_num(probability[..., i]) > POSSIBLE)
                probability[..., i][without] = np.nan
                unseen = ~looked & ~hidden & ~self.bad
                if unseen.any():
                    why = f"the C K edge, which must show carbonate, is not seen{_in_some(unseen)}"
                    reasons.append(why)
                if without.any():
                    why = f"the C K edge shows no peak of carbonate at 290 eV{_in_some(without)}"
                    reasons.append(why)
            if reasons:
                barred[name] = ", and ".join(reasons)
        return probability, barred

    def remembered(self) -> np.ndarray:
        """Return whether all features that decide of a species are of grade C, shape (..., S)."""
        table, names = self.hypotheses.table, self.hypotheses.names
        found = np.zeros((*self.bad.shape, len(names)), dtype=bool)
        for i, name in enumerate(names):
            better = np.zeros(self.bad.shape, dtype=bool)
            for edge, seen in {**self.seen, LOW_LOSS: self.plasmon}.items():
                for shown in self.hypotheses.label((table.species[name],), edge):
                    found[..., i] |= seen
                    if any(f.grade != "C" for f in table.species[shown].of(edge)):
                        better |= seen
            found[..., i] &= ~better
        return found


def _in_some(where: np.ndarray) -> str:
    """Return in how many spectra something holds, or nothing if in all."""
    return "" if where.all() else f" (in {where.sum()} of {where.size} spectra)"


def _look_at(
    windows: Sequence[Window], net: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log evidence of each hypothesis (P, H), and what is said of each edge (P, G, 5).

    The axis is one: the evidence of edges is multiplied for the shifts that they have in common.
    """
    shifts = SHIFTS if len(windows) > 1 else 1
    looked = (_look_at_edge(window, net, variance, shifts) for window in windows)
    logs, values = zip(*looked, strict=True)
    found = np.empty((len(net), len(windows[0].of_hypothesis)))
    for start in range(0, len(net), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        both = zip(logs, windows, strict=True)
        shifted = np.sum([log[part][:, window.of_hypothesis] for log, window in both], axis=0)
        most = shifted.max(axis=-1)
        found[part] = most + np.log(np.exp(shifted - most[..., None]).mean(axis=-1))
    return _TRUST * found, np.stack(values, axis=1)


def _look_at_edge(
    window: Window, net: np.ndarray, variance: np.ndarray, shifts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log evidence of each label for each shift (P, L, K), and what is said (P, 5).

    The last are counts, error, misfit, error by counting, and height of the peak of carbonate. The
    evidence of an edge that is not seen is even.
    """
    starts = window.starts - window.starts[0]
    part = slice(int(window.starts[0]), window.stop)
    y = np.add.reduceat(net[:, part], starts, axis=1)
    spread = np.add.reduceat(variance[:, part], starts, axis=1)
    labels, channels, drawn = window.shapes.shape
    alike = max(int(_ALIKE * labels * drawn), _LEAST_ALIKE)
    parts = window.shapes.reshape(labels, channels, shifts, -1).swapaxes(1, 2)
    shapes = parts.reshape(labels * shifts, channels, -1)
    log, found = weigh(y, spread, shapes, window.energy_ev, alike=alike)
    seen = found[:, 0] > _EDGE * found[:, 3]
    log[~seen] = 0.0
    rise = np.full(len(y), np.nan)
    if window.peak is not None:
        rise[seen] = _rise(y[seen], spread[seen], *window.peak)
    return log.reshape(-1, labels, shifts), np.column_stack([found, rise])


def _rise(
    y: np.ndarray, variance: np.ndarray, about: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the height of a peak over its error, shape (P,).

    At the best of its places, on the ground that leaves least of it.
    """
    weight = 1 / variance[:, about]
    moments = np.einsum("pe,age...->pag...", weight * y[:, about], columns)
    information = np.einsum("agek,pe,agel->pagkl", columns, weight, columns, optimize=True)
    covariance = np.linalg.inv(information)
    fitted = (covariance @ moments[..., None])[..., 0]
    squares = (weight * y[:, about] ** 2).sum(axis=1)[:, None, None]
    rest = squares - (fitted * moments).sum(axis=-1)
    scale = np.maximum(rest / max(len(about) - columns.shape[-1], 1), 1.0)
    rise = fitted[..., 0] / np.sqrt(covariance[..., 0, 0] * scale)
    return np.asarray(rise.min(axis=2).max(axis=1))


def _joined(features: Sequence[Feature]) -> Feature:
    """Return one feature from the lowest to the highest of several, of the lowest grade."""
    return Feature(
        edge=features[0].edge,
        kind=features[0].kind,
        low_ev=min(f.low_ev for f in features),
        high_ev=max(f.high_ev for f in features),
        grade=max(f.grade for f in features),
        source="",
    )


def _density(
    energy: np.ndarray, spread2: np.ndarray, feature: Feature, table: FingerprintTable
) -> np.ndarray:
    """Return the probability density of a measured energy, if it is this feature's [1/eV]."""
    from scipy.special import ndtr

    sigma = np.sqrt(spread2 + table.uncertainty_ev[feature.grade] ** 2)
    low, high = feature.low_ev, max(feature.high_ev, feature.low_ev + 1e-3)
    return np.asarray((ndtr((high - energy) / sigma) - ndtr((low - energy) / sigma)) / (high - low))
