"""From preference pairs to an adapter: plan, rows, loss, run."""
