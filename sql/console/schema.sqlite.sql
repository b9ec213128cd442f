CREATE TABLE actions (
    action_id INTEGER NOT NULL,
    at BIGINT NOT NULL,
    who VARCHAR(64) NOT NULL,
    action VARCHAR(32) NOT NULL,
    what VARCHAR(128) NOT NULL,
    why VARCHAR(255) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    detail VARCHAR(1024) NOT NULL,
    effect_at BIGINT,
    batch BIGINT,
    PRIMARY KEY (action_id)
);

CREATE INDEX actions_by_age ON actions (at);

CREATE INDEX actions_of_a_thing ON actions (what, action_id);

CREATE UNIQUE INDEX actions_once_for_each_form ON actions (batch, what);

CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
