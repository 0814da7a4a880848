"""One suite per port, run on every implementation."""

import pytest

pytest.register_assert_rewrite("tests.contracts.journal_store")
