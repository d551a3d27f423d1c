"""Files in, HyperSpy signals and acquisition records out: the only reader of files.

::

    from interphase.io import read

    loaded = read("grid1/FoilHole_07.mrc")
    loaded.signal, loaded.acquisition.dose_e_per_a2

``read`` gives signal and record in one read; ``load`` and ``read_acquisition`` give one of them;
``find_survey`` and ``find_low_loss`` find what comes with a spectrum image;
``discover`` lists a session's folder; ``read_session_config`` reads its session.toml; ``describe``
is what ``interphase info --json`` prints. A file that cannot be read raises
:class:`~interphase.errors.FileReadError` with one sentence, never anything else.
"""

from interphase.io.companions import (
    Survey,
    exposure_ratio,
    find_low_loss,
    find_survey,
    low_losses_by_name,
)
from interphase.io.describing import describe
from interphase.io.discovery import LEDGER_FILE, FileEntry, discover
from interphase.io.dose import scan_dose
from interphase.io.reading import (
    Loaded,
    read,
    read_acquisition,
    read_acquisitions,
)
from interphase.io.session_config import (
    SESSION_FILE,
    FileConfig,
    SessionConfig,
    commented_session_toml,
    read_session_config,
)
from interphase.io.sidecars import sidecars_of
from interphase.io.signals import image_stack, is_xray, load, load_all

__all__ = [
    "LEDGER_FILE",
    "SESSION_FILE",
    "FileConfig",
    "FileEntry",
    "Loaded",
    "SessionConfig",
    "Survey",
    "commented_session_toml",
    "describe",
    "discover",
    "exposure_ratio",
    "find_low_loss",
    "find_survey",
    "image_stack",
    "is_xray",
    "load",
    "load_all",
    "low_losses_by_name",
    "read",
    "read_acquisition",
    "read_acquisitions",
    "read_session_config",
    "scan_dose",
    "sidecars_of",
]
