CREATE TABLE allotments (
    sale_id INTEGER NOT NULL,
    goods_id BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (sale_id),
    CONSTRAINT allotments_quantity_not_negative CHECK (quantity >= 0)
);

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

CREATE TABLE reservation_lines (
    order_id BIGINT NOT NULL,
    goods_id BIGINT NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, goods_id),
    CONSTRAINT reservation_lines_quantity_positive CHECK (quantity > 0),
    FOREIGN KEY(order_id) REFERENCES reservations (order_id)
);

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

CREATE TABLE stock (
    goods_id INTEGER NOT NULL,
    total BIGINT NOT NULL,
    available BIGINT NOT NULL,
    version BIGINT DEFAULT 0 NOT NULL,
    PRIMARY KEY (goods_id),
    CONSTRAINT stock_available_within_total CHECK (available <= total),
    CONSTRAINT stock_available_not_negative CHECK (available >= 0)
);
