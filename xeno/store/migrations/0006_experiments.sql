-- Measurements by series, alerts, canaries and A/B tests.

CREATE TABLE metric_series (
    id         INTEGER PRIMARY KEY,
    model_name TEXT NOT NULL,                 -- content address of a version, 'base', or any name
    metric     TEXT NOT NULL,
    UNIQUE (model_name, metric)
) STRICT;
CREATE TABLE measurements (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    series  INTEGER NOT NULL REFERENCES metric_series(id) ON DELETE CASCADE,
    value   REAL NOT NULL,
    context TEXT NOT NULL DEFAULT '{}',       -- JSON
    created REAL NOT NULL
) STRICT;
INSERT INTO metric_series (model_name, metric) SELECT DISTINCT model_name, metric FROM metrics;
INSERT INTO measurements (id, series, value, context, created)
    SELECT metrics.id, metric_series.id, value, context, created
    FROM metrics JOIN metric_series USING (model_name, metric);
DROP TABLE metrics;
-- A day of measurements is summed up and drawn from these alone.
CREATE INDEX measurements_by_time ON measurements(series, created, value);
CREATE INDEX measurements_by_value ON measurements(series, value);
CREATE INDEX messages_by_version ON messages(version, created, superseded, id)
    WHERE role = 'assistant';

CREATE TABLE alerts (                         -- a metric of a model got worse
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    model_name TEXT NOT NULL,
    metric     TEXT NOT NULL,
    points     INTEGER NOT NULL,
    tau        REAL NOT NULL,                 -- Kendall's, of these points
    p_value    REAL NOT NULL,
    before     REAL NOT NULL,                 -- median of the older half
    after      REAL NOT NULL,                 -- median of the newer half
    created    REAL NOT NULL,
    seen       REAL                           -- NULL: nobody has dismissed it
) STRICT;
CREATE INDEX alerts_by_series ON alerts(model_name, metric, created);

CREATE TABLE canaries (                       -- versions that were tried in a part of the replies
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL,
    traffic REAL NOT NULL CHECK (traffic > 0 AND traffic <= 1),
    limits  TEXT NOT NULL,                    -- JSON: what it is rolled back for
    created REAL NOT NULL,
    ended   REAL,
    outcome TEXT CHECK (outcome IN ('promoted', 'rolled_back', 'replaced'))
) STRICT;
CREATE UNIQUE INDEX canaries_one ON canaries((1)) WHERE ended IS NULL;

CREATE TABLE ab_tests (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE,
    model_a       TEXT NOT NULL,              -- in the chat a content address, or 'base'
    model_b       TEXT NOT NULL,
    traffic_split REAL NOT NULL CHECK (traffic_split > 0 AND traffic_split < 1), -- share of a
    metrics       TEXT NOT NULL,              -- JSON: their names
    alpha         REAL NOT NULL,
    in_chat       INTEGER NOT NULL,           -- its variants answer in the chat
    created       REAL NOT NULL,
    ended         REAL,
    winner        TEXT CHECK (winner IN ('variant_a', 'variant_b'))
) STRICT;
CREATE UNIQUE INDEX ab_tests_one_in_chat ON ab_tests(in_chat) WHERE in_chat = 1 AND ended IS NULL;
CREATE TABLE ab_results (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    test    INTEGER NOT NULL REFERENCES ab_tests(id) ON DELETE CASCADE,
    variant TEXT NOT NULL CHECK (variant IN ('variant_a', 'variant_b')),
    metric  TEXT NOT NULL,
    value   REAL NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX ab_results_by_test ON ab_results(test, metric, id, variant, value);

CREATE TABLE trial_replies (                  -- what a canary and a test in the chat count
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    canary          INTEGER REFERENCES canaries(id) ON DELETE CASCADE,
    test            INTEGER REFERENCES ab_tests(id) ON DELETE CASCADE,
    arm             TEXT NOT NULL CHECK (arm IN ('a', 'b')), -- b: the canary, or variant_b
    conversation_id TEXT NOT NULL,
    message_id      TEXT REFERENCES messages(id) ON DELETE CASCADE, -- NULL: no reply came
    failed          INTEGER NOT NULL,
    seconds         REAL,
    memory_bytes    REAL,
    created         REAL NOT NULL,
    CHECK ((canary IS NULL) <> (test IS NULL))
) STRICT;
CREATE INDEX trial_replies_by_canary ON trial_replies(canary, id);
CREATE INDEX trial_replies_by_test ON trial_replies(test, id);
CREATE INDEX trial_replies_by_message ON trial_replies(message_id);

CREATE TABLE trial_decisions (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    subject   TEXT NOT NULL,                  -- address of the version, or name of the test
    action    TEXT NOT NULL CHECK (action IN
              ('started', 'promoted', 'rolled_back', 'replaced', 'ended')),
    automatic INTEGER NOT NULL,
    reason    TEXT NOT NULL,                  -- a sentence
    numbers   TEXT NOT NULL,                  -- JSON: what was known then
    created   REAL NOT NULL
) STRICT;

CREATE TABLE blind_choices (                  -- two replies shown without saying whose they are
    id         TEXT PRIMARY KEY,
    test       INTEGER NOT NULL REFERENCES ab_tests(id) ON DELETE CASCADE,
    message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    text_a     TEXT NOT NULL,
    text_b     TEXT NOT NULL,
    first      TEXT NOT NULL CHECK (first IN ('a', 'b')), -- which was shown first
    created    REAL NOT NULL,
    answer     TEXT CHECK (answer IN ('first', 'second', 'equal', 'dismissed')),
    pair_id    TEXT
) STRICT;
CREATE INDEX blind_choices_by_test ON blind_choices(test, created);
CREATE INDEX blind_choices_by_message ON blind_choices(message_id);
