"""What the process reports about itself: log, metrics, spans, the health endpoint, and its watches."""
