"""The statements that fill databases with orders: each makes a chunk of rows from numbers, and from goods and users."""

NUMBERS = "CREATE TABLE bench_numbers (n INTEGER PRIMARY KEY)"
KINDS = "CREATE TABLE bench_kinds (place INTEGER PRIMARY KEY, goods_id BIGINT NOT NULL, user_id VARCHAR(64) NOT NULL)"
FROM = """
FROM (SELECT n + :start AS n FROM bench_numbers WHERE n < :size) AS s
JOIN bench_kinds AS k ON k.place = s.n % :kinds
"""
ID = ":first_id + s.n * :step"
TX = ":first_id + (s.n - s.n % :group) * :step"
AT = ":first_ms + s.n * :gap"

ORDERS = f"""
INSERT INTO orders (order_id, tx_id, user_id, status, close_reason, total_amount, goods_amount, currency, created_at,
    expires_at, paid_at, closed_at)
SELECT {ID}, {TX}, k.user_id, {{status}}, {{reason}}, 250, 250, 'EUR', {AT}, {{due}}, {{paid}}, {{closed}}
{FROM}
"""  # nosec B608 - constants of this module
SETTLEMENTS = f"""
INSERT INTO settlements (order_id, participant, fate, tx_id, since)
SELECT {ID}, '{{participant}}', 'void', {TX}, {AT} + 1 {FROM}
"""  # nosec B608
LINES = f"""
INSERT INTO order_lines (order_id, position, goods_id, name, brief, quantity, unit_price)
SELECT {ID}, 0, k.goods_id, 'Tea', '', 1, 250 {FROM}
"""  # nosec B608
RECORDS = f"""
INSERT INTO transaction_records (tx_id, outcome, decided_at)
SELECT {ID}, 'committed', {AT} {FROM} WHERE s.n % :group = 0
"""  # nosec B608
RESERVATIONS = f"""
INSERT INTO reservations (order_id, tx_id, state, verified, created_at, released_at)
SELECT {ID}, {TX}, {{state}}, {{verified}}, {AT}, {{released}} {FROM}
"""  # nosec B608
HELD = f"""
INSERT INTO reservation_lines (order_id, goods_id, quantity) SELECT {ID}, k.goods_id, 1 {FROM}
"""  # nosec B608
PAYMENTS = f"""
INSERT INTO payments (order_id, user_id, amount, currency, state, known, tellings, expires_at, created_at)
SELECT {ID}, k.user_id, 250, 'EUR', {{payment}}, 0, 0, {{due}}, {AT} {FROM}
"""  # nosec B608
# Of those that are KNOWN. No order has the number of another with a minus, or one less: each is found by one way alone.
PAID = f"""
INSERT INTO payments (order_id, user_id, amount, currency, state, provider, known, tellings, expires_at, created_at,
    succeeded_at, closed_at)
SELECT {ID}, k.user_id, 250, 'EUR', {{payment}}, {{provider}}, 1, 0, {{due}}, {AT}, {{paid}}, {{closed}}
{FROM}
"""  # nosec B608
CHARGES = f"""
INSERT INTO charges (provider, charge_id, order_id, kept_for, amount, currency, state, tries, taken_at)
SELECT 'sandbox', CAST({ID} AS CHAR(20)), {ID}, {ID}, 250, 'EUR', 'kept', 0, {AT} + 900
{FROM} WHERE s.n % 10 <> 0
"""  # nosec B608
KEYS = f"""
INSERT INTO idempotency_keys (user_id, idempotency_key, request_hash, order_id)
SELECT k.user_id, CAST(-({ID}) AS CHAR(20)), 'bench', {ID} {FROM}
"""  # nosec B608
CALLS = f"""
INSERT INTO placing_calls (order_id, request_id) SELECT {ID}, CAST(-({ID}) - 1 AS CHAR(20)) {FROM}
"""  # nosec B608
RETURNS = f"""
INSERT INTO sagas (run_id, saga, `key`, definition, state, epoch, deadline_at, stalls, input, created_at, ended_at)
SELECT {ID}, 'return', CAST({ID} AS CHAR(20)), 'bench', 'done', 1, {AT} + 5000, 0, '{{}}', {AT} + 2000, :now
{FROM} WHERE s.n % 10 = 1
"""  # nosec B608
TAKE = "UPDATE stock SET available = available - :pieces WHERE goods_id = :goods_id"
