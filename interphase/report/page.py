"""What the report says, in the order it says it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.diffraction.results import UNKNOWN, Region
from interphase.diffraction.worth import calibration_table, what_it_is_worth
from interphase.files import write_text
from interphase.phases import known_phases
from interphase.plotting import phase_colours
from interphase.report import svg
from interphase.report.dose import dose_values
from interphase.report.spectra import spectra_table
from interphase.report.words import (
    dose_comparison,
    dose_verdict_words,
    instant,
    number,
    phase_name,
    probability,
    spacings,
    with_names,
)
from interphase.session.pictures import binning
from interphase.session.records import FileResult, Pictures, SessionResult, file_is_well
from interphase.session.store import load_pictures
from interphase.session.summary import (
    count_assessments,
    count_kinds,
    session_sentence,
    tally_phases,
    verdict,
)

ASSESSMENT_WORDS: Mapping[Assessment, tuple[str, str]] = {
    Assessment.OK: ("identified", "good"),
    Assessment.AMBIGUOUS: ("ambiguous", "fair"),
    Assessment.UNKNOWN_PHASE: ("unknown crystal", "fair"),
    Assessment.NO_PERIODICITY: ("no lattice", "plain"),
    Assessment.TOO_FEW_ELECTRONS: ("too few electrons", "poor"),
    Assessment.TOO_COARSE: ("too coarse", "poor"),
    Assessment.UNCALIBRATED: ("uncalibrated", "poor"),
    Assessment.UNUSABLE: ("unusable", "poor"),
    Assessment.NOT_ASSESSED: ("not assessed", "quiet"),
    Assessment.FAILED: ("failed", "bad"),
}
"""Word and tone of each assessment."""

FACTS: Sequence[tuple[str, str, str]] = (
    ("pixel_size_a", "pixel size", "Å"),
    ("reciprocal_pixel_size_per_a", "pattern sampling", "1/Å"),
    ("scan_step_a", "scan step", "Å"),
    ("dispersion_ev", "dispersion", "eV"),
    ("beam_energy_kev", "beam energy", "keV"),
    ("dose_e_per_a2", "dose", "e/Å²"),
    ("prior_dose_e_per_a2", "dose before", "e/Å²"),
    ("dose_rate_e_per_a2_s", "dose rate", "e/Å²/s"),
    ("exposure_time_s", "exposure", "s"),
    ("dwell_time_s", "dwell time", "s"),
    ("frames", "frames", ""),
    ("beam_current_pa", "beam current", "pA"),
    ("defocus_a", "defocus", "Å"),
    ("semi_convergence_angle_mrad", "convergence", "mrad"),
    ("collection_angle_mrad", "collection", "mrad"),
    ("camera_length_mm", "camera length", "mm"),
    ("magnification", "magnification", ""),
    ("temperature_k", "temperature", "K"),
    ("time", "time", ""),
    ("mode", "mode", ""),
    ("microscope", "microscope", ""),
    ("detector", "detector", ""),
)
"""Fields of an acquisition that a card shows: name, words, unit."""


FIGURE_SIDES = 4
"""How many times as large as pictures figures are, which have words in them."""


FIGURE_CAPTION = (
    "Grey: below the detection limit. White: in doubt, or no answer. Yellow: near the edges the "
    "fit is of the sum of the counts alone; what is left there is fine structure."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBudget:
    """How large and how good pictures may be, so that the page of a large session stays usable."""

    side: int
    """Largest side [pixels]."""
    quality: int
    """Quality of the compression, 0 to 100."""
    regions: int
    """Power spectra of single regions per file."""


def picture_budget(files: int) -> PictureBudget:
    """Return what pictures of a session of so many files may cost: some 20 MB in all.

    >>> picture_budget(8).side, picture_budget(500).side
    (512, 224)
    """
    if files <= 60:
        return PictureBudget(side=512, quality=82, regions=6)
    if files <= 160:
        return PictureBudget(side=360, quality=72, regions=3)
    return PictureBudget(side=224, quality=60, regions=0)


def data_uri(picture: np.ndarray, *, side: int, quality: int) -> str:
    """Return a picture as a data URI.

    Parameters
    ----------
    picture
        uint8, ndarray of shape (M, N), or (M, N, 3) with colours.
    side
        Largest side of what is embedded [pixels].
    quality
        Quality of the compression, 0 to 100.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture), mode=None)
    image.thumbnail((side, side), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def write_report(result: SessionResult, path: str | Path) -> Path:
    """Write a session's results as one HTML page that loads nothing from elsewhere.

    Parameters
    ----------
    result
        What :func:`interphase.session.run_session` returned.
    path
        Where the page goes; an older one is replaced when the new one is complete.

    Returns
    -------
    Path
        `path`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("interphase.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path = Path(path)
    page = environment.get_template("report.html.j2").render(page_values(result))
    write_text(path, page)
    return path


def page_values(result: SessionResult) -> dict[str, Any]:
    """Return all that the template shows."""
    measurements = [r for r in result.files if not _is_aside(r)]
    tallies = tally_phases(result.files)
    # White is for outlines on an image; here the same phase also stands on white paper.
    regions = [region for r in result.files if r.phase_map for region in r.phase_map.regions]
    colours = phase_colours(region.phase for region in regions) | {UNKNOWN: "#AEB6BF"}
    budget = picture_budget(len(measurements))
    times = [
        r.acquisition.time.replace(tzinfo=None)
        for r in result.files
        if r.acquisition is not None and r.acquisition.time is not None
    ]
    poor = [r for r in result.files if not file_is_well(r)]
    dose = dose_values(result)
    return {
        "name": result.name,
        "description": result.description,
        "when": _when(min(times), max(times)) if times else None,
        "sentence": with_names(session_sentence(result.files), result.candidates),
        "figures": _figures(result, dose),
        "phases": [
            {
                "name": _verdict_name(tally.phases),
                "colour": _verdict_colour(tally.phases, colours),
                "certain": tally.certain,
                "regions": tally.regions,
                "files": [(file, f"file-{_index(result, file)}") for file in tally.files],
                "area": number(tally.area_a2 / 100 if tally.area_a2 is not None else None, "nm²"),
                "best": probability(tally.best_probability),
                "beam": _beam_words(
                    [r for r in regions if verdict(r) == tally.phases], certain=tally.certain
                ),
            }
            for tally in tallies
        ],
        "candidates": [phase_name(phase) for phase in result.candidates],
        "calibration": calibration_table(),
        "priors": [
            _with_all_names(prior, result.candidates)
            for prior in dict.fromkeys(r.prior for r in result.files if r.prior)
        ],
        "assessments": [
            (str(a), ASSESSMENT_WORDS[a][0], ASSESSMENT_WORDS[a][1], n)
            for a, n in count_assessments(measurements).items()
        ],
        "kinds": list(count_kinds(measurements).items()),
        "dose": dose,
        "poor": [
            {"file": r.file, "id": f"file-{_index(result, r.file)}", "why": r.sentence}
            for r in poor
        ],
        "cards": [
            card(
                file,
                _index(result, file.file),
                candidates=result.candidates,
                colours=colours,
                budget=budget,
            )
            for file in measurements
        ],
        "asides": [(r.file, r.sentence) for r in result.files if _is_aside(r)],
        "provenance": result.provenance,
    }


def _beam_words(regions: Sequence[Region], *, certain: bool) -> list[tuple[str, str]]:
    """Return what the beam may have done at places of one verdict: words and tones.

    A place's dose is held against its most probable phase. Where others fit, that it is below
    that phase's limit says nothing of them; only warnings are shown.
    """
    words = dict.fromkeys(dose_verdict_words(region.dose) for region in regions if region.dose)
    return [(word, tone) for word, tone in words if certain or tone in ("bad", "poor")]


def _is_aside(result: FileResult) -> bool:
    """Whether a file lies in the session's folder but is no measurement, such as a text."""
    return result.kind is None and result.assessment is Assessment.NOT_ASSESSED


def _index(result: SessionResult, name: str) -> int:
    return next(index for index, file in enumerate(result.files) if file.file == name)


def _when(first: Any, last: Any) -> str:
    if first.date() == last.date():
        return f"{first:%-d %B %Y}"
    return f"{first:%-d %B %Y} to {last:%-d %B %Y}"


def _figures(result: SessionResult, dose: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the few numbers at the head of the page."""
    regions = sum(len(r.phase_map.regions) for r in result.files if r.phase_map)
    files = [r for r in result.files if not _is_aside(r)]
    read = sum(r.assessment is not Assessment.FAILED for r in files)
    unknown = sum(row["dose"] is None for row in dose["rows"])
    return [
        (f"{read} of {len(files)}", "files read"),
        (str(regions), "crystalline region" if regions == 1 else "crystalline regions"),
        (
            f"≥ {dose['highest']}\u202fe/Å²" if dose["highest"] else "unknown",
            "highest dose of one place",
        ),
        (f"{unknown} of {len(dose['rows'])}", "exposures of unknown dose"),
    ]


def _verdict_name(phases: Sequence[str]) -> str:
    return " or ".join(phase_name(phase) for phase in phases)


def _verdict_colour(phases: Sequence[str], colours: Mapping[str, str]) -> str:
    """Return a phase's colour if it is the only one, else that of the unknown."""
    return colours.get(phases[0], colours[UNKNOWN]) if len(phases) == 1 else colours[UNKNOWN]


def card(
    result: FileResult,
    index: int,
    *,
    candidates: Sequence[str],
    colours: Mapping[str, str],
    budget: PictureBudget,
) -> dict[str, Any]:
    """Return what the card of one file shows."""
    pictures = load_pictures(result)
    word, tone = ASSESSMENT_WORDS[result.assessment]
    if result.eels is not None and result.assessment is Assessment.OK:
        word = "measured"
    acquisition = result.acquisition
    regions = result.phase_map.regions if result.phase_map else ()
    shown = list(dict.fromkeys(verdict(region) for region in regions))
    return {
        "id": f"file-{index}",
        "file": result.file,
        "folder": result.file.rpartition("/")[0],
        "stem": result.file.rpartition("/")[2],
        "kind": str(result.kind) if result.kind else "unreadable",
        "assessment": str(result.assessment),
        "word": word,
        "tone": tone,
        "sentence": with_names(result.sentence, candidates),
        "phases": [(_verdict_name(phases), _verdict_colour(phases, colours)) for phases in shown],
        "dose": number(acquisition.dose_e_per_a2) if acquisition else "–",
        "warnings": result.warnings,
        "figures": figures(result, pictures, colours=colours, budget=budget),
        "regions": [
            _region_row(number_, region, colours, candidates)
            for number_, region in enumerate(regions, start=1)
        ],
        "spectra": spectra_table(result.eels) if result.eels else None,
        "informed": any(region.informed for region in regions),
        "dose_verdicts": [
            _with_all_names(sentence, candidates)
            for sentence in dict.fromkeys(r.dose.sentence for r in regions if r.dose)
        ],
        "facts": facts(acquisition) if acquisition else [],
        "missing": list(acquisition.missing.items()) if acquisition else [],
        "sidecars": result.sidecars,
        "sha256": result.sha256,
        "well": file_is_well(result),
    }


def _with_all_names(sentence: str, candidates: Sequence[str]) -> str:
    """Write phases as chemists do, those that are no candidates here included."""
    return with_names(sentence, {*candidates, *known_phases()})


def _region_row(
    index: int, region: Region, colours: Mapping[str, str], candidates: Sequence[str]
) -> dict[str, Any]:
    others = sorted(region.alternatives.items(), key=lambda item: -item[1])
    informed = sorted(region.informed.items(), key=lambda item: -item[1])
    return {
        "index": index,
        "phase": phase_name(region.phase),
        "colour": colours[region.phase],
        "probability": probability(region.probability),
        "share": 100 * region.probability,
        "worth": worth.sentence if (worth := what_it_is_worth(region)) else "",
        "certain": region.assessment is Assessment.OK,
        "others": [
            f"{phase_name(phase)} {probability(value)}"
            for phase, value in others
            if phase != region.phase and value >= 0.01
        ][:4],
        "informed": [
            f"{phase_name(phase)} {probability(value)}" for phase, value in informed if value >= 0.1
        ][:3],
        "overruled": region.informed_phase not in (None, region.phase),
        "dose": {
            "word": dose_verdict_words(region.dose)[0],
            "tone": dose_verdict_words(region.dose)[1],
            "numbers": dose_comparison(region.dose),
            "sentence": _with_all_names(region.dose.sentence, candidates),
        }
        if region.dose
        else None,
        "d": spacings(region.d_spacings_a),
        "zone": "[{} {} {}]".format(*region.zone_axis).replace("-", "−")
        if region.zone_axis
        else "–",
        "scale": f"{region.scale_error:+.1%}".replace("-", "−").replace("%", "\u202f%")
        if region.scale_error is not None
        else "–",
        "area": number(region.area_a2 / 100 if region.area_a2 is not None else None),
        "p": number(region.p_value, digits=1) if region.p_value else "< 10⁻³⁰⁰",
        "sentence": with_names(region.sentence, candidates),
    }


def figures(
    result: FileResult,
    pictures: Pictures,
    *,
    colours: Mapping[str, str],
    budget: PictureBudget,
) -> list[dict[str, Any]]:
    """Return the pictures of a card, each with what lies over it and a caption."""
    regions = result.phase_map.regions if result.phase_map else ()
    tints = [colours[region.phase] for region in regions]
    spots = {index: region.spots.k_per_a for index, region in enumerate(regions)}
    shown: list[dict[str, Any]] = []
    # A scan is shown as a map where one was made, else as its mean pattern.
    mapped = result.kind is Kind.SCAN_4D and pictures.labels is not None
    pattern = result.kind in (Kind.DIFFRACTION, Kind.SCAN_4D) and not mapped
    if pictures.thumbnail is not None:
        shape = pictures.thumbnail.shape
        if pattern and pictures.thumbnail_pixel_size is not None and spots:
            over = svg.rings(
                shape,
                centre=_pattern_centre(result, shape),
                pixel_size_per_a=pictures.thumbnail_pixel_size,
                spots=spots,
                colours=tints,
            )
        else:
            over = svg.overlay(
                shape,
                labels=pictures.labels,
                names=[phase_name(region.phase) for region in regions],
                colours=tints,
                dashed=[region.assessment is not Assessment.OK for region in regions],
                pixel_size_a=None if pattern else pictures.thumbnail_pixel_size,
                smooth_px=_half_step(result, pictures),
            )
        shown.append(_figure("picture", pictures.thumbnail, over, _caption(result, mapped), budget))
    if pictures.power is not None and pictures.power_pixel_size_per_a is not None:
        over = svg.rings(
            pictures.power.shape,
            centre=(pictures.power.shape[0] // 2, pictures.power.shape[1] // 2),
            pixel_size_per_a=pictures.power_pixel_size_per_a,
            spots=spots,
            colours=tints,
            radius=pictures.power.shape[1] / 60,
        )
        caption = "Mean power spectrum of the whole image (logarithm)"
        caption += ", spots of all regions ringed." if spots else "."
        shown.append(_figure("picture", pictures.power, over, caption, budget))
    if pictures.region_power is not None and pictures.region_power_pixel_size_per_a is not None:
        for index, power in enumerate(pictures.region_power[: budget.regions]):
            over = svg.rings(
                power.shape,
                centre=(power.shape[0] // 2, power.shape[1] // 2),
                pixel_size_per_a=pictures.region_power_pixel_size_per_a,
                spots={index: spots[index]},
                colours=tints,
                radius=power.shape[1] / 26,
            )
            name = f"{index + 1} · {phase_name(regions[index].phase)}"
            shown.append(_figure("small", power, over, name, budget) | {"colour": tints[index]})
    if pictures.figure is not None:
        # Of a map the figure shows the picture too.
        large = replace(budget, side=FIGURE_SIDES * budget.side)
        return [_figure("sheet", pictures.figure, "", FIGURE_CAPTION, large)]
    if pictures.counts is not None and pictures.energy_ev is not None:
        spectrum = result.spectrum
        in_ev = spectrum is not None and spectrum.energy_range_ev is not None
        many = spectrum is not None and spectrum.spectra > 1
        shown.append(
            {
                "class": "wide",
                "uri": None,
                "over": _drawing(
                    svg.spectrum(
                        pictures.energy_ev,
                        pictures.counts,
                        axis=_energy_axis(result) if in_ev else "channel",
                    )
                ),
                "caption": "Sum of all spectra, as recorded." if many else "As recorded.",
            }
        )
    return shown


def _figure(
    kind: str, picture: np.ndarray, over: str, caption: str, budget: PictureBudget
) -> dict[str, Any]:
    side = 160 if kind == "small" else budget.side
    return {
        "class": kind,
        "uri": data_uri(picture, side=side, quality=budget.quality),
        "over": _drawing(over),
        "caption": caption,
        "width": picture.shape[1],
        "height": picture.shape[0],
    }


def _energy_axis(result: FileResult) -> str:
    xray = result.acquisition is not None and result.acquisition.detector == "X-ray"
    return "energy (eV)" if xray else "energy loss (eV)"


def _half_step(result: FileResult, pictures: Pictures) -> float:
    """Return half the distance of the windows in pixels of the picture."""
    step_a = result.phase_map.step_a if result.phase_map else None
    if step_a is None or pictures.thumbnail_pixel_size is None:
        return 0.0
    return 0.5 * step_a / pictures.thumbnail_pixel_size


def _drawing(text: str) -> Markup:
    """Mark a drawing as one of ours, so that the template does not escape it."""
    return Markup(text)  # noqa: S704 - svg escapes every name it writes


def _caption(result: FileResult, mapped: bool) -> str:
    regions = result.phase_map.regions if result.phase_map else ()
    outlined = "" if not regions else " Broken outlines are not certain."
    return {
        Kind.IMAGE: "Image." + outlined,
        Kind.MOVIE: "Sum of all frames." + outlined,
        Kind.DIFFRACTION: "Diffraction pattern (logarithm).",
        Kind.SCAN_4D: "Electrons scattered at each position." + outlined
        if mapped
        else "Mean diffraction pattern (logarithm).",
        Kind.SPECTRUM_IMAGE: "Sum over all energies.",
    }.get(result.kind or Kind.METADATA, "")


def _pattern_centre(result: FileResult, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return (row, column) of the direct beam in the picture, where the analysis put it."""
    centre = result.phase_map.centre_px if result.phase_map else None
    full = result.acquisition.shape[-2:] if result.acquisition else ()
    if centre is None or not full:
        return (shape[0] - 1) / 2, (shape[1] - 1) / 2
    factor = binning(full)
    row, column = ((c - (factor - 1) / 2) / factor for c in centre)
    return row, column


def facts(acquisition: Acquisition) -> list[dict[str, str]]:
    """Return what is known of an exposure, each with where it came from."""
    rows = []
    for name, words, unit in FACTS:
        value = getattr(acquisition, name)
        if value is None:
            continue
        if name == "time":
            text = instant(value)
        else:
            text = value if isinstance(value, str) else number(float(value), unit, digits=4)
        rows.append(
            {"words": words, "value": text, "origin": str(acquisition.sources.get(name, ""))}
        )
    stage = acquisition.stage
    if stage is not None and stage.x_um is not None and stage.y_um is not None:
        rows.append(
            {
                "words": "stage (x, y)",
                "value": f"{stage.x_um:.2f}, {stage.y_um:.2f}\u202fµm",
                "origin": str(acquisition.sources.get("stage", "")),
            }
        )
    if acquisition.shape:
        shape = " × ".join(map(str, acquisition.shape))
        rows.append({"words": "shape", "value": shape, "origin": "the data"})
    return rows
