"""Every public address that the catalogue knows is in a card, or in the list that says why not."""

import pytest
import yaml

from dgnbench.cards import read_house
from tests.conftest import ROOT

LEFT_OUT = yaml.safe_load((ROOT / "datasets" / "left_out.yaml").read_text())


@pytest.fixture(scope="module")
def in_cards() -> set[str]:
    cards = read_house().datasets.cards.values()
    return {url for card in cards for file in card.files.values() for url in file.urls}


def left_out() -> list[str]:
    return [url for entry in LEFT_OUT for url in entry["urls"]]


def test_an_address_is_left_out_once_and_for_a_reason(in_cards):
    assert len(left_out()) == len(set(left_out()))
    assert not in_cards & set(left_out())
    assert all(len(entry["reason"]) > 20 for entry in LEFT_OUT)


def test_no_address_of_the_catalogue_is_forgotten(in_cards, shared_folder):
    catalogue = yaml.safe_load((shared_folder / "facts" / "catalog.yaml").read_text())
    known = {
        place["url"]
        for entry in catalogue
        for file in entry["files"]
        for place in (file, *(file.get("mirrors") or []))
        if place.get("url")
    }
    assert len(known) > 250
    assert known - in_cards - set(left_out()) == set()
    assert set(left_out()) - known == set()


def test_the_sets_that_every_comparison_uses_are_there():
    house = read_house()
    assert set(house.datasets.cards) >= {
        "heart_cell_atlas_20k", "kang_2018", "neurips2021_bmmc_cite", "neurips2021_bmmc_multiome",
        "norman_2019", "paul15", "pbmc10k_multiome", "pbmc3k", "pbmc_cite_5k_10k", "sc_mixology",
        "scib_immune_human", "scib_lung_atlas", "scib_pancreas",
    }  # fmt: skip
    real = [card for card in house.datasets.cards.values() if card.kind == "real"]
    assert len(real) >= 40
    assert any(card.expected.get("n_cells", 0) > 500_000 for card in real)
