"""Requests as they are written and answers as they are read."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from reactor.core.calendar import messages
from reactor.core.calendar.messages import EventRef, Method, RemoteEvent, Response

ODD = EventRef("en.usa#holiday@group.v.calendar.google.com", "ev/1?x")
ETAG = '"3321539261536000"'


def answer(found: Any) -> Response:
    return Response(200, {}, json.dumps(found).encode())


@pytest.mark.parametrize(
    "request_",
    [
        messages.insert(ODD, {}),
        messages.update(ODD, {}, etag=ETAG),
        messages.revive(ODD, {}, etag=ETAG),
        messages.delete(ODD, etag=ETAG),
        messages.get(ODD),
        messages.listing(ODD.calendar_id, "w"),
        messages.probe_calendar(ODD.calendar_id),
    ],
    ids=lambda request: request.api_method,
)
def test_ids_are_encoded_whole(request_: messages.ApiRequest) -> None:
    path = request_.target.partition("?")[0]
    assert path.startswith("calendar/v3/calendars/en.usa%23holiday%40group.v.calendar.google.com/events")
    assert path.count("/") == (4 if request_.api_method in (Method.INSERT, Method.LIST) else 5)


@pytest.mark.parametrize("name", [".", "..", "..."])
def test_only_dots_do_not_climb_the_path(name: str) -> None:
    assert f"/{name}/" not in messages.get(EventRef(name, "e")).target


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_id_makes_a_plain_target(calendar_id: str, event_id: str) -> None:
    target = messages.get(EventRef(calendar_id, event_id)).target
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target


def test_every_write_asks_for_no_mails() -> None:
    changes = (
        messages.update(ODD, {}, etag=ETAG),
        messages.patch(ODD, {}, etag=ETAG),
        messages.revive(ODD, {}, etag=ETAG),
    )
    writes = (messages.insert(ODD, {}), *changes, messages.delete(ODD, etag=ETAG))
    assert all("sendUpdates=none" in write.target for write in writes)


def test_updates_and_deletes_name_the_version_that_they_mean() -> None:
    makers = (messages.update, messages.patch, messages.revive)
    for request in (make(ODD, {}, etag=ETAG) for make in makers):
        assert request.headers["if-match"] == ETAG
    assert messages.delete(ODD, etag=ETAG).headers == {"if-match": ETAG}
    assert "if-match" not in messages.insert(ODD, {}).headers


def test_only_an_insert_carries_the_id_and_only_a_revival_the_status() -> None:
    assert json.loads(messages.insert(ODD, {"summary": "s"}).body) == {"summary": "s", "id": "ev/1?x"}
    assert json.loads(messages.update(ODD, {"summary": "s"}, etag=ETAG).body) == {"summary": "s"}
    assert json.loads(messages.revive(ODD, {}, etag=ETAG).body) == {"status": "confirmed"}


def test_a_list_asks_for_exactly_one_property() -> None:
    target = messages.listing("c", "w-1", "p2").target
    assert target.count("privateExtendedProperty=") == 1
    assert "privateExtendedProperty=reactorWorkspace%3Dw-1" in target
    assert "pageToken=p2" in target


def test_requests_on_one_event_have_one_resource() -> None:
    a, b = EventRef("c", "1"), EventRef("c", "2")
    assert messages.get(a).resource == messages.insert(a, {}).resource == messages.delete(a, etag=ETAG).resource
    assert messages.get(a).resource != messages.get(b).resource


def test_an_event_is_read() -> None:
    private = {"reactorWorkspace": "w", "reactorSource": "s", "reactorSeq": "12", "reactorGeneration": "1", "x": 1}
    found = {"id": "e", "etag": ETAG, "status": "confirmed", "sequence": 3, "extendedProperties": {"private": private}}
    assert messages.remote(answer(found)) == RemoteEvent("e", ETAG, False, 3, "w", "s", 12)


def test_a_tombstone_may_have_nothing_but_its_id() -> None:
    assert messages.remote(answer({"id": "e", "status": "cancelled"})) == RemoteEvent("e", None, cancelled=True)


@pytest.mark.parametrize(
    ("organizer", "calendar"),
    [
        ({"email": "ada@example.com", "self": True}, "ada@example.com"),
        ({"email": "ada@example.com"}, None),
        ({"email": "", "self": True}, None),
        ({"email": 7, "self": True}, None),
        ("ada@example.com", None),
    ],
)
def test_an_event_tells_its_calendar_where_that_is_its_organizer(organizer: object, calendar: str | None) -> None:
    found = messages.remote(answer({"id": "e", "etag": ETAG, "organizer": organizer}))
    assert found is not None
    assert found.calendar == calendar
    assert "ada@" not in repr(found)


@pytest.mark.parametrize(
    "found",
    [[], None, "x", {}, {"id": 1, "etag": ETAG}, {"id": "e"}, {"id": "e", "etag": "x"}, {"id": "e", "etag": '"\r\n"'}],
)
def test_what_is_no_event_is_not_read(found: object) -> None:
    assert messages.remote(answer(found)) is None


@pytest.mark.parametrize("seq", ["", "-1", "1.0", "²", "9" * 20, 12, None])
def test_a_seq_is_a_number_in_digits(seq: object) -> None:
    found = messages.remote(answer({"id": "e", "etag": ETAG, "extendedProperties": {"private": {"reactorSeq": seq}}}))
    assert found is not None
    assert found.seq is None


def test_a_page_is_read() -> None:
    page = messages.page(answer({"items": [{"id": "e", "etag": ETAG}], "nextPageToken": "t"}))
    assert page == messages.EventPage((RemoteEvent("e", ETAG),), "t")
    assert messages.page(answer({})) == messages.EventPage(())


@pytest.mark.parametrize("found", [[], {"items": 1}, {"items": [1]}, {"items": [], "nextPageToken": 1}])
def test_what_is_no_page_is_not_read(found: object) -> None:
    assert messages.page(answer(found)) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"[" * 100_000) | st.just(b"9" * 9_999))
def test_any_bytes_are_read_or_not(body: bytes) -> None:
    messages.remote(Response(200, {}, body))
    messages.page(Response(200, {}, body))


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["e", ETAG, "cancelled"])
KEYS = st.sampled_from(["id", "etag", "status", "sequence", "extendedProperties", "private", "reactorSeq", "items"])
SHAPED = st.recursive(LEAF, lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3))


@given(SHAPED)
def test_any_json_is_read_or_not(found: Any) -> None:
    messages.remote(answer(found))
    messages.page(answer(found))
