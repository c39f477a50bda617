"""What SQLite's error names mean to us; `str.startswith` takes the tuples. The first that fits
counts, in this order."""

DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_DATA")
NOT_WRITABLE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
