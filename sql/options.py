"""What every table says of itself on MySQL and MariaDB."""

MYSQL = {  # a database's own default may be a collation that takes "a" and "A" for the same
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
