CREATE TABLE callbacks (
    callback_id INTEGER NOT NULL,
    event_id INTEGER NOT NULL,
    state VARCHAR(8) NOT NULL,
    held BOOLEAN DEFAULT 0 NOT NULL,
    due_at BIGINT NOT NULL,
    tries BIGINT DEFAULT 0 NOT NULL,
    answer VARCHAR(255),
    PRIMARY KEY (callback_id),
    FOREIGN KEY(event_id) REFERENCES events (event_id)
);

CREATE INDEX callbacks_by_event ON callbacks (event_id);

CREATE INDEX callbacks_due ON callbacks (state, due_at);

CREATE TABLE charges (
    charge_id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    refund_id BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (charge_id),
    CONSTRAINT charges_amount_positive CHECK (amount > 0),
    FOREIGN KEY(session_id) REFERENCES sessions (session_id)
);

CREATE INDEX charges_by_session ON charges (session_id);

CREATE TABLE events (
    event_id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    charge_id BIGINT,
    refund_id BIGINT,
    amount BIGINT,
    currency VARCHAR(3),
    reason VARCHAR(255),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (event_id),
    FOREIGN KEY(session_id) REFERENCES sessions (session_id)
);

CREATE INDEX events_by_session ON events (session_id);

CREATE TABLE faults (
    name VARCHAR(32) NOT NULL,
    chance BIGINT NOT NULL,
    seed BIGINT NOT NULL,
    longest BIGINT NOT NULL,
    drawn BIGINT DEFAULT 0 NOT NULL,
    struck BIGINT DEFAULT 0 NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE plans (
    plan_id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    refund_id BIGINT,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (plan_id),
    FOREIGN KEY(session_id) REFERENCES sessions (session_id)
);

CREATE INDEX plans_due ON plans (due_at);

CREATE TABLE refunds (
    refund_id INTEGER NOT NULL,
    charge_id INTEGER NOT NULL,
    refund_key VARCHAR(255) NOT NULL,
    amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    state VARCHAR(8) NOT NULL,
    reason VARCHAR(255),
    asked BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (refund_id),
    CONSTRAINT refunds_key UNIQUE (refund_key),
    FOREIGN KEY(charge_id) REFERENCES charges (charge_id)
);

CREATE INDEX refunds_by_charge ON refunds (charge_id);

CREATE TABLE sessions (
    session_id INTEGER NOT NULL,
    reference VARCHAR(64) NOT NULL,
    attempt_id BIGINT NOT NULL,
    payment_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    callback_url VARCHAR(255) NOT NULL,
    scenario VARCHAR(32) NOT NULL,
    expires_at BIGINT NOT NULL,
    state VARCHAR(8) NOT NULL,
    reason VARCHAR(255),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (session_id),
    CONSTRAINT sessions_attempt UNIQUE (attempt_id),
    CONSTRAINT sessions_reference UNIQUE (reference),
    CONSTRAINT sessions_amount_positive CHECK (amount > 0)
);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
