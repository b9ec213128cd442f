"""What the console asks: the services by REST, each of their instances, and the broker."""
