"""The SQL judge: whether a deployment's databases keep the promise. It shares no code with the services it judges."""
