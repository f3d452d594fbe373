# From all scores to one page.


localrules:
    freeze_config,
    collect,
    report,


rule freeze_config:
    output:
        f"{RESULTS}/config.json",
    log:
        f"{LOGS}/freeze_config.log",
    params:
        config=json.dumps(config),
    shell:
        "printf %s {params.config:q} > {output:q} 2> {log:q}"


rule collect:
    input:
        config=f"{RESULTS}/config.json",
        scores=[
            f"{RESULTS}/{task}/{dataset}/r{r}/scores.csv"
            for task, dataset, r in PLAN.groups
        ],
    output:
        f"{RESULTS}/runs.csv",
        f"{RESULTS}/scores.csv",
        f"{RESULTS}/manifest.json",
    log:
        f"{LOGS}/collect.log",
    shell:
        "{DGNBENCH} collect {input.config:q} 2> {log:q}"


rule report:
    input:
        f"{RESULTS}/runs.csv",
        f"{RESULTS}/scores.csv",
        f"{RESULTS}/manifest.json",
        component_files(Path(workflow.basedir) / "reports"),
    output:
        report(f"{RESULTS}/report.html", category="Benchmark"),
    log:
        f"{LOGS}/report.log",
    shell:
        "{DGNBENCH} report --output {output:q} 2> {log:q}"


onsuccess:
    shell(f"{DGNBENCH} summary {RESULTS}")
