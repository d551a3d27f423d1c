"""A folder of files: discover, measure in parallel, survive a kill, store, sum up.

`run_session` does the whole job; `measure_files` measures files without storing anything.
"""

from interphase.session.engine import measure_files
from interphase.session.measure import Task, measure
from interphase.session.records import (
    FileResult,
    Pictures,
    SessionResult,
    SpectrumSummary,
    file_is_well,
)
from interphase.session.run import DEFAULT_PHASES, RESULT_FOLDER, RunOptions, run_session
from interphase.session.store import load_pictures
from interphase.session.summary import (
    DoseRow,
    PhaseTally,
    count_assessments,
    count_kinds,
    dose_rows,
    session_sentence,
    tally_phases,
)

__all__ = [
    "DEFAULT_PHASES",
    "RESULT_FOLDER",
    "DoseRow",
    "FileResult",
    "PhaseTally",
    "Pictures",
    "RunOptions",
    "SessionResult",
    "SpectrumSummary",
    "Task",
    "count_assessments",
    "count_kinds",
    "dose_rows",
    "file_is_well",
    "load_pictures",
    "measure",
    "measure_files",
    "run_session",
    "session_sentence",
    "tally_phases",
]
