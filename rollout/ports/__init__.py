"""Protocols, and the duties written on them. No behaviour.

Every port has one contract suite (tests/contracts) that runs on the fake, on the lab and, given a kubeconfig, on a real
cluster. Only `rollout.app` calls ports.
"""
