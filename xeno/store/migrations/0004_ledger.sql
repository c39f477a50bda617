-- The privacy ledger also holds rounds, operations, budgets, resets and what was remembered.

CREATE TABLE ledger_entries (
    seq           INTEGER PRIMARY KEY,        -- 1, 2, 3, ... without a gap
    kind          TEXT NOT NULL CHECK (kind IN
                  ('run', 'round', 'operation', 'declared', 'budget', 'reset', 'remembered')),
    run_id        TEXT NOT NULL,
    unit          TEXT CHECK (unit IN ('pair', 'conversation', 'client')), -- NULL: all accounts
    mechanism     TEXT,                       -- JSON: sample_rate, noise_multiplier, steps
    delta         REAL NOT NULL,
    epsilon_alone REAL NOT NULL,
    epsilon_total REAL NOT NULL,              -- composed over the account so far
    version       TEXT NOT NULL,
    created       REAL NOT NULL,
    previous_hash TEXT NOT NULL,
    hash          TEXT NOT NULL,
    budget        TEXT,                       -- JSON: epsilon, delta, period
    accounts      TEXT,                       -- remembered: JSON: unit -> account
    note          TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO ledger_entries
    (seq, kind, run_id, unit, mechanism, delta, epsilon_alone, epsilon_total, version, created,
     previous_hash, hash)
    SELECT seq, 'run', run_id, unit, mechanism, delta, epsilon_alone, epsilon_total, version,
        created, previous_hash, hash FROM privacy_ledger;
DROP TABLE privacy_ledger;
ALTER TABLE ledger_entries RENAME TO privacy_ledger;
CREATE INDEX privacy_ledger_by_version ON privacy_ledger(version);
