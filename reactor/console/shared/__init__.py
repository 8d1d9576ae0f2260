"""What a console keeps for all its visitors, in memory: errands, consents that were asked for, the demo's faults."""
