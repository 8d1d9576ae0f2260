"""An operator with a mouse: finds what is visible by its role and name, as a person or a screen reader does.

Nothing is found by an address or by a class. A step that cannot be found, or that two things fit, is an error.
"""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page as Tab, expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
WIDTH, HEIGHT = 1000, 620
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_SOON = 10_000  # milliseconds within which what is pressed is there


@dataclass(slots=True)
class TourSteps:
    """What was done.

    Attributes:
        pressed: What was pressed, in words; each is one click.
        typed: Fields that were filled in.
        seconds: From the first look to the last.
        waited: The part of them in which there was nothing to do but wait.
    """

    pressed: list[str] = field(default_factory=list)
    typed: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class TourOperator:
    """A person at the console, in a window of their own.

    Args:
        browser: The browser.
        link: By which the person comes.
        pictures: The folder for pictures; None for none.

    Attributes:
        steps: What was done since `begin`.
    """

    def __init__(self, browser: Browser, link: str, pictures: Path | None = None) -> None:
        self._browser, self._pictures = browser, pictures
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        self.tab: Tab = context.new_page()
        self.tab.set_default_timeout(_SOON)
        self.tab.goto(link)
        self.steps = TourSteps()
        self._began = time.monotonic()

    def begin(self) -> None:
        """Start to count."""
        self.steps, self._began = TourSteps(), time.monotonic()

    def end(self) -> TourSteps:
        """Stop; return what was done."""
        self.steps.seconds = time.monotonic() - self._began
        return self.steps

    def press(self, name: str, role: Literal["link", "button"] = "link") -> None:
        """Press a link or a button: one that is visible, and the only one of that name.

        Args:
            name: Its name, or the beginning of it.
            role: What it is.
        """
        found = self.tab.get_by_role(role, name=re.compile(f"^{re.escape(name)}")).filter(visible=True)
        self.steps.pressed.append("the workspace" if _ID.fullmatch(name) else name)
        found.click()

    def type(self, label: str, text: str) -> None:
        """Fill in a field."""
        self.tab.get_by_label(label).fill(text)
        self.steps.typed += 1

    def text_of(self, label: str) -> str:
        """Read what has a name of its own, such as a link that is to be copied."""
        return self.tab.get_by_label(label).inner_text()

    def other(self, link: str) -> "TourOperator":
        """Another person, who has got a link and has never been here."""
        return TourOperator(self._browser, link, self._pictures)

    def add(self, other: "TourOperator") -> None:
        """Count another person's clicks as well, and close their window."""
        self.steps.pressed += [f"{each} (the guest)" for each in other.steps.pressed]
        other.close()

    def search(self, text: str) -> None:
        """Use the search field at the top of each page."""
        self.tab.get_by_role("searchbox", name="Find by any id").fill(text)
        self.steps.typed += 1
        self.press("Find", "button")

    def see(self, text: str) -> str:
        """Look whether the page says something."""
        found = self.tab.get_by_text(re.compile(text)).filter(visible=True).first
        found.wait_for()
        return found.inner_text()

    def wait(self, text: str, seconds: float) -> None:
        """Leave the page open until it says something: it renews itself."""
        began = time.monotonic()
        found = self.tab.get_by_text(re.compile(text)).filter(visible=True).first
        expect(found).to_be_visible(timeout=seconds * 1000)
        self.steps.waited += time.monotonic() - began

    def picture(self, name: str) -> None:
        """Take a picture of what is in the window."""
        if self._pictures is not None:
            self.tab.screenshot(path=self._pictures / f"{name}.png")

    def close(self) -> None:
        """Close the window."""
        self.tab.context.close()
