-- The tables of the first release. Times are Unix seconds (REAL), JSON is TEXT.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL              -- JSON
) STRICT;

CREATE TABLE preferences (
    key     TEXT PRIMARY KEY,        -- communication_style, ..., expertise_level.<topic>
    value   TEXT NOT NULL,
    updated REAL NOT NULL
) STRICT;

CREATE TABLE conversations (
    id      TEXT PRIMARY KEY,
    title   TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL
) STRICT;

CREATE TABLE messages (
    id              TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    position        INTEGER NOT NULL,         -- order within the conversation
    role            TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content         TEXT NOT NULL,
    created         REAL NOT NULL,
    system_prompt   TEXT,                     -- replies: what was sent before the turns
    version         TEXT,                     -- replies: content address, NULL is the base
    base_hash       TEXT,
    metadata        TEXT NOT NULL DEFAULT '{}',
    superseded      INTEGER NOT NULL DEFAULT 0 -- a regenerated reply hides the earlier one
) STRICT;
CREATE INDEX messages_by_conversation ON messages(conversation_id, position);

CREATE TABLE feedback (
    id         TEXT PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('thumb', 'rating', 'correction', 'choice')),
    value      REAL,                          -- thumb: -1 or 1; rating: 1 to 5
    pair_id    TEXT,
    created    REAL NOT NULL
) STRICT;
CREATE INDEX feedback_by_message ON feedback(message_id);

CREATE TABLE pairs (
    id            TEXT PRIMARY KEY,
    user_id       TEXT NOT NULL,
    fingerprint   TEXT NOT NULL UNIQUE,       -- SHA-256 of prompt, chosen, rejected
    group_id      TEXT NOT NULL,              -- conversation or source group: held out together
    prompt        TEXT NOT NULL,              -- JSON: list of {role, content}
    chosen        TEXT NOT NULL,
    rejected      TEXT NOT NULL,
    confidence    REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    quality       REAL NOT NULL CHECK (quality BETWEEN 0 AND 1),
    quality_notes TEXT NOT NULL DEFAULT '[]', -- JSON: list of sentences
    feedback_type TEXT NOT NULL CHECK (feedback_type IN ('correction', 'choice', 'import')),
    created       REAL NOT NULL,
    active        INTEGER NOT NULL DEFAULT 1,
    weight        REAL NOT NULL DEFAULT 1.0 CHECK (weight >= 0),
    metadata      TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX pairs_by_created ON pairs(created);

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    status      TEXT NOT NULL CHECK (status IN
                ('waiting', 'running', 'completed', 'stopped', 'discarded', 'interrupted', 'failed')),
    created     REAL NOT NULL,
    started     REAL,
    finished    REAL,
    process_id  INTEGER,
    plan        TEXT NOT NULL,                -- JSON: TrainingPlan
    base_hash   TEXT,
    data_hash   TEXT,
    environment TEXT NOT NULL DEFAULT '{}',
    metrics     TEXT NOT NULL DEFAULT '{}',
    failure     TEXT,                         -- JSON: what, why, todo
    version     TEXT
) STRICT;

CREATE TABLE run_events (
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    event  TEXT NOT NULL,                     -- JSON line of xeno.events
    PRIMARY KEY (run_id, seq)
) STRICT;

CREATE TABLE versions (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    address       TEXT NOT NULL UNIQUE,       -- content address: SHA-256, hex
    run_id        TEXT REFERENCES runs(id),
    base_hash     TEXT NOT NULL,
    parent        TEXT,
    state         TEXT NOT NULL CHECK (state IN
                  ('candidate', 'checked', 'active', 'retired', 'rolled_back', 'quarantined')),
    description   TEXT NOT NULL DEFAULT '',
    created       REAL NOT NULL,
    bytes         INTEGER NOT NULL,
    manifest      TEXT NOT NULL,              -- canonical JSON
    manifest_hash TEXT NOT NULL,
    signature     TEXT NOT NULL,              -- Ed25519 over the manifest hash, hex
    gate          TEXT NOT NULL DEFAULT '{}'  -- JSON: report of the last check
) STRICT;

CREATE TABLE version_pairs (
    address TEXT NOT NULL REFERENCES versions(address) ON DELETE CASCADE,
    pair_id TEXT NOT NULL,
    PRIMARY KEY (address, pair_id)
) STRICT;
CREATE INDEX version_pairs_by_pair ON version_pairs(pair_id);

CREATE TABLE deployments (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    address  TEXT,                            -- NULL: the base model
    previous TEXT,
    action   TEXT NOT NULL CHECK (action IN ('deploy', 'rollback', 'fallback')),
    reason   TEXT NOT NULL DEFAULT '',
    created  REAL NOT NULL
) STRICT;

CREATE TABLE privacy_ledger (
    seq           INTEGER PRIMARY KEY,        -- 1, 2, 3, ... without a gap
    run_id        TEXT NOT NULL,
    unit          TEXT NOT NULL CHECK (unit IN ('pair', 'conversation', 'client')),
    mechanism     TEXT NOT NULL,              -- JSON: sample_rate, noise_multiplier, steps
    delta         REAL NOT NULL,
    epsilon_alone REAL NOT NULL,
    epsilon_total REAL NOT NULL,              -- composed over all entries so far
    version       TEXT NOT NULL,
    created       REAL NOT NULL,
    previous_hash TEXT NOT NULL,
    hash          TEXT NOT NULL
) STRICT;

CREATE TABLE metrics (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    model_name TEXT NOT NULL,                 -- content address of a version, or 'base'
    metric     TEXT NOT NULL,
    value      REAL NOT NULL,
    context    TEXT NOT NULL DEFAULT '{}',
    created    REAL NOT NULL
) STRICT;
CREATE INDEX metrics_by_name ON metrics(model_name, metric, created);
