"""The memory planner's tables, beside the figures of its peers: ``python -m benchmarks.memory``.

One module per suite, named in ``__main__.SUITES``, each with ``run(options, say) -> Outcome``.
"""
