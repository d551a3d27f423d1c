"""A folder of files: discover, measure in parallel, survive a kill, store, sum up.

`run_session` does the whole job; `run_account` fills the dose ledger alone; `measure_files`
measures files without storing anything; `measure_spectrum_image` measures spectra that are loaded,
and `draw_maps` draws what it finds.
"""

from interphase.session.account import (
    DoseAccount,
    PhaseBudget,
    ask_ledger,
    dose_account,
    open_ledger,
    write_dose_map,
)
from interphase.session.engine import measure_files
from interphase.session.measure import Task, measure
from interphase.session.notes import NOTE_COLUMNS, read_notes
from interphase.session.records import (
    FileResult,
    Pictures,
    SessionResult,
    SpectrumSummary,
    file_is_well,
)
from interphase.session.run import (
    DEFAULT_PHASES,
    RESULT_FOLDER,
    RunOptions,
    run_account,
    run_session,
)
from interphase.session.spectra import measure_spectra, measure_spectrum_image
from interphase.session.spectra_records import EelsResult, ElementAmount, SpectrumRegion
from interphase.session.spectrum_figure import draw_maps
from interphase.session.spectrum_maps import SpectrumMaps, map_arrays
from interphase.session.store import load_pictures
from interphase.session.summary import (
    PhaseTally,
    count_assessments,
    count_kinds,
    session_sentence,
    tally_phases,
)

__all__ = [
    "DEFAULT_PHASES",
    "NOTE_COLUMNS",
    "RESULT_FOLDER",
    "DoseAccount",
    "EelsResult",
    "ElementAmount",
    "FileResult",
    "PhaseBudget",
    "PhaseTally",
    "Pictures",
    "RunOptions",
    "SessionResult",
    "SpectrumMaps",
    "SpectrumRegion",
    "SpectrumSummary",
    "Task",
    "ask_ledger",
    "count_assessments",
    "count_kinds",
    "dose_account",
    "draw_maps",
    "file_is_well",
    "load_pictures",
    "map_arrays",
    "measure",
    "measure_files",
    "measure_spectra",
    "measure_spectrum_image",
    "open_ledger",
    "read_notes",
    "run_account",
    "run_session",
    "session_sentence",
    "tally_phases",
    "write_dose_map",
]
