# One rule runs every method: its card tells what it needs, its own files what reruns it.
from dgnbench.runner.place import check_writable

check_writable([RESULTS, LOGS, "data"], workflow)


rule fit:
    input:
        split=f"{GROUP}/split.json",
        method=lambda wildcards: component_files(PLAN.method(wildcards.method).folder),
        env=lambda wildcards: inputs_of(PLAN.method(wildcards.method), CONDA),
    output:
        f"{GROUP}/{{method}}/run.json",
    log:
        f"{GROUP_LOGS}/{{method}}.log",
    conda:
        lambda wildcards: conda_file_of(PLAN.method(wildcards.method))
    threads: lambda wildcards: PLAN.resources(wildcards.method).threads
    resources:
        # More than the run may use, for those who watch it: a scheduler's kill cannot be recorded.
        mem_mb=lambda wildcards, attempt: 500
        + ceil(PLAN.granted(wildcards.method, attempt).mem_mb),
        runtime=lambda wildcards, attempt: 5
        + ceil(PLAN.granted(wildcards.method, attempt).runtime),
        gpu=lambda wildcards: PLAN.resources(wildcards.method).gpu,
        attempt=lambda wildcards, attempt: attempt,
    params:
        group=subpath(output[0], ancestor=2),
        components=COMPONENTS,
        seed=lambda wildcards: PLAN.seed + int(wildcards.replicate),
        params=lambda wildcards: json.dumps(PLAN.params(wildcards.method)),
        conda=lambda wildcards: (
            ["--conda"]
            if CONDA and conda_file_of(PLAN.method(wildcards.method))
            else []
        ),
        # The limits of the supervisor at the first try.
        mem_mb=lambda wildcards: PLAN.resources(wildcards.method).mem_mb,
        runtime=lambda wildcards: PLAN.resources(wildcards.method).runtime,
        train_minutes=lambda wildcards: (
            ["--train-minutes", PLAN.budget["minutes"]]
            if "minutes" in PLAN.budget
            else []
        ),
        # With `input` Snakemake takes it for no trigger: what is done stays done. (So it does with
        # `threads`, but for that it works out all resources of every run that is done.)
        retries=lambda wildcards, input: json.dumps(PLAN.retries),
        require_gpu=lambda wildcards: (
            ["--require-gpu"]
            if PLAN.require_gpu and PLAN.resources(wildcards.method).gpu
            else []
        ),
    shell:
        "dgnbench fit {wildcards.task} {wildcards.method:q} --group {params.group:q}"
        " --output {params.group:q}/{wildcards.method:q} --seed {params.seed}"
        " --params {params.params:q} --mem-mb {params.mem_mb} --runtime {params.runtime}"
        " --threads {threads} --gpu {resources.gpu} {params.components:q} {params.conda:q}"
        " --log {log:q} --attempt {resources.attempt} --retries {params.retries:q}"
        " {params.require_gpu:q} {params.train_minutes:q}"


# How often: the config's word. Not as `retries:` of the rule, for then Slurm would try again within
# the same allocation, which has the memory of the first try.
if workflow.exec_mode.name == "DEFAULT":
    workflow.get_rule("fit").restart_times = max(PLAN.retries.values())
