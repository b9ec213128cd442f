"""The console: where one looks at orders, messages and what became of them."""
