"""Measure files one by one, outside any session."""

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from interphase.acquisition import Acquisition
from interphase.assessment import Assessment
from interphase.diffraction.options import Options
from interphase.errors import FileReadError, InterphaseError, ParameterError
from interphase.files import file_digest, write_json, write_text
from interphase.parallel import ChildCallError, ChildLostError, ChildPool
from interphase.session.engine import measure_files
from interphase.session.measure import Task
from interphase.session.records import FileResult, Pictures
from interphase.session.run import Progress, phases_of


def measure_paths(
    paths: Sequence[str | Path],
    *,
    phases: Any = None,
    given: Mapping[str, float | None] | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    time_limit_s: float = 900.0,
) -> list[tuple[FileResult, Pictures | None]]:
    """Measure files outside any session; nothing is stored.

    Parameters
    ----------
    paths
        Files; a session.toml in a file's folder is heeded.
    phases
        Candidates, as :func:`interphase.phases.candidates` takes them; what the folder's
        session.toml names, or the set ``lithium-sei``, unless given.
    given
        Fields of the acquisition that the caller states, such as ``pixel_size_a`` [Å]; ``None``
        states nothing.
    options
        How to look for phases.
    progress
        Is called after each file.
    time_limit_s
        Time after which a file is given up [s].

    Returns
    -------
    list of (FileResult, Pictures or None)
        In the order given.

    Raises
    ------
    ParameterError
        A path does not exist or a given number cannot be.
    PhaseError
        A candidate is unknown.
    """
    from interphase.io import read_session_config
    from interphase.phases import candidates

    given = {} if given is None else given
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
    if phases is not None:
        phases = candidates(phases)
    files = existing_files(paths)
    configs = {folder: read_session_config(folder) for folder in {path.parent for path in files}}
    pickled = {
        folder: pickle.dumps(
            candidates(phases_of(config.phases, folder)) if phases is None else phases
        )
        for folder, config in configs.items()
    }
    tasks = [
        Task(
            path=path,
            base=FileResult(
                file=str(path),
                sha256=file_digest(path),
                assessment=Assessment.FAILED,
                sentence="not measured",
            ),
            session=configs[path.parent],
            candidates=pickled[path.parent],
            options=options,
            given=given,
        )
        for path in files
    ]
    measured: dict[str, tuple[FileResult, Pictures | None]] = {}

    def keep(result: FileResult, pictures: Pictures | None) -> None:
        measured[result.file] = result, pictures
        if progress is not None:
            progress(len(measured), len(files), result)

    measure_files(tasks, keep, time_limit_s=time_limit_s)
    return [measured[str(path)] for path in files]


def existing_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the paths, each once; all of them must be files."""
    files = list(dict.fromkeys(Path(path) for path in paths))
    for path in files:
        if path.is_dir():
            raise ParameterError(f"{path} is a folder: give files, or use `interphase run`")
        if path.is_symlink() and not path.exists():
            raise ParameterError(f"{path} is a link that leads to no file: give the file itself")
        if not path.exists():
            raise ParameterError(f"{path} does not exist: give the path of a file")
        if not path.is_file():
            raise ParameterError(f"{path} is a pipe, socket or device: give the path of a file")
    return files


def output_names(paths: Sequence[str]) -> list[str]:
    """Return a name of its own for each path: the folder's name is added where two are alike.

    >>> output_names(["a/x.mrc", "b/x.mrc", "b/y.mrc"])
    ['a_x.mrc', 'b_x.mrc', 'y.mrc']
    """
    files = [Path(path).absolute() for path in paths]
    often = Counter(file.name for file in files)
    names: list[str] = []
    for file in files:
        first = file.name if often[file.name] == 1 else f"{file.parent.name}_{file.name}"
        name, number = first, 1
        while name in names:
            number += 1
            name = f"{number}_{first}"
        names.append(name)
    return names


def write_single(
    result: FileResult, pictures: Pictures | None, out: Path, *, name: str | None = None
) -> None:
    """Write a result as JSON, and as a figure if there is something to show.

    Parameters
    ----------
    result
        What was found.
    pictures
        Its small arrays.
    out
        Folder; made if it is not there. Files of the same name are replaced.
    name
        What the files are called before their suffix; the name of the file unless given.
    """
    from interphase import plotting

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InterphaseError(
            f"{out} cannot be made ({error.strerror}): give another folder with --out"
        ) from error
    stem = Path(result.file).name if name is None else name
    write_json(out / f"{stem}.json", result)
    if pictures is None or pictures.thumbnail is None:
        return
    figure, ax = plotting.new_figure(width_in=6, height_in=6)
    is_image = result.phase_map is None or result.phase_map.window_a is not None
    plotting.plot_image(
        ax,
        pictures.thumbnail,
        pixel_size_a=pictures.thumbnail_pixel_size if is_image else None,
        percentiles=(0, 100),
    )
    if pictures.labels is not None and result.phase_map is not None:
        plotting.plot_regions(ax, pictures.labels, [r.phase for r in result.phase_map.regions])
    figure.savefig(out / f"{stem}.png", dpi=150)


def describe_paths(
    paths: Sequence[str | Path], *, time_limit_s: float = 300.0
) -> Iterator[tuple[Acquisition | None, dict[str, Any]]]:
    """Yield what each file holds: its record, and the same as a plain dictionary.

    A file that cannot be read gives ``None`` and a dictionary with ``file``, ``assessment`` and
    the ``sentence`` that says why.

    Parameters
    ----------
    paths
        Files, with data or of metadata alone.
    time_limit_s
        Time after which a file is given up [s].

    Raises
    ------
    ParameterError
        A path does not exist.
    """
    files = existing_files(paths)
    children = ChildPool()
    try:
        for path in files:
            try:
                yield children.call(_describe, path, time_limit_s=time_limit_s)
            except (ChildLostError, ChildCallError) as error:
                sentence = f"{path} could not be read: {error}."
                yield None, _failed(path, sentence)
    finally:
        children.close()


def _describe(path: Path) -> tuple[Acquisition | None, dict[str, Any]]:
    from interphase.io import describe, read_acquisition

    try:
        acquisition = read_acquisition(path)
    except FileReadError as error:
        return None, _failed(path, str(error))
    return acquisition, describe(acquisition, path)


def _failed(path: Path, sentence: str) -> dict[str, Any]:
    return {"file": str(path), "assessment": Assessment.FAILED, "sentence": sentence}


def write_session_files(read: Sequence[tuple[Path, Acquisition]]) -> list[Path]:
    """Write a commented session.toml into each folder of the files given.

    Parameters
    ----------
    read
        Files and their records.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ParameterError
        A folder has one already; it is never replaced.
    """
    from interphase.io import SESSION_FILE, commented_session_toml

    folders: dict[Path, dict[str, Acquisition]] = {}
    for path, acquisition in read:
        folders.setdefault(path.parent, {})[path.name] = acquisition
    targets = {folder / SESSION_FILE: records for folder, records in folders.items()}
    for target in targets:
        if target.exists():
            raise ParameterError(f"{target} exists: edit it, or move it away first")
    for target, records in targets.items():
        try:
            write_text(target, commented_session_toml(records))
        except OSError as error:
            raise InterphaseError(f"{target} cannot be written: {error.strerror}") from error
    return list(targets)
