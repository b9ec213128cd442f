-- Written by ./scripts/render from ops/stack/settings.py: change it there.
CREATE DATABASE IF NOT EXISTS `console` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `console`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `order` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `order`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `stock` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `stock`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `goods` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `goods`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `coupon` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `coupon`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `pay` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `pay`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `flash` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `flash`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `sandbox` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `sandbox`.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS `user` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
GRANT ALL PRIVILEGES ON `user`.* TO 'orders'@'%';
