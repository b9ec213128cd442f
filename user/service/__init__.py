"""The use cases of the user service; none of them knows HTTP."""
