"""The window. Qt and nothing heavy: the models live in child processes."""
