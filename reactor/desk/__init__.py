"""What an operator asks and does: the commands and the console stand on it, so they cannot disagree.

A function here takes an `AdminSession` and returns a dataclass or the document of `--json`; it prints nothing and knows
neither options nor pages.
"""
