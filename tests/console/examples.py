"""What stands for the parameters of a page's path and query, so that every test of all pages has addresses to ask for.

A page that is added gets a row here: `test_every_page_has_an_example` says so. The ids are those that
`tests.console.attacks` puts into its database.
"""

from collections.abc import Iterator, Mapping

from reactor.console.app import PAGES
from reactor.console.page import Page

WORKSPACE = "7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"
REBUILD = "00000000-0000-4000-8000-00000000000f"
SOURCE = "0b9f2a4e-3c61-4d0e-8f57-2f6f0c1d9a01"
LETTER = "00000000-0000-4000-8000-000000000004"

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "/": ("/",),
    "/w": ("/w", "/w?state=parked", "/w?state=held"),
    "/w/{workspace:uuid}": (f"/w/{WORKSPACE}",),
    "/connections": ("/connections", "/connections?state=invalid"),
    "/connections/{workspace:uuid}": (f"/connections/{WORKSPACE}",),
    "/brakes": ("/brakes",),
    "/brakes/{workspace:uuid}": (f"/brakes/{WORKSPACE}",),
    "/rebuilds": ("/rebuilds",),
    "/rebuilds/{rebuild:uuid}": (f"/rebuilds/{REBUILD}",),
    "/rebuilds/new": ("/rebuilds/new", f"/rebuilds/new?workspace={WORKSPACE}"),
    "/find": ("/find?q=script",),
    "/w/{workspace:uuid}/s/{source:path}": (f"/w/{WORKSPACE}/s/task:{SOURCE}",),
    "/i/{item:uuid}": (f"/i/{LETTER}",),
    "/i/{item:uuid}/words": (f"/i/{LETTER}/words",),
    "/dead": ("/dead",),
    "/dead/requeue": ("/dead/requeue",),
    "/acts": ("/acts",),
    "/acts/{number:int}": ("/acts/1",),
    "/replicas": ("/replicas", "/replicas?hours=24"),
    "/lint": ("/lint",),
    "/check": ("/check",),
    "/connections/{workspace:uuid}/invite": (f"/connections/{WORKSPACE}/invite",),
    "/connect/done": ("/connect/done",),
    "/connect/{invitation}": ("/connect/" + "A" * 43,),
    "/drift/{workspace:uuid}": (f"/drift/{WORKSPACE}",),
}
"""By a page's path: the addresses to look at."""


def addresses() -> Iterator[tuple[Page, str]]:
    """Each page with each of its addresses."""
    return ((page, each) for page in PAGES for each in EXAMPLES.get(page.path, ()))
