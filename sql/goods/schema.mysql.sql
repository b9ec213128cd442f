CREATE TABLE goods (
    goods_id bigint NOT NULL,
    name varchar(128) NOT NULL,
    brief varchar(1024) NOT NULL,
    category_id bigint DEFAULT NULL,
    unit_price bigint NOT NULL,
    market_price bigint NOT NULL,
    currency varchar(3) NOT NULL,
    images longtext NOT NULL CHECK (json_valid(images)),
    on_sale tinyint(1) NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (goods_id),
    CONSTRAINT goods_price_not_negative CHECK (unit_price >= 0 and market_price >= 0)
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

CREATE TABLE room_goods (
    room_id bigint NOT NULL,
    `position` int NOT NULL,
    goods_id bigint NOT NULL,
    PRIMARY KEY (room_id,`position`),
    UNIQUE KEY room_goods_once (room_id,goods_id),
    KEY goods_id (goods_id),
    CONSTRAINT room_goods_ibfk_1 FOREIGN KEY (room_id) REFERENCES rooms (room_id),
    CONSTRAINT room_goods_ibfk_2 FOREIGN KEY (goods_id) REFERENCES goods (goods_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE rooms (
    room_id bigint NOT NULL,
    current_goods_id bigint DEFAULT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (room_id),
    KEY current_goods_id (current_goods_id),
    CONSTRAINT rooms_ibfk_1 FOREIGN KEY (current_goods_id) REFERENCES goods (goods_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
