"""A faulty card or component is refused with its place and the nearest valid word."""

import shutil

import pytest
import yaml

from dgnbench.cards import CardError, check_method_code, find_house, read_house
from tests.conftest import ROOT


@pytest.fixture
def component(tmp_path):
    """``component(kind, id, **changes)``: a copy of a component with a changed card, read again."""

    def read(kind, name, code=None, as_name="copied", **changes):
        folder = tmp_path / f"{kind}s" / as_name
        shutil.copytree(ROOT / f"{kind}s" / name, folder)
        card = folder / f"{kind}.yaml"
        content = yaml.safe_load(card.read_text())
        for key, value in changes.items():
            if value is None:
                del content[key]
            else:
                content[key] = value
        card.write_text(yaml.safe_dump(content))
        if code is not None:
            (folder / f"{kind}.py").write_text(code)
        house = read_house([tmp_path])
        if kind == "method":
            check_method_code(house.methods[as_name])
        return house

    return read


def test_an_unchanged_copy_is_right(component):
    assert component("method", "ridge").methods["copied"].label == "Ridge regression"


def test_a_run_reads_its_own_card_and_a_plan_reads_all(component, tmp_path):
    with pytest.raises(CardError, match="unknown key 'lable'"):
        component("method", "ridge", lable="x")
    with pytest.raises(CardError, match="unknown key 'lable'"):
        read_house([tmp_path])
    house = find_house([tmp_path])
    assert house.methods["pca"].label == "PCA"
    with pytest.raises(CardError, match="unknown key 'lable'"):
        house.methods["copied"]
    assert "copied" in house.methods


@pytest.mark.parametrize(
    ("kind", "name", "changes", "said"),
    [
        ("method", "ridge", {"lable": "x"}, "unknown key 'lable'; did you mean 'label'"),
        ("method", "ridge", {"label": None}, "label"),
        ("method", "ridge", {"role": "methd"}, "role"),
        ("method", "ridge", {"tasks": ["denoisin"]}, "did you mean 'denoising'"),
        ("method", "ridge", {"tasks": []}, "tasks"),
        ("method", "ridge", {"smoke": {"n_componens": 3}}, "did you mean 'n_components'"),
        ("method", "ridge", {"reference": "Hoerl 1970"}, "reference"),
        ("method", "ridge", {"resources": {"gpu": -1, "mem_mb": 1, "runtime": 1}}, "gpu"),
        ("method", "ridge", {"params": {}}, "wants the keyword `n_components`"),
        ("method", "ridge", {"params": {"n_components": 5, "k": 1}}, "lacks the keyword `k`"),
        ("method", "ridge", {"tasks": ["denoising"]}, "there is no function `denoising`"),
        (
            "method",
            "jae",
            {"without_labels": {"label_fractio": 0}},
            "did you mean 'label_fraction'",
        ),
        ("method", "jae", {"without_labels": {}}, "without_labels"),
        ("method", "ridge", {"without_labels": {"n_components": 1}}, "`uses_labels: true`"),
        ("dataset", "simulated_cite", {"has": ["rna", "bach"]}, "bach"),
        ("dataset", "simulated_cite", {"modalities": ["rna"]}, "wants two `modalities`"),
        ("dataset", "simulated_cite", {"licence": None}, "licence"),
        ("metric", "denoising", {"task": "denoise"}, "did you mean 'denoising'"),
        ("metric", "denoising", {"task": ["denoising", "generatio"]}, "did you mean 'generation'"),
        ("metric", "denoising", {"task": ["denoising", "denoising"]}, "task"),
        ("metric", "denoising", {"metrics": {}}, "metrics"),
    ],
)
def test_a_faulty_card_is_refused(component, kind, name, changes, said):
    with pytest.raises(CardError) as error:
        component(kind, name, **changes)
    assert said in str(error.value)
    assert "copied" in str(error.value)


def test_a_function_serves_a_second_task_by_a_second_name(component):
    code = "def denoising(*parts, seed):\n  pass\n\nintegration = denoising"
    changes = {"tasks": ["integration", "denoising"], "params": {}}
    card = component("method", "ridge", code, **changes).methods["copied"]
    assert card.tasks == ("integration", "denoising")


def test_a_metric_family_scores_every_task_that_it_names(component):
    house = component("metric", "denoising", task=["denoising", "generation"])
    for task in ("denoising", "generation"):
        assert "copied" in house.metrics_of(task)
    assert "copied" not in house.metrics_of("integration")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def modality_prediction(a, b, *, seed, n_components):\n  pass", "takes 2 positional"),
        ("def modality_prediction(a, b, c, *, seed, n_components)\n  pass", "not valid Python"),
        ("modality_prediction = 3", "there is no function `modality_prediction`"),
        ("modality_prediction = other", "there is no function `modality_prediction`"),
        (
            "def f(a, b, *, seed, n_components):\n  pass\nmodality_prediction = f",
            "takes 2 positional",
        ),
    ],
)
def test_a_function_that_does_not_fit_its_task_is_refused(component, code, said):
    with pytest.raises(CardError) as error:
        component("method", "ridge", code=code)
    assert said in str(error.value)
    assert "method.py" in str(error.value)


def test_a_method_that_may_be_given_no_labels_must_do_without_them(component):
    code = (ROOT / "methods" / "jae" / "method.py").read_text().replace("labels=None", "labels")
    with pytest.raises(CardError, match="give it a default: `labels=None`"):
        component("method", "jae", code)


def test_a_name_that_is_taken_is_refused(component):
    with pytest.raises(CardError, match="the method 'ridge' exists already"):
        component("method", "ridge", as_name="ridge")


def test_a_name_of_a_folder_of_every_split_is_refused(component):
    with pytest.raises(CardError, match="'solution' is a folder of every split"):
        component("method", "pca", as_name="solution")


def test_a_card_that_is_no_yaml_is_refused(tmp_path):
    card = tmp_path / "methods" / "mine" / "method.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("label: a: b")
    with pytest.raises(CardError, match="not valid YAML"):
        read_house([tmp_path])
