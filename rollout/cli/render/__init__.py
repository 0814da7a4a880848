"""Results as text, Markdown and JSON. Pure: values in, text out.

Every name, message and hint comes from a cluster, a file or a log, so none of them is trusted: `words.plain` makes
control characters visible before anything reaches a terminal, `markdown` escapes what would be markup.
"""
