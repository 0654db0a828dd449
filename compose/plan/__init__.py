"""From a project and what is there to a plan, and from the plan to what is wanted.

actions.py     what can be done, as data
observed.py    what is there: one snapshot
reconcile.py   project x observed -> plan; no input or output
plan.py        operations with predecessors and causes; prints as text
execute.py     an anyio task an operation
"""
