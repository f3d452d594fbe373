# Environments beside core. Each is built once, where there is a network: a login node. The key in its
# name is of the lock's text, so that a changed lock makes another record, and the runs of its methods old.
from snakemake.settings.types import DeploymentMethod

from dgnbench.environments import conda_file_of, forget_failures, inputs_of

CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


if workflow.exec_mode.name == "DEFAULT":
    if not workflow.dryrun:
        forget_failures(
            PLAN.environments,
            lambda env: [
                Path(
                    f"{RESULTS}/{r.task}/{r.dataset}/r{r.replicate}/{r.method}/run.json"
                )
                for r in PLAN.runs
                if PLAN.method(r.method).env == env
            ],
        )
    if PLAN.left_out:
        names = ", ".join(PLAN.left_out)
        print(f"dgnbench: left out by `envs` of the config: {names}", file=sys.stderr)


localrules:
    build_env,
    build_envs,


# A failure is in the record and becomes the reason of the runs; the next start tries again.
rule build_env:
    output:
        "data/envs/{env}-{key}.json",
    log:
        "logs/envs/{env}-{key}.log",
    wildcard_constraints:
        env=r"[a-z][a-z0-9_]*",
        key=r"[0-9a-f]{12}",
    priority: 100
    params:
        # With `threads` Snakemake takes it for no trigger, as in `fetch`.
        offline=lambda wildcards, threads: (
            ["--offline"] if PLAN.settings.offline else []
        ),
    shell:
        "dgnbench build-env {wildcards.env} {params.offline:q} --record {output:q}"
        " 2> >(tee {log:q} >&2)"


# All environments of the config, and a failure is one.
rule build_envs:
    log:
        "logs/envs/build_envs.log",
    params:
        names=PLAN.environments,
    shell:
        "dgnbench build-env {params.names:q} 2> >(tee {log:q} >&2)"
