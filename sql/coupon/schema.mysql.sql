CREATE TABLE coupon_users (
    coupon_user varchar(96) NOT NULL,
    taken bigint NOT NULL,
    PRIMARY KEY (coupon_user),
    CONSTRAINT coupon_users_taken_not_negative CHECK (taken >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE coupon_uses (
    order_id bigint NOT NULL,
    coupon_id bigint NOT NULL,
    user_id varchar(64) NOT NULL,
    state varchar(4) NOT NULL,
    PRIMARY KEY (order_id),
    KEY coupon_uses_by_coupon (coupon_id),
    CONSTRAINT coupon_uses_ibfk_1 FOREIGN KEY (order_id) REFERENCES reservations (order_id),
    CONSTRAINT coupon_uses_ibfk_2 FOREIGN KEY (coupon_id) REFERENCES coupons (coupon_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE coupons (
    coupon_id bigint NOT NULL,
    code varchar(64) NOT NULL,
    kind varchar(8) NOT NULL,
    value bigint NOT NULL,
    currency varchar(3) DEFAULT NULL,
    minimum_amount bigint NOT NULL,
    user_id varchar(64) DEFAULT NULL,
    uses bigint NOT NULL,
    uses_per_user bigint NOT NULL,
    held bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0,
    starts_at bigint DEFAULT NULL,
    ends_at bigint DEFAULT NULL,
    withdrawn tinyint(1) NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    created_at bigint NOT NULL,
    PRIMARY KEY (coupon_id),
    UNIQUE KEY coupons_code (code),
    KEY coupons_by_user (user_id,coupon_id),
    CONSTRAINT coupons_counts_not_negative CHECK (held >= 0 and used >= 0),
    CONSTRAINT coupons_uses_not_exceeded CHECK (held + used <= uses)
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

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
