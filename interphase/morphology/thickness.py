"""How thick an interphase is along its surface, and how rough."""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.checks import check_number, check_record
from interphase.morphology.columns import Estimate
from interphase.morphology.contours import arc_length, hits, is_closed, normals, resampled
from interphase.morphology.interface import Interface

# Quantiles that are given.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Points of a surface at which the thickness is measured, at most: beyond, their number adds
# nothing to what a few correlation lengths tell.
MOST_POINTS = 100
# Fewest points that are a measurement.
LEAST_POINTS = 8
# Hurst exponents of the roughness that are allowed for, alike.
HURST = (0.5, 0.7, 0.9)
# Number of correlation lengths and of amplitudes that are tried.
LENGTHS, AMPLITUDES = 20, 32
# Details of less than this share of the amplitude are not asked for.
DETAIL = 0.1
# Draws of thickness and tilt from what is known.
DRAWS = 4000
# A correlation length in view fewer times than this is not told from a longer one.
LEAST_LENGTHS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roughness:
    """Height of a rough line about the smooth line through it."""

    rms_a: Estimate
    """Standard deviation of the height [Å], the noise of the segmentation taken out."""
    correlation_length_a: Estimate
    """Distance over which the correlation falls to 1/e [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterphaseThickness:
    """Thickness of an interphase along its surface."""

    assessment: Assessment
    """``ok``; ``ambiguous``: the interface is, or the tilt does not let the layer be measured;
    ``unusable``: there is nothing to measure."""
    sentence: str
    """The verdict in words."""
    along_a: np.ndarray
    """Place along the surface [Å], shape (P,); surfaces one after the other."""
    local_a: np.ndarray
    """Thickness there along the normal [Å], shape (P,), with the tilt taken out; NaN where the
    outer contour is not in view."""
    in_view: float
    """Share of the surface over which the interphase ends in view."""
    mean_a: Estimate
    """Mean thickness [Å]; its interval is for the interphase of which this surface is a part."""
    mean_in_view_a: Estimate
    """The same number; its interval is for the part in view, without the chance of the place."""
    std_a: Estimate
    """Standard deviation of the local thickness [Å], the noise of the segmentation taken out."""
    correlation_length_a: Estimate
    """Distance over which the correlation of the local thickness falls to 1/e [Å]."""
    quantiles_a: dict[float, float]
    """Quantiles of the local thickness as seen [Å]."""
    surface_roughness: Roughness
    """Of the electrode's surface."""
    outer_roughness: Roughness
    """Of the outer contour."""
    smear_a: float | None
    """Width over which the tilt smears each boundary [Å]; ``None`` where the foil is not known."""


def tilted_thickness(apparent_a: np.ndarray | float, tilt_deg: np.ndarray | float) -> np.ndarray:
    r"""Return the thickness of a flat layer from the distance of its boundaries in projection.

    Parameters
    ----------
    apparent_a
        Distance in the image between the same heights of both boundaries [Å], any shape.
    tilt_deg
        Angle between the layer and the beam [degrees].

    Returns
    -------
    ndarray
        Thickness along the layer's normal [Å].

    Notes
    -----
    :math:`t = a \cos\theta`: at each height of the foil the layer is cut askew.

    Examples
    --------
    >>> float(tilted_thickness(100.0, 60.0).round(6))
    50.0
    """
    return np.asarray(apparent_a * np.cos(np.deg2rad(tilt_deg)))


def smear(foil_thickness_a: float, tilt_deg: np.ndarray | float) -> np.ndarray:
    r"""Return over which width a boundary is smeared in projection [Å].

    Parameters
    ----------
    foil_thickness_a
        Thickness T of the foil [Å].
    tilt_deg
        Angle between the boundary and the beam [degrees].

    Returns
    -------
    ndarray
        :math:`T \tan\theta` [Å]; nine tenths of it less a tenth are 0.8 of this.

    Examples
    --------
    >>> float(smear(200.0, 10.0).round(1))
    35.3
    """
    return np.asarray(foil_thickness_a * np.tan(np.deg2rad(np.abs(tilt_deg))))


def measure_thickness_along(
    interface: Interface,
    *,
    tilt_deg: float = 0.0,
    tilt_error_deg: float | None = None,
    foil_thickness_a: float | None = None,
    rng: np.random.Generator,
) -> InterphaseThickness:
    r"""Measure the thickness of an interphase along its surface, and the roughness of both sides.

    Answers how thick an interphase is and how sure that is, from one image. Not for interphases
    whose end is not in view: what is in view would be thinner than what is not.

    Parameters
    ----------
    interface
        From `find_interface`.
    tilt_deg
        Angle between the interface and the beam [degrees].
    tilt_error_deg
        Its standard error [degrees]; ``None`` where nothing is known of it: then the interval holds
        for this very tilt, and the sentence says so.
    foil_thickness_a
        Thickness of the foil along the beam [Å]: with it the interval has room for where in its
        smear a boundary was drawn.
    rng
        Draws from the segmentation and the tilt.

    Returns
    -------
    InterphaseThickness
        Local thickness, its mean and spread with intervals, and roughness.

    Raises
    ------
    ParameterError
        A number is out of its range, or `interface` is no interface.

    Notes
    -----
    The local thickness is the distance from the surface along its normal to the first crossing of
    the outer contour. Normals are those of the surface smoothed over a third of the thickness.

    An image shows few correlation lengths, where resampling blocks gives intervals that are too
    narrow. Heights are rather taken for a self-affine line [1]_ with covariance
    :math:`\sigma^2 \exp(-(r/\xi)^{2H})` about a mean (for roughness a smooth line), with the
    noise of the segmentation; σ, ξ and H are summed over on a grid with even weight in log σ and
    log ξ, the likelihood being that of what the smooth line leaves (restricted). The mean then is
    a mixture of normal distributions, with the wide tails that few lengths deserve.

    A layer of thickness t tilted by θ in a foil of thickness T has boundaries t/cos θ apart, each
    smeared over T tan θ. Where within its smear a boundary is drawn is not known: anywhere, alike.

    References
    ----------
    .. [1] S. K. Sinha et al., Phys. Rev. B 38, 2297 (1988), doi:10.1103/PhysRevB.38.2297

    Examples
    --------
    >>> line = lambda x: np.stack([np.arange(0.0, 300.0, 10.0), np.full(30, x)], axis=1)
    >>> none = np.zeros((1, 30))
    >>> flat = Interface(
    ...     assessment=Assessment.OK, sentence="", how="mask", pixel_size_a=1.0,
    ...     surface=(line(50.0),), outer=(line(130.0),),
    ...     surface_draws_a=(none,), outer_draws_a=(none,),
    ... )
    >>> found = measure_thickness_along(flat, tilt_error_deg=0.0, rng=np.random.default_rng(0))
    >>> round(found.mean_a.value, 6), found.in_view
    (80.0, 1.0)
    """
    check_record("interface", interface, Interface, "what find_interface returns")
    check_number("tilt_deg", tilt_deg, -60.0, 60.0, "degrees")
    if tilt_error_deg is not None:
        check_number("tilt_error_deg", tilt_error_deg, 0.0, 45.0, "degrees")
    if foil_thickness_a is not None:
        check_number("foil_thickness_a", foil_thickness_a, 1.0, 1e6, "Å")
    if not interface.surface or not any(len(line) for line in interface.outer):
        return _nothing(f"There is no thickness to measure. {interface.sentence}".strip())
    pieces = [
        _Piece.of(surface, outer, draws, outer_draws)
        for surface, outer, draws, outer_draws in zip(
            interface.surface,
            interface.outer,
            interface.surface_draws_a,
            interface.outer_draws_a,
            strict=True,
        )
    ]
    apparent = np.concatenate([piece.local for piece in pieces])
    seen = np.isfinite(apparent)
    if seen.sum() < LEAST_POINTS:
        return _nothing("The interphase ends in view over too short a piece of the surface.")
    cosine = float(np.cos(np.deg2rad(tilt_deg)))
    line = _fit([_Line.of_thickness(piece) for piece in pieces])
    common = np.concatenate([piece.common() for piece in pieces])
    tilts = tilt_deg + (tilt_error_deg or 0.0) * rng.standard_normal(DRAWS)
    tilts = np.clip(tilts, -80, 80)
    drawn = (
        line.mean + common.mean() + common.std() * rng.standard_t(max(len(common) - 1, 3), DRAWS)
    )
    smeared = None
    if foil_thickness_a is not None:
        smeared = float(smear(foil_thickness_a, tilt_deg))
        drawn = drawn + smear(foil_thickness_a, tilts) * np.subtract(*rng.uniform(0, 1, (2, DRAWS)))
    in_view = tilted_thickness(drawn, tilts)
    everywhere = tilted_thickness(drawn + line.draw_mean(rng, DRAWS) - line.mean, tilts)
    mean = line.mean * cosine
    number = line.number
    assessment, sentence = _verdict(
        interface, mean, everywhere, float(seen.mean()), tilt_deg, tilt_error_deg, smeared
    )
    return InterphaseThickness(
        assessment=assessment,
        sentence=sentence,
        along_a=np.concatenate([piece.along for piece in pieces]),
        local_a=apparent * cosine,
        in_view=float(seen.mean()),
        mean_a=_estimate(mean, everywhere, number),
        mean_in_view_a=_estimate(mean, in_view, number),
        std_a=line.rms(scale=cosine),
        correlation_length_a=line.length(),
        quantiles_a={
            q: float(v)
            for q, v in zip(QUANTILES, np.quantile(apparent[seen] * cosine, QUANTILES), strict=True)
        },
        surface_roughness=_roughness(interface.surface, interface.surface_draws_a),
        outer_roughness=_roughness(interface.outer, interface.outer_draws_a),
        smear_a=smeared,
    )


def _verdict(
    interface: Interface,
    mean: float,
    drawn: np.ndarray,
    in_view: float,
    tilt_deg: float,
    tilt_error_deg: float | None,
    smeared: float | None,
) -> tuple[Assessment, str]:
    """Return what the measurement is worth."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    said = [f"The interphase is {mean / 10:.1f} nm thick ({low / 10:.1f} to {high / 10:.1f} nm)."]
    assessment = Assessment.OK
    if smeared is not None and smeared > mean:
        assessment = Assessment.AMBIGUOUS
        said.append("The tilt smears its boundaries over more than it is thick.")
    if in_view < 0.9:
        said.append(
            f"Its end is in view over {100 * in_view:.0f} % of the surface; "
            "the rest may be thicker."
        )
        if in_view < 0.5:
            assessment = Assessment.AMBIGUOUS
    if tilt_error_deg is None:
        said.append(
            f"The interval holds if the interface is tilted by {tilt_deg:g}°: give "
            "`tilt_error_deg` and `foil_thickness_a` to have the tilt in it."
        )
    elif smeared is None and (tilt_deg or tilt_error_deg):
        said.append("The smear by the tilt is not in the interval: give `foil_thickness_a`.")
    if interface.assessment is not Assessment.OK:
        assessment = Assessment.AMBIGUOUS
        said.append(interface.sentence)
    return assessment, " ".join(said)


def _nothing(sentence: str) -> InterphaseThickness:
    """Return that nothing was measured."""
    missing = Estimate.missing(sentence)
    rough = Roughness(rms_a=missing, correlation_length_a=missing)
    return InterphaseThickness(
        assessment=Assessment.UNUSABLE,
        sentence=sentence,
        along_a=np.zeros(0),
        local_a=np.zeros(0),
        in_view=0.0,
        mean_a=missing,
        mean_in_view_a=missing,
        std_a=missing,
        correlation_length_a=missing,
        quantiles_a={},
        surface_roughness=rough,
        outer_roughness=rough,
        smear_a=None,
    )


def _estimate(value: float, draws: np.ndarray, number: float) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), number=number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """One surface and what lies upon it."""

    along: np.ndarray
    """Place along the surface [Å], shape (P,)."""
    local: np.ndarray
    """Apparent thickness [Å], NaN where it is not in view, shape (P,)."""
    draws: np.ndarray
    """How much thicker than that the segmentation allows it to be [Å], shape (B, P)."""
    period: float | None
    """Length of a closed surface [Å]."""

    @classmethod
    def of(
        cls, surface: np.ndarray, outer: np.ndarray, draws: np.ndarray, outer_draws: np.ndarray
    ) -> "_Piece":
        """Measure the way from points of a surface to the outer contour."""
        total = arc_length(surface)
        along, points = _places(surface)
        closed = is_closed(surface)
        if not len(outer):
            nothing = np.full(len(along), np.nan)
            return cls(along=along, local=nothing, draws=np.zeros((1, len(along))), period=None)
        spacing = float(total[-1]) / len(along)
        apart = np.sqrt(np.square(points[:, None] - outer[None]).sum(axis=-1).min(axis=1))
        direction = normals(points, closed=closed, smooth=float(np.median(apart)) / 3 / spacing)
        ways = np.stack([hits(points, s * direction, [outer]) for s in (1.0, -1.0)])
        # The outer contour is on the side on which it is near.
        if np.subtract(*(ways < 2 * apart + 1e-6).sum(axis=1)) < 0:
            ways, direction = ways[::-1], -direction
        local = np.where(np.isfinite(ways[0]), ways[0], np.nan)
        # Displacements of both ends, at the places between which the way runs.
        ends = points + np.nan_to_num(local)[:, None] * direction
        near = np.square(ends[:, None] - outer[None]).sum(axis=-1).argmin(axis=1)
        inner = np.stack([np.interp(along, total, one) for one in draws])
        count = min(len(inner), len(outer_draws))
        return cls(
            along=along,
            local=local,
            draws=outer_draws[:count, near] - inner[:count],
            period=float(total[-1]) if closed else None,
        )

    def common(self) -> np.ndarray:
        """Return how far drawn lines are off as a whole [Å], shape (B,)."""
        seen = np.isfinite(self.local)
        return np.asarray(self.draws[:, seen].mean(axis=1) if seen.any() else np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    """Heights along a line, and what is known of them."""

    distance: np.ndarray
    """Distances between its points [Å], shape (P, P)."""
    height: np.ndarray
    """Heights [Å], shape (P,)."""
    noise: float
    """Variance of the segmentation's noise from point to point [Å²]."""
    smooth: np.ndarray
    """What a smooth line may be, shape (P, T)."""

    @classmethod
    def of_thickness(cls, piece: _Piece) -> "_Line":
        """Take local thicknesses for heights about their mean."""
        seen = np.isfinite(piece.local)
        return cls(
            distance=_distances(piece.along[seen], piece.period),
            height=piece.local[seen],
            noise=_noise(piece.draws[:, seen]),
            smooth=np.ones((int(seen.sum()), 1)),
        )

    @classmethod
    def of_contour(cls, line: np.ndarray, draws: np.ndarray) -> "_Line":
        """Take a contour for heights about a circle if it turns, else about a parabola."""
        total = arc_length(line)
        along, points = _places(line)
        closed = is_closed(line)
        inner = np.stack([np.interp(along, total, one) for one in draws])
        centred = points - points.mean(axis=0)
        chord = float(np.linalg.norm(line[-1] - line[0]))
        if closed or chord < 0.7 * total[-1]:
            design = np.column_stack([2 * centred, np.ones(len(centred))])
            middle = np.linalg.lstsq(design, np.square(centred).sum(axis=1), rcond=None)[0][:2]
            away = centred - middle
            radius = np.linalg.norm(away, axis=1)
            angle = np.arctan2(away[:, 1], away[:, 0])
            smooth = np.column_stack([np.ones(len(angle)), np.cos(angle), np.sin(angle)])
            period = float(total[-1]) if closed else None
            return cls(
                distance=_distances(along, period),
                height=radius,
                noise=_noise(inner),
                smooth=smooth,
            )
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        place, height = centred @ axes[0], centred @ axes[1]
        scaled = place / np.abs(place).max()
        return cls(
            distance=_distances(place, None),
            height=height,
            noise=_noise(inner),
            smooth=np.column_stack([np.ones(len(place)), scaled, scaled**2]),
        )


def _places(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a contour is measured: at its own points, unless they are many."""
    if len(line) <= MOST_POINTS:
        last = len(line) - is_closed(line)
        return arc_length(line)[:last], line[:last]
    return resampled(line, float(arc_length(line)[-1]) / MOST_POINTS)


def _distances(along: np.ndarray, period: float | None) -> np.ndarray:
    """Return distances along a line [Å], the shorter way round a closed one."""
    apart = np.abs(along[:, None] - along[None, :])
    return np.asarray(apart if period is None else np.minimum(apart, period - apart))


def _noise(draws: np.ndarray) -> float:
    """Return the variance of draws from point to point, their common shift left out [Å²]."""
    if draws.shape[1] < 2:
        return 0.0
    return float((draws - draws.mean(axis=1, keepdims=True)).var())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """What heights say of mean, amplitude and correlation length, on a grid."""

    weight: np.ndarray
    """Probability of each point of the grid, shape (G,)."""
    sigma: np.ndarray
    """Amplitude [Å], shape (G,)."""
    xi: np.ndarray
    """Correlation length [Å], shape (G,)."""
    centre: np.ndarray
    """Mean at each point of the grid [Å], shape (G,)."""
    error: np.ndarray
    """Its standard error there [Å], shape (G,)."""
    extent: float
    """Length of the line [Å]."""
    mean: float
    """Mean height [Å]."""

    @property
    def number(self) -> float:
        """How many correlation lengths are in view, at least one."""
        return max(self.extent / (2 * float(self.weight @ self.xi)), 1.0)

    def draw_mean(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return means that the heights allow [Å]."""
        at = rng.choice(len(self.weight), count, p=self.weight)
        return np.asarray(self.centre[at] + self.error[at] * rng.standard_normal(count))

    def rms(self, *, scale: float = 1.0) -> Estimate:
        """Return the amplitude with its interval [Å]."""
        low, middle, high = _quantiles(self.sigma, self.weight)
        return Estimate(
            value=middle * scale, low=low * scale, high=high * scale, number=self.number
        )

    def length(self) -> Estimate:
        """Return the correlation length with its interval [Å]."""
        low, middle, high = _quantiles(self.xi, self.weight)
        if self.extent < LEAST_LENGTHS * middle:
            return Estimate(
                value=middle,
                low=low,
                high=float("inf"),
                number=self.number,
                reason="The view is too short to bound it.",
            )
        return Estimate(value=middle, low=low, high=high, number=self.number)


def _quantiles(values: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Return the 2.5, 50 and 97.5 % quantiles of weighted values."""
    order = np.argsort(values)
    share = np.cumsum(weight[order]) - weight[order] / 2
    low, middle, high = np.interp([0.025, 0.5, 0.975], share, values[order])
    return float(low), float(middle), float(high)


def _fit(lines: list[_Line]) -> _Fit:
    """Return what lines say together: each has its own mean line, all have one roughness."""
    lines = [line for line in lines if len(line.height) >= LEAST_POINTS]
    every = np.concatenate([line.height - line.height.mean() for line in lines])
    extent = max(float(line.distance.max()) for line in lines)
    spacing = min(float(np.median(np.diag(line.distance, 1))) for line in lines)
    noise = np.array([line.noise for line in lines])
    size = max(float(every.std()), 1e-3, 1e-6 * abs(float(lines[0].height.mean())))
    sigmas = size * np.geomspace(0.05, 6.0, AMPLITUDES)
    xis = np.geomspace(spacing, extent, LENGTHS)
    rows = []
    for hurst in HURST:
        for length in xis:
            score, tops, bottoms = np.zeros((3, AMPLITUDES))
            for line, quiet in zip(lines, noise, strict=True):
                values, data, smooth = _terms(line, float(length), hurst)
                variance = np.square(sigmas)[:, None] * values + max(
                    quiet, np.square(DETAIL * size)
                )
                inner = np.einsum("pt,sp,pu->stu", smooth, 1 / variance, smooth)
                right = np.einsum("pt,sp,p->st", smooth, 1 / variance, data)
                best = np.linalg.solve(inner, right[..., None])[..., 0]
                left = data - best @ smooth.T
                score -= 0.5 * (
                    np.log(variance).sum(axis=1)
                    + np.linalg.slogdet(inner)[1]
                    + (np.square(left) / variance).sum(axis=1)
                )
                precision = 1 / np.linalg.inv(inner)[:, 0, 0]
                tops += precision * best[:, 0]
                bottoms += precision
            same = np.full(AMPLITUDES, length)
            rows.append([score, sigmas, same, tops / bottoms, 1 / np.sqrt(bottoms)])
    score, sigma, xi, centre, error = np.concatenate(rows, axis=1)
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    return _Fit(
        weight=weight,
        sigma=sigma,
        xi=xi,
        centre=centre,
        error=error,
        extent=float(sum(np.diag(line.distance, 1).sum() for line in lines)),
        mean=float(np.concatenate([line.height for line in lines]).mean()),
    )


def _terms(line: _Line, xi: float, hurst: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spectrum of a correlation, and heights and smooth lines in its vectors."""
    values, vectors = np.linalg.eigh(np.exp(-((line.distance / xi) ** (2 * hurst))))
    return np.maximum(values, 0.0), vectors.T @ line.height, vectors.T @ line.smooth


def _roughness(lines: tuple[np.ndarray, ...], draws: tuple[np.ndarray, ...]) -> Roughness:
    """Return the roughness of contours."""
    made = [_Line.of_contour(a, b) for a, b in zip(lines, draws, strict=True) if len(a) > 3]
    if not any(len(line.height) >= LEAST_POINTS for line in made):
        missing = Estimate.missing("There is no contour.")
        return Roughness(rms_a=missing, correlation_length_a=missing)
    fit = _fit(made)
    return Roughness(rms_a=fit.rms(), correlation_length_a=fit.length())
