# The runs of one (task, dataset, replicate) are scored in one process: imports and compilation are
# paid once. A run whose files did not change keeps its scores (scores.csv in its own folder).


rule score:
    input:
        # Which methods there are: in a file, since a command line has no room for thousands. What
        # else changes in it is no reason to score again.
        config=ancient(f"{RESULTS}/config.json"),
        split=f"{GROUP}/split.json",
        runs=lambda wildcards: [
            f"{RESULTS}/{run.task}/{run.dataset}/r{run.replicate}/{run.method}/run.json"
            for run in PLAN.runs_of(
                wildcards.task, wildcards.dataset, int(wildcards.replicate)
            )
        ],
        metrics=lambda wildcards: code_of_metrics(wildcards.task),
    output:
        f"{GROUP}/scores.csv",
    log:
        f"{GROUP_LOGS}/score.log",
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        group=subpath(output[0], parent=True),
        engine=PLAN.engine,  # a trigger only: the command reads it from the config
    shell:
        "dgnbench score {wildcards.task} --group {params.group:q} --config {input.config:q}"
        " 2> >(tee {log:q} >&2)"
