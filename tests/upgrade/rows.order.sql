-- Orders as the release before several participants left them, its schema is order0004: one open, one overdue, one paid,
-- three closed (1: its release got lost, 2: released and not confirmed, 3: confirmed), one paid without stock.

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200001, 192656126771200101, 'ann', 'created', NULL, 500, 'EUR', NULL, NULL, NULL, 1750000000000, 9000000000000, NULL, NULL, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200001, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200101, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200002, 192656126771200102, 'ann', 'created', NULL, 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, NULL, NULL, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200002, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200102, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200003, 192656126771200103, 'ann', 'paid', NULL, 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, 1750000005000, NULL, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200003, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200103, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200004, 192656126771200104, 'ann', 'closed', 'timeout', 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, NULL, 1750000900100, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200004, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200104, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200005, 192656126771200105, 'ann', 'closed', 'cancelled', 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, NULL, 1750000006000, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200005, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200105, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200006, 192656126771200106, 'ann', 'closed', 'cancelled', 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, NULL, 1750000007000, 1);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200006, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200106, 'committed', 1750000000000);

INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, currency, receiver_name, receiver_phone,
    receiver_address, created_at, expires_at, paid_at, closed_at, release_confirmed)
VALUES (192656126771200011, 192656126771200111, 'ann', 'paid', NULL, 500, 'EUR', NULL, NULL, NULL, 1750000000000, 1750000900000, 1750000008000, NULL, 0);

INSERT INTO order_lines (order_id, position, goods_id, name, brief, image, quantity, unit_price, market_price)
VALUES (192656126771200011, 0, 1, 'Tea', 'green', NULL, 2, 250, 300);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200111, 'committed', 1750000000000);

INSERT INTO transaction_records (tx_id, outcome, decided_at) VALUES (192656126771200108, 'aborted', 1750000000000);

INSERT INTO idempotency_keys (user_id, idempotency_key, request_hash, order_id) VALUES ('ann', 'k', 'hash', 192656126771200001);

INSERT INTO orders_without_stock (order_id, found_at) VALUES (192656126771200011, 1750000009000);
