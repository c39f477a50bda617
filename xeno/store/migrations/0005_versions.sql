-- Versions of every model in one registry: numbers of each model's own, semantic numbers, tags,
-- the states they went through, and deletes that can be undone.

CREATE TABLE versioned_models (
    name   TEXT PRIMARY KEY,                  -- 'assistant', 'intent_classifier', ...
    number INTEGER NOT NULL                   -- the last number given: none is given twice
) STRICT;
INSERT INTO versioned_models (name, number)
    SELECT 'assistant', seq FROM sqlite_sequence WHERE name = 'versions';

CREATE TABLE versions_next (
    model         TEXT NOT NULL,
    number        INTEGER NOT NULL,           -- 1, 2, 3, ... of the model
    major         INTEGER NOT NULL,           -- vX.Y.Z: another base,
    minor         INTEGER NOT NULL,           -- another training,
    patch         INTEGER NOT NULL,           -- the same data continued
    address       TEXT NOT NULL UNIQUE,       -- content address: SHA-256, hex
    run_id        TEXT REFERENCES runs(id),
    base_hash     TEXT NOT NULL,              -- of what is no adapter: the kind of its content
    parent        TEXT,
    state         TEXT NOT NULL CHECK (state IN ('candidate', 'checked', 'canary', 'active',
                  'retired', 'rolled_back', 'quarantined')),
    description   TEXT NOT NULL DEFAULT '',
    created       REAL NOT NULL,
    bytes         INTEGER NOT NULL,
    manifest      TEXT NOT NULL,              -- canonical JSON
    manifest_hash TEXT NOT NULL,
    signature     TEXT NOT NULL,              -- Ed25519 over the manifest hash, hex
    gate          TEXT NOT NULL DEFAULT '{}', -- JSON: report of the last check
    deleted       REAL,                       -- NULL: it is there
    purged        REAL,                       -- its file is gone; the row stays for the lineage
    PRIMARY KEY (model, number),
    UNIQUE (model, major, minor, patch)
) STRICT;
INSERT INTO versions_next
    SELECT 'assistant', number, DENSE_RANK() OVER (ORDER BY first),
        ROW_NUMBER() OVER (PARTITION BY base_hash ORDER BY number) - 1, 0,
        address, run_id, base_hash, parent, state, description, created, bytes, manifest,
        manifest_hash, signature, gate, NULL, NULL
    FROM (SELECT *, MIN(number) OVER (PARTITION BY base_hash) AS first FROM versions);

-- The pairs move first: dropping the old table would delete them with it.
CREATE TABLE version_pairs_next (
    address TEXT NOT NULL REFERENCES versions_next(address) ON DELETE CASCADE,
    pair_id TEXT NOT NULL,
    PRIMARY KEY (address, pair_id)
) STRICT;
INSERT INTO version_pairs_next SELECT address, pair_id FROM version_pairs;
DROP TABLE version_pairs;
DROP TABLE versions;
ALTER TABLE versions_next RENAME TO versions;
ALTER TABLE version_pairs_next RENAME TO version_pairs;
CREATE INDEX version_pairs_by_pair ON version_pairs(pair_id);
CREATE INDEX versions_by_parent ON versions(parent);
-- Whatever a program does wrong: of each model one version answers, and one at most is tried.
CREATE UNIQUE INDEX versions_one_active ON versions(model) WHERE state = 'active';
CREATE UNIQUE INDEX versions_one_canary ON versions(model) WHERE state = 'canary';

CREATE TABLE version_tags (
    model   TEXT NOT NULL,
    tag     TEXT NOT NULL,
    address TEXT NOT NULL REFERENCES versions(address) ON DELETE CASCADE,
    PRIMARY KEY (model, tag)
) STRICT;
CREATE INDEX version_tags_by_address ON version_tags(address);

CREATE TABLE version_states (                 -- what a version went through
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    address  TEXT NOT NULL REFERENCES versions(address) ON DELETE CASCADE,
    previous TEXT NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL DEFAULT '',
    created  REAL NOT NULL
) STRICT;
CREATE INDEX version_states_by_address ON version_states(address);

CREATE TABLE deployments_next (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    model    TEXT NOT NULL,
    address  TEXT,                            -- NULL: the base model
    previous TEXT,
    action   TEXT NOT NULL CHECK (action IN ('deploy', 'promote', 'rollback', 'fallback')),
    reason   TEXT NOT NULL DEFAULT '',
    override TEXT NOT NULL DEFAULT '',        -- why it was deployed against the gate's answer
    created  REAL NOT NULL
) STRICT;
INSERT INTO deployments_next (seq, model, address, previous, action, reason, created)
    SELECT seq, 'assistant', address, previous, action, reason, created FROM deployments;
DROP TABLE deployments;
ALTER TABLE deployments_next RENAME TO deployments;
CREATE INDEX deployments_by_model ON deployments(model, seq);
