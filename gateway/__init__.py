"""The gateway: one address for all services, served by Caddy (https://caddyserver.com)."""
