"""Writes what derives from the code: the files of `docker/`, and each list of our services in files of others."""
