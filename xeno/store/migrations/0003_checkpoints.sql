-- Checkpoints of runs that have not ended. The files lie beside the database; each run's key is
-- here, and goes in the transaction that ends the run.

CREATE TABLE checkpoints (
    run_id TEXT PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
    key    BLOB NOT NULL,                     -- 32 bytes; opens the files with the profile's key
    step   INTEGER NOT NULL DEFAULT 0,        -- steps that the newest file has
    saved  REAL                               -- NULL: there is no file yet
) STRICT;
