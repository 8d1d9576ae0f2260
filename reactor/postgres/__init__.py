"""PostgreSQL: the outbox and its claims, rebuilds, the schema, connections, and all statements (`sql/`)."""
