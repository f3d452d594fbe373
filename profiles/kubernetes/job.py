#!/usr/bin/env python3
"""A job of Snakemake as a Job of Kubernetes, by `kubectl`: submit, status, cancel.

The volume of `--claim NAME:PATH` is mounted at PATH in every pod, and the workflow is started below PATH
(on a pod or a machine that mounts it, too), so that all see the same files. The environment lies at the
same path everywhere: on the volume, or in the image and where the workflow is started.
"""

import argparse
import json
import os
import subprocess
import uuid

import yaml

KEPT_S = 7 * 86400  # how long an ended job can still be asked about


def manifest(options: argparse.Namespace) -> dict:
    """The Job: one try, ended at its time, on a node with GPUs only where it asks for some."""
    claim, mount = options.claim.split(":", 1)
    size = {"cpu": str(options.cpus), "memory": f"{options.mem_mb}Mi"}
    if options.gpus:
        size[options.gpu_name] = str(options.gpus)
    container = {
        "name": "job",
        "image": options.image,
        "command": ["bash", options.jobscript],
        "workingDir": os.getcwd(),
        "resources": {"requests": size, "limits": size},
        "volumeMounts": [{"name": "shared", "mountPath": mount}],
    }
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": claim}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    rule = options.rule.replace("_", "-")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"dgnbench-{rule}-{uuid.uuid4().hex[:10]}",
            "labels": {"app": "dgnbench"},
        },
        "spec": {
            "backoffLimit": 0,  # Snakemake tries again, with more memory
            "activeDeadlineSeconds": options.minutes * 60,
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {"metadata": {"labels": {"app": "dgnbench"}}, "spec": pod},
        },
    }


def kubectl(*arguments: str, text: str = "") -> subprocess.CompletedProcess:
    """Run kubectl, in the namespace of the current context."""
    return subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True)


def submit(options: argparse.Namespace) -> None:
    """Print the name of the new job."""
    job = manifest(options)
    made = kubectl("create", "-f", "-", text=yaml.safe_dump(job))
    if made.returncode:
        raise SystemExit(f"kubectl create: {made.stderr.strip()}")
    print(job["metadata"]["name"])


def status(options: argparse.Namespace) -> None:
    """Print running, success or failed; a job that is gone has failed, an API that is away has not."""
    asked = kubectl("get", "job", options.name, "-o", "json")
    if asked.returncode:
        print("failed" if "NotFound" in asked.stderr else "running")
        return
    told = json.loads(asked.stdout).get("status", {})
    ended = {c["type"] for c in told.get("conditions", []) if c["status"] == "True"}
    print("success" if "Complete" in ended else "failed" if "Failed" in ended else "running")


def cancel(options: argparse.Namespace) -> None:
    """Delete jobs and their pods."""
    kubectl("delete", "job", "--ignore-not-found", "--wait=false", *options.names)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    made = verbs.add_parser("submit")
    made.set_defaults(do=submit)
    for name in ("image", "claim", "gpu-name", "rule"):
        made.add_argument(f"--{name}", required=True)
    for name in ("cpus", "mem-mb", "minutes", "gpus"):
        made.add_argument(f"--{name}", type=int, required=True)
    made.add_argument("jobscript")
    made = verbs.add_parser("status")
    made.set_defaults(do=status)
    made.add_argument("name")
    made = verbs.add_parser("cancel")
    made.set_defaults(do=cancel)
    made.add_argument("names", nargs="+")
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
