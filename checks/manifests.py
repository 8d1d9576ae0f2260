"""The manifests: rendered, then held against the schemas of Kubernetes and of the custom resources.

`kubernetes-validate` lets a misspelt field pass unless it is strict, and custom resources pass it always, with a
warning. Those have schemas of our own (`checks/schemas`), written after their documentation for the fields that we use:
closed, so that a misspelt field is a problem, and small, so that a new field has to be looked up first.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from checks.tools import K8S, ROOT, problems, run

OVERLAYS = ("dev", "prod")
KUBERNETES = ("1.27", "1.37")
"""The oldest version whose schemas have what we use, and the newest that kubernetes-validate knows."""

SCHEMAS = Path(__file__).parent / "schemas"
CONFIG = ROOT / "checks" / "yamllint.yaml"

SKIPPED = {
    "CKV_K8S_11": "no CPU limit: throttling looks like a slow loop",
    "CKV_K8S_15": "not always pulled: a tag is one image for good, and pods start while the registry is away",
    "CKV_K8S_35": "secrets are environment variables: the process reads them once, at its start",
    "CKV_K8S_43": "no digest: an image is built and pushed by whoever deploys, who adds it in the overlay",
}
"""What checkov asks for and is not done, with the reason."""

Document = Mapping[str, Any]


def render(directory: Path) -> tuple[str, list[str]]:
    """Render a kustomization; return the YAML and the problems."""
    done = run("kubectl", "kustomize", directory)
    return done.stdout, [] if done.returncode == 0 else [done.stderr.strip()]


def documents(text: str) -> list[Document]:
    """Read what was rendered."""
    return [document for document in yaml.safe_load_all(text) if document]


def is_native(document: Document) -> bool:
    """Whether Kubernetes knows the kind by itself."""
    group = document["apiVersion"].partition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def native_problems(file: Path) -> list[str]:
    """Hold a rendered file's native kinds against the schemas of Kubernetes."""
    native = [document for document in documents(file.read_text()) if is_native(document)]
    if not native:
        return ["nothing was rendered"]
    file = file.with_suffix(".native.yaml")
    file.write_text(yaml.safe_dump_all(native, sort_keys=False))
    return [
        problem
        for version in KUBERNETES
        for problem in problems("kubernetes-validate", "--strict", "--quiet", "-k", version, file)
    ]


@cache
def _schema(kind: str) -> Document | None:
    file = SCHEMAS / f"{kind}.json"
    return json.loads(file.read_text()) if file.exists() else None


def custom_problems(all_documents: list[Document]) -> list[str]:
    """Hold custom resources against our schemas; a kind without one is a problem."""
    found = []
    for document in all_documents:
        if is_native(document):
            continue
        name = f"{document['kind']} {document['metadata']['name']}"
        schema = _schema(document["kind"])
        if schema is None:
            found.append(f"{name}: no schema in checks/schemas")
            continue
        errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
        found += [f"{name}: {error.json_path}: {error.message}" for error in errors]
    return found


def security_problems(file: Path) -> list[str]:
    """Ask checkov, which works by itself when it is told not to load anything."""
    skipped = ",".join(SKIPPED)
    options = ("--framework", "kubernetes", "--skip-download", "--quiet", "--compact", "--skip-check", skipped)
    return problems("checkov", "-f", file, *options)


def style_problems(directory: Path = K8S) -> list[str]:
    """Ask yamllint."""
    return problems("yamllint", "--strict", "-c", CONFIG, directory)
