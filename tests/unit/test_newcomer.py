"""What a newcomer types first: list, new, and a function from a notebook."""

import sys

import pytest

import dgnbench
from dgnbench.cards import check_method_code, read_house
from dgnbench.cli import main
from dgnbench.contract import DgnbenchError
from dgnbench.newcomer import new_method
from dgnbench.tasks import all_tasks

HOUSE = read_house()


@pytest.mark.parametrize(
    ("what", "ids"),
    [
        ("tasks", list(all_tasks())),
        ("methods", list(HOUSE.methods.cards)),
        ("datasets", list(HOUSE.datasets.cards)),
        ("metrics", list(HOUSE.metrics.cards)),
    ],
)
def test_list_names_everything_that_is_there(capsys, what, ids):
    main(["list", what])
    said = capsys.readouterr().out.split()
    assert set(ids) <= set(said)


def test_a_dataset_s_line_tells_its_size_tasks_checksums_and_licence(capsys):
    main(["list", "datasets"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for column in ("cells", "genes", "modalities", "tasks", "size", "checksums", "licence"):
        assert column in lines["id"]
    assert lines["pbmc_cite_5k_10k"].split()[1:6] == [
        "real",
        "13112",
        "33538",
        "rna+protein",
        "denoising,",
    ]
    assert "2 claimed" in lines["pbmc_cite_5k_10k"]
    assert "none yet" in lines["atac_pbmc_5k"]
    assert lines["hlca_core"].count("by hand") == 1


@pytest.mark.parametrize("task", list(all_tasks()))
def test_a_new_method_is_right_but_for_its_body(tmp_path, task):
    folder = new_method("mine", [task], tmp_path)
    card = read_house([tmp_path]).methods["mine"]
    assert card.tasks == (task,)
    check_method_code(card)
    assert all_tasks()[task].hint in (folder / "method.py").read_text()
    with pytest.raises(DgnbenchError, match="exists already"):
        new_method("mine", [task], tmp_path)


def test_a_new_method_can_do_several_tasks_and_wants_a_lower_snake_name(tmp_path):
    new_method("both", ["denoising", "generation"], tmp_path)
    check_method_code(read_house([tmp_path]).methods["both"])
    with pytest.raises(DgnbenchError, match="wanted lower_snake"):
        new_method("My-VAE", ["denoising"], tmp_path)


def test_a_function_in_a_notebook_is_scored_beside_controls_and_baselines():
    def as_it_is(counts):
        return counts.X

    table = dgnbench.benchmark(as_it_is, "denoising", ["pbmc68k_reduced"])
    mine, same = (table.loc[("pbmc68k_reduced", name)] for name in ("as_it_is", "no_denoising"))
    assert mine["poisson_nll"] == same["poisson_nll"]
    assert set(table["role"]) == {"method", "baseline", "floor", "ceiling"}
    assert table["poisson_skill scaled"].max() == 1
    # scoring hides TensorFlow while it imports; the notebook may want it afterwards
    assert sys.modules.get("tensorflow", True) is not None
