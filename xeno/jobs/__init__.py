"""The machine's queue of training runs: which run goes when, in which process."""
