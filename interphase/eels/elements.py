"""Atoms per area from counts: one Poisson fit per pixel, all pixels with one shared model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.background import EXPONENTS, Background, plasmon_tail, power_law
from interphase.eels.checks import NEGATIVE, check_axis, check_number, check_spectra
from interphase.eels.cross_sections import (
    Edge,
    edge_cross_section,
    edge_onsets,
    edges_within,
    onset_ev,
)
from interphase.eels.design import FOOT_EV, Design, scattered, shared_design
from interphase.eels.element_maps import (
    FITTED,
    PIXEL_VERDICTS,
    TOO_FEW,
    UNLIKE,
    UNUSABLE,
    ElementMaps,
    FittedCurves,
)
from interphase.eels.likelihood import (
    Fits,
    impossible_backgrounds,
    in_threads,
    judge,
    linear_fit,
    poisson_fit,
    shifts_by_background,
    usual_spectrum,
)
from interphase.eels.pixels import Kernel, LowLoss, Sums, rows_of_spectra
from interphase.eels.zero_loss import even_step
from interphase.errors import ParameterError

RIVALS = ("Na", "Mg", "Al", "Si", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu")
"""Elements whose shallow edges lie near Li K and are taken for it."""
_SHALLOW_EV = 100.0
"""Onset below which plasmons make the background, and edges are mistaken for each other."""
_WIDE = 0.6
"""Share of the first onset from which on the background is fitted."""
_COMMON_EDGES = ("C_K", "N_K", "O_K")
"""Edges that a specimen may have though nobody asked for them."""
_RIVAL_EV = 30.0
"""Distance of onsets up to which one edge is tried in the place of another [eV]."""
_TAIL_EV = 60.0
"""Range after the near-edge windows in which a plasmon tail and an edge are told apart [eV]."""
_MODEL_ERROR = 0.005
"""Relative error that a background of few parameters always has; a working value."""
TAIL_ERROR = 0.005
"""Relative error of a plasmon tail beyond the first edge, at least, whose effect on amounts is part
of their errors; a working value."""
TAIL_ERROR_PER_PLASMON = 0.04
"""The same per plasmon that an electron excites on its way (t/λ without core losses), where that is
more. Set on simulated films in which two materials vary from pixel to pixel (Li2CO3 with LiF or
Li2O; Li2O or Li2O2 with carbon; LiOH with ice; LiF with Li or graphite) at t/λ of 0.15 to 0.8 and
1e8 electrons per pixel, where 0.03 makes 68 % and 0.06 makes 95 % intervals cover so often."""
TAIL_ERROR_PER_MISFIT = 1.5
"""The same over the relative misfit of the plasmons to the low loss between 10 eV and the first
edge, where that is more: three Drude peaks are not all that low losses are of. A working
value: of simulated films of 1 to 5 Drude peaks at 4.5 to 30 eV the 95 % intervals cover 97 %."""
_PARTS = 5
"""Bins of a near-edge window on a plasmon tail, each narrower than a plasmon: what near-edge
structure moves about loses more energy to plasmons, and is counted beyond the window."""
_COUNTS_PER_PART = 200.0
"""Counts in all of the fitted channels from which on a spectrum has a bin more."""
_MOST_CURVES = 256
"""Spectra of which the fits are given channel by channel; a map of them is read by nobody."""
_SURE = 2 * np.log(100)
"""χ² by which an edge must be better than its rival: likelihoods of 100 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementOptions:
    """How elements are fitted."""

    method: Literal["likelihood", "linear"] = "likelihood"
    """Poisson likelihood, or least squares with the weights of the mean spectrum: faster, with
    the errors of a spectrum of mean shape."""
    non_negative: bool | None = None
    """Whether areal densities may not be negative. Unless given they may in a likelihood fit, whose
    values then average without bias, and may not in a linear one."""
    background: Literal["power law", "plasmon tail"] | None = None
    """The latter below 100 eV where a low loss is given, unless given."""
    background_terms: int | None = None
    """Parameters of the background; as many as the spectra need, 2 or more, unless given."""
    fit_range_ev: tuple[float, float] | None = None
    """Energies fitted [eV]; no edge that is not named may begin in them. Unless given: from 0.6 of
    the first onset, or closer where C, N or O K would come in between, to the last channel, or,
    above a plasmon tail, to 60 eV after the near-edge window."""
    near_edge_ev: float = 50.0
    """Width above each onset within which only the sum of the counts is used [eV]: near-edge
    structure moves them about and keeps their number (Bethe's sum rule, arXiv:2408.11870). 0 where
    the shape of the edges is trusted."""
    table: str | None = None
    """Cross-sections: one of `interphase.core_loss.installed_tables` or the path of a GOSH file;
    the best one that is installed unless given."""
    rivals: Sequence[str] = RIVALS
    """Elements whose edges may explain what looks like an edge below 100 eV."""
    false_alarm: float = 0.01
    """Probability that an absent element is called detected in a pixel."""
    detection: float = 0.95
    """Probability that an amount at the detection limit is called detected."""
    curves: bool = False
    """Whether the fits are given channel by channel too, in `ElementMaps.curves`, to be drawn: for
    sums of regions, 256 spectra at most."""

    def __post_init__(self) -> None:
        if self.method not in ("likelihood", "linear"):
            raise ParameterError(f"method is {self.method!r}: expected 'likelihood' or 'linear'")
        if self.background not in (None, "power law", "plasmon tail"):
            raise ParameterError(
                f"background is {self.background!r}: expected 'power law' or 'plasmon tail'"
            )
        if not 0 <= self.near_edge_ev < np.inf:
            raise ParameterError(f"near_edge_ev is {self.near_edge_ev!r}: expected eV >= 0")
        for name in ("false_alarm", "detection"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(
                    f"{name} is {getattr(self, name)!r}: expected a probability between 0 and 1"
                )
        if self.fit_range_ev is not None and not self.fit_range_ev[0] < self.fit_range_ev[1]:
            raise ParameterError(
                f"fit_range_ev is {self.fit_range_ev!r}: expected two rising energies [eV]"
            )


def fit_elements(
    counts: Any,
    *,
    energy_ev: np.ndarray,
    elements: Sequence[str],
    beam_energy_kev: float,
    collection_mrad: float,
    convergence_mrad: float,
    low_loss: Any = None,
    low_loss_energy_ev: np.ndarray | None = None,
    exposure_ratio: float | None = None,
    electrons: float | np.ndarray | None = None,
    gain: float = 1.0,
    read_noise: float = 0.0,
    options: ElementOptions | None = None,
) -> ElementMaps:
    r"""Return the atoms of each element per area in every pixel, with errors and limits.

    All pixels share one linear model, so a map costs little more than reading it; a Dask array is
    read a chunk at a time, twice. Do not use it for spectra whose zero loss is not aligned, nor
    for single pixels that hold fewer electrons than the model has bins: those get no number, but
    a detection limit and, from `ElementMaps.binning_for_limit`, the binning that helps.

    Parameters
    ----------
    counts
        Spectra, an array or a Dask array, shape (..., E).
    energy_ev
        Energy losses of the channels [eV], equally spaced, shape (E,).
    elements
        Symbols. Whose edge is an M edge (Ti, Mn ... below 100 eV) is a part of the model, but no
        number of atoms.
    beam_energy_kev
        Beam energy [keV].
    collection_mrad, convergence_mrad
        Semi-angles [mrad].
    low_loss
        Spectra with the zero-loss peak at 0 eV, of the same pixels or one for all, shape (..., L)
        or (L,). Edges are convolved with it, in classes of thickness, and it counts the
        electrons.
    low_loss_energy_ev
        Energy losses of its channels [eV], shape (L,).
    exposure_ratio
        Exposure of `counts` over that of `low_loss`; must be given with it.
    electrons
        Electrons that the spectrometer collects from each pixel, zero loss included, where there
        is no low loss; without both only ratios are known.
    gain
        Counts per electron of the detector.
    read_noise
        Standard deviation of a channel's readout [counts].
    options
        See `ElementOptions`.

    Returns
    -------
    ElementMaps
        Shape (...) of the pixels.

    Raises
    ------
    ParameterError
        Shapes or numbers do not fit, or the range does not show an element's amount.

    Notes
    -----
    Counts are Poisson distributed about :math:`\mu_i = \sum_e N_e I\, (\sigma_e \ast \hat J)_i +
    \sum_k b_k B_{ik}` with the areal densities N, the electrons I, cross-sections per channel σ,
    the low loss :math:`\hat J` of sum 1 and a background of known shapes B, as many of them as
    sums of neighbouring spectra need. Channels over which nothing changes are summed, which is
    exact; so are near-edge windows, where only the sum of the counts is known beforehand (Bethe's
    sum rule). On a plasmon tail such a window is a few bins, between which near-edge structure may
    move events before they are scattered again, which ends beyond the window. Windows with white
    lines are left to themselves. The maximum is found by Fisher
    scoring; errors are those of the expected information :math:`X^T \mathrm{diag}(1/\mu)\, X`.
    With readout noise r and gain g the counts n become n/g + (r/g)² [1]_ and μ gains the same
    constant. Where χ² exceeds what noise makes by 5 standard deviations the spectrum is called
    unlike the model, and errors grow by √(χ² per degree of freedom); on a plasmon tail they hold
    the effect of an error of the tail, which grows with thickness and with what plasmons leave of
    the low loss before the first edge. Detection limits are Currie's
    [2]_, with the variance of an amount that is not there. An edge below 100 eV is detected only
    if none of `ElementOptions.rivals` explains the sums of spectra in its place.

    References
    ----------
    .. [1] D. L. Snyder et al., J. Opt. Soc. Am. A 12, 272 (1995), doi:10.1364/JOSAA.12.000272
    .. [2] L. A. Currie, Anal. Chem. 40, 586 (1968), doi:10.1021/ac60259a007

    Examples
    --------
    >>> from interphase.eels.cross_sections import edge_cross_section
    >>> energy = np.arange(230.0, 430.0, 0.5)
    >>> optics = dict(beam_energy_kev=300, collection_mrad=10, convergence_mrad=0)
    >>> carbon = edge_cross_section("C_K", energy, table="hydrogenic", **optics)
    >>> mean = 40 * (energy / 230) ** -3 + 1e6 * 2000 * carbon.per_channel_nm2
    >>> counts = np.random.default_rng(0).poisson(mean, (20, len(energy)))
    >>> maps = fit_elements(counts, energy_ev=energy, elements=["C"], electrons=1e6,
    ...     options=ElementOptions(table="hydrogenic", background_terms=2), **optics)
    >>> bool(abs(maps.areal_density_per_nm2.mean() - 2000) < 250), bool(maps.detected.all())
    (True, True)
    """
    options = options or ElementOptions()
    given = check_spectra("counts", counts)
    data = given if given.ndim > 1 else given[np.newaxis]
    if options.curves and (pixels := int(np.prod(data.shape[:-1]))) > _MOST_CURVES:
        raise ParameterError(
            f"curves of {pixels} spectra were asked for: expected {_MOST_CURVES} at most; fit sums "
            "of regions, or leave the curves out"
        )
    energy = check_axis(energy_ev, data.shape[-1], least=8)
    gain = check_number("gain", gain, 1e-6, np.inf, "counts per electron")
    read_noise = check_number("read_noise", read_noise, 0, np.inf, "counts")
    named = _named_edges(elements, energy)
    onsets = [onset_ev(name) for own in named.values() for name in own]
    kind = _background_kind(min(onsets), low_loss, options)
    window = _window(energy, onsets, kind, options)
    low = LowLoss.of(low_loss, low_loss_energy_ev, exposure_ratio, electrons, data.shape[:-1], gain)
    problem = _Problem(
        kind=kind,
        energy=energy[window],
        low=low,
        kernels=low.kernels(even_step(energy)),
        sums=Sums.of(data, window, gain, read_noise),
        offset=(read_noise / gain) ** 2,
        options=options,
        optics={
            "beam_energy_kev": beam_energy_kev,
            "collection_mrad": collection_mrad,
            "convergence_mrad": convergence_mrad,
        },
    )
    models = {element: problem.edges(own) for element, own in named.items()}
    background = _chosen_background(problem, models)
    problem = problem.without_double_counts(models, background)
    design = problem.design(models, background)
    if confused := [list(models)[k] for k in design.confused()]:
        raise ParameterError(
            f"nothing between {problem.energy[0]:g} and {problem.energy[-1]:g} eV tells the amount "
            f"of {' from that of '.join(confused)}, where near-edge structure and white lines are "
            "free: leave an element out, give a wider range, or a smaller near_edge_ev"
        )
    result = _fit_pixels(problem, design, len(models), min(onsets), data, window, gain, read_noise)
    contested = {
        element: found
        for element, own in models.items()
        if own[0].quantitative and (found := _rivals(problem, element, models, background))
    }
    if given.ndim == 1:
        result = {name: values[0] for name, values in result.items()}
        problem = replace(problem, low=problem.low.of_first())
    curves = None
    if options.curves:
        recorded = np.asarray(given[..., window], dtype=float) / gain
        curves = _curves(problem, tuple(models), design, result.pop("parameters"), recorded)
    return _maps(problem, models, background, result, contested, curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What all models of the same spectra share."""

    kind: str
    """Of the background."""
    energy: np.ndarray
    """Energy losses of the channels that are fitted [eV], shape (E,)."""
    low: LowLoss
    kernels: list[Kernel]
    sums: Sums
    offset: float
    """Counts per channel that stand for readout noise."""
    options: ElementOptions
    optics: Mapping[str, float]

    def edges(self, names: Sequence[str]) -> list[Edge]:
        """Return edges, on the channels and those beyond that the low loss reaches."""
        step = even_step(self.energy)
        beyond = self.energy[-1] + step * np.arange(1, self.kernels[0][1] + 1)
        longer = np.append(self.energy, beyond)
        return [
            edge_cross_section(name, longer, table=self.options.table, **self.optics)
            for name in names
        ]

    def design(
        self,
        models: Mapping[str, Sequence[Edge]],
        background: Background,
        *,
        common: bool = False,
        starts: np.ndarray | None = None,
    ) -> Design:
        """Return the model for each class of pixels, or for all together."""
        return shared_design(
            models,
            [background] if common else self.class_backgrounds(models, background),
            kernels=[self.low.common(self.kernels)] if common else self.kernels,
            near_edge_ev=self.options.near_edge_ev,
            parts=self.parts,
            starts=starts,
        )

    @property
    def parts(self) -> int:
        """Return into how many bins near-edge windows are cut."""
        if self.kind != "plasmon tail":
            return 1
        per_pixel = self.sums.counts.sum() / max(self.sums.pixels.sum(), 1.0)
        return int(np.clip(per_pixel / _COUNTS_PER_PART, 1, _PARTS))

    def tail(
        self,
        models: Mapping[str, Sequence[Edge]],
        low_loss: np.ndarray,
        like: Background | None = None,
    ) -> Background:
        """Return the tail of plasmons that belongs to a low loss."""
        assert self.low.energy_ev is not None
        return plasmon_tail(
            self.energy,
            low_loss,
            low_loss_energy_ev=self.low.energy_ev,
            up_to_ev=min(e.onset_ev for own in models.values() for e in own) - FOOT_EV,
            terms=2 if like is None else like.terms,
            like=like,
            **self.optics,
        )

    def class_backgrounds(
        self, models: Mapping[str, Sequence[Edge]], background: Background
    ) -> list[Background]:
        """Return the background of each class of pixels."""
        if background.plasmons is None or self.low.spectra is None:
            return [background] * len(self.kernels)
        return [self.tail(models, spectrum, background) for spectrum in self.low.spectra]

    def usual(self, design: Design) -> np.ndarray | None:
        """Return the parameters of the sum of all spectra."""
        total = self.sums.counts.sum(axis=0)
        pixels = self.sums.pixels.sum()
        found = usual_spectrum(design, total, self.offset * pixels)
        return None if found is None else found / pixels

    def without_double_counts(
        self, models: Mapping[str, Sequence[Edge]], background: Background
    ) -> "_Problem":
        """Return the same with low losses that hold shallow edges by half.

        Two losses of one edge are in the product of the edge with the low loss that holds it, but
        twice: Poisson's law has half of them.
        """
        usual = self.usual(self.design(models, background, common=True))
        if usual is None or self.low.spectra is None:
            return self
        kernel, zero = self.kernels[0]
        losses = even_step(self.energy) * np.arange(1, len(kernel) - zero)
        electrons = float(np.nanmean(self.low.electrons))
        twice = np.zeros(len(losses) + 1)
        for strength, own in zip(usual, models.values(), strict=False):
            for one in own if own[0].onset_ev < _SHALLOW_EV else []:
                per_atom = edge_cross_section(
                    one.name, losses, table=self.options.table, **self.optics
                ).per_channel_nm2
                twice[1:] += max(strength, 0.0) / electrons * per_atom
        halved = [(k - scattered(twice, k, 0, len(k)) / 2, zero) for k, zero in self.kernels]
        return replace(self, kernels=halved)

    def fit_groups(self, design: Design, bounded: np.ndarray | None = None) -> Fits | None:
        """Return the fits of the sums of neighbouring pixels."""
        usual = self.usual(design)
        if usual is None:
            return None
        # A mean readout serves all groups: they hold the same number of pixels, give or take one.
        beside = self.offset * design.widths * self.sums.pixels.mean()
        counts = design.binned(self.sums.counts) + beside
        return poisson_fit(design.matrix[0], counts, beside, usual, bounded=bounded)


def _fit_pixels(
    problem: _Problem,
    design: Design,
    elements: int,
    first_ev: float,
    data: Any,
    window: slice,
    gain: float,
    read_noise: float,
) -> dict[str, np.ndarray]:
    """Return strengths and what is known of them for all pixels, a block at a time."""
    from interphase.eels.fit_kernels import bin_spectra

    shape, size = data.shape[:-1], design.quantified
    options = problem.options
    out = {
        "strength": np.full((*shape, size), np.nan),
        "covariance": np.full((*shape, size, size), np.nan),
        "absent_variance": np.full((*shape, size), np.nan),
        "variance_growth": np.full((*shape, size), np.nan),
        "apparent_growth": np.full((*shape, size), np.nan),
        "tail_variance": np.full((*shape, size), np.nan),
        "chi_square_per_dof": np.full(shape, np.nan),
        "verdict": np.full(shape, UNUSABLE, dtype=np.int8),
    }
    if options.curves:
        out["parameters"] = np.full((*shape, design.matrix.shape[2]), np.nan)
    usual = problem.usual(design)
    linear = options.method == "linear"
    bounded = np.zeros(design.matrix.shape[2], dtype=bool)
    bounded[:elements] = linear if options.non_negative is None else options.non_negative
    starts = design.starts + window.start
    tail = problem.energy[design.starts] >= first_ev - FOOT_EV
    for where, block in rows_of_spectra(data):
        binned, good = in_threads(
            lambda part: bin_spectra(part, starts, window.stop, -NEGATIVE * read_noise), block
        )
        classes = np.where(good, problem.low.classes[where].reshape(-1), -1)
        here = {name: values[where] for name, values in out.items()}
        if usual is None:
            here["verdict"][good.reshape(here["verdict"].shape)] = TOO_FEW
            continue
        for c in np.unique(classes[good]):
            own = classes == c
            found = _answers(problem, design, c, binned[own] / gain, usual, bounded, tail)
            here_too = own.reshape(here["verdict"].shape)
            for name, values in found.items():
                here[name][here_too] = values
    return out


def _answers(
    problem: _Problem,
    design: Design,
    label: int,
    counts: np.ndarray,
    usual: np.ndarray,
    bounded: np.ndarray,
    tail: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return strengths and what is known of them for binned spectra (N, B) of one class."""
    fit = linear_fit if problem.options.method == "linear" else poisson_fit
    matrix, size = design.matrix[label], design.quantified
    beside = problem.offset * design.widths
    fits = fit(matrix, counts + beside, beside, usual, quantified=size, bounded=bounded)
    verdict = judge(fits, design.backgrounds[label], matrix, counts.sum(axis=-1))
    per_dof = fits.chi_square[:, 0] / max(matrix.shape[0] - matrix.shape[1], 1)
    larger = np.where(verdict == UNLIKE, per_dof, 1.0)[:, np.newaxis]
    shifts = np.zeros((len(counts), size))
    if problem.kind == "plasmon tail":
        plasmons, misfit = design.backgrounds[label].plasmons, design.backgrounds[label].misfit
        depth = 0.0 if plasmons is None else float(plasmons[:, 0].sum())
        error = max(TAIL_ERROR, TAIL_ERROR_PER_PLASMON * depth, TAIL_ERROR_PER_MISFIT * misfit)
        shifts = error * shifts_by_background(fits, matrix, tail)[:, :size]
    covariance = fits.covariance[:, :size, :size] * larger[..., np.newaxis]
    covariance = covariance + shifts[:, np.newaxis] * shifts[..., np.newaxis]
    answered = np.isin(verdict, (FITTED, UNLIKE))[:, np.newaxis]
    parameters = np.where(answered, fits.parameters, np.nan)
    return {
        "strength": parameters[:, :size],
        "covariance": np.where(answered[..., np.newaxis], covariance, np.nan),
        "absent_variance": fits.absent[..., 0] * larger + shifts**2,
        "variance_growth": fits.absent[..., 1] * larger,
        "apparent_growth": fits.absent[..., 2] * larger,
        "tail_variance": shifts**2,
        "chi_square_per_dof": np.where(answered[:, 0], per_dof, np.nan),
        "verdict": verdict,
    } | ({"parameters": parameters} if problem.options.curves else {})


def _curves(
    problem: _Problem,
    names: tuple[str, ...],
    design: Design,
    parameters: np.ndarray,
    recorded: np.ndarray,
) -> FittedCurves:
    """Return fits of parameters (..., P) channel by channel."""
    own = np.moveaxis(design.edges[problem.low.classes], -1, -2)
    parts = parameters[..., : len(names), np.newaxis] * own
    columns = np.stack([b.columns for b in design.backgrounds])[problem.low.classes]
    background = np.einsum("...t,...et->...e", parameters[..., -columns.shape[-1] :], columns)
    fitted = background + parts.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = (recorded - fitted) / np.sqrt(fitted + problem.offset)
    return FittedCurves(
        energy_ev=problem.energy,
        recorded=recorded,
        fitted=fitted,
        background=background,
        names=names,
        parts=parts,
        residual=np.where(np.isfinite(residual), residual, np.nan),
        near_edge=design.near_edge,
    )


def _named_edges(elements: Sequence[str], energy: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Return the edges of each element in the range, those of unknown cross-section last."""
    if isinstance(elements, str) or not elements or len(set(elements)) < len(elements):
        raise ParameterError(
            f"elements is {elements!r}: expected a list of different symbols such as ['C', 'O']"
        )
    found = edges_within(elements, energy)
    for element, own in found.items():
        if not own:
            onsets = ", ".join(f"{n} at {e:g} eV" for n, e in edge_onsets(element).items())
            raise ParameterError(
                f"no edge of {element} ({onsets}) begins between {energy[0]:g} and "
                f"{energy[-1]:g} eV: leave it out, or give the spectra that show it"
            )
    counted, others = {}, {}
    for element, own in found.items():
        known = tuple(name for name in own if not name.endswith("_M"))
        if known:
            counted[element] = known
        # Where another shell tells the atoms, the strength of an M edge is free beside it.
        if len(known) < len(own):
            others[own[-1] if known else element] = own[-1:]
    return counted | others


def _background_kind(first_ev: float, low_loss: Any, options: ElementOptions) -> str:
    if options.background is None:
        shallow = first_ev < _SHALLOW_EV and low_loss is not None
        return "plasmon tail" if shallow else "power law"
    if options.background == "plasmon tail" and low_loss is None:
        raise ParameterError(
            "a plasmon tail was asked for without low_loss: give it, or take a power law"
        )
    return options.background


def _window(
    energy: np.ndarray, onsets_ev: Sequence[float], kind: str, options: ElementOptions
) -> slice:
    """Return the channels that are fitted."""
    first, last = min(onsets_ev), energy[-1]
    if kind == "plasmon tail":
        last = max(onsets_ev) + options.near_edge_ev + _TAIL_EV
    before = first - max(first / 6, 25.0)
    wide = min(_WIDE * first, before)
    if not any(wide < e < first for e in map(onset_ev, _COMMON_EDGES)):
        before = wide
    low, high = options.fit_range_ev or (before, last)
    start, stop = int(np.searchsorted(energy, low)), int(np.searchsorted(energy, high, "right"))
    start = max(start, int(np.searchsorted(energy, 0.0, "right")))
    if stop - start < 8 or energy[start] >= first:
        raise ParameterError(
            f"the fit would run from {low:g} to {high:g} eV over {max(stop - start, 0)} channels, "
            f"the first edge begins at {first:g} eV: expected channels before it; give fit_range_ev"
        )
    return slice(start, stop)


def _chosen_background(problem: _Problem, models: Mapping[str, Sequence[Edge]]) -> Background:
    """Return the background that describes the sums of neighbouring spectra, and no more."""
    options, low = problem.options, problem.low
    if problem.kind == "power law" or low.spectra is None or low.energy_ev is None:
        best = _likely_power_law(problem, models)
    else:
        best = problem.tail(models, low.spectra.sum(axis=0))
    if options.background_terms is not None:
        return best.with_terms(options.background_terms)
    least = np.inf
    for terms in range(2, best.shapes.shape[1] + 1):
        trial = best.with_terms(terms)
        design = problem.design(models, trial, common=True)
        _, bins, parameters = design.matrix.shape
        fits = problem.fit_groups(design) if parameters < bins else None
        if fits is None or not _possible(fits, trial):
            break
        # Counts beyond the square of the model's error would only show that it is a model.
        per_bin = problem.sums.counts.sum(axis=-1) / bins
        worth = 1 / np.maximum(1.0, per_bin * _MODEL_ERROR**2)
        cost = float(worth @ fits.chi_square[:, 0]) + terms * len(worth) * np.log(bins)
        if cost < least:
            best, least = trial, cost
    return best


def _possible(fits: Fits, background: Background) -> bool:
    """Return whether fits have backgrounds: more terms could follow the edges instead."""
    negative, runaway = impossible_backgrounds(fits, background)
    return not (fits.failed | negative | runaway).any()


def _likely_power_law(problem: _Problem, models: Mapping[str, Sequence[Edge]]) -> Background:
    """Return the power law of the sum of all spectra."""
    exponent = 3.0
    for _ in range(6):
        design = problem.design(models, power_law(problem.energy, exponent=exponent), common=True)
        usual = problem.usual(design)
        if usual is None or not usual[-2] > 0:
            break
        change = float(usual[-1] / usual[-2])
        exponent = float(np.clip(exponent - change, *EXPONENTS))
        if abs(change) < 0.01:
            break
    return power_law(problem.energy, exponent=exponent)


def _rivals(
    problem: _Problem,
    element: str,
    models: Mapping[str, Sequence[Edge]],
    background: Background,
) -> tuple[str, ...]:
    """Return the edges that explain the sums of spectra as well as an element's shallow edge."""
    onset = min(e.onset_ev for e in models[element])
    if onset >= _SHALLOW_EV:
        return ()
    others = [r for r in problem.options.rivals if r not in models]
    found = []
    for names in edges_within(others, problem.energy).values():
        for rival in problem.edges(names):
            if abs(rival.onset_ev - onset) > _RIVAL_EV:
                continue
            both = {**models, "rival": [rival]}
            starts = problem.design(both, background, common=True).starts
            chi: list[float] = []
            for instead in (models[element], [rival]):
                trial = {element: instead} | {k: v for k, v in models.items() if k != element}
                design = problem.design(trial, background, common=True, starts=starts)
                bounded = np.arange(design.matrix.shape[2]) == 0
                fits = problem.fit_groups(design, bounded)
                if fits is None:
                    return ()
                dof = max(design.matrix.shape[1] - design.matrix.shape[2], 1)
                chi.append(float(fits.chi_square[:, 0].sum()))
                unlike = max(1.0, chi[0] / (dof * len(fits.failed)))
            if (chi[1] - chi[0]) / unlike < _SURE:
                found.append(rival.name)
    return tuple(found)


def _maps(
    problem: _Problem,
    models: Mapping[str, Sequence[Edge]],
    background: Background,
    result: Mapping[str, np.ndarray],
    contested: Mapping[str, tuple[str, ...]],
    curves: FittedCurves | None,
) -> ElementMaps:
    options = problem.options
    elements = tuple(e for e, own in models.items() if all(one.quantitative for one in own))
    maps = ElementMaps(
        elements=elements,
        edges={element: tuple(e.name for e in own) for element, own in models.items()},
        cross_sections={e.name: e.table for own in models.values() for e in own},
        relative_uncertainty={
            element: max(e.relative_uncertainty for e in models[element]) for element in elements
        },
        **result,
        electrons=problem.low.electrons,
        contested=contested,
        background=f"{background.description}, {background.terms} parameters",
        false_alarm=options.false_alarm,
        detection=options.detection,
        assessment=Assessment.OK,
        sentence="",
        curves=curves,
    )
    assessment, sentence = _words(maps)
    return replace(maps, assessment=assessment, sentence=sentence)


def _words(maps: ElementMaps) -> tuple[Assessment, str]:
    """Return what maps are worth, and the same in a sentence."""
    verdict = np.ravel(maps.verdict)
    answered = np.isin(verdict, (FITTED, UNLIKE))
    reasons = ", ".join(
        f"{np.mean(verdict == code):.0%} {name}"
        for code, name in enumerate(PIXEL_VERDICTS)
        if code not in (FITTED,) and (verdict == code).any()
    )
    if not answered.any():
        code = int(np.bincount(verdict).argmax())
        worth = Assessment.TOO_FEW_ELECTRONS if code == TOO_FEW else Assessment.UNUSABLE
        return worth, f"no pixel could be fitted: {reasons}"
    share = maps.detected.reshape(-1, len(maps.elements))[answered].mean(axis=0)
    said = "detected in " + ", ".join(
        f"{s:.0%} ({e})" for e, s in zip(maps.elements, share, strict=True)
    )
    said += f" of {answered.sum()} pixels"
    for element, rivals in maps.contested.items():
        if maps.above_noise[..., maps.elements.index(element)].any():
            said += f"; what looks like {element} can be {' or '.join(rivals)}"
    if reasons:
        said += f"; {reasons}"
    if answered.mean() < 0.5:
        code = int(np.bincount(verdict[~answered]).argmax())
        worth = Assessment.TOO_FEW_ELECTRONS if code == TOO_FEW else Assessment.UNUSABLE
        return worth, said
    return (Assessment.AMBIGUOUS if "looks like" in said else Assessment.OK), said
