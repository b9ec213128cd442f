CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE idempotency_keys (
    user_id VARCHAR(64) NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    order_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);

CREATE INDEX ix_idempotency_keys_order_id ON idempotency_keys (order_id);

CREATE INDEX keys_of_anybody ON idempotency_keys (idempotency_key);

CREATE TABLE order_lines (
    order_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    goods_id BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    brief VARCHAR(1024) NOT NULL,
    image VARCHAR(2048),
    quantity INTEGER NOT NULL,
    unit_price BIGINT NOT NULL,
    market_price BIGINT,
    PRIMARY KEY (order_id, position),
    CONSTRAINT order_lines_quantity_positive CHECK (quantity > 0),
    FOREIGN KEY(order_id) REFERENCES orders (order_id)
);

CREATE TABLE order_requests (
    request_id INTEGER NOT NULL,
    tx_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    state VARCHAR(8) NOT NULL,
    wanted JSON,
    order_id BIGINT,
    problem JSON,
    submitted_at BIGINT NOT NULL,
    decided_at BIGINT,
    PRIMARY KEY (request_id)
);

CREATE INDEX ix_order_requests_order_id ON order_requests (order_id);

CREATE INDEX requests_by_state ON order_requests (state, request_id);

CREATE UNIQUE INDEX requests_of_key ON order_requests (user_id, idempotency_key);

CREATE INDEX requests_of_user ON order_requests (user_id, state);

CREATE TABLE orders (
    order_id INTEGER NOT NULL,
    tx_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    status VARCHAR(8) NOT NULL,
    close_reason VARCHAR(16),
    total_amount BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    receiver_name VARCHAR(64),
    receiver_phone VARCHAR(32),
    receiver_address VARCHAR(255),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    paid_at BIGINT,
    closed_at BIGINT,
    coupon_id BIGINT,
    goods_amount BIGINT DEFAULT 0 NOT NULL,
    discount_amount BIGINT DEFAULT 0 NOT NULL,
    paid_through VARCHAR(64),
    sale_id BIGINT,
    purchase_id BIGINT,
    returned_at BIGINT,
    PRIMARY KEY (order_id)
);

CREATE INDEX orders_of_transaction ON orders (tx_id, order_id);

CREATE INDEX orders_of_user ON orders (user_id, order_id);

CREATE INDEX orders_of_user_by_status ON orders (user_id, status, order_id);

CREATE INDEX orders_overdue ON orders (status, expires_at);

CREATE TABLE orders_unheld (
    order_id INTEGER NOT NULL,
    participant VARCHAR(32) NOT NULL,
    found_at BIGINT NOT NULL,
    PRIMARY KEY (order_id, participant)
);

CREATE TABLE placing_calls (
    order_id INTEGER NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (order_id)
);

CREATE INDEX placing_calls_by_request ON placing_calls (request_id, order_id);

CREATE TABLE sagas (
    run_id INTEGER NOT NULL,
    saga VARCHAR(64) NOT NULL,
    "key" VARCHAR(128) NOT NULL,
    definition VARCHAR(64) NOT NULL,
    state VARCHAR(9) NOT NULL,
    epoch INTEGER NOT NULL,
    owner VARCHAR(64),
    due_at BIGINT,
    deadline_at BIGINT NOT NULL,
    stalls INTEGER NOT NULL,
    input TEXT NOT NULL,
    reason VARCHAR(500),
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (run_id),
    UNIQUE (saga, "key")
);

CREATE INDEX ix_sagas_due_at ON sagas (due_at);

CREATE INDEX ix_sagas_ended_at ON sagas (ended_at);

CREATE INDEX sagas_by_state ON sagas (state, run_id);

CREATE TABLE sagas_steps (
    run_id INTEGER NOT NULL,
    step VARCHAR(64) NOT NULL,
    place INTEGER NOT NULL,
    state VARCHAR(9) NOT NULL,
    tries INTEGER NOT NULL,
    next_at BIGINT NOT NULL,
    result TEXT,
    error VARCHAR(500),
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, step)
);

CREATE TABLE settlements (
    order_id INTEGER NOT NULL,
    participant VARCHAR(32) NOT NULL,
    fate VARCHAR(8) NOT NULL,
    tx_id BIGINT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (order_id, participant)
);

CREATE INDEX settlements_to_confirm ON settlements (participant, since, order_id);

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
