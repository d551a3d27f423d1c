import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, DoseStatement, Kind, Origin, Source, Stage
from interphase.assessment import Assessment
from interphase.diffraction.results import PhaseMap, Region, Spots
from interphase.files import to_plain
from interphase.session.records import FileResult, Pictures
from interphase.session.store import Store, from_plain, load_pictures


def full_result() -> FileResult:
    source = Source(origin=Origin.SIDECAR, detail="ExposureDose")
    region = Region(
        phase="LiF",
        probability=0.9,
        alternatives={"LiF": 0.9, "LiH": 0.1},
        credible_set=("LiF",),
        assessment=Assessment.OK,
        centre_a=(10.0, 20.5),
        area_a2=300.0,
        d_spacings_a=(2.01, 2.02),
        zone_axis=(0, 0, 1),
        scale_error=-0.004,
        p_value=1e-9,
        spots=Spots(
            k_per_a=np.array([[0.5, 0.0], [0.0, 0.5]]),
            strength=np.array([20.0, 30.0]),
            p_value=np.array([1e-5, 1e-9]),
            sigma_per_a=0.01,
        ),
    )
    return FileResult(
        file="grid/a.mrc",
        assessment=Assessment.OK,
        sentence="LiF.",
        sha256="ab",
        key="k1",
        kind=Kind.IMAGE,
        acquisition=Acquisition(
            kind=Kind.IMAGE,
            shape=(4, 5),
            pixel_size_a=0.4,
            dose_e_per_a2=12.0,
            time=datetime(2026, 3, 2, 10, 0),
            stage=Stage(x_um=1.0, beam_shift=(0.1, -0.2)),
            dose_statements=(DoseStatement(dose_e_per_a2=12.0, source=source),),
            sources={"dose_e_per_a2": source},
            missing={"beam_energy_kev": "give --beam-energy"},
        ),
        phase_map=PhaseMap(
            assessment=Assessment.OK,
            sentence="LiF.",
            candidates=("LiF", "LiH"),
            regions=(region,),
            labels=np.array([[0, 1]], dtype=np.int32),
            area_fraction={"LiF": 0.5, "none": 0.5},
        ),
    )


def test_a_stored_result_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    store.save(full_result(), Pictures(thumbnail=picture, thumbnail_pixel_size=0.8))
    loaded = store.load("k1")
    assert loaded is not None
    assert to_plain(loaded) == to_plain(full_result()) | {"pictures": str(loaded.pictures)}
    assert loaded.acquisition == full_result().acquisition
    region = loaded.phase_map.regions[0]
    assert region.spots.k_per_a.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert loaded.phase_map.labels.dtype == np.int32
    pictures = load_pictures(loaded)
    assert pictures.thumbnail.tolist() == picture.tolist()
    assert pictures.thumbnail_pixel_size == 0.8
    assert pictures.power is None


@given(
    st.builds(
        Source,
        origin=st.sampled_from(Origin),
        detail=st.text(),
    )
)
def test_records_survive_json(source: Source) -> None:
    assert from_plain(Source, json.loads(json.dumps(to_plain(source)))) == source


@pytest.mark.parametrize("content", ["", "{", '{"file": "a"}', '{"assessment": "new word"}', "[]"])
def test_a_damaged_result_is_measured_again(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path)
    (store.folder / "k.json").write_text(content)
    assert store.load("k") is None
