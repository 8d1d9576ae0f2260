"""The console's own style sheet, script and picture, under names that hold a hash of what is in them.

Because of the hash a browser may keep them for ever: a new release has new names. All files are read at the start and
served from memory.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

_KINDS: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
KEPT = "public, max-age=31536000, immutable"
"""What `Cache-Control` says of them."""


@dataclass(frozen=True, slots=True)
class PageAsset:
    """A file that the console serves.

    Attributes:
        path: Where it is served, "/assets/console.0123456789ab.css".
        content: Its bytes.
        kind: Its content type.
    """

    path: str
    content: bytes
    kind: str


def read_assets() -> Mapping[str, PageAsset]:
    """Read the files, by their names."""
    found = {}
    for file in sorted((files("reactor.console") / "assets").iterdir(), key=lambda each: each.name):
        stem, _, ending = file.name.rpartition(".")
        if ending in _KINDS:
            content = file.read_bytes()
            path = f"/assets/{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            found[file.name] = PageAsset(path, content, _KINDS[ending])
    return found
