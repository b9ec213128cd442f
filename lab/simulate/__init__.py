"""The simulator: the services' own code in one process, on a virtual clock, one step at a time, under one seed."""
