CREATE TABLE allotments (
    sale_id bigint NOT NULL,
    goods_id bigint NOT NULL,
    quantity bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (sale_id),
    CONSTRAINT allotments_quantity_not_negative CHECK (quantity >= 0)
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

CREATE TABLE reservation_lines (
    order_id bigint NOT NULL,
    goods_id bigint NOT NULL,
    quantity int NOT NULL,
    PRIMARY KEY (order_id,goods_id),
    CONSTRAINT reservation_lines_ibfk_1 FOREIGN KEY (order_id) REFERENCES reservations (order_id),
    CONSTRAINT reservation_lines_quantity_positive CHECK (quantity > 0)
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

CREATE TABLE stock (
    goods_id bigint NOT NULL,
    total bigint NOT NULL,
    available bigint NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (goods_id),
    CONSTRAINT stock_available_within_total CHECK (available <= total),
    CONSTRAINT stock_available_not_negative CHECK (available >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
