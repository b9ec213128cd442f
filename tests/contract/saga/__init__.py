"""The contract of sagas, on SQLite, and on MySQL or MariaDB where ORDERS_TEST_MYSQL names one."""
