-- What is learned of the user, remembered, imported and examined.

-- learning
CREATE TABLE interactions (                   -- recorded by a program; chats are in messages
    id       TEXT PRIMARY KEY,
    query    TEXT NOT NULL,
    response TEXT NOT NULL,
    context  TEXT NOT NULL DEFAULT '{}',      -- JSON: topic, intent, ...
    feedback INTEGER CHECK (feedback BETWEEN 1 AND 5),
    created  REAL NOT NULL
) STRICT;

CREATE TABLE learning_evidence (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    kind           TEXT NOT NULL CHECK (kind IN
                   ('message', 'rating', 'thumb', 'correction', 'choice')),
    message_id     TEXT REFERENCES messages(id) ON DELETE CASCADE,
    pair_id        TEXT REFERENCES pairs(id) ON DELETE CASCADE,
    interaction_id TEXT REFERENCES interactions(id) ON DELETE CASCADE,
    created        REAL NOT NULL,
    undone         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX learning_evidence_by_message ON learning_evidence(message_id, kind);
CREATE INDEX learning_evidence_by_pair ON learning_evidence(pair_id);
CREATE INDEX learning_evidence_by_interaction ON learning_evidence(interaction_id);

CREATE TABLE learning_effects (
    dimension       TEXT NOT NULL,            -- a key of preferences
    evidence        INTEGER NOT NULL REFERENCES learning_evidence(seq) ON DELETE CASCADE,
    log_likelihoods TEXT NOT NULL,            -- JSON: one number per value, in their order
    reason          TEXT NOT NULL,            -- a sentence
    PRIMARY KEY (dimension, evidence)
) STRICT;
CREATE INDEX learning_effects_by_evidence ON learning_effects(evidence);

-- memory
CREATE TABLE memories (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL CHECK (kind IN ('fact', 'episode', 'workflow')),
    topic      TEXT NOT NULL,            -- a fact's category, an episode's type, a workflow's name
    name       TEXT NOT NULL DEFAULT '', -- a fact's key
    content    TEXT NOT NULL,            -- JSON: the value, the description, the steps
    context    TEXT NOT NULL DEFAULT '{}',
    text       TEXT NOT NULL,            -- as it is searched and said in the prompt
    source     TEXT NOT NULL,            -- who or what it came from
    message_id TEXT REFERENCES messages(id) ON DELETE SET NULL,
    importance REAL NOT NULL CHECK (importance BETWEEN 0 AND 1),
    pinned     INTEGER NOT NULL DEFAULT 0, -- brought into every prompt
    created    REAL NOT NULL,
    updated    REAL NOT NULL,
    used       REAL,                     -- when a prompt last had it
    uses       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX memories_named ON memories(kind, topic, name) WHERE kind != 'episode';
CREATE INDEX memories_by_updated ON memories(updated);
CREATE INDEX memories_by_topic ON memories(topic, kind, created);
CREATE VIRTUAL TABLE memory_index USING fts5(
    text, content = 'memories', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
-- What is forgotten leaves the index at once, not at its next merge.
INSERT INTO memory_index(memory_index, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN
    INSERT INTO memory_index(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN
    INSERT INTO memory_index(memory_index, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER memories_edited AFTER UPDATE OF text ON memories BEGIN
    INSERT INTO memory_index(memory_index, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO memory_index(rowid, text) VALUES (new.id, new.text);
END;

-- intents
CREATE TABLE intent_examples (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    input   TEXT NOT NULL UNIQUE,        -- one text has one intent: the last one said
    output  TEXT NOT NULL DEFAULT '',
    intent  TEXT NOT NULL,               -- 'unknown': like nothing that has an intent
    context TEXT NOT NULL DEFAULT '{}',
    rating  REAL CHECK (rating BETWEEN 1 AND 5),
    created REAL NOT NULL
) STRICT;
CREATE INDEX intent_examples_by_intent ON intent_examples(intent, created);
CREATE TABLE intent_templates (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    intent   TEXT NOT NULL,
    template TEXT NOT NULL,
    created  REAL NOT NULL,
    UNIQUE (intent, template)
) STRICT;

-- imports
CREATE TABLE examples (
    id          TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,         -- SHA-256 of kind, prompt, reply, label
    kind        TEXT NOT NULL CHECK (kind IN ('instruction', 'unpaired', 'chat')),
    prompt      TEXT NOT NULL,                -- JSON: list of {role, content}
    reply       TEXT NOT NULL,
    label       TEXT,                         -- unpaired: good, bad
    source      TEXT NOT NULL,                -- file, collector, or what the record says
    created     REAL NOT NULL,
    active      INTEGER NOT NULL DEFAULT 1,
    metadata    TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX examples_by_kind ON examples(kind, created);

CREATE TABLE imports (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    file       TEXT NOT NULL,                 -- its name, without the folder
    format     TEXT NOT NULL,
    created    REAL NOT NULL,
    counts     TEXT NOT NULL,                 -- JSON: kind -> how many were added
    duplicates INTEGER NOT NULL,
    rejected   INTEGER NOT NULL,
    mapping    TEXT NOT NULL DEFAULT '{}',    -- JSON: field -> column
    undone     REAL
) STRICT;

CREATE TABLE import_rows (                    -- what an import added, for its undoing
    import_id INTEGER NOT NULL REFERENCES imports(id),
    kind      TEXT NOT NULL CHECK (kind IN
              ('pair', 'example', 'intent', 'conversation', 'preference', 'memory')),
    row_id    TEXT NOT NULL
) STRICT;
CREATE INDEX import_rows_by_import ON import_rows(import_id);

CREATE TABLE import_mappings (
    columns TEXT PRIMARY KEY,                 -- JSON: the sorted column names
    mapping TEXT NOT NULL,                    -- JSON: field -> column
    updated REAL NOT NULL
) STRICT;

-- Groups are counted and held out together; without the index that needs them all in memory.
CREATE INDEX pairs_by_group ON pairs(group_id);

-- pairs
CREATE TABLE pair_checks (                    -- what the doctor found when it last looked
    pair_id     TEXT PRIMARY KEY REFERENCES pairs(id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,                -- of the texts that were examined
    active      INTEGER NOT NULL,             -- whether it was compared with the others
    rules       INTEGER NOT NULL,             -- the edition of the rules
    score       REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    examined    REAL NOT NULL
) STRICT;
CREATE INDEX pair_checks_by_pair ON pair_checks(pair_id, score); -- sorting without the rest
CREATE TABLE pair_findings (
    pair_id TEXT NOT NULL REFERENCES pairs(id) ON DELETE CASCADE,
    kind    TEXT NOT NULL,
    cost    REAL NOT NULL CHECK (cost BETWEEN 0 AND 1), -- what it takes from the score
    reason  TEXT NOT NULL,
    other   TEXT                              -- the pair it is compared with
) STRICT;
CREATE INDEX pair_findings_by_pair ON pair_findings(pair_id);
CREATE INDEX pair_findings_by_kind ON pair_findings(kind, pair_id);

CREATE TABLE pair_edits (                     -- for undo and redo
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    batch   INTEGER NOT NULL,                 -- one action of the user's
    action  TEXT NOT NULL,
    pair_id TEXT NOT NULL,
    before  TEXT NOT NULL,                    -- JSON: the changed columns; deleted: all columns
    after   TEXT,                             -- NULL: deleted
    created REAL NOT NULL,
    undone  REAL
) STRICT;
CREATE INDEX pair_edits_by_batch ON pair_edits(batch);

CREATE TABLE candidates (                     -- replies that could be compared
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE, -- the reply in the chat
    text       TEXT NOT NULL,
    reward     REAL NOT NULL,                 -- log-probability per token, active less base
    created    REAL NOT NULL
) STRICT;
CREATE INDEX candidates_by_message ON candidates(message_id);
CREATE TABLE questions (                      -- comparisons that the user was asked for
    id          TEXT PRIMARY KEY,
    first       INTEGER NOT NULL REFERENCES candidates(id) ON DELETE CASCADE,
    second      INTEGER NOT NULL REFERENCES candidates(id) ON DELETE CASCADE,
    information REAL NOT NULL,                -- bits that the answer was expected to tell
    created     REAL NOT NULL,
    answer      TEXT CHECK (answer IN ('first', 'second', 'equal', 'dismissed')),
    pair_id     TEXT
) STRICT;
CREATE INDEX questions_by_first ON questions(first);
CREATE INDEX questions_by_second ON questions(second);
CREATE INDEX questions_by_created ON questions(created);

-- Sorting and filtering without reading the texts.
CREATE INDEX pairs_for_browsing ON pairs(created, active, feedback_type, quality, weight, id);
