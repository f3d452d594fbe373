"""The report as a reader opens it: offline, in a browser, wide and narrow."""

import json
import shutil

import pytest

from tests.conftest import PLANTED, skip_or_fail
from tests.workflow.conftest import Workdir

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a small benchmark in which one method fails."""
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
            "methods": ["pca", "harmony", "raises", "keras_vae", "nb_per_type"],
            "component_paths": [str(PLANTED)],
        },
    )
    done = here.snakemake()
    page = here.results / "report.html"
    assert page.is_file(), done.stdout
    return page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not shutil.which("chromedriver") or not shutil.which("chromium"):
        skip_or_fail("chromium and chromedriver (Debian: chromium, chromium-driver) are not here")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, report):
    browser.set_window_size(1300, 900)
    browser.get(report.as_uri())
    return browser


def column(page, table, index):
    script = "return [...arguments[0].tBodies[0].rows].map(r => r.children[arguments[1]].innerText)"
    return page.execute_script(script, table, index)


def numbers(texts):
    return [float(text) for text in texts if text not in ("–", "")]


def test_it_asks_the_network_for_nothing_and_the_console_stays_empty(page, report):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert report.as_uri() in asked
    assert not [url for url in asked if url.startswith(("http", "ws"))]
    page.find_element("id", "toggle").click()
    assert page.get_log("browser") == []


def test_a_table_is_sorted_by_the_column_that_is_pressed(page):
    table = page.find_element("css selector", "#denoising table.sortable")
    header = table.find_elements("css selector", "thead th")[2]
    header.find_element("css selector", "button").click()
    first = numbers(column(page, table, 2))
    assert len(first) > 5
    assert first == sorted(first, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    header.find_element("css selector", "button").click()
    assert numbers(column(page, table, 2)) == sorted(first)
    table.find_elements("css selector", "thead th")[0].find_element("tag name", "button").click()
    names = column(page, table, 0)
    assert names == sorted(names, key=str.lower)
    assert header.get_attribute("aria-sort") is None


def test_missing_scores_are_sorted_last_in_either_direction(page):
    table = page.find_elements("css selector", "#denoising table.sortable")[1]
    button = table.find_elements("css selector", "thead th button")[2]
    for _ in range(2):
        button.click()
        values = column(page, table, 2)
        assert values[-1] == "–"
        assert values[0] != "–"


def test_the_toggle_shows_scaled_values(page):
    table = page.find_elements("css selector", "#denoising table.sortable")[1]
    raw = column(page, table, 2)
    page.find_element("id", "toggle").click()
    scaled = column(page, table, 2)
    assert raw != scaled
    assert max(numbers(scaled)) == 1


def test_a_failed_run_is_named_with_its_reason(page):
    assert "singular" in page.find_element("id", "failures").text
    assert "1 failed" in page.find_element("tag name", "header").text


def test_every_picture_has_loaded_and_says_what_it_shows(page):
    pictures = page.execute_script(
        "return [...document.images].map(i => [i.complete && i.naturalWidth, i.alt])"
    )
    assert all(width > 100 and len(alt) > 10 for width, alt in pictures)
    shown = " ".join(alt for _, alt in pictures)
    for figure in ("UMAP", "Loss parts", "Fit seconds", "Generated (orange)", "Mean and variance"):
        assert figure in shown


def test_on_a_narrow_screen_only_tables_scroll_sideways(page):
    page.set_window_size(500, 800)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    wide, view = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= view


def test_every_link_within_the_page_leads_somewhere(page):
    dangling = page.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert dangling == []
