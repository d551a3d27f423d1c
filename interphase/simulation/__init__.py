"""Simulated specimens and what a microscope makes of them; the only importer of abTEM and ASE."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "crystallites": [
            "CrystalliteTruth",
            "Orientation",
            "crystallite",
            "embed",
            "near_zone_axis",
            "random_orientation",
            "strong_zone_axes",
            "zone_axis_orientation",
        ],
        "demo": ["DEMO_EXPOSURES", "DemoExposure", "DemoFile", "DemoTruth", "write_demo_session"],
        "detectors": ["IDEAL_COUNTER", "Detector", "movie", "record_counts", "record_electrons"],
        "imaging": [
            "ExitWave",
            "Optics",
            "diffraction_intensity",
            "diffraction_pattern",
            "exit_wave",
            "image_from_exit_wave",
            "memory_estimate_gb",
            "resample",
        ],
        "matrices": ["MATRICES", "Matrix", "amorphous_film", "atom_counts"],
        "reference": [
            "Field",
            "FieldPlan",
            "crystallite_fields",
            "load_field",
            "make_field",
            "plan_fields",
            "save_field",
        ],
        "scene": ["Grain", "Scene", "draw_centres", "film_scene"],
    },
)
