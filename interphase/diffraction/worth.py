"""What a stated probability has been worth on images with known truth."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from interphase.diffraction.results import NONE, UNKNOWN, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """How often answers of one kind and one range of probability were right."""

    answer: str
    """``phase`` for a named phase, or ``unknown`` for "none of the candidates"."""
    stated_from: float
    """Least probability of the range."""
    stated_to: float
    """Greatest probability of the range."""
    regions: int
    """Number of regions that were so answered."""
    right: float
    """Share of them that was right."""
    right_low: float
    """Lower end of the 95 % interval of that share."""
    right_high: float
    """Upper end of it."""

    @property
    def sentence(self) -> str:
        """The row in words."""
        return (
            f"Of {self.regions} simulated regions answered so with {self.stated_from:.2f}-"
            f"{self.stated_to:.2f}, {100 * self.right:.0f} % were right "
            f"({100 * self.right_low:.0f}-{100 * self.right_high:.0f} %)."
        )


@cache
def calibration_table() -> tuple[Worth, ...]:
    """Return how often stated probabilities were right on the test half of simulated images.

    The images, the tuning (on other images) and the command that makes the table are in
    ``simulations/phase_identification``: crystallites of 2 to 10 nm of twelve phases in amorphous
    films at 60 to 1000 e/Å², 21 candidates. Other specimens may be unlike all of them.

    >>> sure = [row for row in calibration_table() if row.answer == "phase"][-1]
    >>> sure.stated_from, sure.right > 0.9
    (0.97, True)
    """
    table = files("interphase.diffraction").joinpath("data/worth.csv").read_text(encoding="utf-8")
    return tuple(
        Worth(
            answer=row["answer"],
            regions=int(row["regions"]),
            **{
                name: float(row[name])
                for name in ("stated_from", "stated_to", "right", "right_low", "right_high")
            },
        )
        for row in csv.DictReader(table.splitlines())
    )


def what_it_is_worth(region: Region) -> Worth | None:
    """Return how often answers like that about a region of an image were right in simulation.

    Parameters
    ----------
    region
        A region from `identify_image`. Patterns and rings have a study of their own
        (``simulations/pattern_identification``), and none of their regions is answered here.

    Returns
    -------
    Worth or None
        ``None`` for noise, for regions of patterns, and where no simulated region was answered so.
    """
    if region.phase == NONE or region.centre_a is None:
        return None
    answer = UNKNOWN if region.phase == UNKNOWN else "phase"
    for row in calibration_table():
        in_range = row.stated_from <= region.probability < row.stated_to
        if row.answer == answer and (in_range or region.probability >= row.stated_to == 1):
            return row
    return None
