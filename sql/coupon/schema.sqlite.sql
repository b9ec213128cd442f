CREATE TABLE coupon_users (
    coupon_user VARCHAR(96) NOT NULL,
    taken BIGINT NOT NULL,
    PRIMARY KEY (coupon_user),
    CONSTRAINT coupon_users_taken_not_negative CHECK (taken >= 0)
);

CREATE TABLE coupon_uses (
    order_id INTEGER NOT NULL,
    coupon_id INTEGER NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    state VARCHAR(4) NOT NULL,
    PRIMARY KEY (order_id),
    FOREIGN KEY(order_id) REFERENCES reservations (order_id),
    FOREIGN KEY(coupon_id) REFERENCES coupons (coupon_id)
);

CREATE INDEX coupon_uses_by_coupon ON coupon_uses (coupon_id);

CREATE TABLE coupons (
    coupon_id INTEGER NOT NULL,
    code VARCHAR(64) NOT NULL,
    kind VARCHAR(8) NOT NULL,
    value BIGINT NOT NULL,
    currency VARCHAR(3),
    minimum_amount BIGINT NOT NULL,
    user_id VARCHAR(64),
    uses BIGINT NOT NULL,
    uses_per_user BIGINT NOT NULL,
    held BIGINT DEFAULT 0 NOT NULL,
    used BIGINT DEFAULT 0 NOT NULL,
    starts_at BIGINT,
    ends_at BIGINT,
    withdrawn BOOLEAN DEFAULT 0 NOT NULL,
    version BIGINT DEFAULT 1 NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (coupon_id),
    CONSTRAINT coupons_code UNIQUE (code),
    CONSTRAINT coupons_counts_not_negative CHECK (held >= 0 AND used >= 0),
    CONSTRAINT coupons_uses_not_exceeded CHECK (held + used <= uses)
);

CREATE INDEX coupons_by_user ON coupons (user_id, coupon_id);

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

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
