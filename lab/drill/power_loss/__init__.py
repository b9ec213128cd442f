"""Power loss: what our code has SQLite write, replayed on files that forget what was not synced.

`recorder` the statements of our code · `forgetful` a VFS that writes down each write and sync · `images` the files as
they may be after a power loss · `judge` what must be in them · `workloads` whose statements.
"""
