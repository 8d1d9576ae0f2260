"""A deterministic simulator: the real loop on a virtual clock, over a model of the outbox and the emulator in memory.

docs/simulation.md tells what is real, what is modelled, how to run it, and what it cannot show.
"""
