"""Templates of candidates, prepared once per set and range of spacings."""

from functools import lru_cache

from interphase.diffraction.matching import Library
from interphase.diffraction.templates import Templates, make_templates
from interphase.phases import Contrast, Phase


class PhaseKey:
    """A phase that hashes by what its templates depend on."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.key = (phase.identifier, phase.lattice_vectors.tobytes(), phase.temperature_k)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PhaseKey) and self.key == other.key


@lru_cache(maxsize=256)
def templates_of(key: PhaseKey, d_min: float, d_max: float, contrast: Contrast) -> Templates:
    """Return the templates of one candidate between two spacings [Å]."""
    return make_templates(key.phase, d_min_a=d_min, d_max_a=d_max, contrast=contrast)


@lru_cache(maxsize=4)
def library_of(
    keys: tuple[PhaseKey, ...], d_min: float, d_max: float, contrast: Contrast
) -> Library:
    """Return the joined templates of candidates between two spacings [Å]."""
    templates = [templates_of(key, d_min, d_max, contrast) for key in keys]
    return Library.from_templates([t for t in templates if len(t.weight)])
