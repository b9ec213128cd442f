"""RocketMQ's console: it looks at messages through the remoting protocol, of which clients over gRPC know nothing."""
