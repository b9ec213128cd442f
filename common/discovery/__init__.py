"""Where the instances of each service are: they say so themselves, in a directory that the others follow."""
