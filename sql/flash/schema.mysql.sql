CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE holdings (
    order_id bigint NOT NULL,
    purchase_id bigint NOT NULL,
    PRIMARY KEY (order_id),
    KEY holdings_of_purchase (purchase_id),
    CONSTRAINT holdings_ibfk_1 FOREIGN KEY (order_id) REFERENCES reservations (order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE idempotency_keys (
    user_id varchar(64) NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    request_hash varchar(64) NOT NULL,
    answer longtext NOT NULL CHECK (json_valid(answer)),
    created_at bigint NOT NULL,
    PRIMARY KEY (user_id,idempotency_key),
    KEY idempotency_keys_by_age (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE pieces_buyers (
    sale_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    pieces bigint NOT NULL,
    first_purchase_id bigint NOT NULL,
    PRIMARY KEY (sale_id,user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE pieces_places (
    sale_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    place bigint NOT NULL,
    turn_us bigint NOT NULL,
    PRIMARY KEY (sale_id,user_id),
    KEY pieces_places_in_order (sale_id,place)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE pieces_purchases (
    sale_id bigint NOT NULL,
    purchase_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    quantity bigint NOT NULL,
    state varchar(8) NOT NULL,
    tx_id bigint NOT NULL,
    PRIMARY KEY (sale_id,purchase_id),
    KEY pieces_purchases_by_state (sale_id,state,purchase_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE pieces_records (
    tx_id bigint NOT NULL,
    outcome varchar(9) NOT NULL,
    decided_at bigint NOT NULL,
    PRIMARY KEY (tx_id),
    KEY ix_pieces_records_decided_at (decided_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE pieces_sales (
    sale_id bigint NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    quantity bigint NOT NULL DEFAULT 0,
    starts_at bigint NOT NULL DEFAULT 0,
    ends_at bigint NOT NULL DEFAULT 0,
    per_user int NOT NULL DEFAULT 0,
    is_ended tinyint(1) NOT NULL DEFAULT 0,
    is_ready tinyint(1) NOT NULL DEFAULT 0,
    pieces bigint NOT NULL DEFAULT 0,
    taken bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    aborted bigint NOT NULL DEFAULT 0,
    kept_until bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id),
    KEY pieces_sales_to_purge (kept_until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE purchases (
    purchase_id bigint NOT NULL,
    sale_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    quantity int NOT NULL,
    holders int NOT NULL,
    fate varchar(8) NOT NULL,
    told tinyint(1) NOT NULL DEFAULT 0,
    PRIMARY KEY (purchase_id),
    KEY purchases_of_sale (sale_id,purchase_id),
    KEY purchases_by_fate (fate,told,purchase_id),
    CONSTRAINT purchases_holders_not_negative CHECK (holders >= 0),
    CONSTRAINT purchases_quantity_positive CHECK (quantity > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE reservations (
    order_id bigint NOT NULL,
    tx_id bigint NOT NULL,
    state varchar(8) NOT NULL,
    verified tinyint(1) NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    released_at bigint DEFAULT NULL,
    PRIMARY KEY (order_id),
    KEY reservations_to_verify (verified,state,order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sale_users (
    sale_user varchar(96) NOT NULL,
    held bigint NOT NULL,
    PRIMARY KEY (sale_user),
    CONSTRAINT sale_users_held_not_negative CHECK (held >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sales (
    sale_id bigint NOT NULL,
    state varchar(8) NOT NULL,
    goods_id bigint NOT NULL,
    name varchar(255) NOT NULL,
    brief varchar(1024) NOT NULL,
    image varchar(2048) DEFAULT NULL,
    market_price bigint DEFAULT NULL,
    unit_price bigint NOT NULL,
    currency varchar(3) NOT NULL,
    quantity bigint NOT NULL,
    per_user bigint NOT NULL,
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    created_at bigint NOT NULL,
    closed_at bigint DEFAULT NULL,
    held bigint NOT NULL DEFAULT 0,
    allotted bigint NOT NULL,
    word bigint NOT NULL DEFAULT 1,
    heard bigint NOT NULL DEFAULT 0,
    queue_rate int DEFAULT NULL,
    PRIMARY KEY (sale_id),
    KEY sales_by_state (state,sale_id),
    CONSTRAINT sales_held_not_negative CHECK (held >= 0),
    CONSTRAINT sales_not_oversold CHECK (held <= allotted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
