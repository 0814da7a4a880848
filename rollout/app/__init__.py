"""Use cases: the only callers of ports. They return results and never print.

One module per use case; `steps/` holds what each step reads and does.
"""
