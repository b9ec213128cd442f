CREATE TABLE heartbeat (
    id INTEGER NOT NULL,
    beats BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE holdings (
    order_id INTEGER NOT NULL,
    purchase_id BIGINT NOT NULL,
    PRIMARY KEY (order_id),
    FOREIGN KEY(order_id) REFERENCES reservations (order_id)
);

CREATE INDEX holdings_of_purchase ON holdings (purchase_id);

CREATE TABLE idempotency_keys (
    user_id VARCHAR(64) NOT NULL,
    idempotency_key VARCHAR(255) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    answer JSON NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE pieces_buyers (
    sale_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    pieces BIGINT NOT NULL,
    first_purchase_id BIGINT NOT NULL,
    PRIMARY KEY (sale_id, user_id)
);

CREATE TABLE pieces_places (
    sale_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    place BIGINT NOT NULL,
    turn_us BIGINT NOT NULL,
    PRIMARY KEY (sale_id, user_id)
);

CREATE INDEX pieces_places_in_order ON pieces_places (sale_id, place);

CREATE TABLE pieces_purchases (
    sale_id BIGINT NOT NULL,
    purchase_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    quantity BIGINT NOT NULL,
    state VARCHAR(8) NOT NULL,
    tx_id BIGINT NOT NULL,
    PRIMARY KEY (sale_id, purchase_id)
);

CREATE INDEX pieces_purchases_by_state ON pieces_purchases (sale_id, state, purchase_id);

CREATE TABLE pieces_records (
    tx_id INTEGER NOT NULL,
    outcome VARCHAR(9) NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (tx_id)
);

CREATE INDEX ix_pieces_records_decided_at ON pieces_records (decided_at);

CREATE TABLE pieces_sales (
    sale_id BIGINT NOT NULL,
    version BIGINT DEFAULT 0 NOT NULL,
    quantity BIGINT DEFAULT 0 NOT NULL,
    starts_at BIGINT DEFAULT 0 NOT NULL,
    ends_at BIGINT DEFAULT 0 NOT NULL,
    per_user INTEGER DEFAULT 0 NOT NULL,
    is_ended BOOLEAN DEFAULT 0 NOT NULL,
    is_ready BOOLEAN DEFAULT 0 NOT NULL,
    pieces BIGINT DEFAULT 0 NOT NULL,
    taken BIGINT DEFAULT 0 NOT NULL,
    held BIGINT DEFAULT 0 NOT NULL,
    returned BIGINT DEFAULT 0 NOT NULL,
    aborted BIGINT DEFAULT 0 NOT NULL,
    kept_until BIGINT DEFAULT 0 NOT NULL,
    PRIMARY KEY (sale_id)
);

CREATE INDEX pieces_sales_to_purge ON pieces_sales (kept_until);

CREATE TABLE purchases (
    purchase_id INTEGER NOT NULL,
    sale_id BIGINT NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    quantity INTEGER NOT NULL,
    holders INTEGER NOT NULL,
    fate VARCHAR(8) NOT NULL,
    told BOOLEAN DEFAULT 0 NOT NULL,
    PRIMARY KEY (purchase_id),
    CONSTRAINT purchases_holders_not_negative CHECK (holders >= 0),
    CONSTRAINT purchases_quantity_positive CHECK (quantity > 0)
);

CREATE INDEX purchases_by_fate ON purchases (fate, told, purchase_id);

CREATE INDEX purchases_of_sale ON purchases (sale_id, purchase_id);

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

CREATE TABLE sale_users (
    sale_user VARCHAR(96) NOT NULL,
    held BIGINT NOT NULL,
    PRIMARY KEY (sale_user),
    CONSTRAINT sale_users_held_not_negative CHECK (held >= 0)
);

CREATE TABLE sales (
    sale_id INTEGER NOT NULL,
    state VARCHAR(8) NOT NULL,
    goods_id BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    brief VARCHAR(1024) NOT NULL,
    image VARCHAR(2048),
    market_price BIGINT,
    unit_price BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    quantity BIGINT NOT NULL,
    per_user BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    closed_at BIGINT,
    held BIGINT DEFAULT 0 NOT NULL,
    allotted BIGINT NOT NULL,
    word BIGINT DEFAULT 1 NOT NULL,
    heard BIGINT DEFAULT 0 NOT NULL,
    queue_rate INTEGER,
    PRIMARY KEY (sale_id),
    CONSTRAINT sales_held_not_negative CHECK (held >= 0),
    CONSTRAINT sales_not_oversold CHECK (held <= allotted)
);

CREATE INDEX sales_by_state ON sales (state, sale_id);

CREATE TABLE worker_leases (
    worker_id INTEGER NOT NULL,
    owner VARCHAR(64) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (worker_id)
);
