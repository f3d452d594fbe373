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
    priority: 100
    params:
        kept=KEPT_CONFIG,
        sha256=CONFIG_SHA256,
    shell:
        "cp {params.kept:q} {output:q} 2> {log:q}"


rule collect:
    input:
        config=f"{RESULTS}/config.json",
        scores=SCORES,
    output:
        f"{RESULTS}/runs.csv",
        f"{RESULTS}/scores.csv",
        f"{RESULTS}/manifest.json",
    log:
        f"{LOGS}/collect.log",
    shell:
        "dgnbench collect {input.config:q} 2> >(tee {log:q} >&2)"


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
        "dgnbench report --output {output:q} 2> >(tee {log:q} >&2)"


onerror:
    shell("dgnbench conclude {RESULTS:q} || true")  # Snakemake's exit code stays 1
