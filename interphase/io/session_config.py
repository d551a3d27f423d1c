"""session.toml: what no file header holds, and what the headers hold wrongly."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interphase.acquisition import Acquisition, Kind
from interphase.errors import ConfigurationError

SESSION_FILE = "session.toml"

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
_Scale = _Number | tuple[tuple[_Number, _Number], tuple[_Number, _Number]]
_Dose = Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False, strict=True)]
"""Above 1e9 e/Å² nothing is left of any specimen: such a value has another unit."""


class FileConfig(BaseModel):
    """What is said of one file, or of all files that match a pattern."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    kind: Literal["image", "diffraction"] | None = Field(
        default=None, description="what the pictures are, where the file does not say or is wrong"
    )
    sample: str | None = Field(default=None, description="specimen name")
    electrolyte: str | None = Field(default=None, description="electrolyte of the cell")
    electrode: str | None = Field(default=None, description="electrode of the cell")
    temperature_k: _Positive | None = Field(default=None, description="specimen temperature [K]")
    beam_energy_kev: Annotated[float, Field(ge=1, le=3000, strict=True)] | None = Field(
        default=None, description="beam energy [keV]"
    )
    beam_current_pa: _Positive | None = Field(default=None, description="probe current [pA]")
    pixel_size_a: _Positive | None = Field(default=None, description="image sampling [Å]")
    reciprocal_pixel_size_per_a: _Positive | None = Field(
        default=None, description="sampling of a diffraction pattern, no 2π [1/Å]"
    )
    scan_step_a: _Positive | None = Field(
        default=None, description="distance of the positions of a scan of spectra or patterns [Å]"
    )
    dispersion_ev: _Positive | None = Field(
        default=None, description="width of an energy channel [eV]"
    )
    dose_e_per_a2: _Dose | None = Field(
        default=None, description="electron fluence of one exposure at the specimen [e/Å²]"
    )
    dose_rate_e_per_a2_s: _NotNegative | None = Field(
        default=None, description="fluence rate [e/Å²/s]"
    )
    prior_dose_e_per_a2: _NotNegative | None = Field(
        default=None, description="fluence the place had received before [e/Å²]"
    )
    exposure_time_s: _Positive | None = Field(default=None, description="duration, all frames [s]")
    dwell_time_s: _Positive | None = Field(
        default=None, description="time per position of a scan [s]"
    )
    spectrum_exposure_s: _Positive | None = Field(
        default=None, description="time that the spectrometer counted each spectrum [s]"
    )
    frames: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=None, description="frames of the exposure, or how often a scan was repeated"
    )
    beam_diameter_a: _Positive | None = Field(
        default=None, description="diameter of the beam on the specimen, of a scan's probe [Å]"
    )
    purpose: (
        Literal["search", "focus", "record", "scan", "spectrum_image", "diffraction"] | None
    ) = Field(default=None, description="what the exposure was made for")
    beam_shift_um_per_unit: _Scale | None = Field(
        default=None, description="beam shift to stage µm, one factor or a 2 × 2 matrix"
    )
    image_shift_um_per_unit: _Scale | None = Field(
        default=None, description="image shift to stage µm, one factor or a 2 × 2 matrix"
    )
    image_rotation_deg: _Number | None = Field(
        default=None, description="from the stage's x to the columns of the image [degrees]"
    )
    tilt_axis_deg: _Number | None = Field(
        default=None, description="from the stage's x to the tilt axis [degrees]"
    )
    beam_reach_um: _Positive | None = Field(
        default=None, description="farthest from the stage position that electrons may fall [µm]"
    )
    flyback_time_s: _Positive | None = Field(
        default=None, description="time per line of a scan that the beam waits at its edge [s]"
    )
    semi_convergence_angle_mrad: _Positive | None = Field(
        default=None, description="semi-angle of convergence [mrad]"
    )
    collection_angle_mrad: _Positive | None = Field(
        default=None, description="semi-angle of collection of the spectrometer [mrad]"
    )
    defocus_a: _Number | None = Field(
        default=None, description="defocus, positive = underfocus [Å]"
    )
    spherical_aberration_mm: _Number | None = Field(
        default=None, description="coefficient of spherical aberration [mm]"
    )
    survey: str | None = Field(
        default=None, description="file of the image on which the mapped area was chosen"
    )
    survey_area_px: tuple[_Number, _Number, _Number, _Number] | None = Field(
        default=None, description="mapped area on it: top, left, bottom, right [pixels]"
    )
    low_loss: str | None = Field(
        default=None, description="file of the low losses recorded with the spectra"
    )


_COMPANIONS = ("survey", "survey_area_px", "low_loss")
"""What is said of the files that come with one."""


class SessionConfig(FileConfig):
    """A whole session.toml: values for every file, the phases asked about, and exceptions."""

    phases: str | tuple[str, ...] | None = Field(
        default=None, description="candidate set, or a list of phases and CIF files"
    )
    prior: Mapping[str, _Positive] | None = Field(
        default=None,
        description="phase → weight before looking, others weigh 1; replaces what the electrolyte "
        "says, and nothing in it means that all weigh the same",
    )
    ledger_is_complete: bool | None = Field(
        default=None,
        description="whether the ledger holds every exposure, so that nothing else came before",
    )
    files: Mapping[str, FileConfig] = Field(
        default_factory=dict, description="file name or pattern → values for those files alone"
    )

    def values_for(self, path: str | Path) -> dict[str, Any]:
        """Return what is said of a file's exposure, the later matching table winning.

        A table's pattern is matched with the file's name, or with the end of its path where the
        pattern itself names a folder, such as ``grid1/*.tif``.
        """
        said = self._said_of(Path(path))
        of_acquisition = {field.name for field in fields(Acquisition)} - {"kind"}
        return {name: value for name, value in said.items() if name in of_acquisition}

    def placement_for(self, path: str | Path) -> dict[str, Any]:
        """Return what is said of the place and purpose of a file's exposure, and of its kind."""
        said = self._said_of(Path(path))
        other = self.values_for(path).keys() | set(_COMPANIONS)
        return {name: said[name] for name in said.keys() - other}

    def companions_for(self, path: str | Path) -> dict[str, Any]:
        """Return what is said of the survey image and the low losses that come with a file."""
        said = self._said_of(Path(path))
        return {name: said[name] for name in _COMPANIONS if name in said}

    def kind_of(self, path: str | Path) -> Kind | None:
        """Return what a file's pictures are said to be, as `values_for` looks for it."""
        kind = self._said_of(Path(path)).get("kind")
        return Kind(kind) if kind else None

    def _said_of(self, path: Path) -> dict[str, Any]:
        said = self.model_dump(include=set(FileConfig.model_fields), exclude_none=True)
        for pattern, table in self.files.items():
            ending = "/".join(path.parts[-1 - pattern.count("/") :])
            if ending == pattern or fnmatch(ending, pattern):
                said |= table.model_dump(exclude_none=True)
        return said


def read_session_config(path: str | Path) -> SessionConfig:
    """Read a session.toml.

    Parameters
    ----------
    path
        The file, or the folder that may hold one.

    Returns
    -------
    SessionConfig
        What it says; an empty one where a folder holds none.

    Raises
    ------
    ConfigurationError
        The file is no TOML, or holds a key or a value that cannot be understood.
    """
    path = Path(path)
    if path.is_dir():
        path = path / SESSION_FILE
        if not path.is_file():
            return SessionConfig()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path.name} cannot be opened: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} is not valid TOML: {error}") from error
    try:
        return SessionConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{path.name}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        model = FileConfig if where[0] == "files" and len(where) > 1 else SessionConfig
        known = sorted(model.model_fields)
        close = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.0)[0]
        return f"the key `{key}` is unknown; did you mean `{close}`?"
    return f"`{key}` is {first['input']!r}: {first['msg']}"


def commented_session_toml(acquisitions: Mapping[str, Acquisition]) -> str:
    """Write a session.toml with everything that can be said, commented out.

    Parameters
    ----------
    acquisitions
        File name → what its headers say.

    Returns
    -------
    str
        TOML text; reading it back changes nothing until a line is uncommented.
    """
    lines = [
        "# session.toml: what no file header holds.",
        "# Remove the # of a line and fill it in. A value here outranks headers and sidecars.",
        "",
        "# --- for every file of this folder",
    ]
    unwanted = {"kind", "pixel_size_a", "reciprocal_pixel_size_per_a", "dose_e_per_a2"}
    unwanted |= set(_COMPANIONS)
    for name, info in FileConfig.model_fields.items():
        if name in unwanted:
            continue
        lines.append(f"# {name} = {_said_by(name, acquisitions.values())}  # {info.description}")
    lines += [
        '# phases = "lithium-sei"  # candidate set, or a list such as ["Li2O", "LiF", "my.cif"]',
        "",
        "# ledger_is_complete = true  # "
        + str(SessionConfig.model_fields["ledger_is_complete"].description),
        "",
        "# --- what is believed of the phases beforehand; the answer without it stays beside it",
        "# [prior]",
        "# Li2CO3 = 2  # weight; phases that are not named weigh 1",
        "",
        '# --- for one file, or for all that match a pattern such as "*.tif"',
        '# [files."pattern_*.tif"]',
        f'# kind = "diffraction"  # or "image": {FileConfig.model_fields["kind"].description}',
        "# reciprocal_pixel_size_per_a = 0.01",
        "",
        '# [files."map.dm4"]',
        *(
            f"# {name} = {example}  # {FileConfig.model_fields[name].description}"
            for name, example in zip(
                _COMPANIONS, ('"survey.dm4"', "[10, 20, 110, 220]", '"map_LL.dm4"'), strict=True
            )
        ),
        "",
    ]
    for name, acquisition in sorted(acquisitions.items()):
        wanted = [field for field in acquisition.missing if field in FileConfig.model_fields]
        if not wanted:
            continue
        lines.append(f"# [files.{_quoted(name)}]")
        for field in wanted:
            reason = " ".join(acquisition.missing[field].split())
            lines.append(f"# {field} = ...  # missing: {reason}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _said_by(name: str, acquisitions: Iterable[Acquisition]) -> str:
    said = {getattr(acquisition, name, None) for acquisition in acquisitions} - {None}
    if len(said) == 1:
        value = said.pop()
        return _quoted(value) if isinstance(value, str) else f"{value:.6g}"
    return '"..."' if name in {"sample", "electrolyte", "electrode", "purpose"} else "..."
