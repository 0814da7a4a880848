"""Files of the guest. `lab_node` is imported here only by its tests."""
