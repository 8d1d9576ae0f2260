"""The stored refresh tokens, encrypted: read, and replaced where Google rotates one."""

from uuid import UUID

from reactor.postgres.connection.pool import Pool
from reactor.postgres.statements import statements

SQL = statements("connections")


async def stored_token(pool: Pool, workspace_id: UUID) -> str | None:
    """Return a workspace's stored credential, None without a connection. Raises what `Pool.execute` raises."""
    rows = await pool.execute(SQL["stored_token"], {"workspace_id": workspace_id})
    return str(rows[0][0]) if rows else None


async def replace_token(pool: Pool, workspace_id: UUID, *, old: str, new: str) -> bool:
    """Store another text where `old` is still stored; return whether it was."""
    return bool(await pool.execute(SQL["replace_token"], {"workspace_id": workspace_id, "old": old, "new": new}))
