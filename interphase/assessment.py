"""The verdict on a datum: poor data is a value with a reason, not an exception."""

from enum import StrEnum


class Assessment(StrEnum):
    """What a result is worth. Every result record carries one, with a sentence beside it."""

    OK = "ok"
    """The question was answered with the stated uncertainty."""
    AMBIGUOUS = "ambiguous"
    """Something was found, but several answers fit the evidence."""
    NO_PERIODICITY = "no_periodicity"
    """Nothing periodic rises above the noise."""
    UNKNOWN_PHASE = "unknown_phase"
    """Something crystalline was found that is none of the candidates."""
    TOO_FEW_ELECTRONS = "too_few_electrons"
    """The counts do not suffice to answer."""
    TOO_COARSE = "too_coarse"
    """The sampling cannot hold the spacings asked for."""
    UNCALIBRATED = "uncalibrated"
    """A calibration that the answer needs is missing."""
    UNUSABLE = "unusable"
    """The data are constant, saturated, not finite or too small to hold an answer."""
    NOT_ASSESSED = "not_assessed"
    """The file was read, but nothing in this version measures its kind."""
    FAILED = "failed"
    """The file could not be read or measured; the sentence says why."""

    @property
    def answered(self) -> bool:
        """Whether the file was measured and a statement about it stands."""
        return self in _ANSWERED


_ANSWERED = frozenset(
    {
        Assessment.OK,
        Assessment.AMBIGUOUS,
        Assessment.NO_PERIODICITY,
        Assessment.UNKNOWN_PHASE,
    }
)
