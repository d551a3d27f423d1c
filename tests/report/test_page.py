import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind
from interphase.dose import Exposure, Ledger, Purpose, camera_rectangle, disc
from interphase.phases import dose_verdict, load_phase
from interphase.report import svg, write_report
from interphase.report.page import page_values, picture_budget
from interphase.report.words import dose_comparison, dose_verdict_words
from interphase.session import dose_account
from interphase.session.records import SessionResult

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "google-chrome")) if p), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")

Make = Callable[..., SessionResult]


def browse(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    return subprocess.run(
        [CHROMIUM, *quiet, *arguments], capture_output=True, text=True, timeout=120, check=True
    )


class _Tags(HTMLParser):
    """Collect every attribute that could fetch something, and every id."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (tag == "link" and name == "href"):
                self.fetched.append(value or "")
            if tag == "a" and name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_the_page_needs_nothing_but_itself(make_result: Make, tmp_path: Path) -> None:
    page = write_report(make_result(), tmp_path / "report.html").read_text()
    tags = _Tags()
    tags.feed(page)
    assert tags.fetched
    assert all(value.startswith("data:") for value in tags.fetched)
    assert not re.search(r"@import|url\((?!data:|#)", page)
    # Every link leads to a place on the page, and no place is named twice.
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)
    assert len(tags.ids) == len(set(tags.ids))


def test_the_verdict_comes_first_and_names_are_escaped(make_result: Make, tmp_path: Path) -> None:
    page = write_report(make_result(), tmp_path / "report.html").read_text()
    body = page[page.index("<body>") :]
    verdict = "Li₂O was identified in 2 of 2 images and patterns."
    assert verdict in body
    assert body.index(verdict) < body.index("<table")
    assert "session &amp; co" in body
    assert "grid&lt;1&gt;/" in body
    assert "broken.dm3 is &lt;truncated&gt;." in body
    assert "<truncated>" not in body


def test_an_unknown_dose_is_said_to_be_unknown_and_totals_are_lower_bounds(
    make_result: Make,
) -> None:
    values = page_values(make_result(images=2))
    dose = values["dose"]
    assert [row["dose"] for row in dose["rows"]] == ["20", "21", None]
    assert dose["rows"][0]["source"] == "sidecar: ExposureDose"
    assert "give `dose_e_per_a2`" in dose["rows"][2]["source"]
    assert dose["sentence"].startswith("3 exposures.")
    assert dose["bound"].startswith("Lower bound: 1 exposure of unknown dose.")
    assert ">?</text>" in dose["chart"]


def _exposed(result: SessionResult, *shots: Exposure) -> SessionResult:
    """Return the result of a session with a ledger of its own."""
    path = result.out / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.add(shots)
        account = dose_account(
            ledger,
            candidates=[load_phase("Li2CO3"), load_phase("Li2O")],
            budgets={"mine": 70.0},
            complete=True,
        )
    return replace(result, ledger=path, account=account)


def _shot(key: str, dose: float | None, *, minute: int, purpose: str = "record") -> Exposure:
    """Return an exposure of a disc of 1 µm at (5, 5) µm."""
    return Exposure(
        key=key,
        purpose=Purpose(purpose),
        time=datetime(2026, 3, 2, 10, minute),
        duration_s=10.0,
        illuminated_um=disc(20.0 if purpose == "search" else 1.0) + 5.0,
        recorded_um=camera_rectangle((1000, 1000), pixel_size_a=4.0) + 5.0,
        dose_e_per_a2=dose,
        beam_energy_kev=200.0,
        file=key,
    )


def test_the_dose_page_says_where_when_and_for_what(make_result: Make, tmp_path: Path) -> None:
    result = _exposed(
        make_result(images=1),
        _shot("wide", 0.5, minute=0, purpose="search"),
        _shot("tune", 300.0, minute=1, purpose="focus"),
        _shot("blind", None, minute=2, purpose="focus"),
        _shot("grid<1>/image_000.mrc", 499.5, minute=3),
    )
    dose = page_values(result)["dose"]
    # Every outline once in the map, hatched where the dose is unknown; 37.5 % went into focusing.
    assert dose["map"].count('<g class="exposure ') == 4
    assert dose["map"].count('<g class="exposure focus unknown"><title>blind: dose unknown') == 1
    assert "grid&lt;1&gt;/image_000.mrc: 499.5 e/Å²" in dose["map"]
    shares = {row["kind"]: row["share"] for row in dose["purposes"]}
    assert shares["focus"] == pytest.approx(37.5)
    assert "10:01" in dose["line"]
    assert "focus 300" in dose["line"]
    # 800 e/Å² are above the 750 of Li2CO3, in the exposure that passed 500, and above 70.
    assert [(row["phase"], row["dose"], row["tone"]) for row in dose["over"]] == [
        ("Li₂CO₃", "800", "bad"),
        ("interphase", "800", "bad"),
        ("mine", "800", "bad"),
    ]
    assert (dose["over"][0]["by"], dose["over"][0]["id"]) == ("grid<1>/image_000.mrc", "file-0")
    assert (dose["over"][2]["by"], dose["over"][2]["at"]) == ("tune", "2026-03-02 10:01:02")
    budgets = {row["phase"]: row for row in dose["budgets"]}
    assert (budgets["Li₂CO₃"]["word"], budgets["Li₂CO₃"]["tone"]) == ("passed", "bad")
    # 200 keV in Li2CO3: 3.6 to 4.2 MGy per e/Å², between LiF and water.
    assert 3.6 * 800 < float(budgets["Li₂CO₃"]["mgy"]) < 4.2 * 800
    assert budgets["mine"]["mgy"] is None
    assert [row["prior"] for row in dose["rows"]] == ["0", "0.5", "300.5", "300.5"]
    assert dose["bound"] == "Lower bound: 1 exposure of unknown dose."
    page = write_report(result, tmp_path / "report.html").read_text()
    assert '<tr class="bad">' in page
    assert "Lower bound: 1 exposure of unknown dose." in page


def test_a_place_that_is_not_certain_is_drawn_broken(make_result: Make) -> None:
    shifted = replace(
        _shot("shifted", 30.0, minute=0), position_uncertain_um=math.inf, uncalibrated_shift="x"
    )
    dose = page_values(_exposed(make_result(images=1), shifted))["dose"]
    assert '<g class="exposure record uncertain">' in dose["map"]
    assert "at places that are not certain" in dose["bound"]
    assert dose["some_uncertain"]
    assert not dose["some_unknown"]


def test_a_place_drawn_on_its_own_says_what_is_not_certain_of_it(
    make_result: Make, tmp_path: Path
) -> None:
    def at(x_um: float, shot: Exposure) -> Exposure:
        assert shot.illuminated_um is not None
        moved = shot.illuminated_um + np.array([x_um, 0.0])
        return replace(shot, place_um=None, recorded_um=None, illuminated_um=moved)

    near, far = _shot("near", 30.0, minute=0), at(500.0, _shot("far", 20.0, minute=1))
    panels = page_values(_exposed(make_result(images=1), near, far))["dose"]["panels"]
    assert [(panel["bound"], panel["place"][:3]) for panel in panels] == [("", "at ")] * 2
    shifted = replace(far, key="moved", position_uncertain_um=math.inf, uncalibrated_shift="x")
    # The other one is in the ledger still.
    result = _exposed(make_result(images=1), shifted)
    panels = page_values(result)["dose"]["panels"]
    assert [panel["bound"] for panel in panels] == ["≥\u202f", "≥\u202f"]
    assert [panel["place"].split()[0] for panel in panels] == ["at", "near"]
    page = write_report(result, tmp_path / "report.html").read_text()
    assert "highest dose, ≥&nbsp;30&nbsp;e/Å²" in page
    assert "mean dose upon what was recorded, at least (e/Å²)" in page


def test_each_region_is_outlined_once_and_the_uncertain_one_is_broken(make_result: Make) -> None:
    card = page_values(make_result(images=1))["cards"][0]
    drawing = card["figures"][0]["over"]
    assert drawing.count('class="line"') == 2
    assert drawing.count("stroke-dasharray") == 1
    assert [row["phase"] for row in card["regions"]] == ["Li₂O", "LiF"]
    assert card["regions"][1]["others"] == ["LiH 40\u202f%"]
    assert card["regions"][0]["zone"] == "[0 −1 1]"
    # Whole-image spectrum with all spots, then one spectrum per region with its own.
    rings = [figure["over"].count("<circle") for figure in card["figures"][1:]]
    assert rings == [8, 4, 4]


def _judged(result: SessionResult) -> SessionResult:
    """Return the result with a prior that overrules LiF, and with what the beam may have done."""
    image = result.files[0]
    assert image.phase_map is not None
    exposed = Acquisition(
        kind=Kind.IMAGE, dose_e_per_a2=20.0, prior_dose_e_per_a2=500.0, beam_energy_kev=300.0
    )
    oxide, fluoride = (
        replace(
            region,
            informed={"Li2O": 0.97, "unknown": 0.03}
            if region.phase == "Li2O"
            else {"LiF": 0.3, "LiH": 0.7},
            dose=dose_verdict(region.phase, exposed),
            sentence=f"{region.phase} it is.",
        )
        for region in image.phase_map.regions
    )
    judged = replace(
        image,
        prior="Prior weights by session.toml: LiH × 3; all others 1.",
        phase_map=replace(image.phase_map, regions=(oxide, fluoride)),
    )
    return replace(result, files=(judged, *result.files[1:]))


def test_both_posteriors_and_the_dose_stand_beside_the_phase(make_result: Make) -> None:
    values = page_values(_judged(make_result(images=1)))
    card = values["cards"][0]
    oxide, fluoride = card["regions"]
    assert card["informed"]
    assert oxide["informed"] == ["Li₂O 97\u202f%"]
    assert not oxide["overruled"]
    assert fluoride["informed"] == ["LiH 70\u202f%", "LiF 30\u202f%"]
    assert fluoride["overruled"]
    assert oxide["dose"]["word"] == "may be made by the beam"
    assert oxide["dose"]["numbers"] == "520, made from 450 on"
    assert (fluoride["dose"]["word"], fluoride["dose"]["numbers"]) == ("no limit known", "520")
    assert oxide["sentence"] == "Li₂O it is."
    # One sentence per phase, and the same words in the table of phases.
    assert len(card["dose_verdicts"]) == 2
    assert "The beam makes Li₂O from Li₂CO₃ and the interphase" in card["dose_verdicts"][0]
    assert [phase["beam"] for phase in values["phases"]] == [
        [("may be made by the beam", "bad")],
        [],  # LiF or LiH: one of them alone says nothing of the place
    ]
    assert values["priors"] == ["Prior weights by session.toml: LiH × 3; all others 1."]


def test_the_prior_has_a_column_only_where_one_was_stated(
    make_result: Make, tmp_path: Path
) -> None:
    plain = make_result(images=1)
    without = write_report(plain, tmp_path / "without.html").read_text()
    judged = write_report(_judged(plain), tmp_path / "with.html").read_text()
    assert "with the prior" not in without
    assert judged.count("<th>with the prior</th>") == 1
    assert "The answer does not use them" in judged


@pytest.mark.parametrize(
    ("phase", "before", "dose", "word", "numbers"),
    [
        ("Li2CO3", 0.0, 60.0, "below known limits", "60, limit 500 to 750"),
        ("Li2CO3", None, 60.0, "dose not known", "≥\u202f60, limit 500 to 750"),
        ("Li2CO3", 500.0, 60.0, "may be damaged", "560, limit 500 to 750"),
        ("Li2CO3", None, 800.0, "past its limit", "≥\u202f800, limit 500 to 750"),
        ("Li2O", 0.0, 60.0, "below known limits", "60, made from 450 on"),
        ("Li2O", 700.0, 60.0, "may be made by the beam", "760, made from 450 on"),
        ("Li", 0.0, 60.0, "below known limits", "60, limit above 30000"),
        ("LiOH", None, None, "no limit known", "?"),
    ],
)
def test_a_dose_verdict_in_a_few_words(
    phase: str, before: float | None, dose: float | None, word: str, numbers: str
) -> None:
    verdict = dose_verdict(
        phase,
        Acquisition(kind=Kind.IMAGE, dose_e_per_a2=dose, prior_dose_e_per_a2=before),
    )
    assert dose_verdict_words(verdict)[0] == word
    assert dose_comparison(verdict) == numbers


def test_files_that_are_no_measurements_have_no_card(make_result: Make) -> None:
    values = page_values(make_result(images=1))
    assert [card["file"] for card in values["cards"]] == [
        "grid<1>/image_000.mrc",
        "map.dm4",
        "broken.dm3",
    ]
    assert values["asides"] == [("notes.txt", "Not read: text.")]
    assert [item["file"] for item in values["poor"]] == ["broken.dm3"]


def test_an_outline_encloses_its_region() -> None:
    labels = np.zeros((50, 60), dtype=int)
    labels[10:20, 30:45] = 3
    (square,) = svg.outlines(labels, 2)
    x, y = np.array(square).T
    assert (x.min(), x.max(), y.min(), y.max()) == (29.5, 44.5, 9.5, 19.5)
    (rounded,) = svg.outlines(labels, 2, smooth_px=1.5)
    x, y = np.array(rounded).T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(150, rel=0.08)


def test_rings_lie_on_the_frequencies_they_stand_for() -> None:
    drawing = svg.rings(
        (100, 100),
        centre=(50, 50),
        pixel_size_per_a=0.01,
        spots={0: np.array([[0.2, -0.1]])},
        colours=["#fff"],
    )
    places = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing)
    assert places == [("40.0", "70.0"), ("60.0", "30.0")]


def test_a_session_of_hundreds_stays_small(make_result: Make, tmp_path: Path) -> None:
    path = write_report(make_result(images=165), tmp_path / "report.html")
    assert path.stat().st_size < 20e6
    assert picture_budget(165).side < picture_budget(40).side
    assert path.read_text().count('loading="lazy"') == 330


def test_an_empty_session_has_a_page(make_result: Make, tmp_path: Path) -> None:
    empty = replace(make_result(images=1), files=(), provenance={})
    page = write_report(empty, tmp_path / "report.html").read_text()
    assert "The folder holds no file" in page


@needs_browser
def test_the_page_opens_without_a_request_or_an_error(make_result: Make, tmp_path: Path) -> None:
    page = write_report(make_result(), tmp_path / "report.html")
    profile = tmp_path / "profile"
    # The probe writes what the console would have said into the title of the page.
    probe = (
        "<script>window.said=[];addEventListener('error',e=>said.push(e.message));"
        "addEventListener('securitypolicyviolation',e=>said.push('blocked '+e.blockedURI));"
        "for(const n of ['error','warn']){const o=console[n];"
        "console[n]=(...a)=>{said.push(a.join(' '));o(...a)}}"
        "addEventListener('load',()=>setTimeout(()=>{"
        "document.body.dataset.said=JSON.stringify(said);"
        "document.body.dataset.loaded=[...document.images].filter(i=>i.complete&&"
        "i.naturalWidth>0).length;"
        "document.getElementById('search').value='broken';"
        "document.getElementById('search').dispatchEvent(new Event('input'));"
        "document.body.dataset.rows=document.querySelectorAll("
        "'table.files tbody tr:not([hidden])').length},200))</script>"
    )
    policy = (
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
    )
    watched = tmp_path / "watched.html"
    watched.write_text(page.read_text().replace("<head>", f"<head>{policy}{probe}", 1))
    result = browse(
        f"--user-data-dir={profile}",
        "--virtual-time-budget=3000",
        "--window-size=1200,9000",
        "--dump-dom",
        watched.as_uri(),
    )
    body = re.search(r"<body[^>]*>", result.stdout)
    assert body is not None
    assert 'data-said="[]"' in body[0]
    assert int(re.search(r'data-loaded="(\d+)"', body[0])[1]) >= 8
    assert 'data-rows="1"' in body[0]


@needs_browser
def test_the_page_is_not_blank(make_result: Make, tmp_path: Path) -> None:
    page = write_report(make_result(), tmp_path / "report.html")
    shot = tmp_path / "shot.png"
    browse(
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,2400",
        f"--screenshot={shot}",
        page.as_uri(),
    )
    picture = matplotlib.image.imread(shot)[..., :3]
    assert picture.shape[:2] == (2400, 1200)
    colours = np.unique((picture[::4, ::4] * 15).astype(int).reshape(-1, 3), axis=0)
    assert len(colours) > 50
    # Text and pictures are spread down the page, not only at its head.
    ink = (picture.min(axis=2) < 0.5).mean(axis=1)
    assert all(part.max() > 0.005 for part in np.array_split(ink, 8))
