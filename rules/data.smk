# Datasets to their standard form, then into problem and solution.


rule prepare:
    input:
        card=lambda wildcards: (
            component_files(PLAN.dataset(wildcards.dataset).folder)
            if PLAN.dataset(wildcards.dataset).path is None
            else str(PLAN.dataset(wildcards.dataset).path)
        ),
    output:
        "data/prepared/{dataset}.{suffix}",
    log:
        "logs/prepare/{dataset}.{suffix}.log",
    wildcard_constraints:
        suffix="h5ad|h5mu",
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        own=lambda wildcards: (
            ["--own", json.dumps(PLAN.config["datasets"][wildcards.dataset])]
            if PLAN.dataset(wildcards.dataset).path
            else []
        ),
        components=COMPONENTS,
    shell:
        "dgnbench prepare {wildcards.dataset:q} {params.own:q} {params.components:q}"
        " --output {output:q} 2> >(tee {log:q} >&2)"


rule split:
    input:
        prepared=lambda wildcards: (
            f"data/prepared/{wildcards.dataset}.{PLAN.dataset(wildcards.dataset).suffix}"
        ),
        task=Path(workflow.basedir) / "src/dgnbench/tasks/{task}.py",
    output:
        f"{GROUP}/split.json",
        directory(f"{GROUP}/problem"),
        directory(f"{GROUP}/solution"),
    log:
        f"{GROUP_LOGS}/split.log",
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        seed=lambda wildcards: PLAN.seed + int(wildcards.replicate),
        group=subpath(output[0], parent=True),
    shell:
        "dgnbench split {wildcards.task} {input.prepared:q} --seed {params.seed}"
        " --output {params.group:q} 2> >(tee {log:q} >&2)"
