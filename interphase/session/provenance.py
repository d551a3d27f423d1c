"""How a result came about: inputs, versions, parameters, papers."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import interphase

PACKAGES = ("numpy", "scipy", "hyperspy", "rosettasciio", "pymatgen", "scikit-image", "dask")
"""Packages whose version can change a result."""

CITATIONS: Mapping[str, str] = {
    "numpy": "Harris et al., Nature 585, 357 (2020), doi:10.1038/s41586-020-2649-2",
    "scipy": "Virtanen et al., Nature Methods 17, 261 (2020), doi:10.1038/s41592-019-0686-2",
    "hyperspy": "HyperSpy and RosettaSciIO, doi:10.5281/zenodo.592838",
    "pymatgen": "Ong et al., Computational Materials Science 68, 314 (2013), "
    "doi:10.1016/j.commatsci.2012.10.028",
    "scikit-image": "van der Walt et al., PeerJ 2, e453 (2014), doi:10.7717/peerj.453",
    "dask": "Rocklin, Proceedings of SciPy 2015, doi:10.25080/Majora-7b98e3ed-013",
}
"""Papers of the programs that a run rests on."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a result."""
    found = {"python": platform.python_version(), "interphase": interphase.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def provenance(
    *, inputs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any], phases: Sequence[Any]
) -> dict[str, Any]:
    """Return what provenance.json says.

    Parameters
    ----------
    inputs
        Name, SHA-256 and size of each file read, its sidecars included.
    parameters
        What the run was asked to do.
    phases
        The candidates; the source and grade of each is listed.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "parameters": dict(parameters),
        "seed": None,
        "seed_note": "no random number is drawn",
        "candidates": [
            {
                "phase": phase.identifier,
                "grade": phase.grade,
                "site_grade": phase.site_grade,
                "source": phase.source,
                "note": phase.note,
            }
            for phase in phases
        ],
        "inputs": list(inputs),
        "citations": dict(CITATIONS),
    }
