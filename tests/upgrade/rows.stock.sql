-- What stock held for them, its schema is stock0004; and for orders that were half placed: 7 has no record, 8 was given up,
-- 9 dropped out of the batch of the open one, 10 was released before it was deducted.

INSERT INTO stock (goods_id, total, available, version) VALUES (1, 100, 86, 0);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200001, 192656126771200101, 'deducted', 0, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200001, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200002, 192656126771200102, 'deducted', 1, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200002, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200003, 192656126771200103, 'deducted', 1, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200003, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200004, 192656126771200104, 'deducted', 1, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200004, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200005, 192656126771200105, 'released', 0, 1750000000000, 1750000006500);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200005, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200006, 192656126771200106, 'released', 1, 1750000000000, 1750000007500);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200006, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200007, 192656126771200107, 'deducted', 0, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200007, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200008, 192656126771200108, 'deducted', 0, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200008, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200009, 192656126771200101, 'deducted', 0, 1750000000000, NULL);

INSERT INTO reservation_lines (order_id, goods_id, quantity) VALUES (192656126771200009, 1, 2);

INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
VALUES (192656126771200010, 192656126771200110, 'released', 0, 1750000000000, 1750000000000);
