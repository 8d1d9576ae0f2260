"""What can be known of the manifests without a cluster and without a network: `python -m checks`, part of `make check`.

Each module is one check: it takes files or documents and returns problems, a sentence each. The tests plant a mistake
for every one of them (`tests/deploy/test_checks.py`): a check that cannot fail checks nothing. What no tool here can
see, such as whether an image exists or a cluster has the custom resources, the cluster says itself.
"""
