"""The package as a user meets it."""

import subprocess
import sys

import reactor


def test_the_module_prints_its_version() -> None:
    result = subprocess.run([sys.executable, "-m", "reactor", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == reactor.__version__
