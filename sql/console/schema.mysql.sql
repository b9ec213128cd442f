CREATE TABLE actions (
    action_id bigint NOT NULL,
    at bigint NOT NULL,
    who varchar(64) NOT NULL,
    action varchar(32) NOT NULL,
    what varchar(128) NOT NULL,
    why varchar(255) NOT NULL,
    outcome varchar(16) NOT NULL,
    detail varchar(1024) NOT NULL,
    effect_at bigint DEFAULT NULL,
    batch bigint DEFAULT NULL,
    PRIMARY KEY (action_id),
    UNIQUE KEY actions_once_for_each_form (batch,what),
    KEY actions_of_a_thing (what,action_id),
    KEY actions_by_age (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
