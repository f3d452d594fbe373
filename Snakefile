# The table of contents. Logic lives in src/dgnbench, stages in rules/, choices in config/.
from snakemake.utils import min_version

min_version("9.0")

# No `configfile:` beside a given one: Snakemake would merge the two, and a benchmark is one file.
if not config:

    configfile: "config/default.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/envs.smk"
include: "rules/fit.smk"
include: "rules/score.smk"
include: "rules/report.smk"


localrules:
    all,


# No output, so that every start ends with the count of what is ok, declined and failed. The scores
# are asked for by themselves, because the report of a start that failed is there without some; the
# records, because somebody may have removed one whose scores are there.
rule all:
    default_target: True
    input:
        records=RECORDS,
        scores=SCORES,
        report=f"{RESULTS}/report.html",
    log:
        f"{LOGS}/summary.log",
    params:
        results=subpath(input.report, parent=True),
    shell:
        "dgnbench summary {params.results:q} | tee {log:q}; exit ${{PIPESTATUS[0]}}"
