"""The operator's commands: one file each, a few lines over the part that does the work, and what they have in common.

Results go to standard output, as a table for people or, with `--json`, as one JSON document. Remarks, progress and
errors go to standard error. Exit codes: 0 it is done, or all is well; 1 it failed, or something was found; 2 wrong use,
a wrong setting, or a database that cannot be used: nothing was done, and the sentence says what to do.
"""
