"""The judge: does a calendar show what the application wants?

It reads the contract by itself (docs/schema.md, docs/google.md) and shares no code with what makes and writes events: a
mistake there must not be repeated here. An import contract says so. All of it is pure: documents in, findings out.
"""
