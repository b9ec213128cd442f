"""Random faults under random load: plans made from a seed, played on a private deployment, judged by their history."""
