-- Format 2. Every change to this file is a new format: raise FORMAT in database.rs and say there how to get from the last.

-- figures: order numbers, counts per state and counters, as JSON. One small row changes per operation, however many tasks it moves.
-- owner: who reconciles it, as JSON, where anybody does.
CREATE TABLE queues (
    pk       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    figures  TEXT NOT NULL,
    owner    TEXT
) STRICT;

-- state: its place in State::ALL. Within a state, tasks stand in the order (rank, seq):
--   pending            rank = −priority   seq rises at the tail and falls at the head
--   delayed, retrying  rank = due         (ms since the Unix epoch, as all times)
--   active             rank = started
--   ended              rank = ended
-- worker and counter: the claim, while active. cancel: someone asked for it. aside: returns to the head, not the tail.
-- errors: how many rows of attempts were ever written for it.
CREATE TABLE tasks (
    pk          INTEGER PRIMARY KEY,
    queue       INTEGER NOT NULL,
    id          TEXT NOT NULL,
    state       INTEGER NOT NULL,
    rank        INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    worker      INTEGER,
    counter     INTEGER NOT NULL DEFAULT 0,
    cancel      INTEGER NOT NULL DEFAULT 0,
    aside       INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    losses      INTEGER NOT NULL DEFAULT 0,
    errors      INTEGER NOT NULL DEFAULT 0,
    enqueued_at INTEGER NOT NULL,
    request     BLOB NOT NULL,
    progress    TEXT,
    result      BLOB,
    record      BLOB NOT NULL,
    UNIQUE (queue, id)
) STRICT;
CREATE INDEX standing ON tasks (queue, state, rank, seq);
CREATE INDEX held ON tasks (worker, seq) WHERE worker IS NOT NULL;
CREATE INDEX asked ON tasks (worker, seq) WHERE cancel = 1;

-- The newest failed and lost attempts of a task, each as JSON.
CREATE TABLE attempts (
    task   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    view   TEXT NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;

-- number and answer: the last exchange and what it did. lost: its tasks are being returned.
CREATE TABLE workers (
    pk            INTEGER PRIMARY KEY,
    queue         INTEGER NOT NULL,
    id            TEXT NOT NULL,
    info          TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    lease_until   INTEGER NOT NULL,
    lost          INTEGER NOT NULL DEFAULT 0,
    active        INTEGER NOT NULL DEFAULT 0,
    number        INTEGER NOT NULL DEFAULT 0,
    answer        BLOB,
    UNIQUE (queue, id)
) STRICT;
