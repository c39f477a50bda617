-- The machine's queue. It holds no content: names of profiles, ids of runs, times and numbers.

CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    profile      TEXT NOT NULL,
    run_id       TEXT NOT NULL,                 -- in the profile's own table of runs
    priority     TEXT NOT NULL CHECK (priority IN ('high', 'medium', 'low')),
    position     INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN
                 ('waiting', 'running', 'completed', 'stopped', 'discarded', 'failed')),
    retries      INTEGER NOT NULL,
    wait         REAL NOT NULL,
    longest_wait REAL NOT NULL,
    created      REAL NOT NULL,
    since        REAL NOT NULL,
    not_before   REAL NOT NULL DEFAULT 0,
    started      REAL,
    ended        REAL,
    tries        INTEGER NOT NULL DEFAULT 0,
    failures     INTEGER NOT NULL DEFAULT 0,
    used         REAL NOT NULL DEFAULT 0,
    worker       TEXT,
    pid          INTEGER,                       -- the worker's process, and when it was born
    birth        TEXT,
    lease        REAL NOT NULL DEFAULT 0,
    renewed      REAL NOT NULL DEFAULT 0,
    reserved     TEXT,
    cancel       TEXT CHECK (cancel IN ('keep', 'discard')),
    reason       TEXT NOT NULL DEFAULT '',
    CHECK ((state = 'running') = (worker IS NOT NULL))
) STRICT;

-- Whatever goes wrong elsewhere: a profile never has two runs at once.
CREATE UNIQUE INDEX one_run_per_profile ON jobs(profile) WHERE state = 'running';

CREATE UNIQUE INDEX one_job_per_run ON jobs(run_id) WHERE ended IS NULL;

CREATE TABLE workers (
    id       TEXT PRIMARY KEY,
    pid      INTEGER NOT NULL,
    birth    TEXT NOT NULL,
    until    REAL NOT NULL,
    profiles TEXT NOT NULL,                     -- JSON: the names of those it would run
    job      TEXT
) STRICT;

CREATE TABLE usage (
    profile TEXT PRIMARY KEY,
    seconds REAL NOT NULL,                      -- as it counted at the time `at`
    at      REAL NOT NULL
) STRICT;

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL                         -- JSON
) STRICT;
