CREATE TABLE attempts (
    name varchar(64) NOT NULL,
    place varchar(64) NOT NULL,
    failures int NOT NULL,
    next_at bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (name,place),
    KEY attempts_by_age (last_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE log_ins (
    log_in_id bigint NOT NULL,
    user_id bigint DEFAULT NULL,
    name varchar(64) NOT NULL,
    address varchar(64) NOT NULL,
    outcome varchar(16) NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (log_in_id),
    KEY log_ins_of_user (user_id,address,outcome),
    KEY log_ins_by_age (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sessions (
    session_id bigint NOT NULL,
    user_id bigint NOT NULL,
    family_hash varchar(64) NOT NULL,
    token_hash varchar(64) NOT NULL,
    created_at bigint NOT NULL,
    refreshed_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (session_id),
    UNIQUE KEY family_hash (family_hash),
    KEY sessions_of_user (user_id,session_id),
    KEY sessions_by_end (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE signing_keys (
    number int NOT NULL,
    kid varchar(43) NOT NULL,
    private_key varchar(43) NOT NULL,
    public_key varchar(43) NOT NULL,
    created_at bigint NOT NULL,
    signs_from bigint NOT NULL,
    PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE users (
    user_id bigint NOT NULL,
    name varchar(64) NOT NULL,
    password_hash varchar(255) NOT NULL,
    is_admin tinyint(1) NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    password_changed_at bigint NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE KEY name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
