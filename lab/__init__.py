"""A private internet and a private Postfix, in a network namespace of their own; for `make run` and the integration tests.

Port 25, the MX look-ups and the code are those of production, and nothing of it can leave the machine. Needs root.
Not in the wheel. docs/lab.md tells what stands where.
"""
