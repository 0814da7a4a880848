"""Host-level work through Ansible. The only place that imports `ansible_runner`.

`hosts` is the port; `settings` what it is configured with; `rundir` what one run finds on disk; `executor` the
process that a run lives in; `launcher` starts ansible-playbook inside it; `outcome` turns events into results; `bundle`
and `plugins/action/onnode.py` put programs of `rollout.onnode` on a node.

How nothing is left behind. The executor is a sub-reaper: whatever ansible-playbook starts, workers in their own
sessions and ssh masters included, stays its descendant. On a cancel, a time-out, or the death of our process (parent-
death signal, and end of file on its input) it sends SIGTERM to ansible-playbook, waits, and kills every descendant. If
the executor itself is killed, ansible-playbook gets the parent-death signal. A remote program over a pipelined
connection gets no signal at all; hence the rules of `rollout.onnode`: it ends itself by an alarm, looks whether anyone
still reads its output before a change, and holds the node by lock and fencing number.
"""
