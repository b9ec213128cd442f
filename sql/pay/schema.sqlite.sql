CREATE TABLE attempts (
    attempt_id INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    provider VARCHAR(64) NOT NULL,
    scenario VARCHAR(64),
    reference VARCHAR(255),
    pay_url VARCHAR(4096),
    state VARCHAR(4) NOT NULL,
    refusal VARCHAR(255),
    to_close BOOLEAN DEFAULT 0 NOT NULL,
    polls INTEGER DEFAULT 0 NOT NULL,
    next_poll_at BIGINT,
    asked_until BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (attempt_id),
    FOREIGN KEY(order_id) REFERENCES payments (order_id)
);

CREATE INDEX attempts_by_reference ON attempts (provider, reference);

CREATE INDEX attempts_of_order ON attempts (order_id);

CREATE INDEX attempts_to_poll ON attempts (state, next_poll_at);

CREATE TABLE charges (
    provider VARCHAR(64) NOT NULL,
    charge_id VARCHAR(128) NOT NULL,
    order_id BIGINT,
    kept_for BIGINT,
    amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    state VARCHAR(9) NOT NULL,
    reason VARCHAR(16),
    note VARCHAR(255),
    refund_id VARCHAR(128),
    refusal VARCHAR(255),
    tries INTEGER DEFAULT 0 NOT NULL,
    next_try_at BIGINT,
    taken_at BIGINT NOT NULL,
    refund_since BIGINT,
    refunded_at BIGINT,
    PRIMARY KEY (provider, charge_id),
    CONSTRAINT charges_kept_once UNIQUE (kept_for),
    CONSTRAINT charges_kept_for_an_order CHECK ((state = 'kept') = (kept_for IS NOT NULL))
);

CREATE INDEX charges_by_state ON charges (state, refund_since);

CREATE INDEX charges_of_order ON charges (order_id, taken_at);

CREATE INDEX charges_to_refund ON charges (next_try_at);

CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE idempotency_keys (
    user_id VARCHAR(64) NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    answer JSON NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE payment_events (
    provider VARCHAR(64) NOT NULL,
    event_id VARCHAR(128) NOT NULL,
    order_id BIGINT,
    reference VARCHAR(255),
    charge_id VARCHAR(128),
    kind VARCHAR(16) NOT NULL,
    amount BIGINT,
    currency VARCHAR(3),
    via VARCHAR(8) NOT NULL,
    raw BLOB NOT NULL,
    received_at BIGINT NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    handle_at BIGINT,
    handled_at BIGINT,
    effect VARCHAR(16),
    reason VARCHAR(255),
    tx_id BIGINT,
    PRIMARY KEY (provider, event_id)
);

CREATE INDEX payment_events_of_charge ON payment_events (provider, charge_id);

CREATE INDEX payment_events_of_order ON payment_events (order_id, received_at);

CREATE INDEX payment_events_to_handle ON payment_events (handle_at);

CREATE TABLE payments (
    order_id INTEGER NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    state VARCHAR(9) NOT NULL,
    provider VARCHAR(64),
    known BOOLEAN DEFAULT 0 NOT NULL,
    tellings INTEGER DEFAULT 0 NOT NULL,
    tell_at BIGINT,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    succeeded_at BIGINT,
    closed_at BIGINT,
    PRIMARY KEY (order_id),
    CONSTRAINT payments_amount_positive CHECK (amount > 0),
    FOREIGN KEY(order_id) REFERENCES reservations (order_id)
);

CREATE INDEX payments_by_state ON payments (state, order_id);

CREATE INDEX payments_to_tell ON payments (tell_at);

CREATE TABLE reservations (
    order_id INTEGER NOT NULL,
    tx_id BIGINT NOT NULL,
    state VARCHAR(8) NOT NULL,
    verified BOOLEAN DEFAULT 0 NOT NULL,
    created_at BIGINT NOT NULL,
    released_at BIGINT,
    PRIMARY KEY (order_id)
);

CREATE INDEX reservations_to_verify ON reservations (verified, state, order_id);

CREATE TABLE transaction_records (
    tx_id INTEGER NOT NULL,
    outcome VARCHAR(9) NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (tx_id)
);

CREATE INDEX ix_transaction_records_decided_at ON transaction_records (decided_at);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
