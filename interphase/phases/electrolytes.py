"""What a stated electrolyte says of the phases of its interphase before anybody looks."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from interphase.errors import ParameterError

# A substance that is named because it is not there. Lists are read with "and", "or" and "/", and
# a comma ends them: "no FEC or VC, 1 M LiPF6", "without added FEC", "0 % VC", "FEC- and VC-free".
_ABSENT = re.compile(
    r"""(?: \b(?: no | non | not | without | w/o | excluding | free\s+(?:of|from) )[\s-]+
          | (?<![\d.,]) 0(?:[.,]0+)? \s* (?:wt|vol|mol)?[.\s-]* % \s* )
        (?: (?: any | added | additional | addition | contain(?:s|ing)? | of
              | \d[\d.,]*\s*(?:wt|vol|mol)?[.\s-]*% ) \s+ )*
        \w+ (?: (?: \s*[/:+&]\s* | \s+(?:and|or|nor)\s+ ) \w+ )*
      | (?: \w+ (?: / | -\s*(?:,|and\b|or\b)\s* ) )* \w+ [\s-]? free\b (?! \s+(?:of|from)\b )
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectrolytePrior:
    """Relative prior weights that an electrolyte gives to phases."""

    weights: Mapping[str, float]
    """Identifier → weight; phases that are not named weigh 1."""
    sources: tuple[str, ...]
    """Where each weight comes from, one sentence each."""


@cache
def _rows() -> dict[str, dict[str, Any]]:
    text = files("interphase.phases").joinpath("data/electrolytes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def electrolyte_prior(electrolyte: str) -> ElectrolytePrior:
    """Return the prior weights that the table ``data/electrolytes.toml`` gives for an electrolyte.

    Parameters
    ----------
    electrolyte
        The electrolyte in words, such as ``1 M LiPF6 in EC:DEC``; whole words are looked for, in
        upper or lower case. What is said to be absent, as in ``no FEC``, ``without VC`` or
        ``FEC-free``, does not count.

    Returns
    -------
    ElectrolytePrior
        Without weights where the table knows none of the words.

    Raises
    ------
    ParameterError
        The electrolyte is no text.

    Examples
    --------
    >>> dict(electrolyte_prior("1 M LiPF6 in EC:DEC").weights)
    {'Li2CO3': 2, 'Li2O': 2, 'LiF': 2}
    >>> dict(electrolyte_prior("LiClO4 in DME").weights)
    {}
    >>> dict(electrolyte_prior("LiClO4 in DME, FEC-free").weights)
    {}
    """
    if not isinstance(electrolyte, str):
        raise ParameterError(
            f"electrolyte is {electrolyte!r}: expected words, such as '1 M LiPF6 in EC:DEC'"
        )
    said = {word.lower() for word in re.findall(r"\w+", _ABSENT.sub(" ", electrolyte))}
    weights: dict[str, float] = {}
    sources = []
    for row in _rows().values():
        if said.isdisjoint(word.lower() for word in row["words"]):
            continue
        weights |= row["weights"]
        sources.append(
            f"{', '.join(row['weights'])}: {row['seen']} (grade {row['grade']}; {row['source']})."
        )
    return ElectrolytePrior(weights=weights, sources=tuple(sources))
