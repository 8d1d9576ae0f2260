"""The process of which reactors are forks (`tests.support.forked`): all is imported, and counted as there for good.

Each fork collects garbage once, as every reactor does when it starts, and would go through all of it again.
"""

import gc

from reactor.google.network import network_problems
from tests.support import forked  # noqa: F401  (all that a reactor needs)

network_problems([])  # reads the certificates that SSL_CERT_FILE names
gc.collect()
gc.freeze()
