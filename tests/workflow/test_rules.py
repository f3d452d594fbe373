"""Rules are stages in Snakemake's own good style, whatever the config."""

import subprocess
import sys
import zipfile

from tests.conftest import ROOT


def test_snakemake_s_own_linter_has_one_complaint_only():
    """Conda environments in rules: here an environment is a lock file, not a rule's property."""
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--lint", "--workflow-profile", "none",
            "--configfile", "config/smoke.yaml",
        ],
        cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    found = [line.strip()[2:] for line in done.stderr.splitlines() if line.startswith("    * ")]
    assert found, done.stderr
    assert [t for t in found if not t.startswith("Specify a conda environment")] == []


def test_rules_are_stages_and_call_the_command_line_only():
    for file in (ROOT / "rules").glob("*.smk"):
        text = file.read_text()
        assert "script:" not in text
        assert "\n    run:" not in text
        for method in (ROOT / "methods").iterdir():
            assert f'"{method.name}"' not in text, (file, method.name)


def test_snakemake_s_own_report_holds_the_page(workdir):
    here = workdir()
    assert here.snakemake().returncode == 0
    done = here.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(here.folder / "report.zip") as made:
        pages = [
            name for name in made.namelist() if "/data/" in name and name.endswith("report.html")
        ]
        assert [made.read(name) for name in pages] == [(here.results / "report.html").read_bytes()]


def test_the_snakefile_is_a_table_of_contents():
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 40
