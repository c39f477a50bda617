"""The settings of a training run, declared once, one file per family.

The plan (`xeno.training.plan`) is all of them together. The command line, the form in the
window, the files in and out and docs/settings.md are made from these declarations.
"""
