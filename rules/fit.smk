# One rule runs every method: its card tells what it needs, its own files what reruns it.


rule fit:
    input:
        split=f"{GROUP}/split.json",
        method=lambda wildcards: component_files(PLAN.method(wildcards.method).folder),
    output:
        f"{GROUP}/{{method}}/run.json",
    log:
        f"{GROUP_LOGS}/{{method}}.log",
    threads: lambda wildcards: PLAN.resources(wildcards.method).threads
    resources:
        mem_mb=lambda wildcards: ceil(PLAN.resources(wildcards.method).mem_mb),
        runtime=lambda wildcards: ceil(PLAN.resources(wildcards.method).runtime),
        gpu=lambda wildcards: PLAN.resources(wildcards.method).gpu,
    params:
        group=subpath(output[0], ancestor=2),
        components=COMPONENTS,
        seed=lambda wildcards: PLAN.seed + int(wildcards.replicate),
        params=lambda wildcards: json.dumps(PLAN.params(wildcards.method)),
        # The limits of the supervisor; Snakemake's own resources below are whole numbers.
        mem_mb=lambda wildcards: PLAN.resources(wildcards.method).mem_mb,
        runtime=lambda wildcards: PLAN.resources(wildcards.method).runtime,
    shell:
        "dgnbench fit {wildcards.task} {wildcards.method:q} --group {params.group:q}"
        " --output {params.group:q}/{wildcards.method:q} --seed {params.seed}"
        " --params {params.params:q} --mem-mb {params.mem_mb} --runtime {params.runtime}"
        " --threads {threads} --gpu {resources.gpu} {params.components:q} --log {log:q}"
