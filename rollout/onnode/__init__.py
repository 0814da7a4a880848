"""Programs copied to a node. They read, or make one small guarded change, print one JSON document, and exit.

Rules: standard library only, BCC beside it for eBPF probes; Python 3.9 or newer; nothing from the rest of
`rollout`, because on the node this folder is all there is, as a package called `onnode`. A program takes one JSON
object, its request, and leaves one line of JSON on standard output. What could not be read is data, not a crash.
"""
