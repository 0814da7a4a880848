"""Fixtures of the Ansible adapter's tests."""

from tests.support.sshd import sshd_fixture

__all__ = ["sshd_fixture"]
