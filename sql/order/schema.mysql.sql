CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE idempotency_keys (
    user_id varchar(64) NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    request_hash varchar(64) NOT NULL,
    order_id bigint NOT NULL,
    PRIMARY KEY (user_id,idempotency_key),
    KEY ix_idempotency_keys_order_id (order_id),
    KEY keys_of_anybody (idempotency_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE order_lines (
    order_id bigint NOT NULL,
    `position` int NOT NULL,
    goods_id bigint NOT NULL,
    name varchar(255) NOT NULL,
    brief varchar(1024) NOT NULL,
    image varchar(2048) DEFAULT NULL,
    quantity int NOT NULL,
    unit_price bigint NOT NULL,
    market_price bigint DEFAULT NULL,
    PRIMARY KEY (order_id,`position`),
    CONSTRAINT order_lines_ibfk_1 FOREIGN KEY (order_id) REFERENCES orders (order_id),
    CONSTRAINT order_lines_quantity_positive CHECK (quantity > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE order_requests (
    request_id bigint NOT NULL,
    tx_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    request_hash varchar(64) NOT NULL,
    state varchar(8) NOT NULL,
    wanted longtext DEFAULT NULL CHECK (json_valid(wanted)),
    order_id bigint DEFAULT NULL,
    problem longtext DEFAULT NULL CHECK (json_valid(problem)),
    submitted_at bigint NOT NULL,
    decided_at bigint DEFAULT NULL,
    PRIMARY KEY (request_id),
    UNIQUE KEY requests_of_key (user_id,idempotency_key),
    KEY ix_order_requests_order_id (order_id),
    KEY requests_by_state (state,request_id),
    KEY requests_of_user (user_id,state)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE orders (
    order_id bigint NOT NULL,
    tx_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    status varchar(8) NOT NULL,
    close_reason varchar(16) DEFAULT NULL,
    total_amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    receiver_name varchar(64) DEFAULT NULL,
    receiver_phone varchar(32) DEFAULT NULL,
    receiver_address varchar(255) DEFAULT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    paid_at bigint DEFAULT NULL,
    closed_at bigint DEFAULT NULL,
    coupon_id bigint DEFAULT NULL,
    goods_amount bigint NOT NULL DEFAULT 0,
    discount_amount bigint NOT NULL DEFAULT 0,
    paid_through varchar(64) DEFAULT NULL,
    sale_id bigint DEFAULT NULL,
    purchase_id bigint DEFAULT NULL,
    returned_at bigint DEFAULT NULL,
    PRIMARY KEY (order_id),
    KEY orders_of_user (user_id,order_id),
    KEY orders_of_user_by_status (user_id,status,order_id),
    KEY orders_overdue (status,expires_at),
    KEY orders_of_transaction (tx_id,order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE orders_unheld (
    order_id bigint NOT NULL,
    participant varchar(32) NOT NULL,
    found_at bigint NOT NULL,
    PRIMARY KEY (order_id,participant)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE placing_calls (
    order_id bigint NOT NULL,
    request_id varchar(64) NOT NULL,
    PRIMARY KEY (order_id),
    KEY placing_calls_by_request (request_id,order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sagas (
    run_id bigint NOT NULL,
    saga varchar(64) NOT NULL,
    `key` varchar(128) NOT NULL,
    definition varchar(64) NOT NULL,
    state varchar(9) NOT NULL,
    epoch int NOT NULL,
    owner varchar(64) DEFAULT NULL,
    due_at bigint DEFAULT NULL,
    deadline_at bigint NOT NULL,
    stalls int NOT NULL,
    input text NOT NULL,
    reason varchar(500) DEFAULT NULL,
    created_at bigint NOT NULL,
    ended_at bigint DEFAULT NULL,
    PRIMARY KEY (run_id),
    UNIQUE KEY saga (saga,`key`),
    KEY ix_sagas_due_at (due_at),
    KEY ix_sagas_ended_at (ended_at),
    KEY sagas_by_state (state,run_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sagas_steps (
    run_id bigint NOT NULL,
    step varchar(64) NOT NULL,
    place int NOT NULL,
    state varchar(9) NOT NULL,
    tries int NOT NULL,
    next_at bigint NOT NULL,
    result text DEFAULT NULL,
    error varchar(500) DEFAULT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (run_id,step)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE settlements (
    order_id bigint NOT NULL,
    participant varchar(32) NOT NULL,
    fate varchar(8) NOT NULL,
    tx_id bigint NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (order_id,participant),
    KEY settlements_to_confirm (participant,since,order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE transaction_records (
    tx_id bigint NOT NULL,
    outcome varchar(9) NOT NULL,
    decided_at bigint NOT NULL,
    PRIMARY KEY (tx_id),
    KEY ix_transaction_records_decided_at (decided_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
