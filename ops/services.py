"""The names of our services, and how many instances one may have. It imports nothing: each command needs it."""

SERVICES = ("order", "stock", "goods")
MOST_INSTANCES = 64  # of one service; worker ids alone would allow 1,024
