"""What survives a restart: SQLite in WAL mode, one writer."""
