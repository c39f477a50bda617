"""The gate: how a version behaves, asked in a child process before it may answer."""
