"""Sagas: what no single transaction ends, as steps with compensations.

`definition` what a saga is · `model` the log's tables · `log` the log in SQL · `plan` what comes next, purely ·
`driver` one run under way, with its `means` · `engine` starts, claims and sweeps · `barrier` a participant's side ·
`rest` steps over HTTP · `waking` messages and the sweep's thread · `operating` list, show, retry, give up, skip.
"""
