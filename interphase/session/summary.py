"""What a whole session says: its verdict, its phases, its doses."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interphase.acquisition import Kind
from interphase.assessment import Assessment
from interphase.diffraction.results import NONE, UNKNOWN, Region
from interphase.phases import DoseLevel
from interphase.session.records import FileResult, file_is_well

MEASURED_KINDS = frozenset({Kind.IMAGE, Kind.MOVIE, Kind.DIFFRACTION, Kind.SCAN_4D})
"""Kinds in which this version looks for phases."""


UNDECIDED = "undecided"
"""Key of the regions in which more than a few candidates fit."""
FEW = 3
"""Hypotheses that are worth naming together."""
HYPOTHESES = {UNKNOWN: "none of the candidates", NONE: "nothing periodic"}
"""Words for the hypotheses that are no phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTally:
    """Where in a session one verdict was reached."""

    phases: tuple[str, ...]
    """The one phase that is certain, the few hypotheses that fit, ``unknown``, or ``undecided``."""
    files: tuple[str, ...]
    """Files with at least one such region."""
    regions: int
    """Number of such regions, all files together."""
    area_a2: float | None
    """Their area [Å²]; ``None`` if all were found in diffraction patterns."""
    best_probability: float
    """Highest probability that any of them gives `phases` together."""

    @property
    def certain(self) -> bool:
        """Whether one candidate was named and no other fits."""
        return len(self.phases) == 1 and self.phases[0] not in (UNKNOWN, UNDECIDED)


def verdict(region: Region) -> tuple[str, ...]:
    """Return what is said of a region: one phase, a few hypotheses, or ``undecided``."""
    if len(region.credible_set) > FEW:
        return (UNDECIDED,)
    if region.assessment is Assessment.AMBIGUOUS:
        # The order within a set says little; one order makes equal verdicts equal.
        return tuple(
            sorted({*region.credible_set, *((UNKNOWN,) if len(region.credible_set) == 1 else ())})
        )
    return region.credible_set


def tally_phases(files: Iterable[FileResult]) -> tuple[PhaseTally, ...]:
    """Count where each verdict was reached, certain phases first, then the most widespread.

    Parameters
    ----------
    files
        Results of a session's files.
    """
    found: dict[tuple[str, ...], list[tuple[str, Region]]] = {}
    for result in files:
        for region in result.phase_map.regions if result.phase_map else ():
            found.setdefault(verdict(region), []).append((result.file, region))
    tallies = []
    for phases, places in found.items():
        areas = [region.area_a2 for _, region in places if region.area_a2 is not None]
        tallies.append(
            PhaseTally(
                phases=phases,
                files=tuple(dict.fromkeys(file for file, _ in places)),
                regions=len(places),
                area_a2=sum(areas) if areas else None,
                best_probability=max(
                    region.probability
                    if phases == (UNDECIDED,)
                    else sum(region.alternatives.get(phase, 0.0) for phase in phases)
                    for _, region in places
                ),
            )
        )
    return tuple(
        sorted(
            tallies, key=lambda t: (not t.certain, t.phases == (UNDECIDED,), -t.regions, t.phases)
        )
    )


def listed(words: Sequence[str], *, most: int = 4) -> str:
    """Join words as prose does.

    >>> listed(["Li2O"]), listed(["Li2O", "LiF", "Li"])
    ('Li2O', 'Li2O, LiF and Li')
    >>> listed(list("abcdef"))
    'a, b, c and 3 more'
    """
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + f" and {words[-1]}"


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Write a number of things.

    >>> counted(1, "file"), counted(3, "file")
    ('1 file', '3 files')
    """
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def session_sentence(files: Sequence[FileResult]) -> str:
    """Return the verdict on a session in two or three sentences.

    Parameters
    ----------
    files
        Results of the session's files.
    """
    if not files:
        return "The folder holds no file of a kind that can be read."
    searched = [r for r in files if r.kind in MEASURED_KINDS and r.assessment.answered]
    tallies = tally_phases(files)
    sure = [t for t in tallies if t.certain]
    # More than a few candidates are no verdict on a session.
    unsure = [t for t in tallies if len(t.phases) > 1]
    sentences = []
    where = f"{counted(len(searched), 'image or pattern', 'images and patterns')}"
    if sure:
        holders = {file for t in sure for file in t.files}
        names = listed([t.phases[0] for t in sure])
        sentences.append(f"{names} {_was(len(sure))} identified in {len(holders)} of {where}.")
    elif searched:
        sentences.append(f"No phase was identified with confidence in {where}.")
    if unsure:
        sets = "; ".join(
            " or ".join(HYPOTHESES.get(phase, phase) for phase in t.phases) for t in unsure
        )
        sentences.append(f"Not told apart: {sets}.")
    places = [region for r in files if r.phase_map for region in r.phase_map.regions]
    if any(region.assessment is Assessment.UNKNOWN_PHASE for region in places):
        sentences.append("Some regions are crystalline but none of the candidates.")
    if doubts := _beam_doubts(places):
        sentences.append(doubts)
    bad = [r for r in files if not file_is_well(r)]
    if bad:
        sentences.append(f"{counted(len(bad), 'file')} could not be assessed.")
    return " ".join(sentences) if sentences else f"{counted(len(files), 'file')} read."


def _beam_doubts(regions: Sequence[Region]) -> str:
    """Say which phases the beam may have made or damaged, where doses reach that far."""
    reached = (DoseLevel.WITHIN, DoseLevel.ABOVE)
    verdicts = [region.dose for region in regions if region.dose and region.dose.phase]
    made = sorted({str(v.phase) for v in verdicts if v.made_level in reached})
    spoilt = sorted({str(v.phase) for v in verdicts if v.level in reached} - set(made))
    doubts = [
        f"{listed(phases)} may be {words}"
        for phases, words in ((made, "the beam's product"), (spoilt, "damaged by the beam"))
        if phases
    ]
    return f"By the dose received, {' and '.join(doubts)}." if doubts else ""


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def count_assessments(files: Iterable[FileResult]) -> dict[Assessment, int]:
    """Count the files per assessment, in the order of the Enum."""
    counts = Counter(result.assessment for result in files)
    return {assessment: counts[assessment] for assessment in Assessment if counts[assessment]}


def count_kinds(files: Iterable[FileResult]) -> dict[str, int]:
    """Count the files per kind; ``unreadable`` where the kind could not be found out."""
    counts = Counter(str(result.kind) if result.kind else "unreadable" for result in files)
    return {name: counts[name] for name in [*map(str, Kind), "unreadable"] if counts[name]}
