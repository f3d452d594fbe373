# Files of datasets, their standard form, then problem and solution.


# Where there is a network: a login node. Everything after it needs none.
localrules:
    fetch,
    prefetch,


rule prefetch:
    input:
        [PLAN.fetched_of(dataset) for dataset in PLAN.datasets],


rule fetch:
    output:
        "data/raw/{dataset}/source.json",
    log:
        "logs/fetch/{dataset}.log",
    wildcard_constraints:
        dataset=r"[a-z][a-z0-9_]*",
    priority: 100
    resources:
        downloads=1,
    params:
        files=lambda wildcards: repr(PLAN.dataset(wildcards.dataset).files),
        # With `threads` Snakemake takes it for no trigger: another cache, or `offline`, makes no file old.
        settings=lambda wildcards, threads: PLAN.settings.as_json(),
        components=COMPONENTS,
    shell:
        "dgnbench fetch {wildcards.dataset:q} {params.components:q}"
        " --settings {params.settings:q} 2> >(tee {log:q} >&2)"


rule prepare:
    input:
        card=lambda wildcards: PLAN.code_of(wildcards.dataset),
        raw=lambda wildcards: PLAN.fetched_of(wildcards.dataset),
    output:
        "data/prepared/{dataset}.{suffix}",
    log:
        "logs/prepare/{dataset}.{suffix}.log",
    wildcard_constraints:
        suffix="h5ad|h5mu",
    priority: 100  # what is wrong with data is said before hours of work
    resources:
        mem_mb=16000,
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
        prepared=lambda wildcards: PLAN.prepared_of(wildcards.dataset),
        task=Path(workflow.basedir) / "src/dgnbench/tasks/{task}.py",
    output:
        f"{GROUP}/split.json",
        directory(f"{GROUP}/problem"),
        directory(f"{GROUP}/solution"),
    log:
        f"{GROUP_LOGS}/split.log",
    priority: 100
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        seed=lambda wildcards: PLAN.seed + int(wildcards.replicate),
        group=subpath(output[0], parent=True),
    shell:
        "dgnbench split {wildcards.task} {input.prepared:q} --seed {params.seed}"
        " --output {params.group:q} 2> >(tee {log:q} >&2)"
