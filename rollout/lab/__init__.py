"""The embedded lab: two emulated machines with a real netkit kernel behind a Kubernetes API stand-in.

    image/       the guest's disk, built once and cached by content
    machine.py   one QEMU process; template.py its saved state; network.py the bridge in a namespace of its own
    apiserver/   the API stand-in; controllers/ scheduler, ReplicaSet, DaemonSet, disruption and the rest
    guest/       kubelet, CNI plugin and agent stand-ins, shipped into the guests; they import nothing of rollout
    manifests/   what is deployed at the start
    supervisor.py   the process that holds all of it together; cluster.py starts, shows and stops it
    service.py   a Service's address on loopback; client.py a steady client that counts what it loses

Nothing here is imported by the rest of rollout except `cluster`, by the command line.
"""
