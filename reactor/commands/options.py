"""Options that several commands have."""

from typing import Annotated
from uuid import UUID

import typer

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL", show_default=False, help="The database, as a login in the reactor's role or its owner."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for programs.")]
Workspace = Annotated[UUID, typer.Option("--workspace", show_default=False, help="The workspace's id.")]
OneWorkspace = Annotated[UUID | None, typer.Option("--workspace", show_default=False, help="This workspace only.")]
Verify = Annotated[
    bool,
    typer.Option("--verify/--no-verify", help="Ask Google before anything is stored; without it, nothing is asked."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
