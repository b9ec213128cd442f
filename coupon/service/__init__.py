"""The use cases of the coupon service."""
