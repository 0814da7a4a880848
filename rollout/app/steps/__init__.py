"""What each step reads (`look`) and does (`act`).

`look` is read-only: it gives the intent its `before`, settles an intent a dead process left, and ends waiting.
`act` is repeat-safe. Both are looked up in `table.py`; `run.py` drives them and turns errors into outcomes.
"""
