"""What lies in a session's folder: every file once, its companions beside it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interphase.errors import FileReadError, ParameterError
from interphase.io.checks import sers_of
from interphase.io.epu import ROOT
from interphase.io.session_config import SESSION_FILE
from interphase.io.sidecars import SIDECAR_SUFFIXES, sidecars_of
from interphase.io.signals import SUFFIXES, emi_of

TRUTH_SUFFIX = ".truth.npz"
"""What the truth of a simulated exposure is called by, after the stem of its file."""

LEDGER_FILE = "ledger.sqlite"
"""Name of a dose ledger, in the result folder or of the user's own beside the session's files."""

_OWN_FILES = frozenset(
    (SESSION_FILE, "damage.toml", *(LEDGER_FILE + end for end in ("", "-wal", "-shm")))
)
"""What a user says of a session, beside its measurements."""

RESULT_MARKERS = ("provenance.json", ".interphase")
"""A folder that holds one of these is the result of an earlier run, not data."""

_KNOWN_UNREADABLE = {
    ".eer": "EER movies are not read in this version: convert it to MRC or TIFF",
    ".jpg": "a lossy picture of an image, not its data",
    ".jpeg": "a lossy picture of an image, not its data",
    ".png": "a picture, of which neither counts nor calibration are known",
    ".zspy": "zspy folders are not read: save the signal as .hspy",
    ".gtg": "a Gatan gain table, not a measurement",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One measurement of a session, or a file that is none."""

    path: Path
    """The file to read."""
    sidecars: tuple[Path, ...] = ()
    """Files that belong to it: read with it, not on their own."""
    reason: str = ""
    """Why the file is not read; empty for one that is."""

    @property
    def recognised(self) -> bool:
        """Whether the file is one to read."""
        return not self.reason


def discover(folder: str | Path, *, exclude: Iterable[str | Path] = ()) -> tuple[FileEntry, ...]:
    """List every file of a folder tree once, with the files that belong to it.

    An .emi and its .ser files are one measurement; an .mdoc or EPU .xml goes with the data file it
    describes, and stands on its own where that is not there. Hidden files, what the user says in
    session.toml, damage.toml and ledger.sqlite, and the results of earlier runs are left out; files
    that cannot be read are listed with the reason, and those whose names are not UTF-8 with an
    escaped name.

    Parameters
    ----------
    folder
        The session's folder.
    exclude
        Folders to leave out.

    Returns
    -------
    tuple of FileEntry
        Sorted by path.

    Raises
    ------
    ParameterError
        `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ParameterError(f"{folder} is not a folder: give the folder of a session's files")
    listed = sorted(_files(folder, {Path(path).resolve() for path in exclude}))
    files = [path for path in listed if _writable(path) == path]
    companions: dict[Path, tuple[Path, ...]] = {}
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".emi":
            companions[path] = tuple(sers_of(path))
        elif suffix in SUFFIXES and not (suffix == ".ser" and emi_of(path)):
            companions[path] = sidecars_of(path)
    companions = {
        path: tuple(beside for beside in found if _writable(beside) == beside)
        for path, found in companions.items()
    }
    attached = {sidecar for found in companions.values() for sidecar in found}
    entries = [
        FileEntry(path=path, sidecars=companions.get(path, ()), reason=_reason(path))
        for path in files
        if path not in attached
    ]
    entries += [
        FileEntry(path=_writable(path), reason="its name is not valid UTF-8: rename it")
        for path in listed
        if _writable(path) != path
    ]
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _writable(path: Path) -> Path:
    """Return a path that can be written as UTF-8, other bytes escaped."""
    return Path(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _files(folder: Path, exclude: set[Path]) -> Iterable[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    if any((folder / marker).exists() for marker in RESULT_MARKERS):
        return
    for path in inside:
        if path.name.startswith(".") or path.resolve() in exclude:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, exclude)
        elif path.is_file() and path.name not in _OWN_FILES:
            yield path


def _reason(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        try:
            return "" if _is_epu(path) else "an XML file that is not of EPU"
        except (FileReadError, OSError) as error:
            return str(error)
    if suffix in SUFFIXES | SIDECAR_SUFFIXES:
        return ""
    if path.name.endswith(TRUTH_SUFFIX):
        return "the truth of a simulated exposure, not a measurement"
    kind = f"{suffix} is none of the kinds of file" if suffix else "it has no suffix, so none"
    return _KNOWN_UNREADABLE.get(suffix, f"{kind} that are read")


def _is_epu(path: Path) -> bool:
    with path.open("rb") as file:
        return ROOT.encode() in file.read(2048)
