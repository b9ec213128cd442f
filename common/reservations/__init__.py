"""A participant's reservations over REST: routes, schema, and the client that the order service has."""
