"""Cards of energy-loss spectra: amounts with limits, the figure, and what was doubted."""

import base64
import io
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.report import write_report
from interphase.report.spectra import spectra_table
from interphase.session.records import FileResult, Pictures, SessionResult
from interphase.session.spectra_records import (
    EelsResult,
    ElementAmount,
    MapSummary,
    SpectrumRegion,
)
from interphase.session.store import Store

FOUND = ElementAmount(
    detected=True,
    areal_density_per_nm2=1234.5,
    standard_error=12.34,
    detection_limit_per_nm2=40.0,
    relative_uncertainty=0.2,
)
ABSENT = replace(FOUND, detected=False, areal_density_per_nm2=3.0, detection_limit_per_nm2=43.21)
RIVAL = replace(FOUND, detected=False, instead=("Mn_M", "Fe_M"))
BARE = replace(
    FOUND, areal_density_per_nm2=None, standard_error=None, detection_limit_per_nm2=None, ratio=1.5
)


def region(share: float, **elements: ElementAmount) -> SpectrumRegion:
    return SpectrumRegion(
        spectra=round(360 * share),
        share=share,
        assessment=Assessment.OK,
        sentence="detected: C",
        relative_thickness={"mean": 0.2217, "std": 0.0017},
        elements=elements,
        ratios_to="C",
        species={"alkyl": 0.66, "carbon": 0.32, "ice": 0.02},
    )


@pytest.fixture
def result() -> EelsResult:
    return EelsResult(
        file="film_HL.hspy",
        assessment=Assessment.OK,
        sentence="t/λ is 0.14; detected: C; not detected: O, Li",
        spectra=360,
        relative_thickness={"mean": 0.1362, "std": 0.0818},
        elements={"C": FOUND, "O": ABSENT, "Li": RIVAL},
        ratios_to="C",
        species={"Li_metal": 0.3, "carbonate": 0.05},
        cross_sections={"C_K": "hydrogenic", "O_K": "hydrogenic", "Li_K": "GOSH"},
        regions=(
            region(0.6, C=FOUND, O=ABSENT, Li=ABSENT),
            region(0.4, C=ABSENT, O=FOUND, Li=RIVAL),
        ),
        maps={
            "C": MapSummary(
                binning=4,
                resolved=False,
                detected_share=0.1,
                detection_limit_per_nm2=900.0,
                sentence="C is <nowhere>: the electrons do not suffice for a map.",
            )
        },
        notes=("spectra were aligned & added",),
    )


# --- the table ------------------------------------------------------------------------------------


def test_every_place_has_a_row_with_numbers_or_limits(result: EelsResult) -> None:
    table = spectra_table(result)
    assert table["elements"] == ["C", "O", "Li"]
    assert [(row["name"], row["spectra"]) for row in table["rows"]] == [
        ("all spectra", 360),
        ("region 1", 216),
        ("region 2", 144),
    ]
    carbon, oxygen, lithium = table["rows"][0]["amounts"]
    assert carbon["words"] == "1.23e+03 ± 12"
    assert carbon["there"]
    assert carbon["title"] == "detection limit 40 /nm²"
    # Of what is not detected the limit is told, and never the value.
    assert (oxygen["words"], oxygen["there"]) == ("< 43", False)
    assert (lithium["words"], lithium["more"]) == ("< 40", "or Mn M or Fe M")
    assert table["rows"][2]["amounts"][0]["words"] == "< 43"
    assert table["rows"][0]["thickness"] == "0.14 ± 0.08"
    assert table["tables"] == "hydrogenic, GOSH"


def test_species_are_shown_from_a_tenth_the_likeliest_first(result: EelsResult) -> None:
    rows = spectra_table(result)["rows"]
    assert rows[0]["species"] == ["Li metal 0.30"]
    assert rows[1]["species"] == ["alkyl 0.66", "carbon 0.32"]


def test_one_region_is_the_whole_and_has_no_row(result: EelsResult) -> None:
    table = spectra_table(replace(result, regions=result.regions[:1]))
    assert [row["name"] for row in table["rows"]] == ["all spectra"]


@pytest.mark.parametrize(
    ("amount", "to", "words"),
    [
        (BARE, "O", "1.5 per O"),
        (BARE, None, "detected"),
        (replace(BARE, ratio=None), "O", "detected"),
        (replace(BARE, detected=False), "O", "not detected"),
    ],
)
def test_amounts_without_electrons_are_ratios_or_words(
    result: EelsResult, amount: ElementAmount, to: str | None, words: str
) -> None:
    table = spectra_table(replace(result, elements={"C": amount}, ratios_to=to, regions=()))
    assert table["rows"][0]["amounts"][0]["words"] == words


def test_nothing_measured_has_no_table_and_an_unknown_thickness_is_a_dash(
    result: EelsResult,
) -> None:
    none = EelsResult(file="a", assessment=Assessment.UNUSABLE, sentence="nothing")
    assert spectra_table(none) is None
    assert spectra_table(replace(none, relative_thickness={"mean": 0.3, "std": None})) is not None
    rows = spectra_table(replace(result, relative_thickness=None))["rows"]
    assert rows[0]["thickness"] == "–"


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def page(result: EelsResult, tmp_path: Path) -> str:
    figure = np.full((330, 440, 3), 255, dtype=np.uint8)
    figure[100:200, 50:400] = (0, 114, 178)
    one = FileResult(
        file="film_HL.hspy",
        key="film",
        kind=Kind.SPECTRUM_IMAGE,
        assessment=Assessment.OK,
        sentence=result.sentence,
        acquisition=Acquisition(kind=Kind.SPECTRUM_IMAGE, energy_range_ev=(240.0, 752.0)),
        eels=result,
    )
    energy = np.linspace(240, 752, 64)
    stored = Store(tmp_path / "out").save(
        one, Pictures(figure=figure, counts=np.ones(64), energy_ev=energy)
    )
    session = SessionResult(
        name="films", folder=tmp_path, out=tmp_path / "out", files=(stored,), candidates=("LiF",),
        description={}, provenance={"made": "", "versions": {}, "candidates": [], "citations": {}},
    )  # fmt: skip
    return write_report(session, tmp_path / "report.html").read_text()


def test_a_card_shows_the_figure_and_the_amounts(page: str) -> None:
    (figure,) = re.findall(r'<figure class="sheet".*?</figure>', page, re.DOTALL)
    kind, coded = re.search(r'src="data:image/(\w+);base64,([^"]+)"', figure).groups()
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(coded)), format=kind)
    # The figure stays in colour and keeps its shape.
    assert picture.shape[1] / picture.shape[0] == pytest.approx(440 / 330, rel=0.02)
    middle = picture[picture.shape[0] * 150 // 330, picture.shape[1] // 2, :3].astype(float)
    assert middle[2] > 1.3 * middle[1] > 1.3 * middle[0]

    (table,) = re.findall(r'<table class="spectra">.*?</table>', page, re.DOTALL)
    words = [" ".join(unescape(re.sub("<[^>]+>", " ", row)).split()) for row in
             re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]  # fmt: skip
    assert words[0] == "place spectra t/λ C (1/nm²) O (1/nm²) Li (1/nm²) species"
    assert words[1] == (
        "all spectra 360 0.14 ± 0.08 1.23e+03 ± 12 < 43 < 40 or Mn M or Fe M Li metal 0.30"
    )
    assert len(words) == 4
    assert table.count("absent") == 6
    assert 'title="detection limit 43.2 /nm²"' in table
    assert "cross-sections (hydrogenic, GOSH) add their own error" in page


def test_a_card_says_what_maps_are_worth_and_how_it_was_measured(page: str) -> None:
    assert "C is &lt;nowhere&gt;: the electrons do not suffice for a map." in page
    assert "How it was measured: 1 notes" in page
    assert "spectra were aligned &amp; added" in page


def test_the_page_loads_nothing(page: str) -> None:
    fetched = re.findall(r"""(?:src|srcset|poster)\s*=\s*["']([^"']*)""", page)
    fetched += re.findall(r"""<link[^>]+href\s*=\s*["']([^"']*)""", page)
    assert fetched
    assert all(one.startswith("data:") for one in fetched)
    # Drawings point to their own parts by `#`.
    assert not re.findall(r"@import|url\((?!['\"]?(?:data:|#))", page)
