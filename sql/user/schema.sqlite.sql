CREATE TABLE attempts (
    name VARCHAR(64) NOT NULL,
    place VARCHAR(64) NOT NULL,
    failures INTEGER NOT NULL,
    next_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (name, place)
);

CREATE INDEX attempts_by_age ON attempts (last_at);

CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE log_ins (
    log_in_id INTEGER NOT NULL,
    user_id BIGINT,
    name VARCHAR(64) NOT NULL,
    address VARCHAR(64) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (log_in_id)
);

CREATE INDEX log_ins_by_age ON log_ins (at);

CREATE INDEX log_ins_of_user ON log_ins (user_id, address, outcome);

CREATE TABLE sessions (
    session_id INTEGER NOT NULL,
    user_id BIGINT NOT NULL,
    family_hash VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    refreshed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (session_id),
    UNIQUE (family_hash)
);

CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE INDEX sessions_of_user ON sessions (user_id, session_id);

CREATE TABLE signing_keys (
    number INTEGER NOT NULL,
    kid VARCHAR(43) NOT NULL,
    private_key VARCHAR(43) NOT NULL,
    public_key VARCHAR(43) NOT NULL,
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    PRIMARY KEY (number)
);

CREATE TABLE users (
    user_id INTEGER NOT NULL,
    name VARCHAR(64) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    is_admin BOOLEAN DEFAULT 0 NOT NULL,
    created_at BIGINT NOT NULL,
    password_changed_at BIGINT NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE (name)
);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
