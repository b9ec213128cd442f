CREATE TABLE attempts (
    attempt_id bigint NOT NULL,
    order_id bigint NOT NULL,
    provider varchar(64) NOT NULL,
    scenario varchar(64) DEFAULT NULL,
    reference varchar(255) DEFAULT NULL,
    pay_url varchar(4096) DEFAULT NULL,
    state varchar(4) NOT NULL,
    refusal varchar(255) DEFAULT NULL,
    to_close tinyint(1) NOT NULL DEFAULT 0,
    polls int NOT NULL DEFAULT 0,
    next_poll_at bigint DEFAULT NULL,
    asked_until bigint DEFAULT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (attempt_id),
    KEY attempts_of_order (order_id),
    KEY attempts_by_reference (provider,reference),
    KEY attempts_to_poll (state,next_poll_at),
    CONSTRAINT attempts_ibfk_1 FOREIGN KEY (order_id) REFERENCES payments (order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE charges (
    provider varchar(64) NOT NULL,
    charge_id varchar(128) NOT NULL,
    order_id bigint DEFAULT NULL,
    kept_for bigint DEFAULT NULL,
    amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    state varchar(9) NOT NULL,
    reason varchar(16) DEFAULT NULL,
    note varchar(255) DEFAULT NULL,
    refund_id varchar(128) DEFAULT NULL,
    refusal varchar(255) DEFAULT NULL,
    tries int NOT NULL DEFAULT 0,
    next_try_at bigint DEFAULT NULL,
    taken_at bigint NOT NULL,
    refund_since bigint DEFAULT NULL,
    refunded_at bigint DEFAULT NULL,
    PRIMARY KEY (provider,charge_id),
    UNIQUE KEY charges_kept_once (kept_for),
    KEY charges_of_order (order_id,taken_at),
    KEY charges_to_refund (next_try_at),
    KEY charges_by_state (state,refund_since),
    CONSTRAINT charges_kept_for_an_order CHECK (state = 'kept' = (kept_for is not null))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
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

CREATE TABLE payment_events (
    provider varchar(64) NOT NULL,
    event_id varchar(128) NOT NULL,
    order_id bigint DEFAULT NULL,
    reference varchar(255) DEFAULT NULL,
    charge_id varchar(128) DEFAULT NULL,
    kind varchar(16) NOT NULL,
    amount bigint DEFAULT NULL,
    currency varchar(3) DEFAULT NULL,
    via varchar(8) NOT NULL,
    raw mediumblob NOT NULL,
    received_at bigint NOT NULL,
    tries int NOT NULL DEFAULT 0,
    handle_at bigint DEFAULT NULL,
    handled_at bigint DEFAULT NULL,
    effect varchar(16) DEFAULT NULL,
    reason varchar(255) DEFAULT NULL,
    tx_id bigint DEFAULT NULL,
    PRIMARY KEY (provider,event_id),
    KEY payment_events_of_order (order_id,received_at),
    KEY payment_events_of_charge (provider,charge_id),
    KEY payment_events_to_handle (handle_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE payments (
    order_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    state varchar(9) NOT NULL,
    provider varchar(64) DEFAULT NULL,
    known tinyint(1) NOT NULL DEFAULT 0,
    tellings int NOT NULL DEFAULT 0,
    tell_at bigint DEFAULT NULL,
    expires_at bigint NOT NULL,
    created_at bigint NOT NULL,
    succeeded_at bigint DEFAULT NULL,
    closed_at bigint DEFAULT NULL,
    PRIMARY KEY (order_id),
    KEY payments_to_tell (tell_at),
    KEY payments_by_state (state,order_id),
    CONSTRAINT payments_ibfk_1 FOREIGN KEY (order_id) REFERENCES reservations (order_id),
    CONSTRAINT payments_amount_positive CHECK (amount > 0)
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
