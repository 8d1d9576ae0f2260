"""Manifests, alerts, the image, the package."""
