"""The report as a reader opens it: offline, in a browser, wide and narrow, light and dark."""

import csv
import io
import re
import shutil

import numpy as np
import pytest

from dgnbench.collecting import SCORE_COLUMNS
from dgnbench.contract import Estimate
from dgnbench.report import render
from tests.conftest import PLANTED, ROOT, skip_or_fail
from tests.made_up_benchmark import write_benchmark
from tests.workflow.conftest import Workdir

WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}
LIMIT_MB, LIMIT_MS = (
    15,
    2000,
)  # of a report of 30 methods on 10 datasets: to load, and until it is ready


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a small benchmark in which one method fails and one declines."""
    here = Workdir(
        tmp_path_factory.mktemp("report"),
        {
            "benchmark": "tiny",
            "smoke": True,
            "tasks": ["denoising", "integration", "generation"],
            "datasets": {
                "pbmc68k_reduced": {"tasks": ["denoising", "generation"]},
                "simulated_batches@n_cells=300@n_genes=100": {"tasks": ["integration"]},
            },
            "methods": ["pca", "harmony", "raises", "own_scvi", "nb_per_type"],
            "component_paths": [str(PLANTED)],
        },
    )
    done = here.snakemake()
    page = here.results / "report.html"
    assert page.is_file(), done.stdout
    return page


def made(folder, *args, **kwargs):
    write_benchmark(folder, *args, **kwargs)
    render(folder, folder / "report.html", ROOT / "reports")
    return folder / "report.html"


TRUTH = {f"method_{i:02}": 0.2 + 0.02 * i for i in range(34)} | {
    "base": 0.55, "labelled_a": 0.9, "labelled_b": 0.7, "method_10@beta=2": 0.6,
    "method_10@beta=4": 0.4, "method_10@beta=8": 0.45,
}  # fmt: skip


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """40 methods on 12 datasets with 3 replicates, whose truth is known; some runs failed."""
    return made(
        tmp_path_factory.mktemp("big") / "big",
        {"alpha": TRUTH, "omega": dict(list(TRUTH.items())[::2])}, metrics=6, missing={"omega": 0.04},
        baselines=("base", "method_03"), label_users=("labelled_a", "labelled_b"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    binary = shutil.which("chromium")
    if not binary:
        skip_or_fail("chromium (Debian: chromium) is not here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """``opened(file, viewport, …)``: a page; at the end it must have said and asked nothing."""
    contexts, heard = [], []

    def open_page(file, viewport=WIDE, **how):
        context = chromium.new_context(viewport=viewport, accept_downloads=True, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda asked: heard.append(asked.url)
                if not asked.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []


def column(page, selector, index):
    """Texts of a table's column, of the rows that are shown."""
    return page.locator(f"{selector} tbody tr:visible > :nth-child({index + 1})").all_inner_texts()


def numbers(texts):
    return [float(t.split()[0].replace("−", "-")) for t in texts if t.strip() not in ("–", "")]


def test_a_table_is_sorted_by_the_column_that_is_pressed(opened, report):
    page = opened(report)
    table = "#denoising table.sortable >> nth=0"
    header = page.locator(f"{table} >> thead th").nth(2)
    header.get_by_role("button").click()
    first = numbers(page.locator(table).locator("tbody tr > :nth-child(3)").all_inner_texts())
    assert len(first) > 5
    assert first == sorted(first, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    header.get_by_role("button").press("Enter")  # by keyboard, too
    again = numbers(page.locator(table).locator("tbody tr > :nth-child(3)").all_inner_texts())
    assert again == sorted(first)


def test_missing_scores_are_sorted_last_in_either_direction(opened, report):
    page = opened(report)
    table = page.locator("#denoising details.dataset table").first
    for _ in range(2):
        table.locator("thead th").nth(2).get_by_role("button").click()
        values = table.locator("tbody tr > :nth-child(3)").all_inner_texts()
        assert values[-1].startswith("–")
        assert not values[0].startswith("–")


def test_the_leaderboard_is_filtered_by_task_role_labels_and_name(opened, big):
    page = opened(big)
    assert len(column(page, "#leaderboard", 0)) == 42
    page.select_option("#show-role", "baseline")
    assert set(column(page, "#leaderboard", 0)) == {"base", "method_03"}
    page.select_option("#show-role", "")
    page.select_option("#show-labels", "yes")
    assert set(column(page, "#leaderboard", 0)) == {"labelled_a", "labelled_b"}
    page.select_option("#show-labels", "")
    page.fill("#show-name", "beta=")
    assert len(column(page, "#leaderboard", 0)) == 3
    page.fill("#show-name", "")
    page.select_option("#show-task", "omega")
    assert len(column(page, "#leaderboard", 0)) == len(list(TRUTH)[::2]) + 2
    assert page.locator("#leaderboard thead th:visible").count() == 3
    assert "of 42 rows" in page.inner_text("#leaderboard-says")


def test_the_leaderboard_shows_scaled_values_ranks_and_raw_values_of_a_dataset(opened, big):
    page = opened(big)
    everywhere = numbers(column(page, "#leaderboard", 2))
    page.select_option("#show-dataset", "d03")
    assert numbers(column(page, "#leaderboard", 2)) != everywhere
    page.select_option("#show-view", "raw")
    assert max(numbers(column(page, "#leaderboard", 2))) > 20
    page.select_option("#show-view", "rank")
    ranks = numbers(column(page, "#leaderboard", 2))
    assert sorted(ranks)[:3] == [1, 1, 2]  # those that are given labels have ranks of their own
    page.locator("#leaderboard thead th").nth(2).get_by_role("button").click()
    assert numbers(column(page, "#leaderboard", 2))[:2] == [1, 1]


def test_a_dataset_of_one_task_shows_that_task_and_the_caption_follows(opened, report):
    page = opened(report)
    page.select_option("#show-dataset", label="PBMC 68k (reduced)")
    tasks = page.locator("#leaderboard thead th[data-task]:visible").all_inner_texts()
    assert tasks == ["Denoising", "Generation"]
    assert "harmony" not in " ".join(column(page, "#leaderboard", 0)).lower()
    assert "on PBMC 68k (reduced): mean over its replicates" in page.inner_text(
        "#leaderboard-caption"
    )
    page.select_option("#show-task", label="Integration")
    assert "takes no part" in page.inner_text("#leaderboard-says")


def test_an_order_stays_with_the_values_that_are_shown(opened, big):
    page = opened(big)
    page.locator("#leaderboard thead th").nth(2).get_by_role("button").click()
    for view in ("rank", "scaled"):
        page.select_option("#show-view", view)
        shown = numbers(column(page, "#leaderboard", 2))
        assert shown == sorted(shown, reverse=view == "scaled")


def test_the_verdicts_agree_with_the_truth(opened, big):
    """Far methods are told apart the right way round, and no verdict is the wrong way round."""
    page = opened(big)
    rows = page.locator("#alpha > .scroll table tbody tr").all()
    verdicts = {}
    for row in rows:
        name = row.locator("th").inner_text()
        verdicts[name] = row.locator("td.verdict").inner_text().rpartition(": ")[2]
    far = []
    for name, mean in TRUTH.items():
        if name in ("base", "method_03"):
            continue
        assert verdicts[name] != ("worse" if mean > 0.55 else "better"), name
        if abs(mean - 0.55) > 0.2:
            far.append(verdicts[name] == ("better" if mean > 0.55 else "worse"))
    assert np.mean(far) > 0.9, "far methods are told apart"
    best = page.locator("#overview .answers li").first.inner_text()
    assert any(name in best for name in ("method_33", "method_32", "method_31")), best
    order = numbers(column(page, "#alpha > .scroll table", 2))[:38]
    truth = [TRUTH[n] for n in column(page, "#alpha > .scroll table", 0)[:38]]
    assert np.corrcoef(order, truth)[0, 1] > 0.95


def test_two_methods_are_compared(opened, big):
    page = opened(big)
    page.select_option("#compare-a", "method_33")
    page.select_option("#compare-b", "method_00")
    said = page.inner_text("#compare-says")
    assert said.startswith("method_33 is better, if this is the only pair that you ask about")
    gaps = numbers(column(page, "#compare-table", 3))
    assert len(gaps) == 12
    page.select_option("#compare-a", "method_00")  # the other way round: sentence and table agree
    page.select_option("#compare-b", "method_33")
    assert page.inner_text("#compare-says") == said
    assert numbers(column(page, "#compare-table", 3)) == gaps
    assert page.locator("#compare-name-a").inner_text() == "method_33"
    page.select_option("#compare-a", "method_33")
    page.select_option("#compare-b", "method_00")
    assert np.mean(gaps) == pytest.approx(0.66, abs=0.15)
    assert page.locator("#compare-table circle").count() > 30
    page.select_option("#compare-b", "method_33")
    assert page.inner_text("#compare-says") == "Choose two methods."


def test_a_grey_cell_opens_its_reason_and_the_last_lines(opened, report):
    page = opened(report)
    assert "1 failed" in page.inner_text("header")
    cell = page.locator("#coverage td.failed button")
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert "singular" in dialog.inner_text()
    assert "Traceback" in dialog.locator("pre").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.locator("#coverage td.declined button").first.click()
    assert "declined" in page.locator("dialog[open]").inner_text()


def test_tables_are_copied_and_downloaded(opened, report):
    page = opened(report, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy scores.csv").click()
    page.get_by_role("button", name="Copied: scores").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.replace("\r\n", "\n") == (report.parent / "scores.csv").read_text()
    page.select_option("#show-role", "baseline")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the leaderboard as shown").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text())))
    assert [row[0] for row in rows] == ["Method", *column(page, "#leaderboard", 0)]


def test_every_picture_has_loaded_and_says_what_it_shows(opened, report):
    page = opened(report)
    page.evaluate("document.querySelectorAll('img').forEach((i) => { i.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every((i) => i.complete)")
    pictures = page.evaluate("[...document.images].map((i) => [i.naturalWidth, i.alt])")
    assert len(pictures) > 8
    assert all(width > 100 and len(alt) > 10 for width, alt in pictures)
    assert "could not be drawn" not in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["report", "big"])
def test_axe_finds_nothing_serious(opened, request, which, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(request.getfixturevalue(which), color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    serious = [
        (v["id"], [node["html"][:200] for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not serious


def test_on_a_narrow_screen_only_tables_scroll_sideways(opened, report, big):
    for file in (report, big):
        page = opened(file, NARROW)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_scores_from_a_sample_say_so_with_their_largest_error(opened, tmp_path):
    folder = tmp_path / "sampled"
    scores = write_benchmark(folder, {"alpha": {"good": 0.8, "base": 0.5}}, baselines=("base",))
    mine = scores["dataset"] == "d01"
    scores.loc[mine, "note"] = [
        Estimate(0.5, 0.002 * (1 + i % 4), 10_000, 50_000).note for i in range(mine.sum())
    ]
    scores[list(SCORE_COLUMNS)].to_csv(folder / "scores.csv", index=False)
    render(folder, folder / "report.html", ROOT / "reports")
    said = opened(folder / "report.html").locator("#coverage ul li")
    assert said.count() == 1
    assert "10,000 of 50,000 cells, standard error up to 0.008" in said.inner_text()


def test_every_link_within_the_page_leads_somewhere(opened, report):
    dangling = opened(report).evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1))"
        ".filter((id) => !document.getElementById(id))"
    )
    assert dangling == []


def test_a_large_report_is_small_enough_and_quick_to_open(opened, big):
    assert big.stat().st_size < LIMIT_MB * 1e6
    ready = opened(big).evaluate(
        "performance.timing.loadEventEnd - performance.timing.navigationStart"
    )
    assert ready < LIMIT_MS


EXTREMES = {
    "one_of_everything": ({"alpha": {"only": 0.5}}, {"datasets": 1, "replicates": 1}),
    "all_failed": ({"alpha": {"a": 0.5, "b": 0.6}}, {"datasets": 2, "replicates": 1, "missing": 1.0}),
    "sixty_long_names": (
        {"alpha": {f"m{i}": 0.5 + i / 200 for i in range(60)}},
        {"datasets": 2, "replicates": 2, "missing": 0.02,
         "labels": {f"m{i}": f"A rather long name of a method, as they come, {i}" for i in range(60)}},
    ),
    "a_budget": ({"alpha": {"a": 0.5, "b": 0.7}}, {"datasets": 6, "budget": {"minutes": 5}}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_benchmarks_have_a_whole_page(opened, tmp_path, name):
    means, how = EXTREMES[name]
    page = opened(made(tmp_path / name, means, **how), NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    text = page.inner_text("body")
    assert "NaN" not in text
    assert not re.search(r"\bnan\b", text)
    if name == "all_failed":
        assert "No method has a score" in text
    if name == "one_of_everything":
        assert "nothing can be concluded" in text
    if name == "a_budget":
        assert "the same budget: 5 minutes" in text
        assert "50 %" in text
