"""Plan plus journal to the next actions. Pure: it cannot even see a port.

`decide` (resolver.py) is asked after every change of the journal; it checks its invariants on every call.
`is_done` (recovery.py) tells from a fresh reading whether a step has reached what it is for: the same question after a
crash, before an effect and after it.
"""
