"""Conference data and attachments: written only for clients that declare their support.

They declare it with `conferenceDataVersion=1` and `supportsAttachments=true`. From other clients these fields of a body
are ignored, and the event's own stay, whatever replaces the rest of it. A `createRequest` makes a conference. Source:
the discovery document of calendar.v3.
"""

import random
from collections.abc import Mapping

from calendar_emulator.errors import Json

_DIGITS = "abcdefghijkmnopqrstuvwxyz"


def supported(body: Json, query: Mapping[str, list[str]], rng: random.Random) -> tuple[Json, frozenset[str]]:
    """What of a body counts, and the fields that the client knows nothing of."""
    unknown = set()
    if query.get("conferenceDataVersion", ["0"])[-1] != "1":
        unknown.add("conferenceData")
    if query.get("supportsAttachments", ["false"])[-1] != "true":
        unknown.add("attachments")
    known = {name: value for name, value in body.items() if name not in unknown}
    if _is_request(known.get("conferenceData")):
        known["conferenceData"] = _made(known["conferenceData"], rng)
    return known, frozenset(unknown)


def link(event: Json) -> str | None:
    """The address of an event's video conference, which the event also shows as `hangoutLink`."""
    data = event.get("conferenceData")
    points = data.get("entryPoints") if isinstance(data, dict) else None
    for point in points if isinstance(points, list) else []:
        if isinstance(point, dict) and point.get("entryPointType") == "video":
            return str(point.get("uri", "")) or None
    return None


def _is_request(data: object) -> bool:
    return isinstance(data, dict) and isinstance(data.get("createRequest"), dict) and "conferenceId" not in data


def _made(data: Json, rng: random.Random) -> Json:
    name = "-".join("".join(rng.choice(_DIGITS) for _ in range(length)) for length in (3, 4, 3))
    request = data["createRequest"]
    key = request.get("conferenceSolutionKey") or {"type": "hangoutsMeet"}
    uri = f"https://meet.google.com/{name}"
    return {
        "createRequest": request | {"conferenceSolutionKey": key, "status": {"statusCode": "success"}},
        "entryPoints": [{"entryPointType": "video", "uri": uri, "label": uri.removeprefix("https://")}],
        "conferenceSolution": {"key": key, "name": "Google Meet"},
        "conferenceId": name,
    }
