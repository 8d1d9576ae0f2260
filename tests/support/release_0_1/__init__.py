"""Release 0.1 as it was deployed (commit e0d658c): its schema, and the reactor itself, which runs beside that of today.

`db/` are its files. The package lies in an archive, so that nothing reads or checks it as code of today; it was made by
`git archive --format=tar e0d658c reactor | xz -9e`.
"""

import shutil
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
SCHEMA = HERE / "db"


def environment_of(directory: Path) -> dict[str, str]:
    """Unpack it; return what makes `python -m reactor` mean that release, whatever the working directory is."""
    with tarfile.open(HERE / "reactor.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    shutil.copytree(SCHEMA, directory / "db")
    return {"PYTHONPATH": str(directory), "PYTHONSAFEPATH": "1"}
