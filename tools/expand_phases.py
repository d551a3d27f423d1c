"""Write the generated tables of ``interphase/phases/data`` from ``phases.toml``.

``sites.csv`` is every phase's full cell, expanded by pymatgen from the space group and the
asymmetric unit; ``elements.csv`` is the atomic mass and the neutral-atom electron scattering
factor of every element the table holds. Run it after a change of ``phases.toml``::

    python tools/expand_phases.py
"""

import csv
import json
import tomllib
from fractions import Fraction
from pathlib import Path

import pymatgen.analysis.diffraction as pymatgen_diffraction
from pymatgen.core import Element, Lattice, Structure

DATA = Path(__file__).resolve().parents[1] / "interphase" / "phases" / "data"


def main() -> None:
    """Write both tables."""
    rows = tomllib.loads((DATA / "phases.toml").read_text(encoding="utf-8"))
    elements: set[str] = set()
    with (DATA / "sites.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["identifier", "element", "x", "y", "z", "occupancy"])
        for identifier, row in rows.items():
            species, positions = [], []
            for site in row["sites"]:
                element, *numbers = site.split()
                x, y, z, occupancy = [*(float(Fraction(n)) for n in numbers), 1.0][:4]
                species.append({element: occupancy})
                positions.append((x, y, z))
                elements.add(element)
            elements.update(row.get("omitted", {}))
            lattice = Lattice.from_parameters(*row["cell"])
            structure = Structure.from_spacegroup(row["space_group"], lattice, species, positions)
            for site in structure:
                for element, occupancy in site.species.items():
                    position = [f"{value % 1:.10f}" for value in site.frac_coords]
                    writer.writerow([identifier, element.symbol, *position, f"{occupancy:g}"])

    folder = Path(next(iter(pymatgen_diffraction.__path__)))
    factors = json.loads((folder / "atomic_scattering_params.json").read_text(encoding="utf-8"))
    with (DATA / "elements.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        terms = range(1, 5)
        writer.writerow(
            ["element", "mass_u", *(f"a{i}_a" for i in terms), *(f"b{i}_a2" for i in terms)]
        )
        for element in sorted(elements, key=lambda symbol: Element(symbol).Z):
            a, b = zip(*factors[element], strict=True)
            writer.writerow([element, float(Element(element).atomic_mass), *a, *b])


if __name__ == "__main__":
    main()
