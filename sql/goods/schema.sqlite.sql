CREATE TABLE goods (
    goods_id BIGINT NOT NULL,
    name VARCHAR(128) NOT NULL,
    brief VARCHAR(1024) NOT NULL,
    category_id BIGINT,
    unit_price BIGINT NOT NULL,
    market_price BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    images JSON NOT NULL,
    on_sale BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (goods_id),
    CONSTRAINT goods_price_not_negative CHECK (unit_price >= 0 AND market_price >= 0)
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

CREATE TABLE room_goods (
    room_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    goods_id BIGINT NOT NULL,
    PRIMARY KEY (room_id, position),
    CONSTRAINT room_goods_once UNIQUE (room_id, goods_id),
    FOREIGN KEY(room_id) REFERENCES rooms (room_id),
    FOREIGN KEY(goods_id) REFERENCES goods (goods_id)
);

CREATE TABLE rooms (
    room_id BIGINT NOT NULL,
    current_goods_id BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (room_id),
    FOREIGN KEY(current_goods_id) REFERENCES goods (goods_id)
);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
