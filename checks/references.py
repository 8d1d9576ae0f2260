"""What the manifests say of each other.

A name that nothing bears and a selector that selects nothing are no error to any schema, nor to the cluster, which
waits for somebody to bring what is missing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from checks.manifests import Document

_TEMPLATES = ("Deployment", "Job")
_SELECTORS = {
    "PodDisruptionBudget": "selector",
    "PodMonitor": "selector",
    "NetworkPolicy": "podSelector",
    "Service": "selector",
}


def reference_problems(documents: list[Document]) -> list[str]:
    """Look up every name and every selector among the documents."""
    there = {(document["kind"], document["metadata"]["name"]) for document in documents}
    there |= {
        ("Secret", document["spec"]["target"]["name"]) for document in documents if _is(document, "ExternalSecret")
    }
    found = [
        f"{document['kind']} {document['metadata']['name']}: there is no {kind} {name}"
        for document in documents
        for kind, name in _named(document)
        if (kind, name) not in there
    ]
    pods = [document["spec"]["template"]["metadata"]["labels"] for document in documents if _is(document, *_TEMPLATES)]
    for document in documents:
        if document["kind"] in _SELECTORS:
            selector = document["spec"][_SELECTORS[document["kind"]]]
            labels = selector.get("matchLabels", selector)  # a Service's has no such level
            if not any(labels.items() <= pod.items() for pod in pods):
                found.append(f"{document['kind']} {document['metadata']['name']}: it selects no pod")
    return found


def _is(document: Document, *kinds: str) -> bool:
    return document["kind"] in kinds


def _named(document: Document) -> Iterator[tuple[str, str]]:
    """The kinds and names that a document relies on."""
    spec: Mapping[str, Any] = document.get("spec", {})
    if _is(document, *_TEMPLATES):
        pod = spec["template"]["spec"]
        yield "ServiceAccount", pod["serviceAccountName"]
        for source in (source for container in pod["containers"] for source in container.get("envFrom", ())):
            for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if key in source:
                    yield kind, source[key]["name"]
    if _is(document, "ScaledObject"):
        yield spec["scaleTargetRef"].get("kind", "Deployment"), spec["scaleTargetRef"]["name"]
        for trigger in spec["triggers"]:
            yield "TriggerAuthentication", trigger["authenticationRef"]["name"]
    if _is(document, "TriggerAuthentication"):
        for target in spec["secretTargetRef"]:
            yield "Secret", target["name"]
