"""The report: one page a run (or two runs side by side) that opens from disk, without a network.

Python reduces the run to what the page shows; the page itself is hand-written HTML, CSS and JavaScript in `page/`. Model output
is hostile: it travels as compressed data and is only ever set as text, and the page's policy runs no script but its own.
"""
