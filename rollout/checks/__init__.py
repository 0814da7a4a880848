"""Observation to verdict to gate. Pure. Each check reads stored documents only and says what it compared."""
