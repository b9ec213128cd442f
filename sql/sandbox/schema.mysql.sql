CREATE TABLE callbacks (
    callback_id bigint NOT NULL,
    event_id bigint NOT NULL,
    state varchar(8) NOT NULL,
    held tinyint(1) NOT NULL DEFAULT 0,
    due_at bigint NOT NULL,
    tries bigint NOT NULL DEFAULT 0,
    answer varchar(255) DEFAULT NULL,
    PRIMARY KEY (callback_id),
    KEY callbacks_by_event (event_id),
    KEY callbacks_due (state,due_at),
    CONSTRAINT callbacks_ibfk_1 FOREIGN KEY (event_id) REFERENCES events (event_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE charges (
    charge_id bigint NOT NULL,
    session_id bigint NOT NULL,
    amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    refund_id bigint DEFAULT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (charge_id),
    KEY charges_by_session (session_id),
    CONSTRAINT charges_ibfk_1 FOREIGN KEY (session_id) REFERENCES sessions (session_id),
    CONSTRAINT charges_amount_positive CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE events (
    event_id bigint NOT NULL,
    session_id bigint NOT NULL,
    kind varchar(16) NOT NULL,
    charge_id bigint DEFAULT NULL,
    refund_id bigint DEFAULT NULL,
    amount bigint DEFAULT NULL,
    currency varchar(3) DEFAULT NULL,
    reason varchar(255) DEFAULT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (event_id),
    KEY events_by_session (session_id),
    CONSTRAINT events_ibfk_1 FOREIGN KEY (session_id) REFERENCES sessions (session_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE faults (
    name varchar(32) NOT NULL,
    chance bigint NOT NULL,
    seed bigint NOT NULL,
    longest bigint NOT NULL,
    drawn bigint NOT NULL DEFAULT 0,
    struck bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE heartbeat (
    id int NOT NULL,
    beats bigint NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE plans (
    plan_id bigint NOT NULL,
    session_id bigint NOT NULL,
    refund_id bigint DEFAULT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (plan_id),
    KEY session_id (session_id),
    KEY plans_due (due_at),
    CONSTRAINT plans_ibfk_1 FOREIGN KEY (session_id) REFERENCES sessions (session_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE refunds (
    refund_id bigint NOT NULL,
    charge_id bigint NOT NULL,
    refund_key varchar(255) NOT NULL,
    amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    state varchar(8) NOT NULL,
    reason varchar(255) DEFAULT NULL,
    asked bigint NOT NULL,
    created_at bigint NOT NULL,
    done_at bigint DEFAULT NULL,
    PRIMARY KEY (refund_id),
    UNIQUE KEY refunds_key (refund_key),
    KEY refunds_by_charge (charge_id),
    CONSTRAINT refunds_ibfk_1 FOREIGN KEY (charge_id) REFERENCES charges (charge_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE sessions (
    session_id bigint NOT NULL,
    reference varchar(64) NOT NULL,
    attempt_id bigint NOT NULL,
    payment_id bigint NOT NULL,
    amount bigint NOT NULL,
    currency varchar(3) NOT NULL,
    callback_url varchar(255) NOT NULL,
    scenario varchar(32) NOT NULL,
    expires_at bigint NOT NULL,
    state varchar(8) NOT NULL,
    reason varchar(255) DEFAULT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (session_id),
    UNIQUE KEY sessions_attempt (attempt_id),
    UNIQUE KEY sessions_reference (reference),
    CONSTRAINT sessions_amount_positive CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE worker_leases (
    worker_id int NOT NULL,
    owner varchar(64) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
